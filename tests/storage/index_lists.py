"""An index of calls on each kind of database, and whole lists out of it."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Sequence

from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, Fresh, Query
from storage.database.database import Database
from storage.keys.key_store import CustomerKeys
from storage.search_forms import stored_of

Story = Callable[[Calls, list[CallRow], Database], Awaitable[None]]
Tell = Callable[[Story], None]


def teller(
    empty: Callable[[], Awaitable[Database]], keys: CustomerKeys, rows: list[CallRow], written: Sequence[CallRow] = ()
) -> Tell:
    """Return what runs a story against an index with these calls, written in their order or another."""
    order = written or rows

    def run(story: Story) -> None:
        async def whole() -> None:
            database = await empty()
            calls = Calls(database, keys, "DE")
            try:
                await calls.put(order, [stored_of(row.details["parties"], "DE") for row in order])
                await story(calls, rows, database)
            finally:
                await database.close()

        asyncio.run(whole())

    return run


async def pages(calls: Calls, query: Query, fresh: Sequence[Fresh] = ()) -> list[CallRow]:
    """Give the whole list, page by page."""
    found, cursor = [], None
    while True:
        page = await calls.find(dataclasses.replace(query, cursor=cursor), fresh)
        assert len(page.items) <= query.limit
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
