"""Workers that die around their first word, and successors that cannot be started at once."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from recorder.workers import messages, worker_handle
from recorder.workers.pool import Workers
from tests.in_process.worker_call import CALL, WorkerCall, run
from tests.recorder.workers.test_pool import all_of


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not true():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def starting(
    folder: Path, events: list[messages.WorkerEvent]
) -> AsyncIterator[tuple[Workers, "asyncio.Task[None]"]]:
    """Give two workers that have been started and have said nothing yet, and the start."""
    workers = Workers(2, folder, events.append)
    start = asyncio.create_task(workers.start())
    await until(lambda: len(workers._processes) == 2)
    try:
        yield workers, start
    finally:
        await workers.stop()


@pytest.mark.parametrize("number", [0, 1])
def test_a_start_continues_with_a_dead_workers_successor(tmp_path: Path, number: int) -> None:
    async def story() -> None:
        events: list[messages.WorkerEvent] = []
        async with starting(tmp_path, events) as (workers, start):
            first = workers._processes[number]
            os.kill(first.pid, signal.SIGKILL)
            await start
            assert workers._processes[number] is not first
            assert workers.well
            assert [event for event in events if not isinstance(event, messages.Beat)] == [
                messages.WorkerDied(number, "exit", 0)
            ]

    run(story())


def test_a_worker_that_dies_during_the_start_is_replaced(tmp_path: Path) -> None:
    async def story() -> None:
        async with starting(tmp_path, []) as (workers, start):
            late, quick = workers._processes.values()
            os.kill(late.pid, signal.SIGSTOP)
            await until(quick.ready.is_set)
            os.kill(quick.pid, signal.SIGKILL)
            await until(lambda: quick.dead)
            os.kill(late.pid, signal.SIGCONT)
            await start
            await until(lambda: workers.well)

    run(story())


def test_a_successor_that_cannot_be_started_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    def short(*words: object) -> worker_handle.Process:
        tries.append(1)
        if len(tries) < 3:
            raise BlockingIOError("no process more")
        return worker_handle.spawn(*words)  # type: ignore[arg-type]  # those of spawn

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(20)
        monkeypatch.setattr("recorder.workers.pool.spawn", short)
        worker_call.kill()
        await worker_call.resumed()
        assert len(tries) == 3
        worker_call.send(5)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())
