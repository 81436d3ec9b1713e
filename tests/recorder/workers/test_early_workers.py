"""Workers are there when the daemon is, and gone with it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from recorder.workers.early_workers import Crew, worker_count
from recorder.workers.messages import WorkerDied, WorkerEvent
from tests.recorder.stage import configured


def test_one_worker_a_core_but_one_unless_told_otherwise() -> None:
    assert worker_count(3) == 3
    assert worker_count(0) == max(1, len(os.sched_getaffinity(0)) - 1)


def test_they_run_after_ready_and_leave_nothing_after_stop(tmp_path: Path) -> None:
    async def story() -> None:
        crew = Crew(configured(tmp_path))
        await crew.begin()
        await crew.ready()
        assert crew.workers.well
        await crew.stop()
        assert not list((tmp_path / "run").glob("worker-*"))

    asyncio.run(story())


def test_a_death_before_anybody_listens_is_told_to_who_does_then(tmp_path: Path) -> None:
    async def story() -> None:
        crew = Crew(configured(tmp_path))
        await crew.begin()
        os.kill(crew.workers._processes[0].pid, signal.SIGKILL)
        await crew.ready()
        told: list[WorkerEvent] = []
        crew.listen(told.append)
        assert told == [WorkerDied(0, "exit", 0)]
        await crew.stop()

    asyncio.run(story())


def test_a_start_that_fails_before_they_run_leaves_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        crew = Crew(configured(tmp_path))
        await crew.begin()
        await crew.stop()
        assert not list((tmp_path / "run").glob("worker-*"))

    asyncio.run(story())
