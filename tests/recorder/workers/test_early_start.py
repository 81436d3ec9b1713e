"""Workers are there when the daemon is, and gone with it."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.workers.messages import WorkerDied, WorkerEvent
from recorder.workers.pool import Workers
from tests.in_process.recorder_node import configured


@pytest.mark.parametrize(("asked", "started"), [(0, max(1, len(os.sched_getaffinity(0)) - 1)), (3, 3)])
def test_by_default_one_core_gets_no_worker(tmp_path: Path, asked: int, started: int) -> None:
    async def story() -> None:
        settings = configured(tmp_path)
        workers = Workers.configured(replace(settings, media=replace(settings.media, workers=asked)))
        await workers.begin()
        await workers.ready()
        assert len(workers.load) == started
        await workers.stop()

    asyncio.run(story())


def test_they_run_after_ready_and_leave_nothing_after_stop(tmp_path: Path) -> None:
    async def story() -> None:
        workers = Workers.configured(configured(tmp_path))
        await workers.begin()
        await workers.ready()
        assert workers.well
        await workers.stop()
        assert not list((tmp_path / "run").glob("worker-*"))

    asyncio.run(story())


def test_an_early_workers_death_is_reported_later(tmp_path: Path) -> None:
    async def story() -> None:
        workers = Workers.configured(configured(tmp_path))
        await workers.begin()
        os.kill(workers._processes[0].pid, signal.SIGKILL)
        await workers.ready()
        told: list[WorkerEvent] = []
        workers.listen(told.append)
        assert told == [WorkerDied(0, "exit", 0)]
        await workers.stop()

    asyncio.run(story())


def test_a_start_that_fails_before_they_run_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        workers = Workers.configured(configured(tmp_path))
        await workers.begin()
        await workers.stop()
        assert not list((tmp_path / "run").glob("worker-*"))

    asyncio.run(story())
