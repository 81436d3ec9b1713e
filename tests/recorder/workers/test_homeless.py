"""Calls that no worker has: begun or asked for while none lives, or handed to one that dies before it looks."""

import asyncio
from pathlib import Path

from media.records import record_format
from recorder.workers import messages
from tests.in_process.worker_call import CALL, WorkerCall, run
from tests.recorder.workers.test_pool import all_of


async def bereft(folder: Path) -> WorkerCall:
    """Give a studio whose only worker has just died."""
    worker_call = WorkerCall(folder)
    await worker_call.workers.start()
    worker_call.kill()
    async with asyncio.timeout(30):
        while not worker_call.workers._processes[0].dead:
            await asyncio.sleep(0)
    return worker_call


def test_a_call_begun_while_no_worker_lives_goes_to_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = await bereft(tmp_path)
        worker_call.begin()
        worker_call.send(20)
        await asyncio.wait_for(worker_call.heard(messages.Resumed), 10)
        worker_call.send(5)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())


def test_a_call_placed_while_no_worker_lives_goes_to_the_next(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = await bereft(tmp_path)
        worker_call._heard(messages.NeedPart(CALL))
        worker_call.workers.pause(CALL)
        worker_call.workers.resume_call(CALL)
        await asyncio.wait_for(worker_call.heard(messages.Resumed), 10)
        assert not worker_call.workers._entries[CALL].waiting
        worker_call.send(5)
        all_of(worker_call, await worker_call.workers.close(CALL))
        await worker_call.end()

    run(story())


def test_a_call_paused_thousands_of_times_can_be_taken_over(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(10)
        for _ in range(7_000):
            worker_call.workers.pause(CALL)
            worker_call.workers.resume_call(CALL)
        worker_call.workers.pause(CALL)
        worker_call.send(6)
        worker_call.kill()
        await worker_call.heard(messages.Resumed)
        worker_call.workers.resume_call(CALL)
        await worker_call.workers.snapshot(CALL)  # it was heard
        worker_call.send(8)
        final = await worker_call.workers.close(CALL)
        assert worker_call.frames(worker_call.read(final), 0) == [*range(10), *range(16, 24)]
        await worker_call.end()

    run(story())


def test_lost_sockets_are_remembered_until_a_worker_notes_it(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, kept=False)
        await worker_call.talk_to_one_that_dies()
        await worker_call.heard(messages.WorkerDied)
        worker_call.kill()  # the next one, before it has said a word
        worker_call.kept = True
        await worker_call.heard(messages.WorkerDied, 2)
        assert not any(isinstance(event, messages.Resumed) for event in worker_call.events)
        await worker_call.heard(messages.Resumed)
        assert not worker_call.workers._entries[CALL].lost
        worker_call.send()
        final = await worker_call.workers.close(CALL)
        for stream in (0, 1):
            assert {gap[2] for gap in final.streams[stream]["gaps"]} == {"restart"}
            assert final.streams[stream]["gap_ms"] >= 15 * 20
        marks = [each for each in worker_call.read(final) if isinstance(each, record_format.Marked)]
        assert [each.value > 0 for each in marks if each.kind == record_format.Mark.RESTART] == [True]
        await worker_call.end()

    run(story())
