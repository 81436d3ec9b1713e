"""The commands answer what a data protection officer asks, with the exit status that scripts look at."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recorder.cli.main import run
from recorder.config.loader import load
from recorder.persist.customers import open_customer
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer, open_keys
from storage.keys.root_secret import RootSecret, load_root
from storage.subject_requests.cases import Asked, Kind, Step
from tests.in_process.storage_node import permit, record

CONFIG = """
[node]
data_dir = "{data}"
runtime_dir = "{run}"
[keys]
root = "file:{root}"
[media]
srtp = "off"
[sip]
listen = ["udp:127.0.0.1:5999"]
[retention]
brake_percent = {brake}
[[customer]]
name = "acme"
sources = ["192.0.2.0/24"]
retention_days = 180
"""


class Place:
    """A configuration with a customer in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "recorder.toml"
        for name in ("data", "run"):
            (folder / name).mkdir()
        root = folder / "root"
        root.write_bytes(bytes(range(32)))
        root.chmod(0o600)
        self.brake(100)
        open_keys(folder / "data", "acme", load_root(f"file:{root}"), create=True)

    def brake(self, percent: int) -> None:
        f = self.folder
        self.config.write_text(CONFIG.format(data=f / "data", run=f / "run", root=f / "root", brake=percent))

    def do(self, work: Any) -> Any:
        settings = load(self.config)

        async def opened() -> Any:
            acme: Customer = await open_customer(settings, settings.customers[0])
            try:
                return await work(acme)
            finally:
                await acme.close()

        return asyncio.run(opened())

    def run(self, *words: str) -> int:
        return run([*words, "--config", str(self.config)])


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_dry_run_lists_exactly_the_due_calls(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    async def fill(acme: Customer) -> Any:
        now = datetime.now(UTC)
        return await record(acme, ended=now - timedelta(days=200)), await record(acme, ended=now)

    due, _ = place.do(fill)
    assert place.run("retention", "--dry-run", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [item["id"] for item in found["items"]] == [due.id]
    assert place.run("retention", "--dry-run") == 0
    text = capsys.readouterr().out
    assert due.id in text and "1 of 2 calls would be erased" in text
    place.brake(5)
    assert place.run("retention", "--dry-run") == 0
    assert "1 of 2" in capsys.readouterr().out  # a single call never asks


def test_without_dry_run_it_says_who_sweeps(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.run("retention") == 2
    assert "--dry-run" in capsys.readouterr().err
    assert place.run("retention", "--dry-run", "--customer", "nobody") == 2


def test_a_changed_entry_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    async def act(acme: Customer) -> None:
        for number in range(4):
            acme.audit.append(Act("ada", "admin", f"act.{number}")).result()

    place.do(act)
    assert place.run("audit", "verify") == 0
    log = place.folder / "data/customers/acme/audit.jsonl"
    log.write_bytes(log.read_bytes().replace(b"act.2", b"act.9"))
    capsys.readouterr()
    assert place.run("audit", "verify", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["customers"][0]["bad"]) == (False, 3)
    assert place.run("audit", "verify") == 1
    assert "then entry 3 does not follow" in capsys.readouterr().out


def test_a_receipt_is_proven_offline(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    async def erase(acme: Customer) -> Any:
        row = await record(acme)
        await permit(acme)
        filed = await acme.erasures.file(calls=[row.id], reason="x", by="paula")
        await acme.erasures.work()
        done = await acme.erasures.get(filed.id)
        return done.receipt if done else None

    receipt = place.do(erase)
    path = place.folder / "receipt.json"
    path.write_text(json.dumps(receipt))
    assert place.run("audit", "verify", "--receipt", str(path)) == 0
    assert "Genuine: 1 call of acme" in capsys.readouterr().out
    for change in ({"calls": []}, {"customer": "beta"}):
        path.write_text(json.dumps({**receipt, **change}))
        assert place.run("audit", "verify", "--receipt", str(path), "--json") == 1
        assert json.loads(capsys.readouterr().out)["ok"] is False
    path.write_text("no receipt")
    assert place.run("audit", "verify", "--receipt", str(path)) == 1
    assert place.run("audit", "verify", "--receipt", str(place.folder / "none.json")) == 2
    assert "There is no file" in capsys.readouterr().err
    assert place.run("audit", "verify", "--receipt", str(place.folder)) == 3


def test_the_record_of_a_request_is_proven_offline(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    async def close(acme: Customer) -> Any:
        asked = Asked(("Mira Okafor",), None)
        case = await acme.requests.file((Kind.ACCESS,), asked, received_at=acme.now(), by="paula")
        over = await acme.requests.close(case.id, Step.REFUSED, "unfounded", by="paula")
        return over.noted["record"]

    path = place.folder / "record.json"
    path.write_text(json.dumps(made := place.do(close)))
    assert place.run("audit", "verify", "--receipt", str(path)) == 0
    assert f"Genuine: request {made['request']} of acme, refused" in capsys.readouterr().out
    path.write_text(json.dumps({**made, "ground": "other"}))
    assert place.run("audit", "verify", "--receipt", str(path)) == 1


def test_a_wrong_root_secret_is_no_verdict(place: Place) -> None:
    root = place.folder / "root"
    root.write_bytes(RootSecret(bytes(32)).secret)
    assert place.run("audit", "verify") == 3
