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
from tests.in_process.worker_call import CALL, WorkerCall, recording

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

    def stumble_over(recorder, streams, *more):
        if any(name == "POISON" for spec in streams for _, name, _ in spec.payloads):
            faulthandler._sigsegv()  # it may signal nobody, itself neither
        return add(recorder, streams, *more)

    CallRecorder.add_streams = stumble_over
"""


@asynccontextmanager
async def neighbours(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bug: str = "crashes"
) -> AsyncIterator[tuple[WorkerCall, WorkerCall]]:
    """Have two calls in one worker, which has a bug; the other one began first."""
    monkeypatch.setenv("BUG", bug)
    (folder / "bug").mkdir()
    (folder / "bug/sitecustomize.py").write_text(STUMBLE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(folder / "bug"), str(Path(__file__).parents[4]))))
    one = WorkerCall(folder / "one")

    def heard(event: messages.WorkerEvent) -> None:
        for each in (one, other):
            each.on_event(event)

    async with recording(folder / "other", 10, call=OTHER) as other:
        other.workers.listen(heard)
        one.workers = other.workers
        one.begin()
        one.send(10)
        await one.workers.snapshot(CALL)
        yield one, other
        await one.end()


def poison(one: WorkerCall) -> None:
    one.senders[0].socket.sendto(POISON, ("127.0.0.1", one.pairs[0].port))


def ends(one: WorkerCall) -> list[str]:
    return [event.why for event in one.seen(messages.WorkerDied)]


@pytest.mark.parametrize(("bug", "why"), [("crashes", "crash"), ("loops", "hang")])
async def test_a_batch_over_which_two_workers_ended_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str, why: str
) -> None:
    async with neighbours(tmp_path, monkeypatch, bug) as (one, other):
        poison(one)
        await one.heard(messages.WorkerDied, MAX_REPLAYS, 90)  # a worker that hangs and is starved is given 15 s
        one.send(5)
        other.send(5)
        await one.workers.snapshot(CALL)
        assert ends(one) == [why] * MAX_REPLAYS
        await other.complete()
        await one.complete()  # nothing but the packet lay in the batch


async def test_a_call_that_crashes_workers_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with neighbours(tmp_path, monkeypatch) as (one, other):
        while not one.seen(messages.CallFault):
            poison(one)
            other.send()
            await asyncio.sleep(0.1)
        assert ends(one) == ["crash"] * MAX_CRASHES
        assert one.seen(messages.CallFault) == [messages.CallFault(CALL, "workers crash over it")]
        assert not (await one.close()).clean
        other.send(5)
        await other.complete()


async def test_a_call_that_crashes_workers_when_announced_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They crash before they listen to it, having just been told of the other."""
    async with neighbours(tmp_path, monkeypatch) as (one, other):
        one.specs = (one.specs[0], replace(one.specs[1], payloads=((8, "POISON", 8000),)))
        other.kill()
        await one.heard(messages.CallFault)
        assert ends(one) == ["exit"] + ["crash"] * MAX_CRASHES
        assert [event.call for event in one.seen(messages.CallFault)] == [CALL]
        other.send(5)
        await other.complete()


async def test_a_killed_worker_is_not_blamed_on_its_call(tmp_path: Path) -> None:
    async with recording(tmp_path, 10) as one:
        for kill in range(1, MAX_CRASHES + 2):
            one.kill()
            await one.resumed(kill)
        assert ends(one) == ["exit"] * (MAX_CRASHES + 1)
        await one.complete()
