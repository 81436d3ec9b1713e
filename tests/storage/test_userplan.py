"""What an import would change is counted, and done piece by piece."""

from storage.people import Change, Person, Since, UserState
from storage.userplan import Plan
from tests.storage.test_people import MIRA, user

SINCE = Since("2026-03-01T00:00:00.000000Z")


def test_what_a_change_means_depends_on_who_is_known() -> None:
    plan = Plan("entra", SINCE)
    plan.take(None, Change("new", {"first_name": "Nora"}))
    plan.take(None, Change("never", {}, gone=True))
    active = user(MIRA, unmapped=None)
    object.__setattr__(active, "state", UserState.ACTIVE)
    plan.take(active, Change("", {}, gone=True))
    plan.take(active, Change("", {"first_name": "Mirah"}))
    plan.take(active, Change("", {}))
    plan.take(user(MIRA), Change("", {}))  # back
    plan.take(user(MIRA), Change("", {}, gone=True))  # gone already
    assert plan.counts == {"added": 1, "changed": 2, "unmapped": 1, "unchanged": 1}
    assert plan.size == 4


def test_pieces_have_everything_and_the_same_time() -> None:
    plan = Plan("csv", SINCE)
    plan.added = [Person(account_name=str(number)) for number in range(5)]
    plan.unmapped = [user(MIRA)]
    pieces = list(plan.pieces(2))
    assert [piece.size for piece in pieces] == [2, 2, 1, 1]
    assert {(piece.source, piece.since) for piece in pieces} == {("csv", SINCE)}


def test_the_share_that_would_leave() -> None:
    plan = Plan("csv", SINCE)
    assert plan.unmapped_percent == 0
    plan.active, plan.unmapped = 40, [user(MIRA)] * 2
    assert plan.unmapped_percent == 5
