"""Logs and receipts are proven with the keys alone."""

from __future__ import annotations

import json
from pathlib import Path

from recorder.config.loader import load
from recorder.maintenance.proof_check import prove, prove_receipt, witnessed
from storage.audit.hash_chain import Act
from storage.customer.customers import Customer, audit_key, open_keys
from storage.erasure import receipts
from storage.keys.root_secret import load_root
from storage.subject_requests import closing_record
from storage.subject_requests.case_rows import Case, Kind, State, due
from tests.in_process.storage_node import NOON
from tests.recorder.cli.test_privacy import Place


def test_a_log_that_lost_its_tail_is_found(tmp_path: Path) -> None:
    place = Place(tmp_path)

    async def act(acme: Customer) -> None:
        for number in range(3):
            acme.audit.append(Act("ada", "admin", f"act.{number}")).result()

    settings = load(place.config)
    assert prove(settings, settings.customers[0])["ok"]
    place.do(act)
    log = tmp_path / "data/customers/acme/audit.jsonl"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    assert (found := prove(settings, settings.customers[0]))["ok"] is False and found["bad"] == 3
    log.unlink()
    assert prove(settings, settings.customers[0])["bad"] == 1


def test_a_witness_detects_a_rollback_of_log_and_keys(tmp_path: Path) -> None:
    place = Place(tmp_path)
    log, mark = tmp_path / "data/customers/acme/audit.jsonl", tmp_path / "data/keys/acme.audit"
    outside, told = tmp_path / "outside", []

    async def act(acme: Customer) -> None:
        acme.audit.append(Act("ada", "admin", "act")).result()
        checkpoint = acme.audit.checkpoint()
        assert checkpoint
        told.append(bytes(checkpoint))

    place.do(act)
    before = log.read_bytes(), mark.read_bytes()
    place.do(act)
    outside.write_bytes(b"Mar  1 12:00:00 rec1 recorder-audit: " + told[0] + told[1])
    assert place.run("audit", "verify", "--witness", str(outside)) == 0
    log.write_bytes(before[0])
    mark.write_bytes(before[1])
    (tmp_path / "data/customers/acme/audit.checkpoints").unlink()
    (tmp_path / "data/keys/acme.audit.count").unlink()
    assert place.run("audit", "verify") == 0, "nothing that is left here tells it"
    settings = load(place.config)
    found = prove(settings, settings.customers[0], witnessed(outside.read_bytes()))
    assert found["ok"] is False and found["bad"] == 2
    assert place.run("audit", "verify", "--witness", str(outside)) == 1
    outside.write_text("nothing\n")
    assert place.run("audit", "verify", "--witness", str(outside)) == 3


def test_a_receipt_is_checked_with_its_customers_key(tmp_path: Path) -> None:
    place = Place(tmp_path)
    settings = load(place.config)
    key = audit_key(open_keys(tmp_path / "data", "acme", load_root(settings.keys.root)))
    facts = receipts.Facts("acme", "e", "request", None, ["c"], "paula", NOON, None, None, NOON)
    made = receipts.sign(key, facts)
    found = prove_receipt(json.dumps(made).encode(), settings, settings.customers)
    assert (found["ok"], found["calls"], found["erasure"]) == (True, 1, "e")
    for data in (json.dumps({**made, "customer": "beta"}), json.dumps({**made, "cause": "x"}), "[]"):
        assert prove_receipt(data.encode(), settings, settings.customers)["ok"] is False


def test_a_requests_record_verifies_alone_and_in_its_answer(tmp_path: Path) -> None:
    place = Place(tmp_path)
    settings = load(place.config)
    key = audit_key(open_keys(tmp_path / "data", "acme", load_root(settings.keys.root)))
    over = Case(
        "r", State.DONE, (Kind.ACCESS,), NOON, due(NOON), NOON, "paula", NOON, None, closed_at=NOON, closed_by="p"
    )
    made = closing_record.sign(key, "acme", over)
    for data in (made, {"id": "r", "state": "done", "record": made}):
        found = prove_receipt(json.dumps(data).encode(), settings, settings.customers)
        assert (found["ok"], found["request"], found["outcome"], found["reports"]) == (True, "r", "done", 0)
    for change in ({"customer": "beta"}, {"outcome": "refused"}, {"signature": "00"}, {"more": 1}):
        assert prove_receipt(json.dumps({**made, **change}).encode(), settings, settings.customers)["ok"] is False
