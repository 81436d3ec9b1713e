"""A start finds what a crash left, with calls being taken meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from recorder.access.api_backend import Daemon
from recorder.calls import crash_scan
from recorder.calls.crash_scan import CrashScan
from recorder.calls.repair_queue import RepairQueue
from recorder.persist.indexer import Indexer
from storage.calls.call_row import DAY_SHIFT, Query
from storage.errors import DiskFailed
from storage.journal.index_gap import LOOK_BACK_DAYS
from storage.timestamps import day_of
from storage.vault.parts import PartRef
from storage.vault.vault import Vault
from tests.in_process.recorder_node import stage
from tests.in_process.storage_node import record


def test_left_calls_are_mended_and_living_ones_are_not_touched(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            left, living = one.invite("c1"), one.invite("c2")
            one.forget(left)
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            row = await one.node.customers["acme"].calls.get(left.id)
            assert row
            assert row.state.value == "interrupted"
            assert {ref.call for ref in left.customer.vault.left_open()} == {living.id}

    asyncio.run(story())


def test_a_lost_index_is_built_anew_with_its_holds(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            held, free = one.invite("c1"), one.invite("c2")
            acme = one.node.customers["acme"]
            for call in (held, free):
                one.forget(call)
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            await acme.holds.put(held.id, "court", "paula")
            await acme.calls.remove([held.id, free.id])
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            found = {row.id: row.hold for row in (await acme.calls.find(Query())).items}
            assert found == {held.id: True, free.id: False}

    asyncio.run(story())


def test_a_restored_index_gets_the_recordings_made_since(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme = one.node.customers["acme"]
            first = await record(acme, ended=acme.now() - timedelta(days=9))
            old, known = [await record(acme, ended=acme.now() - timedelta(days=days)) for days in (30, 31)]
            await acme.calls.remove([old.id])
            await CrashScan(one.node, one.live, one.repairs).run()
            assert not len(one.repairs), "a month is not looked through at every start"
            acme.journal.note_replay(1, 3)
            await CrashScan(one.node, one.live, one.repairs).run()
            assert len(one.repairs) == 1
            assert await acme.calls.get(first.id) and await acme.calls.get(known.id)

    asyncio.run(story())


@pytest.mark.parametrize("days", [-7, 30])
def test_a_clock_set_by_days_hides_no_earlier_recording(tmp_path: Path, days: int) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme = one.node.customers["acme"]
            known, lost = await record(acme, ended=acme.now()), await record(acme, ended=acme.now())
            await acme.calls.remove([lost.id])
            now = acme.now() + timedelta(days=days)
            object.__setattr__(acme, "now", lambda: now)  # as the clock says when the recorder is started again
            await CrashScan(one.node, one.live, one.repairs).run()
            assert len(one.repairs) == 1, "only the one that the index lacks"
            assert await acme.calls.get(known.id)

    asyncio.run(story())


def test_a_recording_whose_row_a_power_cut_took_is_indexed(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            first, second, living = one.invite("c1"), one.invite("c2"), one.invite("c3")
            acme = one.node.customers["acme"]
            for call in (first, second):
                one.forget(call)
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            await acme.calls.remove([second.id])
            one.node.indexer = Indexer(one.node.monotonic, lambda *_: None)  # a successor knows of none that waits
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            assert await acme.calls.get(second.id)
            assert {ref.call for ref in acme.vault.left_open()} == {living.id}
            await CrashScan(one.node, one.live, one.repairs).run()
            assert not len(one.repairs), "what is indexed, and what lives, is left alone"

    asyncio.run(story())


def test_a_call_that_waits_for_its_row_is_nothing_to_be_mended(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            known, ended = one.invite("c1"), one.invite("c2")
            one.forget(known)
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            one.bye("c2")
            await one.until(lambda: one.live.by_id(ended.id) is None)
            assert one.node.indexer.pending("acme", ended.id)
            await CrashScan(one.node, one.live, one.repairs).run()
            assert not len(one.repairs)

    asyncio.run(story())


@pytest.mark.parametrize("problem", [DiskFailed("away"), MemoryError()])
def test_the_crash_scan_retries_an_unavailable_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            calls = type(one.node.customers["acme"].calls)
            unfinished, tries = calls.unfinished, []

            async def away(self: object) -> tuple[tuple[str, int], ...]:
                tries.append(1)
                if len(tries) < 3:
                    raise problem
                return await unfinished(one.node.customers["acme"].calls)

            monkeypatch.setattr(calls, "unfinished", away)
            monkeypatch.setattr(crash_scan, "AGAIN_SECONDS", 0.01)
            await CrashScan(one.node, one.live, one.repairs).run()
            assert len(tries) == 3
            assert await one.repairs.whole("acme", 60.0)

    asyncio.run(story())


def test_a_lost_index_is_rebuilt_though_a_start_was_killed(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme = one.node.customers["acme"]
            old = [await record(acme, ended=acme.now() - timedelta(days=days)) for days in (40, 30)]
            await acme.calls.remove([row.id for row in old])
            await acme.open_database()
            await record(acme, ended=acme.now())  # a call that ended before the first of them was indexed
            await acme.open_database()  # the daemon was killed, and starts again
            await CrashScan(one.node, one.live, one.repairs).run()
            assert len(one.repairs) == 2
            await one.until(lambda: acme.gap.first() is None)
            await CrashScan(one.node, one.live, one.repairs).run()
            assert not len(one.repairs), "once it is whole again nobody looks through it"

    asyncio.run(story())


def test_a_search_by_party_waits_for_a_complete_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme = one.node.customers["acme"]
            one.node.indexer.follow_repair(one.repairs.whole, one.repairs.lacks)
            old, daemon = one.invite("c1"), Daemon(one.node, one.live, one.executor)
            one.forget(old)
            start = CrashScan(one.node, one.live, one.repairs)
            assert not await one.node.indexer.hurry_all("acme", 0.0), "nobody has looked yet what it lacks"
            assert daemon.lacking("acme"), "and a list of calls says so"
            with monkeypatch.context() as patch:
                patch.setattr("recorder.access.api_backend.SETTLE_SECONDS", 0.0)
                assert not await daemon.settle("acme", "one that it lacks")
            await start.run()
            assert await one.node.indexer.hurry_all("acme", 60.0)
            assert await acme.calls.get(old.id)
            assert not daemon.lacking("acme")

    asyncio.run(story())


def test_an_erasure_looks_back_as_far_as_unindexed_calls(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            acme, now = one.node.customers["acme"], [one.node.monotonic()]
            before = one.node.indexer
            one.node.indexer = Indexer(lambda: now[0], lambda *_: None)  # its database is away
            start = CrashScan(one.node, one.live, one.repairs)
            assert acme.erasures.gap() == day_of(acme.now()) - 2 * LOOK_BACK_DAYS, "nobody has looked yet"
            await start.run()
            assert acme.erasures.gap() is None
            acme.gap.widen(day_of(acme.now()) - 1)
            never = (_ for _ in ()).throw
            one.node.indexer.put_later(acme, "a call", 1, acme.now(), lambda: never(AssertionError), live=False)
            now[0] += 4 * 86_400
            assert acme.erasures.gap() == day_of(acme.now()) - 5
            acme.gap.widen(0)
            assert acme.erasures.gap() == 0
            one.node.indexer = before  # the end waits for nothing

    asyncio.run(story())


@pytest.mark.parametrize("problem", [DiskFailed("away"), MemoryError(), RuntimeError("a bug")])
def test_parts_that_cannot_be_looked_for_end_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    """A recording whose row says that it lives is found by that."""

    def fails(*_: object) -> None:
        raise problem

    async def story() -> None:
        async with stage(tmp_path) as one:
            left = one.invite("c1")
            await one.node.indexer.hurry("acme", left.id, 30)
            one.forget(left)
            monkeypatch.setattr(crash_scan, "left_behind", fails)
            await CrashScan(one.node, one.live, one.repairs).run()
            await one.until(lambda: not len(one.repairs))
            row = await one.node.customers["acme"].calls.get(left.id)
            assert row and row.state.value == "interrupted"

    asyncio.run(story())


def test_an_unrepairable_recording_is_found_at_every_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ill(*_: object) -> None:
        raise DiskFailed("a bad sector")

    def later(now: datetime) -> datetime:
        return now

    async def story() -> None:
        async with stage(tmp_path) as one:
            acme = one.node.customers["acme"]
            lost = await record(acme, ended=acme.now() - timedelta(days=2))
            await acme.calls.remove([lost.id])
            monkeypatch.setattr("recorder.calls.repair_queue.repair", ill)
            await record(acme, ended=acme.now())
            for days in (0, 30):
                now = acme.now() + timedelta(days=days)
                object.__setattr__(acme, "now", partial(later, now))
                await record(acme, ended=now)
                one.repairs = RepairQueue(one.node, one.checkpoints.remove)
                await acme.open_database()
                await CrashScan(one.node, one.live, one.repairs).run()
                assert not await one.repairs.round() and not await one.repairs.whole("acme", 0.0)
                assert acme.erasures.gap() == lost.leaf >> DAY_SHIFT, "by its id it is found meanwhile"

    asyncio.run(story())


def test_an_unlistable_vault_is_reported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            tries: list[int] = []
            told: list[tuple[object, ...]] = []
            since = Vault.since

            def ill(self: Vault, day: int) -> Iterator[PartRef]:
                tries.append(day)
                if len(tries) < 3:
                    raise DiskFailed("a bad sector")
                return since(self, day)

            monkeypatch.setattr(Vault, "since", ill)
            monkeypatch.setattr(type(one.node.log), "fault", lambda self, *args, **facts: told.append(args))
            monkeypatch.setattr(crash_scan, "AGAIN_SECONDS", 0.01)
            await CrashScan(one.node, one.live, one.repairs).run()
            assert len(tries) == 3
            assert [what for what, *_ in told] == ["recovery.failed"]

    asyncio.run(story())
