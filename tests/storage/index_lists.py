"""Whole lists of calls out of an index."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from storage.calls.call_index import Calls
from storage.calls.call_row import CallRow, Fresh, Query


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
