"""Tasks have names and an owner, and do not fail unseen."""

from __future__ import annotations

import asyncio

import pytest

from recorder.runtime.tasks import Tasks
from tests.in_process.worker_call import asynchronous


async def _fail() -> None:
    raise ValueError("broken")


def test_a_failing_task_is_reported_and_stops_no_other() -> None:
    failed: list[tuple[str, str]] = []

    async def story() -> int:
        tasks = Tasks(lambda name, error: failed.append((name, type(error).__name__)))
        tasks.start(_fail(), "breaks")
        fine = tasks.start(asyncio.sleep(0, 7), "works")
        await tasks.finish()
        return fine.result()

    assert asyncio.run(story()) == 7
    assert failed == [("breaks", "ValueError")]


def test_closing_cancels_and_waits_until_all_is_tidy() -> None:
    tidied: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.append("yes")

    async def story() -> list[str]:
        tasks = Tasks(lambda name, error: tidied.append("no"))
        tasks.start(work(), "waits")
        await asyncio.sleep(0)
        assert tasks.names() == ["waits"]
        left = await tasks.close()
        assert len(tasks) == 0
        return left

    assert asyncio.run(story()) == []
    assert tidied == ["yes"]


def test_a_task_that_will_not_end_is_named() -> None:
    async def story() -> list[str]:
        release = asyncio.Event()

        async def stubborn() -> None:
            while not release.is_set():
                try:
                    await release.wait()
                except asyncio.CancelledError:
                    continue

        tasks = Tasks(lambda name, error: None)
        tasks.start(stubborn(), "stubborn")
        await asyncio.sleep(0)
        left = await tasks.close(seconds=0.01)
        release.set()
        await tasks.finish()
        return left

    assert asyncio.run(story()) == ["stubborn"]


@asynchronous
async def test_nothing_starts_after_the_end() -> None:
    tasks = Tasks(lambda name, error: None)
    await tasks.close()
    with pytest.raises(RuntimeError, match="closed"):
        tasks.start(_fail(), "late")
