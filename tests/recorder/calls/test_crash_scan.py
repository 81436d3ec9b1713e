"""A start finds what a crash left, with calls being taken meanwhile."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from recorder.calls import crash_scan
from recorder.calls.live_call import LiveCall
from recorder.persist.indexer import Indexer
from storage.calls.call_row import Query
from storage.errors import DiskFailed
from storage.journal.index_gap import LOOK_BACK_DAYS
from storage.timestamps import day_of
from tests.in_process.recorder_node import Stage
from tests.in_process.storage_node import record
from tests.recorder.calls.client import state_of


async def scan(one: Stage) -> None:
    """Look for what a crash left, as each start does."""
    await one.crash_scan().run()


async def repair(one: Stage, *left: LiveCall) -> None:
    """Leave calls as a killed process does, and have a start find and repair them."""
    for call in left:
        one.forget(call)
    await scan(one)
    await one.until(lambda: not len(one.repairs))


async def test_crashed_calls_are_repaired_and_live_ones_left_alone(one: Stage) -> None:
    left, lost, living, ended = (one.invite(name) for name in ("c1", "c2", "c3", "c4"))
    acme = one.customers["acme"]
    await repair(one, left, lost)
    assert await state_of(one, left.id) == "interrupted"
    await acme.calls.remove([lost.id])  # a power cut took its row
    await one.crash_scan(Indexer(one.node.monotonic, lambda *_: None)).run()  # a successor knows of none that waits
    await one.until(lambda: not len(one.repairs))
    assert await acme.calls.get(lost.id)
    assert {ref.call for ref in acme.vault.left_open()} == {living.id, ended.id}
    one.bye("c4")
    await one.until(lambda: one.live.by_id(ended.id) is None)
    assert one.indexer.pending("acme", ended.id)
    await scan(one)
    assert not len(one.repairs), "what is indexed, waits for that, or lives, is left alone"


async def test_a_lost_index_is_rebuilt_with_its_holds(one: Stage) -> None:
    held, free = one.invite("c1"), one.invite("c2")
    acme = one.customers["acme"]
    await repair(one, held, free)
    await acme.holds.put(held.id, "court", "paula")
    await acme.calls.remove([held.id, free.id])
    await repair(one)
    found = {row.id: row.hold for row in (await acme.calls.find(Query())).items}
    assert found == {held.id: True, free.id: False}


async def test_a_restored_index_gets_the_recordings_made_since(one: Stage) -> None:
    acme = one.customers["acme"]
    first = await record(acme, ended=acme.now() - timedelta(days=9))
    old, known = [await record(acme, ended=acme.now() - timedelta(days=days)) for days in (30, 31)]
    await acme.calls.remove([old.id])
    await scan(one)
    assert not len(one.repairs), "a month is not looked through at every start"
    acme.journal.note_replay(1, 3)
    await scan(one)
    assert len(one.repairs) == 1
    assert await acme.calls.get(first.id) and await acme.calls.get(known.id)


@pytest.mark.parametrize("days", [-7, 30])
async def test_a_clock_set_by_days_hides_no_earlier_recording(one: Stage, days: int) -> None:
    acme = one.customers["acme"]
    known, lost = await record(acme, ended=acme.now()), await record(acme, ended=acme.now())
    await acme.calls.remove([lost.id])
    now = acme.now() + timedelta(days=days)
    object.__setattr__(acme, "now", lambda: now)  # as the clock says when the recorder is started again
    await scan(one)
    assert len(one.repairs) == 1, "only the one that the index lacks"
    assert await acme.calls.get(known.id)


@pytest.mark.parametrize(
    ("what", "question", "problem"),
    [
        ("calls", "unfinished", DiskFailed("away")),
        ("calls", "unfinished", MemoryError()),
        ("vault", "since", DiskFailed("a bad sector")),
    ],
)
async def test_a_scan_that_fails_is_repeated_and_reported_once(
    one: Stage, monkeypatch: pytest.MonkeyPatch, what: str, question: str, problem: Exception
) -> None:
    asked = type(getattr(one.customers["acme"], what))
    answer, tries, told = getattr(asked, question), list[object](), list[str]()

    def away(*given: Any) -> Any:
        tries.append(given)
        if len(tries) < 3:
            raise problem
        return answer(*given)

    monkeypatch.setattr(asked, question, away)
    monkeypatch.setattr(one.node.log, "fault", lambda event, *more, **facts: told.append(event))
    monkeypatch.setattr(crash_scan, "AGAIN_SECONDS", 0.01)
    await scan(one)
    assert (len(tries), told) == (3, ["recovery.failed"])
    assert await one.repairs.whole("acme", 60.0)


async def test_a_lost_index_is_rebuilt_though_a_start_was_killed(one: Stage) -> None:
    acme = one.customers["acme"]
    old = [await record(acme, ended=acme.now() - timedelta(days=days)) for days in (40, 30)]
    await acme.calls.remove([row.id for row in old])
    await acme.open_database()
    await record(acme, ended=acme.now())  # a call that ended before the first of them was indexed
    await acme.open_database()  # the daemon was killed, and starts again
    await scan(one)
    assert len(one.repairs) == 2
    await one.until(lambda: acme.gap.first() is None)
    await scan(one)
    assert not len(one.repairs), "once it is whole again nobody looks through it"


async def test_a_search_by_party_waits_for_a_complete_index(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = one.customers["acme"]
    one.indexer.follow_repair(one.repairs.whole, one.repairs.lacks)
    old, daemon = one.invite("c1"), one.backend()
    one.forget(old)
    start = one.crash_scan()
    assert not await one.indexer.hurry_all("acme", 0.0), "nobody has looked yet what it lacks"
    assert daemon.lacking("acme"), "and a list of calls says so"
    with monkeypatch.context() as patch:
        patch.setattr("recorder.access.api_backend.SETTLE_SECONDS", 0.0)
        assert not await daemon.settle("acme", "one that it lacks")
    await start.run()
    assert await one.indexer.hurry_all("acme", 60.0)
    assert await acme.calls.get(old.id)
    assert not daemon.lacking("acme")


async def test_an_erasure_looks_back_as_far_as_unindexed_calls(one: Stage) -> None:
    acme, now = one.customers["acme"], [one.node.monotonic()]
    waiting = Indexer(lambda: now[0], lambda *_: None)  # its database is away
    start = one.crash_scan(waiting)
    assert acme.erasures.gap() == day_of(acme.now()) - 2 * LOOK_BACK_DAYS, "nobody has looked yet"
    await start.run()
    assert acme.erasures.gap() is None
    acme.gap.widen(day_of(acme.now()) - 1)
    never = (_ for _ in ()).throw
    waiting.put_later(acme, "a call", 1, acme.now(), lambda: never(AssertionError), live=False)
    now[0] += 4 * 86_400
    assert acme.erasures.gap() == day_of(acme.now()) - 5
    acme.gap.widen(0)
    assert acme.erasures.gap() == 0


async def test_a_call_whose_parts_cannot_be_listed_is_still_repaired(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recording whose row says that it lives is found by that."""

    def fails(*_: object) -> None:
        raise DiskFailed("away")

    left = one.invite("c1")
    await one.indexer.hurry("acme", left.id, 30)
    monkeypatch.setattr(crash_scan, "left_behind", fails)
    await repair(one, left)
    assert await state_of(one, left.id) == "interrupted"
