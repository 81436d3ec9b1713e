"""The commands answer what a data protection officer asks, with the exit status that scripts look at."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from storage.audit.hash_chain import Act
from storage.customer.customers import Customer
from storage.subject_requests.cases import Asked, Kind, Step
from tests.in_process.command_line import Answer, Place, Printed
from tests.in_process.storage_node import permit, record


@pytest.mark.parametrize("brake", [100, 5])
def test_a_dry_run_lists_exactly_the_due_calls(place: Place, answer: Answer, printed: Printed, brake: int) -> None:
    async def fill(acme: Customer) -> Any:
        now = datetime.now(UTC)
        return await record(acme, ended=now - timedelta(days=200)), await record(acme, ended=now)

    due, _ = place.do(fill)
    place.configure(more=f"[retention]\nbrake_percent = {brake}\n")  # a single call never asks
    assert [item["id"] for item in answer("retention", "--dry-run")["items"]] == [due.id]
    text, _ = printed("retention", "--dry-run")
    assert due.id in text and "1 of 2 calls would be erased" in text


def test_without_dry_run_it_says_that_the_daemon_sweeps(place: Place, printed: Printed) -> None:
    assert "--dry-run" in printed("retention", status=2)[1]
    assert place.run("retention", "--dry-run", "--customer", "nobody") == 2


def test_an_altered_or_cut_audit_log_is_found(place: Place, answer: Answer, printed: Printed) -> None:
    async def act(acme: Customer) -> None:
        for number in range(4):
            acme.audit.append(Act("ada", "admin", f"act.{number}")).result()

    assert answer("audit", "verify")["ok"]
    place.do(act)
    assert answer("audit", "verify")["ok"]
    log = place.data / "customers/acme/audit.jsonl"
    whole = log.read_bytes()
    for content, bad in (
        (whole.replace(b"act.2", b"act.9"), 3),
        (b"".join(whole.splitlines(keepends=True)[:2]), 3),
        (b"", 1),
    ):
        log.write_bytes(content)
        found = answer("audit", "verify", status=1)
        assert (found["ok"], found["customers"][0]["bad"]) == (False, bad)
    log.write_bytes(whole.replace(b"act.2", b"act.9"))
    assert "then entry 3 does not follow" in printed("audit", "verify", status=1)[0]


def test_a_witness_detects_a_rollback_of_log_and_keys(place: Place, answer: Answer) -> None:
    folder, outside = place.data / "customers/acme", place.folder / "outside"
    log, mark = folder / "audit.jsonl", place.keys / "acme.audit"
    verify = ("audit", "verify", "--witness", str(outside))

    async def act(acme: Customer) -> bytes:
        acme.audit.append(Act("ada", "admin", "act")).result()
        return bytes(acme.audit.checkpoint() or b"")

    first, before = place.do(act), (log.read_bytes(), mark.read_bytes())
    outside.write_bytes(b"Mar  1 12:00:00 rec1 recorder-audit: " + first + place.do(act))
    assert place.run(*verify) == 0
    log.write_bytes(before[0])
    mark.write_bytes(before[1])
    (folder / "audit.checkpoints").unlink()
    (place.keys / "acme.audit.count").unlink()
    assert place.run("audit", "verify") == 0, "nothing that is left here tells it"
    found = answer(*verify, status=1)
    assert (found["ok"], found["customers"][0]["bad"]) == (False, 2)
    outside.write_text("nothing\n")
    assert place.run(*verify) == 3


async def erased(acme: Customer) -> Any:
    """Erase a call and return the receipt."""
    row = await record(acme)
    await permit(acme)
    filed = await acme.erasures.file(calls=[row.id], reason="x", by="paula")
    await acme.erasures.work()
    done = await acme.erasures.get(filed.id)
    return done.receipt if done else None


async def refused(acme: Customer) -> Any:
    """Refuse a request and return its record."""
    asked = Asked(("Mira Okafor",), None)
    case = await acme.requests.file((Kind.ACCESS,), asked, received_at=acme.now(), by="paula")
    over = await acme.requests.close(case.id, Step.REFUSED, "unfounded", by="paula")
    return over.noted["record"]


@pytest.mark.parametrize(
    ("act", "genuine", "changes"),
    [
        (erased, "Genuine: 1 call of acme", ({"calls": []}, {"customer": "beta"}, {"cause": "x"})),
        (
            refused,
            "Genuine: request {request} of acme, refused",
            ({"ground": "other"}, {"customer": "beta"}, {"outcome": "done"}, {"signature": "00"}, {"more": 1}),
        ),
    ],
)
def test_a_receipt_or_record_is_proven_offline(
    place: Place, answer: Answer, printed: Printed, act: Any, genuine: str, changes: tuple[dict[str, Any], ...]
) -> None:
    made, path = place.do(act), place.folder / "receipt.json"
    verify = ("audit", "verify", "--receipt", str(path))
    path.write_text(json.dumps(made))
    assert genuine.format(**made) in printed(*verify)[0]
    for change in changes:
        path.write_text(json.dumps({**made, **change}))
        assert answer(*verify, status=1)["ok"] is False
    for text in ("no receipt", "[]"):
        path.write_text(text)
        assert place.run(*verify) == 1


def test_a_missing_receipt_or_a_wrong_root_secret_is_no_verdict(place: Place, printed: Printed) -> None:
    assert "There is no file" in printed("audit", "verify", "--receipt", str(place.folder / "none"), status=2)[1]
    assert place.run("audit", "verify", "--receipt", str(place.folder)) == 3
    (place.folder / "root.key").write_bytes(bytes(32))
    assert place.run("audit", "verify") == 3
