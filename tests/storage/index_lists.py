"""The sealed part of calls, and whole lists of calls out of an index."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from storage.calls.call_document import CallDetails, wrapped
from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, Fresh, Query
from storage.database.database import Database
from storage.database.schema import calls as calls_table


def details(*parties: Mapping[str, Any], **members: Any) -> CallDetails:
    """Make the sealed part of a call from texts in the clear."""
    document: Any = {"parties": list(parties), **members}
    return wrapped(document)


async def damage(database: Database, row: CallRow) -> None:
    """Spoil what is sealed of a call."""
    async with database.writing() as connection:
        await connection.execute(calls_table.update().where(calls_table.c.id == row.id).values(sealed=b"x" * 40))


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
