"""Workers are there when the daemon is, and gone with it, also when some of them die during the start."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder.errors import OtherVersion
from recorder.workers import worker_handle
from recorder.workers.messages import WorkerDied, WorkerEvent
from recorder.workers.pool import Workers
from recorder.workers.worker_handle import Process
from tests.daemon.other_version import change_messages, same_files
from tests.in_process.recorder_node import configured
from tests.in_process.waiting import until
from tests.in_process.worker_call import recording, worker_pid


@pytest.mark.parametrize(("asked", "started"), [(0, max(1, len(os.sched_getaffinity(0)) - 1)), (3, 3)])
async def test_by_default_one_core_gets_no_worker(tmp_path: Path, asked: int, started: int) -> None:
    settings = configured(tmp_path)
    workers = Workers.configured(replace(settings, media=replace(settings.media, workers=asked)))
    await workers.begin()
    await workers.ready()
    assert workers.well and set(workers.load) == set(range(started))
    await workers.stop()
    assert not list((tmp_path / "run").glob("worker-*"))


async def test_an_early_workers_death_is_reported_later(tmp_path: Path, started_workers: list[Process]) -> None:
    workers = Workers.configured(configured(tmp_path))
    await workers.begin()
    os.kill(started_workers[0].pid, signal.SIGKILL)
    await workers.ready()
    heard: list[WorkerEvent] = []
    workers.listen(heard.append)
    assert heard == [WorkerDied(0, "exit", 0)]
    await workers.stop()


@asynccontextmanager
async def starting(folder: Path, started: list[Process]) -> AsyncIterator[tuple[Workers, asyncio.Task[None]]]:
    """Give two workers that have been started and have said nothing yet, and the start."""
    workers = Workers(2, folder)
    start = asyncio.create_task(workers.start())
    await until(lambda: len(started) == 2)
    try:
        yield workers, start
    finally:
        await workers.stop()


@pytest.mark.parametrize("number", [0, 1])
async def test_a_start_continues_with_a_dead_workers_successor(
    tmp_path: Path, started_workers: list[Process], number: int
) -> None:
    async with starting(tmp_path, started_workers) as (workers, start):
        os.kill(started_workers[number].pid, signal.SIGKILL)
        await start
        assert workers.well and len(started_workers) == 3
        heard: list[WorkerEvent] = []
        workers.listen(heard.append)
        assert heard == [WorkerDied(number, "exit", 0)]


async def test_a_successor_that_cannot_be_started_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def short(*given: Any) -> Process:
        tries.append(1)
        if len(tries) < 3:
            raise BlockingIOError("no more processes")
        return worker_handle.spawn(*given)

    async with recording(tmp_path, 20) as one:
        monkeypatch.setattr("recorder.workers.pool.spawn", short)
        one.kill()
        await one.resumed()
        assert len(tries) == 3
        await one.whole()


@pytest.fixture
def other_files(tmp_path: Path) -> Path:
    """The program in another version."""
    folder = tmp_path / "other"
    folder.mkdir()
    change_messages(same_files(folder))
    return folder


async def test_nothing_begins_with_workers_of_other_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_files: Path
) -> None:
    workers = Workers(1, tmp_path / "run")
    monkeypatch.setattr("recorder.runtime.python_command.HOME", other_files)
    with pytest.raises(OtherVersion):
        await workers.start()
    await workers.stop()
    assert not list((tmp_path / "run").glob("*.raw"))
    assert worker_pid(tmp_path / "run") is None
