"""Calls are written once, found by anybody who took part, and gone when their leaf is cut; on both databases."""

import asyncio
import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from personal import Personal
from storage import search_forms
from storage.calls import call_index
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, CallState, Query
from storage.calls.sealed_row import open_row
from storage.calls.search_tokens import tokens
from storage.database.database import Database
from storage.database.schema import call_tokens, days
from storage.errors import Forgotten
from storage.keys.key_store import CustomerKeys
from storage.keys.row_keys import LABEL_INDEX
from storage.timestamps import EPOCH
from tests.in_process.key_files import cut_days
from tests.storage.index_lists import damage, details

DAY = 20513  # 2026-03-01
MIDNIGHT = EPOCH + timedelta(days=DAY)
MIRA = {
    "role": "participant",
    "name": "Mira Ößling",
    "number": "+4930901820101",
    "uri": "sip:+4930901820101@sbc.example",
}
BODO = {"role": "participant", "name": "Bodo Klein", "number": "+4989901820102", "uri": "sip:bodo@sbc.example"}


def call(
    keys: CustomerKeys, day: int = DAY, second: int = 0, state: CallState = CallState.COMPLETE, **changes: Any
) -> CallRow:
    """Make a call between Mira and Bodo."""
    started = EPOCH + timedelta(days=day, seconds=second)
    ended = None if state == CallState.RECORDING else started + timedelta(minutes=1)
    talk = details(MIRA, BODO, session_id="s", streams=[])
    row = CallRow(str(uuid4()), keys.allocate(day), state, started, ended, 60_000, 1000, details=talk)
    return dataclasses.replace(row, **changes)


def forms(row: CallRow) -> tuple[str, ...]:
    return search_forms.stored_of(row.details["parties"], "DE")


async def put(calls: Calls, *rows: CallRow) -> int:
    return await calls.put(rows, [forms(row) for row in rows])


async def test_a_call_comes_back_as_it_was_put(calls: Calls, keys: CustomerKeys) -> None:
    assert await calls.put([], []) == await calls.total_bytes() == 0
    row = call(keys, hold=True, erase_after=MIDNIGHT, size_bytes=3 << 40)
    with pytest.raises(ValueError, match="forms"):
        await calls.put([row], [])
    assert await put(calls, row, call(keys, size_bytes=5)) == 2
    assert await calls.get(row.id) == row
    assert await calls.get(str(UUID(int=0))) is None
    assert (await calls.count(), await calls.total_bytes()) == (2, (3 << 40) + 5)


async def tokens_of(database: Database, row: CallRow) -> set[int]:
    async with database.reading() as connection:
        return set(await connection.scalars(sa.select(call_tokens.c.token).where(call_tokens.c.leaf == row.leaf)))


async def found(calls: Calls, party: str) -> tuple[CallRow, ...]:
    return (await calls.find(Query(party=Personal(party)))).items


async def test_tokens_follow_the_parties(calls: Calls, database: Database, keys: CustomerKeys) -> None:
    row = call(keys, state=CallState.RECORDING)
    alone = dataclasses.replace(row, details=details(MIRA))
    for put_again in (row, row, alone):
        await put(calls, put_again)
        assert len(await tokens_of(database, row)) == len(forms(put_again))
        assert await found(calls, "Mira") == (put_again,)
    assert await found(calls, "Bodo") == () and await calls.count() == 1


async def test_a_call_of_another_node_is_not_ones_own(calls: Calls, database: Database, keys: CustomerKeys) -> None:
    other, mine, over = Calls(database, keys, "DE", 2), call(keys, state=CallState.RECORDING), call(keys)
    theirs = call(keys, state=CallState.RECORDING)
    await put(calls, mine, over)
    await put(other, theirs)
    assert await calls.unfinished() == ((mine.id, mine.leaf),) and await calls.elsewhere() == {theirs.id}
    assert await other.unfinished() == ((theirs.id, theirs.leaf),) and await other.elsewhere() == {mine.id}
    await put(other, dataclasses.replace(theirs, state=CallState.COMPLETE, ended_at=MIDNIGHT))
    assert await calls.elsewhere() == frozenset() and len(await found(calls, "Mira")) == 3


async def test_a_finished_call_is_not_moved_back(calls: Calls, keys: CustomerKeys) -> None:
    live = call(keys, state=CallState.RECORDING)
    done = dataclasses.replace(live, state=CallState.COMPLETE, ended_at=MIDNIGHT)
    await put(calls, live)
    assert await calls.unfinished() == ((live.id, live.leaf),)
    await put(calls, done)
    stale = dataclasses.replace(live, details=details(BODO))
    assert await put(calls, stale) == 0
    assert await calls.get(live.id) == done
    assert await calls.unfinished() == ()
    assert await found(calls, "Mira") == (done,)


async def test_the_end_of_retention_is_known_of_calls_that_are_over(calls: Calls, keys: CustomerKeys) -> None:
    due, ever = call(keys, erase_after=MIDNIGHT), call(keys)
    live = call(keys, state=CallState.RECORDING)
    await put(calls, due, ever, live)
    asked = [due.id, ever.id, live.id, due.id, str(UUID(int=0))]
    assert await calls.retained(asked) == {due.id: MIDNIGHT, ever.id: None}
    assert await calls.retained([]) == {}


async def test_everybody_who_took_part_is_found_in_any_spelling(calls: Calls, keys: CustomerKeys) -> None:
    row = call(keys)
    await put(calls, row, call(keys, details=details({"name": "Someone Else", "number": "+4940901820199"})))
    for party in ("030 901820101", "820101", "ößling", "Oessling, Mira", "sip:bodo@sbc.example", "+49 89 901820102"):
        assert await found(calls, party) == (row,)


async def test_a_call_whose_leaf_or_day_was_cut_is_not_there(calls: Calls, keys: CustomerKeys) -> None:
    gone, kept, newer = call(keys, second=1), call(keys, second=2), call(keys, day=DAY + 1)
    await put(calls, gone, kept, newer)
    keys.cut(gone.leaf)
    assert await calls.get(gone.id) is None
    assert await put(calls, gone) == 0
    assert (await calls.find(Query())).items == await found(calls, "Mira") == (newer, kept)
    cut_days(keys, DAY)
    assert (await calls.find(Query())).items == await found(calls, "Mira") == (newer,)


async def test_removing_a_call_removes_its_row_and_tokens(calls: Calls, database: Database, keys: CustomerKeys) -> None:
    rows = [call(keys, day=DAY + i % 2, second=i) for i in range(6)]
    await put(calls, *rows)
    keys.cut(rows[0].leaf)
    assert await calls.remove([rows[0].id, rows[1].id, "unknown"]) == 2
    assert await calls.remove([rows[0].id]) == 0
    assert await calls.count() == 4
    await calls.remove([row.id for row in rows])
    async with database.reading() as connection:
        assert (await connection.execute(sa.select(call_tokens))).all() == []
        assert (await connection.execute(sa.select(days))).all() == []


async def test_an_erased_day_is_indexed_anew_under_a_fresh_leaf(
    calls: Calls, database: Database, keys: CustomerKeys
) -> None:
    gone, kept = call(keys, second=1), call(keys, second=2)
    await put(calls, gone, kept)
    before = await calls.index_leaf(DAY)
    assert before is not None
    old = await tokens_of(database, kept)
    keys.cut(gone.leaf, before)
    await calls.remove([gone.id])
    assert await found(calls, "Mira") == (kept,)
    assert await calls.reindex(DAY) == 1
    assert await found(calls, "Mira") == (kept,)
    assert await calls.index_leaf(DAY) != before
    assert not old & await tokens_of(database, kept)
    with pytest.raises(Forgotten):
        keys.secret(before, "index")


async def test_tokens_of_a_day_whose_key_was_cut_go_in_pieces(
    calls: Calls, database: Database, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.calls.call_index.PIECE", 3)
    rows = [call(keys, second=n) for n in range(8)]
    other = call(keys, day=DAY + 1)
    await put(calls, *rows, other)
    assert not await calls.remove_tokens(DAY), "its key is still there"
    assert not await calls.remove_tokens(DAY + 5), "there is no such day"
    assert len(await found(calls, "Mira")) == 9
    keys.cut(rows[0].leaf, await calls.index_leaf(DAY) or 0)
    assert await calls.remove_tokens(DAY)
    async with database.reading() as connection:
        assert set(await connection.scalars(sa.select(call_tokens.c.day))) == {DAY + 1}
    assert await calls.reindex(DAY) == 7
    assert len(await found(calls, "Mira")) == 8


class Watched:
    """Keys that say when somebody finds one forgotten."""

    def __init__(self, keys: CustomerKeys) -> None:
        self._keys = keys
        self.missed = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keys, name)

    def secret(self, leaf: int, label: str) -> bytes:
        try:
            return self._keys.secret(leaf, label)
        except Forgotten:
            self.missed.set()
            raise


async def test_tokens_that_were_made_anew_meanwhile_stay(calls: Calls, database: Database, keys: CustomerKeys) -> None:
    gone, stays, late = (call(keys, second=n) for n in range(3))
    await put(calls, gone, stays)
    keys.cut(gone.leaf, await calls.index_leaf(DAY) or 0)
    watched = Watched(keys)
    async with asyncio.TaskGroup() as tasks, database.writing():
        tasks.create_task(put(calls, late))
        await asyncio.sleep(0)
        removal = tasks.create_task(Calls(database, watched, "DE").remove_tokens(DAY))
        await watched.missed.wait()
    assert not removal.result()
    assert {row.id for row in await found(calls, "Mira")} == {stays.id, late.id}


async def test_a_big_day_is_indexed_in_pages_outside_the_loop(
    calls: Calls, database: Database, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.calls.call_index.BATCH", 3)
    where: set[int] = set()

    def opened(*given: Any) -> Any:
        where.add(threading.get_ident())
        return open_row(*given)

    rows = [call(keys, second=n) for n in range(8)]
    await put(calls, *rows)
    await damage(database, rows[4])
    monkeypatch.setattr("storage.calls.call_index.open_row", opened)
    keys.cut(await calls.index_leaf(DAY) or 0)
    assert await calls.reindex(DAY) == 7
    assert where and threading.get_ident() not in where
    assert await found(calls, "Mira") == (*rows[:4:-1], *rows[3::-1])


async def test_a_write_repairs_a_day_whose_index_was_cut(calls: Calls, keys: CustomerKeys) -> None:
    first, second = call(keys, second=1), call(keys, second=2)
    await put(calls, first)
    keys.cut(await calls.index_leaf(DAY) or 0)
    await put(calls, second)
    assert await found(calls, "Bodo") == (second, first)


async def test_writers_at_once_write_everything(calls: Calls, keys: CustomerKeys) -> None:
    rows = [call(keys, second=i) for i in range(40)]
    await asyncio.gather(*(put(calls, *rows[i : i + 8]) for i in range(0, 40, 4)))
    assert await calls.count() == 40
    assert len(await found(calls, "Mira")) == 40


async def test_batches_give_every_matching_call_once(calls: Calls, keys: CustomerKeys) -> None:
    mine = [call(keys, DAY - i % 3, i) for i in range(25)]
    other = call(keys, second=99, details=details(BODO, session_id="s", streams=[]))
    await put(calls, *mine, other)
    keys.cut(mine[4].leaf)
    asked = (
        Query(party=Personal("+4930901820101")),
        Query(party=Personal("Mira Ößling")),
        Query(party=Personal("030 901820101"), exact=True),
    )
    for query in asked:
        seen = [batch async for batch in calls.in_batches(query, 10)]
        assert [len(batch) for batch in seen] == [10, 10, 5]
        found = [row for batch in seen for row in batch.open()]
        assert found == list((await calls.find(query)).items)
        assert {row.id for row in found} == {row.id for row in mine} - {mine[4].id}
    everything = [row.id async for batch in calls.in_batches(Query(), 7) for row in batch.open()]
    assert sorted(everything) == sorted({row.id for row in [*mine, other]} - {mine[4].id})
    assert [batch async for batch in calls.in_batches(Query(party=Personal("nobody at all")), 7)] == []


async def test_a_damaged_row_is_repaired_by_the_next_write(
    calls: Calls, database: Database, keys: CustomerKeys
) -> None:
    live, other = call(keys, second=1, state=CallState.RECORDING), call(keys, second=2)
    await put(calls, live)
    await damage(database, live)
    parties = details(BODO, session_id="s", streams=[])
    ended = dataclasses.replace(live, state=CallState.COMPLETE, ended_at=live.started_at, details=parties)
    assert await put(calls, other, ended) == 2
    assert await found(calls, "Bodo") == (other, ended)
    assert await found(calls, "Mira") == (other,)
    key = keys.secret(await calls.index_leaf(DAY) or 0, "index")
    assert await tokens_of(database, ended) == set(tokens(key, forms(ended)))


async def test_a_key_of_a_day_that_was_not_cut_is_not_replaced(
    calls: Calls, database: Database, keys: CustomerKeys
) -> None:
    """Nobody would know it any more, and so never cut it: what it opens in a copy of now could be asked for ever."""
    await put(calls, call(keys))
    before = await calls.index_leaf(DAY)
    assert await calls.reindex(DAY) is None
    assert await calls.index_leaf(DAY) == before
    assert await calls.reindex(DAY + 1) is None


async def test_the_loop_stays_responsive_while_calls_are_sealed(
    calls: Calls, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn, at = [0], list[tuple[str, int]]()

    async def others() -> None:
        while True:
            turn[0] += 1
            await asyncio.sleep(0)

    def noted(what: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*words: Any) -> Any:
            at.append((what, turn[0]))
            return do(*words)

        return noting

    monkeypatch.setattr(calls, "seal", noted("sealed", calls.seal))
    monkeypatch.setattr(call_index, "tokens", noted("tokens", tokens))
    ticking = asyncio.create_task(others())
    assert await put(calls, *[call(keys, second=second) for second in range(25)]) == 25
    ticking.cancel()
    assert len(at) == 50
    assert max(Counter(at).values()) <= call_index.FEW


def cut_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, number: int, cut: Callable[[], object]) -> None:
    """Have an erasure cut leaves while the index does something for the n-th time."""
    do, done = getattr(owner, name), list[None]()

    def cutting(*given: Any) -> Any:
        done.append(None)
        if len(done) == number:
            cut()
        return do(*given)

    monkeypatch.setattr(owner, name, cutting)


async def test_a_call_cut_before_its_tokens_delays_no_other(
    calls: Calls, database: Database, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was found by can no longer be opened, and its tokens are there already: a second time is refused."""
    live = [call(keys, second=second, state=CallState.RECORDING) for second in range(25)]
    await put(calls, *live)
    ended = [dataclasses.replace(row, state=CallState.COMPLETE, ended_at=row.started_at) for row in live]
    cut_at(monkeypatch, call_index, "tokens", 5, lambda: keys.cut(live[15].leaf))  # when all are sealed
    await put(calls, *ended)
    assert [await calls.get(row.id) for row in ended] == [*ended[:15], None, *ended[16:]]
    assert await calls.remove([live[15].id]) == 1
    assert await tokens_of(database, live[15]) == set()


async def test_a_call_cut_after_sealing_gets_no_newer_tokens(
    calls: Calls, database: Database, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That key stays when the erasure is done, and a copy of the database could be asked who called."""
    await put(calls, call(keys, second=100))
    index = await calls.index_leaf(DAY)
    rows = [call(keys, second=second) for second in range(25)]
    assert index is not None
    cut_at(monkeypatch, calls, "seal", 10, lambda: keys.cut(rows[3].leaf, index))  # the call and its day's tokens
    assert await put(calls, *rows) == 24
    fresh = await calls.index_leaf(DAY)
    assert fresh is not None
    key = keys.secret(fresh, LABEL_INDEX)
    assert await tokens_of(database, rows[3]) == set()
    assert await tokens_of(database, rows[4]) == set(tokens(key, forms(rows[4])))
    assert await calls.count() == 25
