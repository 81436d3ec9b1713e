"""Main's side of the workers: their death, their hanging, a new main, and calls that end."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from recorder.session.streams import MAX_STREAMS
from recorder.workers import messages
from recorder.workers.messages import NewCall, Part
from recorder.workers.pool import Workers
from recorder.workers.worker_handle import HANG, Process, activity
from tests.in_process.waiting import until
from tests.in_process.worker_call import CALL, Sender, open_pair, recording, started, worker_pid


async def test_the_least_loaded_worker_gets_a_call(tmp_path: Path, started_workers: list[Process]) -> None:
    workers = Workers(2, tmp_path)
    await workers.start()
    nothing = os.open("/dev/null", os.O_RDWR)
    for call in ("a", "b", "c", "d"):
        workers.add(NewCall(call, Part("m1", bytes(32)), (), bytes(32)), {}, nothing, nothing)
    os.close(nothing)
    assert [len(process.calls) for process in started_workers] == [2, 2]
    await workers.stop()
    assert [activity(process.pid)[0] for process in started_workers] == ["X", "X"]


async def test_a_call_with_the_most_streams_can_be_taken_over(tmp_path: Path) -> None:
    """A re-offer may have just taken half of them out: what comes to their sockets is kept for a moment more."""
    async with recording(tmp_path, 2, streams=MAX_STREAMS) as one:
        one.kill()
        one.send(2)
        await one.heard(messages.Resumed)
        await one.whole()


@pytest.mark.parametrize("how", ["its worker is killed", "it ends", "it is paused"])
async def test_a_call_that_no_worker_has_heard_of_yet_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("recorder.workers.worker_handle.GATHER", 0.5)
    async with started(tmp_path) as one:
        one.workers.add(one.new()[0], one.pairs, one.spool, one.spool)  # goes at once, so that the next one waits
        one.workers.drop(CALL)
        one.begin()
        one.send(5)
        if how == "its worker is killed":
            one.kill()
            one.send(5)
            await one.heard(messages.Resumed)
        elif how == "it is paused":
            one.workers.pause(CALL)
            one.send(1)
            for sender in one.senders:
                sender.sent -= 1  # nothing of what comes from now on is stored
        await one.complete()


async def test_a_worker_waiting_for_disk_or_cpu_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started_workers: list[Process]
) -> None:
    workers = Workers(1, tmp_path)
    await workers.start()
    (process,) = started_workers
    for state, used, spared in (
        ("D", 0.0, True), ("R", process.used + 0.2, True), ("R", process.used + 3.0, False), ("S", 0.0, False),
    ):  # fmt: skip
        killed: list[int] = []
        process.last_beat, process.hung, process.waiting = time.monotonic() - HANG - 1, False, False
        with monkeypatch.context() as patch:
            patch.setattr("recorder.workers.worker_handle.activity", lambda *_, found=(state, used): found)
            patch.setattr("recorder.workers.worker_handle.os.kill", lambda pid, _, killed=killed: killed.append(pid))
            process.check()
        assert (not killed, process.waiting, workers.well) == (spared, spared, spared)
    process.last_beat = time.monotonic()
    await workers.stop()


async def test_packets_in_the_kernel_are_stored_when_main_ends(tmp_path: Path) -> None:
    async with recording(tmp_path, tick=60.0, kept=False) as one:
        one.send(50)
        await one.workers.stop()
        for pair in one.pairs.values():
            pair.close()  # as without a descriptor store
        one.pairs = {n: open_pair() for n in one.pairs}
        await one.restart()
        await one.heard(messages.Resumed)
        final = await one.complete()
        assert all(figures["gap_ms"] > 0 for figures in final.streams.values())  # nobody knows what came in between


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into a worker")
async def test_a_dropped_call_returns_its_sockets(tmp_path: Path) -> None:
    async with recording(tmp_path, 3) as one:
        one.workers.drop(CALL)
        assert CALL not in one.workers
        assert await one.workers.snapshot(CALL) == messages.Figures(CALL, 0, ())
        assert not (await one.close()).clean
        await until(lambda: not any(CALL in path for path in open_files(one.pid)))


def open_files(pid: int) -> list[str]:
    """Give what a process has open; what it closes while we look is not."""
    found, folder = [], f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            found.append(os.readlink(f"{folder}/{name}"))
    return found


async def test_shutdown_is_orderly_during_a_worker_replacement(tmp_path: Path) -> None:
    workers = Workers(2, tmp_path)
    await workers.start()
    dead, well = (worker_pid(tmp_path, number) for number in (0, 1))
    assert dead is not None and well is not None
    os.kill(dead, signal.SIGKILL)
    await until(lambda: not workers.well)
    await workers.stop()
    assert activity(well)[0] == "X"


async def test_foreign_packets_are_reported_once_a_second(tmp_path: Path) -> None:
    async with recording(tmp_path) as one:
        stranger, began = Sender(os.urandom(30), 0x1000), time.monotonic()
        async with asyncio.timeout(30):
            while len(one.seen(messages.RefusedPackets)) < 2:
                stranger.send(one.pairs[0].port, 20)
                await asyncio.sleep(0.01)
        assert len(one.seen(messages.RefusedPackets)) <= 1 + time.monotonic() - began
        stranger.socket.close()
