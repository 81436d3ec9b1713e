"""A packet over which media workers crash: it costs its own call something, and no other call anything."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.workers import messages
from recorder.workers.worker_handle import MAX_CRASHES, MAX_REPLAYS
from tests.in_process.worker_call import CALL, WorkerCall, run

OTHER = "0a64dd1c-0000-4000-8000-000000000002"
POISON = b"\x80\x08 POISON of twenty-eight bytes"
STUMBLE = """
import faulthandler, os, resource, sys

if "recorder.workers.process" in sys.orig_argv:
    from media.stream.receiver import ReceivedStream

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    receive = ReceivedStream.receive

    def stumble(track, lane, count, out):
        if b"POISON" in bytes(lane.near):
            while "loops" in os.environ["BUG"]:
                pass
            faulthandler._sigsegv()  # it may signal nobody, itself neither
        return receive(track, lane, count, out)

    ReceivedStream.receive = stumble

    from recorder.workers.call_recorder import CallRecorder

    add = CallRecorder.add_streams

    def stumble_over(tape, streams, *more):
        if any(name == "POISON" for spec in streams for _, name, _ in spec.payloads):
            faulthandler._sigsegv()  # it may signal nobody, itself neither
        return add(tape, streams, *more)

    CallRecorder.add_streams = stumble_over
"""


@asynccontextmanager
async def neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bug: str = "crashes"
) -> AsyncIterator[tuple[WorkerCall, WorkerCall]]:
    """Have two calls in one worker, which has a bug."""
    monkeypatch.setenv("BUG", bug)
    (folder / "bug").mkdir()
    (folder / "bug/sitecustomize.py").write_text(STUMBLE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder / "bug"), str(Path(__file__).parents[3]))))
    one, other = WorkerCall(folder / "one"), WorkerCall(folder / "other", call=OTHER)

    def heard(event: messages.WorkerEvent) -> None:
        for each in (one, other):
            each._heard(event)

    one.workers._on_event, other.workers = heard, one.workers
    await one.recording(10)
    other.begin()
    other.send(10)
    await one.workers.snapshot(OTHER)
    yield one, other
    for each in (one, other):
        await each.end()


def poison(worker_call: WorkerCall) -> None:
    worker_call.senders[0].socket.sendto(POISON, ("127.0.0.1", worker_call.pairs[0].port))


def ends(worker_call: WorkerCall) -> list[str]:
    return [event.why for event in worker_call.events if isinstance(event, messages.WorkerDied)]


async def whole(worker_call: WorkerCall) -> None:
    final = await worker_call.workers.close(worker_call.call)
    found = worker_call.read(final)
    assert final.clean
    for number, sender in enumerate(worker_call.senders):
        assert worker_call.frames(found, number) == list(range(sender.sent))


@pytest.mark.parametrize(("bug", "why"), [("crashes", "crash"), ("loops", "hang")])
def test_a_batch_over_which_two_workers_ended_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str, why: str
) -> None:
    async def story() -> None:
        async with neighbours(tmp_path, monkeypatch, bug) as (one, other):
            poison(one)
            await one.heard(messages.WorkerDied, MAX_REPLAYS)
            for worker_call in (one, other):
                worker_call.send(5)
            await one.workers.snapshot(CALL)
            assert ends(one) == [why] * MAX_REPLAYS
            await whole(other)
            await whole(one)  # nothing but the packet lay in the batch

    run(story())


def test_a_call_that_crashes_workers_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with neighbours(tmp_path, monkeypatch) as (one, other):
            while not any(isinstance(event, messages.CallFault) for event in one.events):
                poison(one)
                other.send()
                await asyncio.sleep(0.1)
            assert ends(one) == ["crash"] * MAX_CRASHES
            faults = [event for event in one.events if isinstance(event, messages.CallFault)]
            assert faults == [messages.CallFault(CALL, "workers crash over it")]
            assert not (await one.workers.close(CALL)).clean
            other.send(5)
            await whole(other)

    run(story())


def test_a_call_that_crashes_workers_when_announced_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They crash before they listen to it: the one that is told of it after the other and the one before."""

    async def story() -> None:
        async with neighbours(tmp_path, monkeypatch) as (one, other):
            one.workers._entries = dict(reversed(one.workers._entries.items()))  # the other is told of first
            one.specs = (one.specs[0], replace(one.specs[1], payloads=((8, "POISON", 8000),)))
            one.kill()
            await one.heard(messages.CallFault)
            assert ends(one) == ["exit"] + ["crash"] * MAX_CRASHES
            assert [event.call for event in one.events if isinstance(event, messages.CallFault)] == [CALL]
            other.send(5)
            await whole(other)

    run(story())


def test_a_killed_worker_is_not_blamed_on_its_call(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(10)
        for kill in range(1, MAX_CRASHES + 2):
            worker_call.kill()
            await worker_call.resumed(kill)
        assert ends(worker_call) == ["exit"] * (MAX_CRASHES + 1)
        await whole(worker_call)
        await worker_call.end()

    run(story())
