"""Rendered files are shared by those who ask for the same one, counted by customer, and given up."""

import asyncio

import pytest

from admin_api.calls import render_cache
from admin_api.calls.render_cache import Full, RenderCache

A, B, C = ("acme", "1", "wav"), ("acme", "2", "wav"), ("acme", "3", "wav")
OTHER = ("beta", "1", "wav")


pytestmark = pytest.mark.anyio


class Room:
    """A cache for two files of a customer, that remembers what was made and given up."""

    def __init__(self):
        self.made, self.gone, self.open, self.weight = 0, [], asyncio.Event(), 1
        self.open.set()
        self.cache = RenderCache(lambda: 2, self.gone.append, lambda file: self.weight)

    async def make(self):
        await self.open.wait()
        self.made += 1
        return self.made

    async def take(self, key):
        return await self.cache.take(key, self.make)


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def room():
    return Room()


async def test_who_asks_at_once_and_who_asks_again_get_the_same_file(room):
    room.open.clear()
    waiting = [asyncio.ensure_future(room.take(A)) for _ in range(3)]
    await asyncio.sleep(0)
    room.open.set()
    assert await asyncio.gather(*waiting) == [1, 1, 1]
    for _ in range(3):
        room.cache.leave(A)
    assert (await room.take(A), room.gone) == (1, [])


async def test_a_render_is_removed_once_nobody_reads_it(room, monkeypatch):
    monkeypatch.setattr(render_cache, "SECONDS", 0)
    await room.take(A)
    await room.take(A)
    room.cache.leave(A)
    await asyncio.sleep(0.01)
    room.cache.leave(A)
    await room.take(A)
    await asyncio.sleep(0.01)
    assert (room.made, room.gone) == (1, []), "it was read again in time"
    room.cache.leave(A)
    while room.gone != [1]:
        await asyncio.sleep(0)
    assert await room.take(A) == 2
    room.cache.leave(A, keep=lambda: False)
    assert room.gone == [1, 2]


async def test_only_so_many_of_one_customer_and_idle_ones_make_room(room):
    await room.take(A)
    await room.take(B)
    with pytest.raises(Full):
        await room.take(C)
    assert await room.take(OTHER) == 3
    room.cache.leave(A)
    assert (await room.take(C), room.gone) == (4, [1])


async def test_large_files_reduce_how_many_renders_are_cached(room, monkeypatch):
    monkeypatch.setattr(render_cache, "HEAVY", 10)
    room.weight = 11
    assert await room.take(A) == 1
    with pytest.raises(Full):
        await room.take(B)
    assert (await room.take(A), await room.take(OTHER)) == (1, 2)
    room.cache.leave(A)
    room.cache.leave(A)
    assert (await room.take(B), room.gone) == (3, [1])


async def test_renders_in_progress_count_towards_the_limit(room):
    room.open.clear()
    first, second = (asyncio.ensure_future(room.take(key)) for key in (A, B))
    await asyncio.sleep(0)
    with pytest.raises(Full):
        await room.take(C)
    third = asyncio.ensure_future(room.take(A))  # for which no more room is needed
    await asyncio.sleep(0)
    room.open.set()
    assert sorted(await asyncio.gather(first, second, third)) == [1, 1, 2]


async def test_a_failed_render_is_retried_by_the_next_waiter(room):

    async def fail():
        await asyncio.sleep(0)
        raise RuntimeError

    failing = asyncio.ensure_future(room.cache.take(A, fail))
    await asyncio.sleep(0)
    waiting = asyncio.ensure_future(room.take(A))
    with pytest.raises(RuntimeError):
        await failing
    assert await waiting == 1
    await room.take(B)
    with pytest.raises(Full):
        await room.take(C)


async def test_a_reader_cancelled_while_waiting_holds_nothing(room):
    room.open.clear()
    waiting = asyncio.ensure_future(room.take(A))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    room.open.set()
    assert [await room.take(B), await room.take(C)] == [1, 2]
