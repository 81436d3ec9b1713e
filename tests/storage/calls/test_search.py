"""Lists are newest first and complete over pages; a search looks at tokens only and lets nothing wrong through."""

import asyncio
import dataclasses
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from random import Random
from uuid import UUID, uuid4

import pytest

from personal import Personal
from storage.calls import search
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, CallState, Direction, Fresh, Query
from storage.calls.sealed_row import open_row
from storage.calls.search_tokens import token
from storage.cursors import BadCursor
from storage.database.database import Database
from storage.database.schema import call_tokens
from storage.database.schema import calls as calls_table
from storage.keys.key_store import CustomerKeys
from storage.search_forms import stored_of
from storage.timestamps import EPOCH
from tests.in_process.key_files import cut_days
from tests.in_process.storage_node import emptied
from tests.plain_values import plain
from tests.storage.index_lists import damage, details, pages

FIRST = 20400
NAMES = ("Mira Weber", "Bodo Klein", "Anna Klein", "Bodo Weber")


def some_calls(keys: CustomerKeys, count: int = 60) -> list[CallRow]:
    """Make calls of six days, some at the same moment, in no order; newest first in the result."""
    random = Random(7)
    rows = []
    for i in range(count):
        day = FIRST + i % 6
        parties = [{"name": NAMES[i % 4], "number": f"+49309018201{i:02d}"}, {"name": NAMES[(i + 1) % 4]}]
        started = EPOCH + timedelta(days=day, seconds=random.choice((5, 5, 100, 200)))
        state = CallState.RECORDING if i % 10 == 0 else CallState.COMPLETE
        id = str(UUID(int=random.getrandbits(128)))
        rows.append(CallRow(id, keys.allocate(day), state, started, None, 1, 1, details=details(*parties)))
    return sorted(rows, key=lambda r: (r.day, r.started_at, r.id), reverse=True)


@pytest.fixture
def rows(keys: CustomerKeys) -> list[CallRow]:
    """Sixty calls, newest first."""
    return some_calls(keys)


@pytest.fixture
def calls(calls: Calls, rows: list[CallRow], loop: asyncio.Runner) -> Calls:
    """An index of them, written in another order."""
    order = Random(1).sample(rows, len(rows))
    loop.run(calls.put(order, [stored_of(row.details["parties"], "DE") for row in order]))
    return calls


def named(name: str) -> Callable[[CallRow], bool]:
    return lambda row: any(name in (plain(party["name"]) or "") for party in row.details["parties"])


@pytest.mark.parametrize("limit", [1, 7, 60, 1000])
async def test_pages_hold_every_call_once_newest_first(calls: Calls, rows: list[CallRow], limit: int) -> None:
    assert await pages(calls, Query(limit=limit)) == rows
    assert [row async for row in calls.every(Query(limit=limit))] == rows
    with pytest.raises(BadCursor):
        await calls.find(Query(cursor="AAAA", limit=limit))


@pytest.mark.parametrize("limit", [1, 7])
@pytest.mark.parametrize(("first_days", "first_calls"), [(1, 20_000), (64, 20_000), (64, 0), (64, 20)])
async def test_pages_of_a_search_hold_every_hit_once(
    calls: Calls, rows: list[CallRow], limit: int, first_days: int, first_calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FIRST_DAYS", first_days)
    monkeypatch.setattr(search, "FIRST_CALLS", first_calls)
    for name in ("Mira", "Klein", "Bodo Weber"):
        assert await pages(calls, Query(party=Personal(name), limit=limit)) == list(filter(named(name), rows))


@pytest.mark.parametrize("first_days", [1, 64])
async def test_days_whose_index_was_cut_hide_nothing(
    calls: Calls, rows: list[CallRow], keys: CustomerKeys, first_days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FIRST_DAYS", first_days)
    gone = [row for row in rows if row.day == FIRST + 1]
    keys.cut(*[await calls.index_leaf(FIRST + n) or 0 for n in (2, 3, 5)], *[row.leaf for row in gone[:3]])
    for query in (
        Query(party=Personal("Klein"), limit=3),
        Query(party=Personal("Bodo"), state=CallState.COMPLETE, limit=7),
    ):
        meant = filter(named(plain(query.party) or ""), rows)
        due = [row for row in meant if row not in gone[:3] and query.state in (None, row.state)]
        assert await pages(calls, query) == due
        assert [row async for batch in calls.in_batches(query, 9) for row in batch.open()] == due


async def test_a_day_that_is_gone_as_a_whole_is_not_gone_through(
    calls: Calls, rows: list[CallRow], keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[int] = set()
    cut_days(keys, FIRST + 5)
    monkeypatch.setattr(search, "open_row", lambda keys, record: (seen.add(record.day), open_row(keys, record))[1])
    assert await pages(calls, Query(party=Personal("Mira"))) == [
        r for r in rows if r.day < FIRST + 5 and named("Mira")(r)
    ]
    assert seen == {row.day for row in rows} - {FIRST + 5}


async def test_two_names_of_two_people_are_not_one(calls: Calls) -> None:
    for party in ("Mira Klein", "nobody", ""):
        assert await pages(calls, Query(party=Personal(party))) == []


async def test_the_last_digits_find_the_one_number_that_ends_so(calls: Calls, rows: list[CallRow]) -> None:
    found = await pages(calls, Query(party=Personal("0182 0133")))
    assert found == [row for row in rows if plain(row.details["parties"][0]["number"]).endswith("01820133")]
    assert len(found) == 1
    assert await pages(calls, Query(party=Personal("030 90182 0133"))) == found  # two tokens find it, it is shown once
    assert await pages(calls, Query(party=Personal("0182 0133"), exact=True)) == []


@pytest.mark.parametrize("party", [None, "Bodo"])
async def test_since_is_included_and_until_is_not(calls: Calls, rows: list[CallRow], party: str | None) -> None:
    since = EPOCH + timedelta(days=FIRST + 1, seconds=100)
    until = EPOCH + timedelta(days=FIRST + 4, seconds=5)
    wanted = [row for row in rows if since <= row.started_at < until and (party is None or named(party)(row))]
    assert (
        await pages(calls, Query(party=Personal(party) if party else None, since=since, until=until, limit=4)) == wanted
    )
    assert wanted


@pytest.mark.parametrize("few", [0, 5, 300])
@pytest.mark.parametrize("party", [None, "Bodo"])
async def test_a_state_is_filtered(
    calls: Calls, rows: list[CallRow], party: str | None, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    found = await pages(calls, Query(party=Personal(party) if party else None, state=CallState.RECORDING, limit=2))
    assert found == [row for row in rows if row.state == "recording" and (party is None or named(party)(row))]
    assert found


async def test_a_rare_state_is_looked_through_without_tokens(
    calls: Calls, rows: list[CallRow], database: Database
) -> None:
    async with database.writing() as connection:
        await connection.execute(call_tokens.delete())
    assert await pages(calls, Query(party=Personal("Bodo"))) == []
    found = await pages(calls, Query(party=Personal("Bodo"), state=CallState.RECORDING, limit=2))
    assert found == [row for row in rows if row.state == "recording" and named("Bodo")(row)]


async def test_a_cursor_stays_good_while_calls_come_and_go(
    calls: Calls, rows: list[CallRow], keys: CustomerKeys
) -> None:
    page = await calls.find(Query(limit=10))
    newer = dataclasses.replace(
        rows[0], id=str(uuid4()), leaf=keys.allocate(FIRST + 9), started_at=rows[0].started_at + timedelta(days=3)
    )
    await calls.put([newer], [()])
    await calls.remove([rows[9].id])
    assert (await calls.find(Query(limit=10, cursor=page.next_cursor))).items == tuple(rows[10:20])


async def test_a_damaged_row_is_counted_and_the_others_are_shown(
    calls: Calls, rows: list[CallRow], database: Database
) -> None:
    await damage(database, rows[3])
    page = await calls.find(Query(limit=100))
    assert page.unreadable == 1
    assert list(page.items) == rows[:3] + rows[4:]


async def test_a_chance_hit_of_a_token_is_not_shown(
    calls: Calls, rows: list[CallRow], database: Database, keys: CustomerKeys
) -> None:
    key = keys.secret(await calls.index_leaf(rows[0].day) or 0, "index")
    wrong = [row.leaf for row in rows if row.day == rows[0].day and not named("Mira")(row)]
    async with database.writing() as connection:
        for leaf in wrong:
            hit = {"day": rows[0].day, "token": token(key, "w:mira"), "leaf": leaf}
            await connection.execute(call_tokens.insert(), hit)
    assert await pages(calls, Query(party=Personal("Mira"), limit=3)) == list(filter(named("Mira"), rows))
    assert wrong


ASKED = (
    Query(),
    Query(party=Personal("Klein")),
    Query(party=Personal("0309018201 05")),
    Query(state=CallState.RECORDING),
    Query(state=CallState.COMPLETE, party=Personal("Mira Weber")),
    Query(state=CallState.INTERRUPTED),
    Query(since=EPOCH + timedelta(days=FIRST + 2, seconds=5), until=EPOCH + timedelta(days=FIRST + 4, seconds=100)),
    Query(hold=True),
    Query(hold=False, party=Personal("Bodo")),
    Query(direction=Direction.INBOUND),
    Query(source="192.0.2.1", party=Personal("Anna")),
)


@pytest.mark.parametrize("limit", [7, 1000])
async def test_a_search_includes_calls_not_yet_indexed(
    url: str, tmp_path: Path, keys: CustomerKeys, limit: int
) -> None:
    """One index has everything, the other lacks a third of it and knows older states of another third."""
    random = Random(11)
    more = [{"direction": "inbound" if n % 3 else "outbound", "source": f"192.0.2.{n % 2}"} for n in range(60)]
    rows = [
        dataclasses.replace(
            row, details=details(*plain(row.details["parties"]), **each), state=random.choice(list(CallState))
        )
        for row, each in zip(some_calls(keys), more, strict=True)
    ]
    forms = {row.id: stored_of(row.details["parties"], "DE") for row in rows}
    older = {row.id: dataclasses.replace(row, state=CallState.RECORDING, details=details()) for row in rows[::3]}
    lacking = {row.id for row in rows[1::3]}
    erased = keys.allocate(FIRST)
    gone = CallRow(str(UUID(int=5)), erased, CallState.RECORDING, rows[0].started_at, None, 0, 0)

    def fresh_one(row: CallRow) -> Fresh:
        live = row.state is CallState.RECORDING
        return Fresh(row.id, row.leaf, row.started_at, live, lambda: (row, tuple(forms[row.id])))

    fresh = [fresh_one(row) for row in Random(3).sample(rows, len(rows)) if row.id in older or row.id in lacking]
    fresh.append(Fresh(gone.id, gone.leaf, gone.started_at, True, lambda: None))

    async def listed(there: list[CallRow], beside: list[Fresh]) -> list[list[CallRow]]:
        database = await emptied(url, "acme", tmp_path)
        calls = Calls(database, keys, "DE")
        await calls.put(there, [() if row is older.get(row.id) else forms[row.id] for row in there])
        held = {row.id for row in rows[::5]} - lacking  # nobody holds what the index lacks: it is written first
        async with database.writing() as connection:
            await connection.execute(calls_table.update().where(calls_table.c.id.in_(held)).values(hold=True))
        found = [await pages(calls, dataclasses.replace(query, limit=limit), beside) for query in ASKED]
        await database.close()
        return found

    wanted = await listed(rows, [])
    assert all(wanted)
    partly = [older.get(row.id, row) for row in rows if row.id not in lacking]
    for query, found, right in zip(ASKED, await listed(partly, fresh), wanted, strict=True):
        assert found == right, query


async def test_only_rows_that_may_be_shown_are_made(database: Database, keys: CustomerKeys) -> None:
    made: list[str] = []

    def entry(row: CallRow) -> Fresh:
        def make() -> tuple[CallRow, tuple[str, ...]]:
            made.append(row.id)
            return row, ()

        return Fresh(row.id, row.leaf, row.started_at, row.state is CallState.RECORDING, make)

    rows = some_calls(keys)
    page = await Calls(database, keys, "DE").find(Query(limit=2), [entry(row) for row in rows])
    assert [*page.items] == rows[:2] and made == [row.id for row in rows[:3]]
