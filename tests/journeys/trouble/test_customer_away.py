"""A customer whose keys cannot be opened is away: its SBCs get 503 while the others are recorded, until it is back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.cli.init import initialise
from tests.daemon.api import WAIVER, WHY, Api, until
from tests.daemon.descriptor_store import descriptor_store
from tests.daemon.sbc import OFFER
from tests.daemon.server import Server, server

OTHER = '[[customer]]\nname = "globex"\nsources = ["127.0.0.2"]\nsrtp = "off"\n'
HERS = OFFER.replace(b"127.0.0.1", b"127.0.0.2")


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Server]:
    """Two customers: acme calls from 127.0.0.1, globex from 127.0.0.2. systemd keeps the sockets."""
    with descriptor_store(tmp_path) as store, server(tmp_path, sources="127.0.0.1", more=OTHER, store=store) as one:
        one.init()
        yield one


def lose_keys(one: Server, customer: str = "globex") -> Path:
    """Take the keys of a customer away; return where they are now."""
    aside = one.folder / "aside"
    aside.mkdir()
    for path in (one.data / "keys").glob(f"{customer}.*"):
        path.rename(aside / path.name)
    return aside


def bring_back(one: Server, aside: Path) -> None:
    for path in sorted(aside.iterdir(), key=lambda each: each.suffix == ".forget"):  # the one that counts comes last
        path.rename(one.data / "keys" / path.name)


def test_a_customer_without_keys_is_away_while_others_record(two: Server) -> None:
    newcomer = '[[customer]]\nname = "newcomer"\nsources = ["127.0.0.3"]\n'
    two.config.write_text(two.config.read_text() + newcomer)
    two.start()
    api = Api(two)
    with two.sbc("udp", source="127.0.0.3") as late, two.sbc("tcp") as acme:
        refused = late.ask("INVITE", HERS.replace(b"127.0.0.2", b"127.0.0.3"))
        assert (refused.status, refused.headers.get("Retry-After")) == (503, "30")
        assert late.ask("OPTIONS").status == 503
        assert acme.ask("OPTIONS").status == 200
        assert acme.ask("INVITE", OFFER).status == 200
        assert acme.ask("BYE").status == 200
        assert api.ended()[0]["state"] == "complete"
        assert api.health("/readyz") == 200
        assert api.figure("recorder_customers_away") == 1
        initialise(two.config)
        two.until("customer.back")
        assert late.ask("OPTIONS").status == 200
        until(lambda: api.figure("recorder_customers_away") == 0)
    faults = [line for line in two.lines() if line.get("event") == "customer.away"]
    assert [(line["customer"], line["error"]) for line in faults] == [("newcomer", "KeysMissing")]
    assert two.stop() == 0


def test_a_live_call_waits_for_its_customer_and_loses_no_socket(two: Server) -> None:
    two.start()
    with two.sbc("udp", source="127.0.0.2") as globex, two.sbc("tcp") as acme:
        assert globex.ask("INVITE", HERS).status == 200
        assert acme.ask("INVITE", OFFER).status == 200
        assert two.store is not None
        kept = sorted(name for name in two.store.names() if name.startswith("m"))
        aside = lose_keys(two)
        two.stop(9)
        two.start()
        acme.connect()
        assert acme.ask("UPDATE").status != 503
        for method in ("UPDATE", "INFO"):
            assert globex.ask(method).status == 503
        assert sorted(name for name in two.store.names() if name.startswith("m")) == kept
        bring_back(two, aside)
        two.until("customer.back")
        assert globex.ask("UPDATE").status == 200
        assert globex.ask("BYE").status == 200
        assert acme.ask("BYE").status == 200
    until(lambda: not [name for name in two.store.names() if name.startswith("m")])
    assert two.stop() == 0
    assert two.run("verify").returncode == 0
    told = two.run("calls", "--customer", "globex", "--json")
    assert '"state": "complete"' in told.stdout or '"state": "interrupted"' in told.stdout


def test_a_customer_that_comes_back_records_exports_and_erases(two: Server) -> None:
    aside = lose_keys(two, "acme")
    two.start()
    bring_back(two, aside)
    two.until("customer.back")
    api, why = Api(two), {"reason": "asked by the auditor"}
    with two.sbc("udp") as acme:
        assert acme.ask("INVITE", OFFER).status == 200
        assert acme.ask("BYE").status == 200
    (call,) = api.ended()
    wanted = {"calls": [call["id"]], "format": "csv", **why}
    made = api.ask("POST", "/exports", "privacy", json=wanted)
    assert made.status_code == 202, made.text
    export = made.json()
    until(lambda: api.get(f"/exports/{export['id']}", "privacy").json()["state"] == "done")
    assert api.ask("PUT", "/waiver", json=WAIVER).status_code == 200
    erasure = api.ask("POST", "/erasures", "privacy", json={"calls": [call["id"]], **WHY}).json()
    until(lambda: api.get(f"/erasures/{erasure['id']}", "privacy").json()["state"] == "done")


def test_a_start_fails_if_no_customer_can_be_opened(two: Server) -> None:
    shutil.rmtree(two.data / "keys")
    done = two.run("serve")
    assert done.returncode == 3 and "keys/" in done.stderr


def test_a_folder_without_a_customer_is_named(two: Server) -> None:
    (two.data / "customers" / "former").mkdir()
    two.start()
    (line,) = [line for line in two.lines() if line.get("event") == "customer.not_configured"]
    assert (line["customer"], line["level"]) == ("former", "warning")
    assert two.stop() == 0


def test_a_customer_without_its_users_file_waits_for_a_restart(two: Server) -> None:
    two.replace('srtp = "off"', f'srtp = "off"\ndigest = "{two.folder}/users"')
    assert two.run("check-config", "--start").returncode == 2
    two.start()
    with two.sbc("udp", source="127.0.0.2") as globex, two.sbc("tcp") as acme:
        assert globex.ask("INVITE", HERS).status == 503
        assert acme.ask("INVITE", OFFER).status == 200
        assert acme.ask("BYE").status == 200
    assert two.stop() == 0
    (two.folder / "users").write_text(f"sbc:globex:{'0' * 32}\n")
    two.start()
    with two.sbc("udp", source="127.0.0.2") as globex:
        assert globex.ask("INVITE", HERS).status == 401
    assert two.stop() == 0
