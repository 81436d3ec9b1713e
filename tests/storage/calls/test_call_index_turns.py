"""Writing hundreds of calls keeps nobody else from the loop for long: at 200 calls a second an INVITE would wait."""

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from storage.calls import call_index as module
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, CallState
from storage.calls.search_tokens import tokens
from storage.database.database import Database
from storage.database.schema import call_tokens
from storage.keys.key_store import CustomerKeys
from storage.keys.row_keys import LABEL_INDEX
from tests.storage.calls.test_call_index import DAY, call, forms, put


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
    monkeypatch.setattr(module, "tokens", noted("tokens", tokens))
    ticking = asyncio.create_task(others())
    assert await put(calls, *[call(keys, second=second) for second in range(25)]) == 25
    ticking.cancel()
    assert len(at) == 50
    assert max(Counter(at).values()) <= module.FEW


def cut_in_turn(monkeypatch: pytest.MonkeyPatch, number: int, keys: CustomerKeys, *leaves: int) -> None:
    """Have an erasure cut leaves in one of the turns that others get, which are counted from now on."""
    turns, others = [0], module._let_others

    async def cutting(at: int) -> None:
        turns[0] += 1
        if turns[0] == number:
            keys.cut(*leaves)
        await others(at)

    monkeypatch.setattr(module, "_let_others", cutting)


async def tokens_of(database: Database, row: CallRow) -> set[int]:
    async with database.reading() as connection:
        return set(await connection.scalars(sa.select(call_tokens.c.token).where(call_tokens.c.leaf == row.leaf)))


async def test_a_call_cut_before_its_tokens_delays_no_other(
    calls: Calls, database: Database, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was found by can no longer be opened, and its tokens are there already: a second time is refused."""
    live = [call(keys, second=second, state=CallState.RECORDING) for second in range(25)]
    await put(calls, *live)
    ended = [dataclasses.replace(row, state=CallState.COMPLETE, ended_at=row.started_at) for row in live]
    cut_in_turn(monkeypatch, len(live) + 5, keys, live[15].leaf)  # all are sealed, the tokens of four are made
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
    cut_in_turn(monkeypatch, 10, keys, rows[3].leaf, index)  # as an erasure does: the call and its day's tokens
    assert await put(calls, *rows) == 24
    fresh = await calls.index_leaf(DAY)
    assert fresh is not None
    key = keys.secret(fresh, LABEL_INDEX)
    assert await tokens_of(database, rows[3]) == set()
    assert await tokens_of(database, rows[4]) == set(tokens(key, forms(rows[4])))
    assert await calls.count() == 25
