"""A year of customers on one recorder: added, changed, closed and removed by reloads that cost live calls nothing."""

from __future__ import annotations

import asyncio
import copy
import json
import shutil
import ssl
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from recorder.config.loader import load
from recorder.maintenance import bootstrap
from recorder.persist.customers import open_credentials
from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from tests.daemon.api import WAIVER, Api, running
from tests.daemon.coded_calls import in_order, nothing_missing, place
from tests.daemon.kills import RESTART
from tests.daemon.sbc import OFFER
from tests.daemon.server import Server

SECONDS = 14.0
"""Length of the calls that must outlive the reload: a busy machine may need half of it until all of them speak."""
SOURCES = {"acme": "127.0.0.1", "globex": "127.0.0.2", "initech": "127.0.0.3", "hooli": "127.0.0.4"}
MORE = "".join(f'[[customer]]\nname = "{name}"\nsources = ["{SOURCES[name]}"]\n' for name in ("globex", "initech"))
DAYS = 30


def of(it: Api, name: str) -> Api:
    """Return the API of another customer than acme."""
    one = copy.copy(it.one)
    made = open_credentials(load(one.config), name).create("the-admin", ["admin"], datetime.now(UTC))
    one.tokens = {"admin": made.token}
    return Api(one, name)


def reload(one: Server, *, status: int = 0) -> dict[str, Any]:
    """Do what ExecReload of the unit does, and start another process as systemd does; return what was compared."""
    checked = one.run("check-config", "--reload", "--json")
    assert checked.returncode == status, checked.stdout + checked.stderr
    if status == 0:
        assert one.stop() == 0
        one.start()
    return dict(json.loads(checked.stdout))


def ran(one: Server, *words: str, status: int = 0) -> dict[str, Any]:
    """Run a command of a customer and return what it says."""
    done = one.run("customer", *words, "--json")
    assert done.returncode == status, done.stderr
    return dict(json.loads(done.stdout))


def offer(source: str) -> bytes:
    return OFFER.replace(b"127.0.0.1", source.encode())


def invited(one: Server, source: str, transport: str = "udp") -> int:
    """Place a call that ends at once; return how its INVITE is answered."""
    with one.sbc(transport, source=source) as sbc:
        status = sbc.ask("INVITE", offer(source)).status
        if status == 200:
            assert sbc.ask("BYE").status == 200
        return status


def test_a_reload_ends_only_the_calls_of_a_closed_customer(tmp_path: Path) -> None:
    """Everything else that was changed is in force."""
    with running(tmp_path, calls=24, kept=True, sources=SOURCES["acme"], more=MORE) as it:
        one, told = it.one, dict[str, Any]()

        async def meanwhile() -> None:
            await it.talking(20)
            await asyncio.to_thread(change)
            told.update(await asyncio.to_thread(reload, one))
            await asyncio.to_thread(in_force)

        def change() -> None:
            assert ran(one, "add", "hooli", "--source", SOURCES["hooli"]) == {
                "name": "hooli", "state": "open", "receipt": None,
            }  # fmt: skip
            assert ran(one, "title", "globex", "Globex SE")["state"] == "open"
            assert ran(one, "close", "initech")["state"] == "closed"
            one.replace('sources = ["127.0.0.2"]', f'sources = ["127.0.0.2", "127.0.0.5"]\nretention_days = {DAYS}')
            one.replace('name = "hooli"', 'name = "hooli"\nmax_calls = 1')
            one.replace('level = "info"', 'level = "debug"')
            one.replace(f'ports = "{one.media}-{one.media + one.ports - 1}"', 'ports = "24000-24099"')
            one.replace(f'"{tmp_path}/tls.crt"', f'"{tmp_path}/new.crt"')
            one.replace(f'"{tmp_path}/tls.key"', f'"{tmp_path}/new.key"')
            assert bootstrap.pair(tmp_path / "new.crt", tmp_path / "new.key", ["rec.example"])
            assert "Traceback" not in one.log.read_text()

        def in_force() -> None:
            with one.sbc("udp", source=SOURCES["hooli"]) as sbc:
                answer = sbc.ask("INVITE", offer(SOURCES["hooli"]))
                assert answer.status == 200 and b"m=audio 24" in answer.body
                assert invited(one, SOURCES["hooli"]) == 503  # max_calls
                assert sbc.ask("BYE").status == 200
            assert invited(one, "127.0.0.5") == 200
            assert [invited(one, SOURCES["initech"], each) for each in ("udp", "tcp")] == [403, 403]
            shown = ssl.get_server_certificate((one.host, one.tls))
            assert shown.strip() == (tmp_path / "new.crt").read_text().strip()

        def plans(name: str, calls: int, seconds: float) -> list[Plan]:
            """Return calls over UDP and as many over TLS."""
            udp = Plan(to=one.uri("udp"), calls=calls, source=SOURCES[name], seconds=seconds, srtp="all")
            return [udp, replace(udp, to=one.uri("tls"), insecure=True)]

        wanted = [*plans("acme", 6, SECONDS), *plans("globex", 3, SECONDS), *plans("initech", 1, 60)]
        placed = place(wanted, meanwhile)
        assert told["ok"] and told["needs_restart"] == []
        assert told["changed"] == [
            "customer.globex.retention_days", "customer.globex.sources", "customer.globex.title", "customer.hooli",
            "customer.initech.state", "log.level", "media.ports", "sip.certificate", "sip.private_key",
        ]  # fmt: skip
        nothing_missing(it, placed[:12])
        globex = of(it, "globex")
        nothing_missing(globex, placed[12:18])
        call = next(each for each in globex.calls() if each["session_id"] == placed[12].session_id)
        kept = datetime.fromisoformat(call["erase_after"]) - datetime.fromisoformat(call["ended_at"])
        assert kept == timedelta(days=DAYS)
        assert "Globex SE (globex)" in one.run("calls").stdout
        ended_in_order(of(it, "initech"), placed[18:])
        levels = [line.get("level") for line in one.lines()]
        assert "debug" in levels[one.events().index("recorder.stopped") :]
        assert "debug" not in levels[: one.events().index("recorder.stopped")]
        in_order(it)


def ended_in_order(initech: Api, calls: Sequence[CallReport]) -> None:
    """The client got a BYE; what had been said by then is kept and served, and nothing of it is an incident."""
    assert [call.ended_by_recorder for call in calls] == [True, True]
    recorded = initech.over(calls)
    for call in calls:
        mine = recorded[call.session_id]
        assert (mine["state"], mine["end_reason"]) == ("complete", "customer-closed")
        assert [(stream["lost"], stream["gaps"]) for stream in mine["streams"]] == [(0, [])] * 2
        assert all(initech.channels(mine["id"]))
    (line,) = [line for line in initech.one.lines() if line.get("event") == "customer.calls_ended"]
    assert (line["customer"], line["calls"], line["level"]) == ("initech", 2, "info")
    kinds = {each["kind"] for each in initech.get("/incidents").json()["items"]}
    assert kinds <= {"call-refused"}


def test_calls_of_a_closed_customer_end_even_after_a_kill(tmp_path: Path) -> None:
    with running(tmp_path, kept=True) as it, it.one.sbc("udp") as sbc:
        assert sbc.ask("INVITE", OFFER).status == 200
        ran(it.one, "close", "acme")
        it.one.stop(9)
        it.one.start()
        sbc.asked("BYE")
        (call,) = it.ended()
        assert (call["state"], call["end_reason"]) == ("complete", "customer-closed")
        assert it.one.events().count("customer.calls_ended") == 1
        assert it.one.stop() == 0


def test_a_reload_names_what_needs_a_restart_and_stops_nothing(tmp_path: Path) -> None:
    with running(tmp_path, kept=True) as it:
        one = it.one
        text = one.config.read_text()
        assert reload(one) == {"ok": True, "changed": [], "needs_restart": []}
        shutil.copytree(one.data, tmp_path / "elsewhere")
        one.replace(f'data_dir = "{one.data}"', f'data_dir = "{tmp_path}/elsewhere"')
        one.replace(f', "tcp:{one.host}:{one.udp}"', "")
        told = reload(one, status=1)
        assert told == {"ok": False, "changed": ["node.data_dir", "sip.listen"],
                        "needs_restart": ["node.data_dir", "sip.listen"]}  # fmt: skip
        said = one.run("check-config", "--reload")
        assert said.returncode == 1 and "SIGUSR1" in said.stderr
        one.config.write_text(text)
        one.replace(f'runtime_dir = "{tmp_path}/run"', f'runtime_dir = "{tmp_path}/other"')
        assert reload(one, status=1)["needs_restart"] == ["node.runtime_dir"]
        one.config.write_text(text.replace("workers = 1", "workers = true"))
        told = reload(one, status=2)
        assert (told["ok"], told["changed"], [each["key"] for each in told["faults"]]) == (False, [], ["media.workers"])
        one.config.write_text(
            text.replace(f'"tcp:{one.host}:{one.udp}"', f'"tcp:{one.host}:{one.udp}", "udp:127.0.0.9:{one.udp}"')
        )
        assert reload(one)["changed"] == ["sip.listen"]  # one more is no loss
        assert one.stop() == 0


def test_a_customer_is_removed_while_calls_of_another_go_on(tmp_path: Path) -> None:
    with running(tmp_path, calls=6, kept=True, sources=SOURCES["acme"], more=MORE) as it:
        one, initech = it.one, of(it, "initech")
        ids = [
            call["id"]
            for call in initech.over(place([Plan(to=one.uri(), source=SOURCES["initech"], seconds=1.0)])).values()
        ]

        async def meanwhile() -> None:
            await it.talking(2)
            await asyncio.to_thread(remove)
            await asyncio.sleep(RESTART)

        def remove() -> None:
            refused = one.run("customer", "remove", "initech", "--yes")
            assert refused.returncode == 3 and "is not closed" in refused.stderr
            ran(one, "close", "initech")
            reload(one)
            refused = one.run("customer", "remove", "initech", "--yes")
            assert refused.returncode == 3 and "no waiver is active" in refused.stderr
            assert initech.ask("PUT", "/waiver", json=WAIVER).status_code == 200
            assert ran(one, "remove", "initech", "--yes", status=3)["state"] == "removing"
            assert initech.get(f"/calls/{ids[0]}").status_code == 200  # the daemon still serves it
            assert reload(one)["changed"] == ["customer.initech"]
            assert invited(one, SOURCES["initech"], "tcp") == 403
            assert "customer.not_configured" in one.events()
            told = ran(one, "remove", "initech", "--yes")
            receipt = json.loads(Path(told["receipt"]).read_text())
            assert (told["state"], receipt["calls"]) == ("removed", ids)
            assert one.run("audit", "verify", "--receipt", told["receipt"]).returncode == 0
            assert not (one.data / "customers/initech").exists() and not list((one.data / "keys").glob("initech.*"))
            assert reload(one) == {"ok": True, "changed": [], "needs_restart": []}

        placed = place(
            [Plan(to=one.uri("tls"), calls=2, seconds=30.0, source=SOURCES["acme"], insecure=True)], meanwhile
        )
        nothing_missing(it, placed)
        in_order(it)
        assert one.run("audit", "verify").returncode == 0
