"""What a crash left can be understood from the parts alone."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from media.records.summary import Summary
from recorder.persist.repair import Found, content, left_behind, recover, repair
from storage.errors import DiskFailed
from storage.vault import parts, vault
from tests.in_process.recorder_node import Stage


def crashed(one: Stage, name: str = "c1") -> tuple[str, int]:
    """A call whose daemon died with it."""
    call = one.invite(name)
    one.forget(call)
    return call.id, call.leaf


async def test_a_crashed_calls_document_says_interrupted(one: Stage) -> None:
    customer = one.customers["acme"]
    call, leaf = crashed(one)
    assert left_behind(customer, {call}) == [] and left_behind(customer, ()) == [(call, leaf)]
    found = repair(customer, call, leaf)
    assert found.repaired == 2 and found.document
    assert (found.document["state"], found.document["end_reason"]) == ("interrupted", "crash")
    assert found.document["ended_at"] and found.document["size_bytes"] > 0
    assert customer.vault.left_open() == []
    assert repair(customer, call, leaf) == Found(call, leaf, found.document, 0)


async def test_a_recording_that_was_never_accepted_is_removed(one: Stage) -> None:
    """The daemon was killed between making the files and writing down what they are for."""
    customer = one.customers["acme"]
    call, leaf = str(uuid.uuid4()), customer.keys.allocate(20_000)
    for part in ("c1", "m1"):
        os.close(customer.vault.create(call, leaf, part).fd)
    assert repair(customer, call, leaf).document is None
    assert not customer.vault.parts(call, leaf)
    assert list(customer.vault.walk()) == []


async def test_a_recording_with_anything_unreadable_is_never_removed(one: Stage) -> None:
    customer = one.customers["acme"]
    call, leaf = crashed(one)
    repair(customer, call, leaf)
    control, media = (customer.vault.find(call, leaf, part) for part in ("c1", "m1"))
    assert control and media
    media.path.write_bytes(os.urandom(5000))
    assert content(customer, call, leaf).document is not None, "damage costs only what the part holds"
    damaged = bytearray(control.path.read_bytes())
    damaged[-20] ^= 1
    control.path.write_bytes(damaged)
    assert repair(customer, call, leaf).document is None
    assert len(customer.vault.parts(call, leaf)) == 2


async def test_a_document_that_is_known_is_kept_with_the_recording(one: Stage) -> None:
    customer = one.customers["acme"]
    call, leaf = crashed(one)
    before = content(customer, call, leaf).document
    assert before
    known: Any = {**before, "state": "complete", "end_reason": "bye"}
    repair(customer, call, leaf, known)
    after = content(customer, call, leaf).document
    assert after
    assert (after["state"], after["end_reason"]) == ("complete", "bye")


@pytest.mark.parametrize(
    ("started", "kept_from", "last", "wanted"),
    [
        pytest.param(
            "2026-03-01T12:00:00.000Z",
            None,
            datetime(2026, 2, 22, 12, tzinfo=UTC),
            ("2026-02-22T12:00:00.000Z", 90_000, "2026-03-01T12:01:30.000Z"),
            id="the clock was set back during the call",
        ),
        pytest.param(
            "2026-02-22T12:00:00.000Z",
            "2026-03-01T12:01:30.000Z",
            datetime(2026, 2, 22, 14, tzinfo=UTC),
            ("2026-02-22T14:00:00.000Z", 7_200_000, "2026-03-01T14:00:00.000Z"),
            id="the clock was slow, and the document written after 90 s",
        ),
    ],
)
async def test_an_interrupted_call_ends_with_its_last_packet(
    one: Stage,
    monkeypatch: pytest.MonkeyPatch,
    started: str,
    kept_from: str | None,
    last: datetime,
    wanted: tuple[str, int, str],
) -> None:
    customer = one.customers["acme"]
    call, leaf = crashed(one)
    live: Any = {**(content(customer, call, leaf).document or {}), "state": "recording"}
    live |= {"started_at": started, "duration_ms": 90_000, "kept_from": kept_from}
    known = {"packets": 5, "lost": 1, "gap_ms": 900, "gaps": [["a", "b", "loss"]], "pauses": [["p", None]]}
    live["streams"] = [{**live["streams"][0], **known, "jitter_ms": 2.5}]
    repair(customer, call, leaf, live)
    monkeypatch.setattr(Summary, "last_ns", lambda _: int(last.timestamp()) * 10**9)
    monkeypatch.setattr(Summary, "figures", lambda *_: {"packets": 7, "lost": 1, "gap_ms": 20})
    ended: Any = content(customer, call, leaf).document
    assert (ended["state"], ended["end_reason"]) == ("interrupted", "crash")
    assert (ended["ended_at"], ended["duration_ms"], ended["kept_from"]) == wanted
    found = {**live["streams"][0], "packets": 7, "pauses": [["p", wanted[0]]]}  # only the worker knew the others
    assert ended["streams"] == [found]


async def test_by_hand_even_what_only_the_index_lacks_is_found(one: Stage) -> None:
    customer = one.customers["acme"]
    await customer.rules.put([], by="test", default_days=None)
    interrupted, _ = crashed(one, "c1")
    call = one.invite("c2")
    one.bye("c2")
    await one.until(lambda: not len(one.live))
    await one.indexer.drain(30)
    await customer.calls.remove([call.id])
    told = list[Found]()
    customer.gap.widen(0)
    assert await recover(customer, (), told.append) == 2
    assert customer.gap.first() is None
    assert [found for found in told if not found.document] == []
    row, other = await customer.calls.get(call.id), await customer.calls.get(interrupted)
    assert row and other
    assert (row.state.value, other.state.value, other.erase_after) == ("complete", "interrupted", None)
    assert await recover(customer, (), told.append) == 0


async def test_a_failing_disk_makes_no_recording_look_empty(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would look at it again, and its party would be told that all of theirs is erased."""
    customer = one.customers["acme"]
    (call, leaf), (other, _) = crashed(one, "c1"), crashed(one, "c2")
    repair(customer, call, leaf)
    customer.gap.widen(0)
    read_at, bad = parts.read_at, customer.vault.find(call, leaf, "c1")
    assert bad

    def ill(fd: int, offset: int, length: int) -> bytes:
        if os.path.samestat(os.fstat(fd), bad.path.stat()):
            raise DiskFailed("a bad sector")
        return read_at(fd, offset, length)

    for module in (parts, vault):
        monkeypatch.setattr(module, "read_at", ill)
    with pytest.raises(DiskFailed):
        repair(customer, call, leaf)
    with pytest.raises(DiskFailed):
        await recover(customer, (), lambda found: None)
    assert await customer.calls.get(other) and customer.gap.first() == 0
    monkeypatch.undo()
    assert await recover(customer, (), lambda found: None) == 1
    assert await customer.calls.get(call) and customer.gap.first() is None
