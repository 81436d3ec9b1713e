"""Whoever is asked for, in whatever spelling, comes with all calls and no others: the small sister of bench.search."""

from bench.people import Kind
from bench.search import ask, fill
from storage.calls.call_index import Calls
from storage.keys.key_store import CustomerKeys

CALLS, PEOPLE, SOUGHT, EACH = 300, 80, 8, 12
QUESTIONS = 12  # of each kind


async def test_every_call_of_a_person_is_found_in_any_spelling(calls: Calls, keys: CustomerKeys) -> None:
    filled = await fill(calls, keys, CALLS, PEOPLE, SOUGHT, EACH)
    for kind in Kind:
        found = await ask(filled, kind, QUESTIONS)
        assert (kind, found.missed, found.wrong) == (kind, 0, 0)
        assert found.due > 20
