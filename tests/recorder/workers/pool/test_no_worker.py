"""Calls that no worker has: begun or asked for while none lives, or handed to one that dies before it looks."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from media.records.record_format import Mark, Marked
from recorder.workers import messages, pool, worker_handle
from tests.in_process.worker_call import CALL, WorkerCall, recording, started


async def bereave(one: WorkerCall) -> None:
    """Have its only worker die."""
    one.kill()
    async with asyncio.timeout(30):
        while one.workers.well:
            await asyncio.sleep(0)


@pytest.mark.parametrize("resumed", [False, True], ids=["a new call", "a call of an earlier main"])
async def test_a_call_placed_while_no_worker_lives_goes_to_the_next(tmp_path: Path, resumed: bool) -> None:
    async with started(tmp_path) as one:
        await bereave(one)
        if resumed:
            one.resume()
            one.workers.pause(CALL)
            one.workers.resume_call(CALL)
        else:
            one.begin()
            one.send(20)
        await one.heard(messages.Resumed)
        one.send(5)
        await one.whole()


@pytest.mark.parametrize("times", [1, 7_000])
async def test_pauses_made_without_a_worker_reach_the_next_one(tmp_path: Path, times: int) -> None:
    """However many there were before."""
    async with recording(tmp_path, 10, tick=0.05) as one:
        for _ in range(times - 1):
            one.workers.pause(CALL)
            one.workers.resume_call(CALL)
        await bereave(one)
        one.workers.pause(CALL)
        one.send(6)
        one.workers.resume_call(CALL)
        one.send(8)
        figures = await one.workers.snapshot(CALL)
        assert figures.streams[0]["packets"] == 18
        final = await one.close()
        assert one.frames(one.read(final), 0) == [*range(10), *range(16, 24)]
        assert final.streams[0]["gap_ms"] == 0


async def test_a_call_closed_while_its_worker_is_dead_is_finished(tmp_path: Path) -> None:
    async with recording(tmp_path, 30) as one:
        one.kill()
        one.send(4)
        again = asyncio.create_task(one.close())
        final = await one.whole(at_once=True)
        assert await again == final
        assert CALL not in one.workers


@pytest.mark.parametrize("deaths", [1, 2])
async def test_lost_sockets_leave_a_marked_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: int) -> None:
    """They are remembered until a worker has noted it: the next one may die before it has said a word."""
    successors = list[worker_handle.Process]()

    def spawn(*given: Any) -> worker_handle.Process:
        successors.append(worker_handle.spawn(*given))
        if len(successors) < deaths:
            os.kill(successors[-1].pid, signal.SIGKILL)
        one.kept = len(successors) > 1
        return successors[-1]

    async with recording(tmp_path, kept=False) as one:
        for _ in range(10):
            one.send()
            await asyncio.sleep(0.02)
        await one.workers.snapshot(CALL)
        monkeypatch.setattr(pool, "spawn", spawn)
        one.kill()
        for sender in one.senders:
            for _ in range(15):
                sender.packet()
        await asyncio.sleep(0.3)
        await one.heard(messages.Resumed)
        assert len(one.seen(messages.WorkerDied)) == len(successors) == deaths
        for _ in range(10):
            one.send()
            await asyncio.sleep(0.02)
        final = await one.close()
        found = one.read(final)
        for stream, figures in final.streams.items():
            assert one.frames(found, stream) == [*range(10), *range(25, 35)]
            assert (figures["lost"], figures["packets"]) == (15, 20)
            assert {gap[2] for gap in figures["gaps"]} == {"restart"}
            assert figures["gap_ms"] >= 15 * 20
        restarts = [r.value for r in found if isinstance(r, Marked) and r.kind == Mark.RESTART]
        assert [value > 0 for value in restarts] == [True]
