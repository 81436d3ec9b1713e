"""What a request looks for is written and read again."""

from datetime import UTC, datetime

import pytest

from personal import Personal
from storage.calls.call_row import CallState, Direction, Query
from storage.calls.stored_query import read, written

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "query",
    [
        None,
        Query(party=Personal("Mira Okafor")),
        Query(since=NOON),
        Query(since=datetime(1, 1, 1, tzinfo=UTC), until=datetime(9999, 12, 31, tzinfo=UTC)),
        Query(hold=False, direction=Direction.OUTBOUND, source="192.0.2.7"),
        Query(party=Personal("+4930123456"), since=NOON, until=NOON, state=CallState.INTERRUPTED),
    ],
)
def test_it_is_read_as_it_was_written(query: Query | None) -> None:
    assert read(written(query)) == query


def test_requests_of_before_had_a_party_alone() -> None:
    assert read({"party": "Mira"}) == Query(party=Personal("Mira"))
    assert read({"party": None}) is None
