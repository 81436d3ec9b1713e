"""Lists by hold, direction and source hold exactly those calls, on both databases, before and after `fill`."""

import asyncio
import dataclasses
from datetime import timedelta
from itertools import product

import pytest
import sqlalchemy as sa

from personal import Personal
from storage.calls import filter_columns
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, CallState, Direction, Query
from storage.database.database import Database
from storage.database.schema import calls as calls_table
from storage.keys.key_store import CustomerKeys
from storage.search_forms import stored_of
from storage.timestamps import EPOCH
from tests.storage.index_lists import details, pages

DAY = 20400
SOURCES = ("192.0.2.7", "2001:db8::7", "sbc1.acme.example", None)
WAYS = ("inbound", "outbound", None)
QUERIES = [
    Query(hold=hold, direction=direction, source=source, state=state, party=party)
    for hold, direction, source, state, party in product(
        (None, True, False),
        (None, Direction.INBOUND, Direction.INTERNAL),
        (None, "192.0.2.7", "[2001:DB8:0:0::7]", "SBC1.acme.example", "192.0.2.70"),
        (None, CallState.RECORDING, CallState.COMPLETE),
        (None, Personal("Mira")),
    )
][::5]

OLD = [
    Query(direction=Direction.INBOUND),
    Query(source="192.0.2.7"),
    Query(party=Personal("Mira"), direction=Direction.OUTBOUND, source="2001:db8::7"),
    Query(hold=True, state=CallState.RECORDING, direction=Direction.INBOUND),
]


def some_calls(keys: CustomerKeys, count: int = 72) -> list[CallRow]:
    """Make calls of every kind on three days, newest first."""
    rows = []
    for i in range(count):
        party = {"name": ("Mira Weber", "Bodo Klein")[i // 36]}
        talk = details(party, source=SOURCES[i % 4], direction=WAYS[i % 3])
        state = CallState.RECORDING if i % 5 == 0 else CallState.COMPLETE
        started = EPOCH + timedelta(days=DAY + i % 3, seconds=i)
        id = f"0f8fad5b-d9cb-469f-a165-{i:012x}"
        leaf = keys.allocate(DAY + i % 3)
        rows.append(CallRow(id, leaf, state, started, None, 1, 1, hold=i % 7 == 0, details=talk))
    return sorted(rows, key=lambda row: (row.day, row.started_at, row.id), reverse=True)


def meant(query: Query, row: CallRow) -> bool:
    """Return whether a call is meant, read once more in the plainest way."""
    source = {"[2001:DB8:0:0::7]": "2001:db8::7", "SBC1.acme.example": "sbc1.acme.example"}.get(
        query.source or "", query.source
    )
    return (
        query.hold in (None, row.hold)
        and query.state in (None, row.state)
        and (query.direction is None or row.details["direction"] == query.direction.value)
        and source in (None, row.details["source"])
        and (query.party is None or row.details["parties"][0]["name"].reveal().startswith(query.party.reveal()))
    )


@pytest.fixture
def rows(keys: CustomerKeys) -> list[CallRow]:
    """Calls of every kind."""
    return some_calls(keys)


@pytest.fixture
def calls(calls: Calls, rows: list[CallRow], loop: asyncio.Runner) -> Calls:
    """An index of them."""
    loop.run(calls.put(rows, [stored_of(row.details["parties"], "DE") for row in rows]))
    return calls


async def wholly_found(calls: Calls, rows: list[CallRow], queries: list[Query]) -> None:
    for query in queries:
        due = [row for row in rows if meant(query, row)]
        assert await pages(calls, dataclasses.replace(query, limit=20)) == due
        batches = [batch.open() async for batch in calls.in_batches(query, 10)]
        assert [row for some in batches for row in some] == due


async def test_every_query_finds_exactly_the_matching_calls(calls: Calls, rows: list[CallRow]) -> None:
    assert any(meant(query, row) for query in QUERIES for row in rows)
    await wholly_found(calls, rows, QUERIES)


async def test_search_tokens_are_used_if_many_rows_would_be_opened(
    calls: Calls, rows: list[CallRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.calls.search.FEW", 0)
    await wholly_found(calls, rows, [query for query in QUERIES if query.party])


@pytest.mark.parametrize("few", [0, 5, 20])
async def test_calls_are_found_the_same_through_any_column(
    calls: Calls, rows: list[CallRow], monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr("storage.calls.filter_columns.FEW", few)
    await wholly_found(calls, rows, QUERIES)


@pytest.mark.usefixtures("calls")
async def test_the_rarest_of_several_filters_leads_the_search(
    database: Database, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.calls.filter_columns.FEW", 10)
    source = "192.0.2.7"  # of 18 calls
    columns = calls_table.c
    rarest = {
        Query(source=source): None,
        Query(source=source, direction=Direction.INTERNAL): columns.direction,  # of none
        Query(source=source, direction=Direction.INBOUND): None,
        Query(direction=Direction.INBOUND, state=CallState.INTERRUPTED): columns.state,
        Query(source="192.0.2.70", state=CallState.RECORDING): columns.source,
    }
    async with database.reading() as connection:
        for query, column in rarest.items():
            assert (await filter_columns.asked_for(connection, keys, query)).rarest is column


async def test_calls_of_an_earlier_version_are_found_and_then_filled(
    calls: Calls, rows: list[CallRow], database: Database, keys: CustomerKeys
) -> None:
    columns = sa.select(calls_table.c.id, calls_table.c.direction, calls_table.c.source)
    async with database.writing() as connection:
        before = set(map(tuple, await connection.execute(columns)))
        old = calls_table.c.id.in_([row.id for row in rows[:40]])
        await connection.execute(calls_table.update().where(old).values(direction=None, source=None))
    await wholly_found(calls, rows, OLD)
    paused = []

    async def pause() -> None:
        paused.append(True)

    assert await filter_columns.fill(database, keys, pause) == 40
    assert await filter_columns.fill(database, keys, pause) == 0
    assert len(paused) == 1
    async with database.reading() as connection:
        assert set(map(tuple, await connection.execute(columns))) == before
    await wholly_found(calls, rows, OLD)


async def test_a_damaged_row_of_an_earlier_version_is_tried_once(
    calls: Calls, rows: list[CallRow], database: Database, keys: CustomerKeys
) -> None:
    async with database.writing() as connection:
        one = calls_table.c.id == rows[0].id
        await connection.execute(calls_table.update().where(one).values(direction=None, sealed=b"x"))
    assert await filter_columns.fill(database, keys, lambda: asyncio.sleep(0)) == 1
    assert await filter_columns.fill(database, keys, lambda: asyncio.sleep(0)) == 0


def test_the_database_does_not_say_whose_address_it_is(keys: CustomerKeys) -> None:
    told = filter_columns.columns(keys, {"source": "192.0.2.7", "direction": "outbound"})
    assert told["direction"] == 2 and str(told["source"]) not in ("0", "192.0.2.7")
    assert told == filter_columns.columns(keys, {"source": "::ffff:192.0.2.7", "direction": "outbound"})
    assert filter_columns.columns(keys, {"direction": "sideways"}) == {"direction": 0, "source": 0}


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (Query(hold=True), "calls_held"),
        (Query(direction=Direction.INBOUND), "calls_direction"),
        (Query(source="192.0.2.7", direction=Direction.INBOUND), "calls_source"),
        (Query(source="192.0.2.7", state=CallState.INTERRUPTED), "calls_state"),
        (Query(source="192.0.2.7", state=CallState.COMPLETE), "calls_source"),
        (Query(hold=True, source="192.0.2.7", state=CallState.INTERRUPTED), "calls_held"),
    ],
)
async def test_the_query_uses_the_rarest_index(calls: Calls, database: Database, query: Query, index: str) -> None:
    if database.dialect != "sqlite":
        return  # PostgreSQL plans by what it knows of the values; of seventy rows it reads all
    seen: list[str] = []

    def note(connection: sa.Connection, _cursor: object, statement: str, parameters: tuple[object, ...], *_: object):
        if statement.startswith("SELECT calls.id") and not seen:
            seen.append("")
            plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + statement, parameters)
            seen[0] = " ".join(str(step) for step in plan)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        await calls.find(query)
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)
    assert index in seen[0] and "TEMP B-TREE" not in seen[0]
