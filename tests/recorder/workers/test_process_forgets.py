"""What a worker had received of a call lies nowhere once it has let go of the call, however that came."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from media.receive.recvmmsg import PAGE
from recorder.workers import messages
from tests.in_process.worker_call import CALL, WorkerCall, run


def left(worker_call: WorkerCall) -> bytes:
    (region,) = (worker_call.folder / "run").glob("worker-*.raw")
    return region.read_bytes()


async def closed(worker_call: WorkerCall) -> None:
    await worker_call.workers.close(CALL)


async def dropped(worker_call: WorkerCall) -> None:
    worker_call.workers.drop(CALL)
    while any(left(worker_call)[PAGE:]):
        await asyncio.sleep(0.01)


async def given_up(worker_call: WorkerCall) -> None:
    """Cut its spool, which is a fault that ends the call."""
    while not any(isinstance(event, messages.CallFault) for event in worker_call.events):
        os.ftruncate(worker_call.spool, 0)
        worker_call.send()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [closed, dropped, given_up])
def test_packets_of_an_ended_call_are_wiped(tmp_path: Path, end: Callable[[WorkerCall], Awaitable[None]]) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        async with asyncio.timeout(60):
            while CALL.encode() not in left(worker_call):
                worker_call.send()
                await asyncio.sleep(0.01)
            await end(worker_call)
        assert CALL.encode() not in left(worker_call)
        assert not any(left(worker_call)[PAGE:])
        await worker_call.end()

    run(story())
