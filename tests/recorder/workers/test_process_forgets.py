"""What a worker had received of a call lies nowhere once it has let go of the call, however that came."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from media.receive.recvmmsg import PAGE
from recorder.workers import messages
from tests.recorder.studio import CALL, Studio, run


def left(studio: Studio) -> bytes:
    (region,) = (studio.folder / "run").glob("worker-*.raw")
    return region.read_bytes()


async def closed(studio: Studio) -> None:
    await studio.workers.close(CALL)


async def dropped(studio: Studio) -> None:
    studio.workers.drop(CALL)
    while any(left(studio)[PAGE:]):
        await asyncio.sleep(0.01)


async def given_up(studio: Studio) -> None:
    """Cut its spool, which is a fault that ends the call."""
    while not any(isinstance(event, messages.CallFault) for event in studio.events):
        os.ftruncate(studio.spool, 0)
        studio.send()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("end", [closed, dropped, given_up])
def test_packets_of_an_ended_call_are_wiped(tmp_path: Path, end: Callable[[Studio], Awaitable[None]]) -> None:
    async def story() -> None:
        studio = Studio(tmp_path)
        await studio.workers.start()
        studio.begin()
        async with asyncio.timeout(60):
            while CALL.encode() not in left(studio):
                studio.send()
                await asyncio.sleep(0.01)
            await end(studio)
        assert CALL.encode() not in left(studio)
        assert not any(left(studio)[PAGE:])
        await studio.end()

    run(story())
