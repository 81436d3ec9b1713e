"""What signals say about the end."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from recorder.service.shutdown import Shutdown


async def heard(stopping: Shutdown, *numbers: int) -> None:
    """Send signals to ourselves and let the loop take them."""
    for number in numbers:
        os.kill(os.getpid(), number)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_hands_calls_on_if_their_sockets_are_kept(number: int) -> None:
    one = Shutdown(drain=False, drain_seconds=9)
    one.listen(asyncio.get_running_loop())
    assert not one.begun.is_set()
    await heard(one, number)
    assert one.begun.is_set()
    assert one.handed_over(kept=True)
    assert not one.handed_over(kept=False)
    assert one.drain_seconds == 0


async def test_a_hangup_ends_nothing() -> None:
    one = Shutdown(drain=False, drain_seconds=9)
    before = signal.signal(signal.SIGHUP, lambda *_: pytest.fail("the hangup was not taken"))
    try:
        one.listen(asyncio.get_running_loop())
        await heard(one, signal.SIGHUP)
        assert not one.begun.is_set()
        assert one.handed_over(kept=True)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_sigusr1_means_no_successor_follows() -> None:
    async def story() -> None:
        one = Shutdown(drain=False, drain_seconds=9)
        one.listen(asyncio.get_running_loop())
        await heard(one, signal.SIGUSR1)
        assert not one.begun.is_set()
        await heard(one, signal.SIGTERM)
        assert not one.handed_over(kept=True)
        assert one.drain_seconds == 9

    asyncio.run(story())
    assert not Shutdown(drain=True, drain_seconds=1).handed_over(kept=True)


@pytest.mark.parametrize("drain", [False, True])
async def test_a_successor_of_another_version_gets_the_calls(drain: bool) -> None:
    one = Shutdown(drain=drain, drain_seconds=60)
    one.make_way()
    assert one.begun.is_set()
    assert one.outdated
    assert one.handed_over(kept=False)
    await one.wait_for_calls(lambda: 1)  # where it drained already, it ends at once


async def test_a_drain_ends_with_the_calls_the_patience_or_a_signal() -> None:
    loop = asyncio.get_running_loop()
    left = [1, 1, 0]
    await Shutdown(drain=True, drain_seconds=60).wait_for_calls(lambda: left.pop(0))
    assert left == []
    began = loop.time()
    await Shutdown(drain=True, drain_seconds=0.1).wait_for_calls(lambda: 1)
    await Shutdown(drain=False, drain_seconds=60).wait_for_calls(lambda: 1)
    hurried = Shutdown(drain=True, drain_seconds=60)
    hurried.terminate()
    loop.call_later(0.1, hurried.terminate)
    await hurried.wait_for_calls(lambda: 1)
    assert 0.1 < loop.time() - began < 10
