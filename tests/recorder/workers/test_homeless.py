"""Calls that no worker has: begun or asked for while none lives, or handed to one that dies before it looks."""

import asyncio
from pathlib import Path

from media.records import record_format
from recorder.workers import messages
from tests.recorder.studio import CALL, Studio, run
from tests.recorder.workers.test_pool import all_of


async def bereft(folder: Path) -> Studio:
    """Give a studio whose only worker has just died."""
    studio = Studio(folder)
    await studio.workers.start()
    studio.kill()
    async with asyncio.timeout(30):
        while not studio.workers._processes[0].dead:
            await asyncio.sleep(0)
    return studio


def test_a_call_begun_while_no_worker_lives_goes_to_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        studio = await bereft(tmp_path)
        studio.begin()
        studio.send(20)
        await asyncio.wait_for(studio.heard(messages.Resumed), 10)
        studio.send(5)
        all_of(studio, await studio.workers.close(CALL))
        await studio.end()

    run(story())


def test_a_call_placed_while_no_worker_lives_goes_to_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        studio = await bereft(tmp_path)
        studio._heard(messages.NeedPart(CALL))
        studio.workers.pause(CALL)
        studio.workers.resume_call(CALL)
        await asyncio.wait_for(studio.heard(messages.Resumed), 10)
        assert not studio.workers._entries[CALL].waiting
        studio.send(5)
        all_of(studio, await studio.workers.close(CALL))
        await studio.end()

    run(story())


def test_a_call_paused_thousands_of_times_can_be_taken_over(tmp_path: Path) -> None:
    async def story() -> None:
        studio = Studio(tmp_path)
        await studio.recording(10)
        for _ in range(7_000):
            studio.workers.pause(CALL)
            studio.workers.resume_call(CALL)
        studio.workers.pause(CALL)
        studio.send(6)
        studio.kill()
        await studio.heard(messages.Resumed)
        studio.workers.resume_call(CALL)
        await studio.workers.snapshot(CALL)  # it was heard
        studio.send(8)
        final = await studio.workers.close(CALL)
        assert studio.frames(studio.read(final), 0) == [*range(10), *range(16, 24)]
        await studio.end()

    run(story())


def test_lost_sockets_are_remembered_until_a_worker_notes_it(tmp_path: Path) -> None:
    async def story() -> None:
        studio = Studio(tmp_path, kept=False)
        await studio.talk_to_one_that_dies()
        await studio.heard(messages.WorkerDied)
        studio.kill()  # the next one, before it has said a word
        studio.kept = True
        await studio.heard(messages.WorkerDied, 2)
        assert not any(isinstance(event, messages.Resumed) for event in studio.events)
        await studio.heard(messages.Resumed)
        assert not studio.workers._entries[CALL].lost
        studio.send()
        final = await studio.workers.close(CALL)
        for stream in (0, 1):
            assert {gap[2] for gap in final.streams[stream]["gaps"]} == {"restart"}
            assert final.streams[stream]["gap_ms"] >= 15 * 20
        marks = [each for each in studio.read(final) if isinstance(each, record_format.Marked)]
        assert [each.value > 0 for each in marks if each.kind == record_format.Mark.RESTART] == [True]
        await studio.end()

    run(story())
