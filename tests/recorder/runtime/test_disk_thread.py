"""The loop asks the disk and waits a moment for it; a disk that stands still holds up nobody and loses nothing."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from recorder.runtime import disk_thread as module
from recorder.runtime.disk_thread import Disk, DiskAway

LONG = 30.0


class Stall:
    """Works that do not end before they may."""

    def __init__(self) -> None:
        self.begun, self.go, self.done = threading.Event(), threading.Event(), list[object]()

    def work(self, result: object = None) -> Callable[[], object]:
        def wait() -> object:
            self.begun.set()
            self.go.wait(LONG)
            self.done.append(result)
            return result

        return wait

    def failing(self) -> None:
        self.work()()
        broken()


@contextmanager
def disk(give_up_seconds: float = 0.02) -> Iterator[tuple[Disk, list[Exception]]]:
    faults: list[Exception] = []
    one = Disk(faults.append, give_up_seconds)
    try:
        yield one, faults
    finally:
        one.close()


def until_back(one: Disk) -> None:
    """Wait until all that was begun has ended."""
    ended = threading.Event()
    one.begin(lambda: None, lambda _: ended.set())
    assert ended.wait(LONG) or not one.away


def broken() -> None:
    raise OSError(5, "broken")


def test_work_on_a_healthy_disk_is_done_on_return() -> None:
    began = time.monotonic()
    with disk(LONG) as (one, faults):
        assert [one.within(lambda n=n: n * n) for n in range(3)] == [0, 1, 4]  # type: ignore[misc]  # a default of a lambda
        with pytest.raises(OSError, match="broken"):
            one.within(broken)
        assert not one.away
    assert time.monotonic() - began < LONG
    assert faults == []


def test_a_stalled_disk_is_given_up_and_asked_no_more() -> None:
    with disk() as (one, _):
        stall, taken = Stall(), list[object]()
        with pytest.raises(DiskAway):
            one.within(stall.work("first"), lambda result: taken.extend((result, one.away)))
        assert one.away
        with pytest.raises(DiskAway):
            one.within(stall.work("never"))
        stall.go.set()
        until_back(one)
        assert (stall.done, taken) == (["first"], ["first", True])  # away until it was seen to
        assert one.within(lambda: 7) == 7


async def test_works_are_done_in_order_and_each_result_is_returned() -> None:
    with disk() as (one, faults):
        stall = Stall()
        works = [asyncio.create_task(one.without_limit(do)) for do in (stall.work(1), stall.failing, stall.work(2))]
        await asyncio.to_thread(stall.begun.wait, LONG)
        await asyncio.sleep(0)
        assert one.away
        stall.go.set()
        first, failed, second = await asyncio.gather(*works, return_exceptions=True)
        assert (first, type(failed), second) == (1, OSError, 2)
        assert (stall.done, faults) == ([1, None, 2], [])


def test_a_failure_nobody_waits_for_is_reported() -> None:
    with disk() as (one, faults):
        stall = Stall()
        for work in (stall.failing, lambda: None):
            with pytest.raises(DiskAway):
                one.within(work)
        stall.go.set()
        until_back(one)
        assert [type(fault) for fault in faults] == [OSError]
        assert one.within(lambda: 1) == 1


@pytest.mark.parametrize("state", ["R", "S"])
def test_only_a_thread_that_cannot_run_is_waited_for(monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """A busy machine is no disk that stands still (proc(5))."""
    monkeypatch.setattr(module, "STARVED_SECONDS", LONG)
    monkeypatch.setattr(Path, "read_text", lambda *_: f"7 (a thread) S) {state} 1 2")
    with disk(0.01) as (one, _):
        stall = Stall()
        if state == "R":
            threading.Timer(0.05, stall.go.set).start()
        assert one.begin(stall.work()).over == (state == "R") != one.away
        stall.go.set()


def test_shutdown_does_not_wait_long_for_a_stalled_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "END_SECONDS", 0.01)
    stall = Stall()
    with disk() as (one, _):
        one.begin(stall.work())
    assert stall.done == []
    stall.go.set()


async def test_simultaneous_disk_work_shares_one_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TRIP_SECONDS", LONG)
    with disk() as (one, faults):
        trips, begin = list[int](), one.begin

        def counted(do: Callable[[], Any], late: Any = None) -> Any:
            trips.append(1)
            return begin(do, late)

        one.begin = counted  # type: ignore[method-assign]  # counts
        done = list[int]()
        works = [one.together(partial(done.append, n)) for n in range(3)]
        works.insert(1, one.together(broken))
        works.append(one.together(partial(done.append, 3)))
        works[0].cancel()  # its call was given up
        ended = await asyncio.gather(*works, return_exceptions=True)
        assert [type(x) for x in ended] == [asyncio.CancelledError, OSError, *[type(None)] * 3]
        assert (done, len(trips), faults) == ([0, 1, 2, 3], 1, [])
        await one.together(partial(done.append, 4))
        assert (done[-1], len(trips)) == (4, 2)


async def test_batched_work_waits_for_a_stalled_disk_without_the_loop() -> None:
    with disk() as (one, faults):
        stall = Stall()
        waiting = [one.together(stall.work("a")), one.together(stall.work("b"))]  # type: ignore[arg-type]  # the result is not looked at
        await asyncio.to_thread(stall.begun.wait, LONG)
        async with asyncio.timeout(LONG):
            while not one.away:
                await asyncio.sleep(0.001)
        assert not any(work.done() for work in waiting)
        stall.go.set()
        await asyncio.gather(*waiting)
        assert (stall.done, faults) == (["a", "b"], [])


async def test_many_works_of_one_moment_are_no_disk_that_stands_still() -> None:
    """As many calls end when an SBC restarts: nobody else is refused meanwhile, and the loop has its turns."""
    with disk(module.GIVE_UP_SECONDS) as (one, faults):
        done, seen, turns = list[int](), set[bool](), list[int]()

        def slow(number: int) -> None:
            time.sleep(module.GIVE_UP_SECONDS / 20)  # a disk that is busy, and works
            done.append(number)

        works = [one.together(partial(slow, number)) for number in range(60)]
        while not works[-1].done():
            await asyncio.sleep(0.001)
            seen.add(one.away)
            turns.append(len(done))
        await asyncio.gather(*works)
        assert (done, seen, faults) == (list(range(60)), {False}, [])
        assert len(set(turns)) > 3  # in steps, not in one go
