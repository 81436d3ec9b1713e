"""Whoever is asked for, in whatever spelling, comes with all calls and no others: the small sister of bench.search."""

import asyncio
from collections.abc import Awaitable, Callable

from bench.people import Kind
from bench.search import ask, fill
from storage.calls.call_index import Calls
from storage.database.database import Database
from storage.keys.key_store import CustomerKeys

CALLS, PEOPLE, SOUGHT, EACH = 1200, 300, 12, 24
QUESTIONS = 16  # of each kind


def test_every_call_of_a_person_is_found_in_any_spelling(
    empty: Callable[[], Awaitable[Database]], keys: CustomerKeys
) -> None:
    async def story() -> None:
        database = await empty()
        try:
            filled = await fill(Calls(database, keys, "DE"), keys, CALLS, PEOPLE, SOUGHT, EACH)
            for kind in Kind:
                found = await ask(filled, kind, QUESTIONS)
                assert (kind, found.missed, found.wrong) == (kind, 0, 0)
                assert found.due > 50
        finally:
            await database.close()

    asyncio.run(story())
