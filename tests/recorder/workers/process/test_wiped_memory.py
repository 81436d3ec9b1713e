"""What a worker had received of a call lies nowhere once it has let go of the call, however that came."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from media.receive.recvmmsg import PAGE
from recorder.workers import messages
from tests.in_process.waiting import until
from tests.in_process.worker_call import CALL, WorkerCall, recording


def left(one: WorkerCall) -> bytes:
    (region,) = (one.folder / "run").glob("worker-*.raw")
    return region.read_bytes()


async def closed(one: WorkerCall) -> None:
    await one.close()


async def dropped(one: WorkerCall) -> None:
    one.workers.drop(CALL)
    await until(lambda: not any(left(one)[PAGE:]))


async def given_up(one: WorkerCall) -> None:
    """Cut its spool, which is a fault that ends the call."""
    while not one.seen(messages.CallFault):
        os.ftruncate(one.spool, 0)
        one.send()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [closed, dropped, given_up])
async def test_packets_of_an_ended_call_are_wiped(tmp_path: Path, end: Callable[[WorkerCall], Awaitable[None]]) -> None:
    async with recording(tmp_path) as one:
        while CALL.encode() not in left(one):
            one.send()
            await asyncio.sleep(0.01)
        await end(one)
        assert CALL.encode() not in left(one)
        assert not any(left(one)[PAGE:])
