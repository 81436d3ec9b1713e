"""Tasks have names and an owner, and do not fail unseen."""

from __future__ import annotations

import asyncio

import pytest

from recorder.runtime.tasks import Tasks, is_set_within


@pytest.fixture
def failed() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def tasks(failed: list[tuple[str, str]]) -> Tasks:
    return Tasks(lambda name, error: failed.append((name, type(error).__name__)))


async def fail() -> None:
    raise ValueError("broken")


async def test_a_failing_task_is_reported_and_stops_no_other(tasks: Tasks, failed: list[tuple[str, str]]) -> None:
    tasks.start(fail(), "breaks")
    fine = tasks.start(asyncio.sleep(0, 7), "works")
    await tasks.finish()
    assert fine.result() == 7
    assert failed == [("breaks", "ValueError")]


async def test_closing_cancels_and_waits_until_all_is_tidy(tasks: Tasks, failed: list[tuple[str, str]]) -> None:
    tidied = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tidied.set()

    tasks.start(work(), "waits")
    await asyncio.sleep(0)
    assert tasks.names() == ["waits"]
    assert await tasks.close() == []
    assert await tasks.close() == []
    assert (len(tasks), tidied.is_set(), failed) == (0, True, [])
    with pytest.raises(RuntimeError, match="closed"):
        tasks.start(fail(), "late")


async def test_a_task_that_will_not_end_is_named(tasks: Tasks) -> None:
    release = asyncio.Event()

    async def stubborn() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    tasks.start(stubborn(), "stubborn")
    await asyncio.sleep(0)
    assert await tasks.close(seconds=0.01) == ["stubborn"]
    release.set()
    await tasks.finish()


async def test_a_cancellation_that_comes_with_the_event_is_not_lost() -> None:
    event = asyncio.Event()
    waiting = asyncio.create_task(is_set_within(event, 60.0))
    await asyncio.sleep(0)
    event.set()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
