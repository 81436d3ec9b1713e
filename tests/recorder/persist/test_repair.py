"""What a crash left can be understood from the parts alone."""

from __future__ import annotations

import os
import uuid
from datetime import UTC, datetime
from typing import Any

import pytest

from recorder.persist import repair as recovery
from recorder.persist.repair import Found, left_behind, rebuild, recover, repair
from storage.errors import DiskFailed
from storage.vault import parts, vault
from tests.in_process.recorder_node import Stage


def crashed(one: Stage, name: str = "c1") -> tuple[str, int]:
    """A call whose daemon died with it."""
    call = one.invite(name)
    one.forget(call)
    return call.id, call.leaf


async def test_a_crashed_calls_document_says_interrupted(one: Stage) -> None:
    customer = one.node.customers["acme"]
    call, leaf = crashed(one)
    found = repair(customer, call, leaf)
    assert found.repaired == 2
    assert found.document
    assert (found.document["state"], found.document["end_reason"]) == ("interrupted", "crash")
    assert found.document["ended_at"]
    assert found.document["size_bytes"] > 0
    assert customer.vault.left_open() == []
    assert repair(customer, call, leaf) == Found(call, leaf, found.document, 0)


async def test_a_recording_that_was_never_accepted_is_removed(one: Stage) -> None:
    """The daemon was killed between making the files and writing down what they are for."""
    customer = one.node.customers["acme"]
    call, leaf = str(uuid.uuid4()), customer.keys.allocate(20_000)
    for part in ("c1", "m1"):
        os.close(customer.vault.create(call, leaf, part).fd)
    assert repair(customer, call, leaf).document is None
    assert not customer.vault.parts(call, leaf)
    assert list(customer.vault.walk()) == []


async def test_a_recording_with_anything_unreadable_is_never_removed(one: Stage) -> None:
    customer = one.node.customers["acme"]
    call, leaf = crashed(one)
    repair(customer, call, leaf)
    (control,) = (ref for ref in customer.vault.parts(call, leaf) if ref.part == "c1")
    damaged = bytearray(control.path.read_bytes())
    damaged[-20] ^= 1
    control.path.write_bytes(damaged)
    assert repair(customer, call, leaf).document is None
    assert len(customer.vault.parts(call, leaf)) == 2


async def test_living_calls_are_left_alone(one: Stage) -> None:
    call = one.invite()
    assert left_behind(one.node.customers["acme"], {call.id}) == []
    assert left_behind(one.node.customers["acme"], ()) == [(call.id, call.leaf)]


async def test_a_document_that_is_known_is_kept_with_the_recording(one: Stage) -> None:
    customer = one.node.customers["acme"]
    call, leaf = crashed(one)
    before = rebuild(customer, call, leaf)
    assert before
    known: Any = {**before, "state": "complete", "end_reason": "bye"}
    repair(customer, call, leaf, known)
    after = rebuild(customer, call, leaf)
    assert after
    assert (after["state"], after["end_reason"]) == ("complete", "bye")


def test_a_clock_set_back_mid_call_does_not_shorten_retention() -> None:
    class Heard:
        """What the parts say."""

        def last_ns(self) -> int:
            return int(datetime(2026, 2, 22, 12, tzinfo=UTC).timestamp()) * 10**9

    live = {"started_at": "2026-03-01T12:00:00.000Z", "duration_ms": 90_000, "streams": [], "parties": []}
    recovery._end(live, Heard())  # type: ignore[arg-type]  # as much of a summary as is asked for
    assert (live["ended_at"], live["kept_from"]) == ("2026-02-22T12:00:00.000Z", "2026-03-01T12:01:30.000Z")


def test_a_call_of_a_slow_clock_is_kept_from_its_last_packet() -> None:
    class Heard:
        """What the parts say."""

        def last_ns(self) -> int:
            return int(datetime(2026, 2, 22, 14, tzinfo=UTC).timestamp()) * 10**9

    live = {"started_at": "2026-02-22T12:00:00.000Z", "duration_ms": 90_000, "streams": [], "parties": []}
    live["kept_from"] = "2026-03-01T12:01:30.000Z"
    recovery._end(live, Heard())  # type: ignore[arg-type]  # as much of a summary as is asked for
    assert (live["ended_at"], live["duration_ms"]) == ("2026-02-22T14:00:00.000Z", 7_200_000)
    assert live["kept_from"] == "2026-03-01T14:00:00.000Z", "the document was written after 90 s"


def test_figures_only_the_worker_knew_stay_as_last_known() -> None:
    stream: Any = {
        "packets": 5,
        "lost": 1,
        "gap_ms": 900,
        "gaps": [["a", "b", "loss"]],
        "pauses": [["p", None]],
        "jitter_ms": 2.5,
    }
    recovery._end_stream(stream, {"packets": 7, "lost": 1, "gap_ms": 20}, "end")
    assert stream == {**stream, "packets": 7, "gap_ms": 900, "jitter_ms": 2.5, "pauses": [["p", "end"]]}
    assert stream["gaps"] == [["a", "b", "loss"]]


async def test_a_part_that_is_damaged_costs_only_what_it_holds(one: Stage) -> None:
    customer = one.node.customers["acme"]
    call, leaf = crashed(one)
    media = customer.vault.find(call, leaf, "m1")
    assert media
    media.path.write_bytes(os.urandom(5000))
    assert rebuild(customer, call, leaf) is not None


async def test_by_hand_even_what_only_the_index_lacks_is_found(one: Stage) -> None:
    customer = one.node.customers["acme"]
    crashed(one, "c1")
    call = one.invite("c2")
    one.bye("c2")
    await one.until(lambda: not len(one.live))
    await one.node.indexer.drain(30)
    await customer.calls.remove([call.id])
    told: list[Found] = []
    customer.gap.widen(0)
    assert await recover(customer, (), told.append) == 2
    assert customer.gap.first() is None
    assert {found.call for found in told} == {found.call for found in told if found.document}
    row = await customer.calls.get(call.id)
    assert row
    assert row.state.value == "complete"
    assert await recover(customer, (), told.append) == 0


async def test_a_recovered_call_follows_the_retention_rules(one: Stage) -> None:
    customer = one.node.customers["acme"]
    await customer.rules.put([], by="test", default_days=None)
    call, _ = crashed(one)
    await recover(customer, (), lambda found: None)
    row = await customer.calls.get(call)
    assert row and row.erase_after is None


async def test_a_failing_disk_makes_no_recording_look_empty(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody would look at it again, and its party would be told that all of theirs is erased."""
    customer = one.node.customers["acme"]
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
