"""What an import would change is counted, and done piece by piece."""

from dataclasses import replace

import pytest

from storage.directory.user import Change, Person, Since, UserState
from storage.directory.user_store import Plan
from tests.storage.directory.test_user import MIRA, user

SINCE = Since("2026-03-01T00:00:00.000000Z")


def test_a_change_is_classified_by_the_known_user() -> None:
    plan = Plan("entra", SINCE)
    active, gone = replace(user(MIRA, unmapped=None), state=UserState.ACTIVE), Change("", {}, gone=True)
    for known, change in (
        (None, Change("new", {"first_name": "Nora"})),
        (None, gone),
        (active, gone),
        (active, Change("", {"first_name": "Mirah"})),
        (active, Change("", {})),
        (user(MIRA), Change("", {})),  # back
        (user(MIRA), gone),
    ):
        plan.change(known, change)
    assert plan.counts == {"added": 1, "changed": 2, "unmapped": 1, "unchanged": 1}
    assert plan.size == 4


def test_pieces_have_everything_and_the_same_time() -> None:
    plan = Plan("csv", SINCE)
    plan.added = [Person(account_name=str(number)) for number in range(5)]
    plan.unmapped = [user(MIRA)]
    pieces = list(plan.pieces(2))
    assert [piece.size for piece in pieces] == [2, 2, 1, 1]
    assert {(piece.source, piece.since) for piece in pieces} == {("csv", SINCE)}


@pytest.mark.parametrize(
    ("leave", "of", "percent", "asks"),
    [(0, 0, 5, False), (0, 9, 0, False), (2, 40, 5, False), (3, 40, 5, True), (1, 3, 5, False), (1, 3, 0, True),
     (2, 3, 5, True), (40, 40, 100, False)],
)  # fmt: skip
def test_who_may_leave_without_asking(leave: int, of: int, percent: float, asks: bool) -> None:
    plan = Plan("csv", SINCE)
    plan.active, plan.unmapped = of, [user(MIRA)] * leave
    assert plan.asks(percent) is asks
