"""Who a person is in a directory, and what a user was known by."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

from storage.directory.user import (
    EVER,
    MAX_FORMER,
    MAX_TIMES,
    NEVER,
    Former,
    Person,
    Since,
    UserState,
    fields,
    former_of,
    later_of,
    shown,
    told,
)
from storage.timestamps import to_micros

MARCH = Since("2026-03-01T00:00:00.000000Z")
MAY = Since("2026-05-01T00:00:00.000000Z", "2026-04-30T00:00:00.000000Z")
MIRA = Person(first_name="Mira", email="Mira@X.example", numbers=("+491", "+492"))


def micros(month: int, day: int = 1) -> int:
    return to_micros(datetime(2026, month, day, tzinfo=UTC))


def row(unmapped: int | None) -> SimpleNamespace:
    named = {"id": "i", "state": "inactive", "source": "csv", "source_key": b"k", "leaf": 7}
    return SimpleNamespace(**named, updated_at=micros(3), unmapped_at=unmapped)


def user(person: Person, former: tuple[Former, ...] = (), unmapped: int | None = micros(3), **later):
    return shown(row(unmapped), told(person, former, MARCH, later.get("later", {})))


def test_a_user_row_is_restored_and_hidden_from_repr() -> None:
    found = user(MIRA, (Former("email", "old@x", "t"),))
    assert (found.person, found.state, found.former[0].value) == (MIRA, UserState.INACTIVE, "old@x")
    assert "Mira" not in repr(found) and "old@x" not in repr(found)


def test_a_person_is_told_apart_by_the_first_of_four_fields() -> None:
    everything = Person(object_id="O", upn="U@x", email=" E@x ", account_name="a")
    less = [everything, replace(everything, object_id=""), replace(everything, object_id="", upn="")]
    assert [each.key for each in less] == ["o", "u@x", "e@x"]
    assert (Person(account_name="a").key, Person(first_name="x").key) == ("a", "")


def test_lost_values_are_former_and_names_do_not_identify() -> None:
    after = former_of(user(MIRA, unmapped=None), Person(first_name="Maria", numbers=("+492",)), "now")
    assert {(f.kind, f.value) for f in after} == {
        ("first_name", "Mira"),
        ("email", "Mira@X.example"),
        ("numbers", "+491"),
    }
    assert user(Person(), after).known_by == ("i", "Mira@X.example", "+491")


def test_only_so_much_is_kept() -> None:
    before = tuple(Former("numbers", str(n), "t") for n in range(MAX_FORMER))
    after = former_of(user(MIRA, before), Person(), "now")
    assert len(after) == MAX_FORMER and after[-1].value == "+492" and after[0].value == "4"


def test_an_identity_has_the_time_for_which_it_was_somebodys() -> None:
    renamed = Person(first_name="Mira", email="Mira@X.example", numbers=("+492", "+493"))
    before = user(MIRA, unmapped=None)
    former, later = former_of(before, renamed, MAY.at), later_of(before, renamed, MAY)
    after = user(renamed, former, None, later=later)
    times = {each.value: (each.since, each.reaches, each.until) for each in after.identities}
    assert times == {
        "Mira@X.example": (micros(3), EVER, NEVER),
        "+491": (micros(3), EVER, micros(5)),
        "+492": (micros(3), EVER, NEVER),
        "+493": (micros(5), micros(4, 30), NEVER),
    }


def test_a_value_that_returns_has_two_periods() -> None:
    away = Person(email="Mira@X.example", numbers=("+491",))
    gone = user(away, former_of(user(MIRA), away, MARCH.at), None, later=later_of(user(MIRA), away, MARCH))
    back = user(MIRA, gone.former, None, later=later_of(gone, MIRA, MAY))
    assert sorted((e.since, e.until) for e in back.identities if e.value == "+492") == [
        (micros(3), micros(3)),
        (micros(5), NEVER),
    ]


def test_identities_of_a_user_end_when_the_user_leaves() -> None:
    """The number may have been passed on in between."""
    back = Person(email="Mira@X.example", numbers=("+499",))
    former = former_of(user(MIRA, unmapped=micros(4)), back, MAY.at)
    assert {each.until for each in former} == {"2026-04-01T00:00:00.000000Z"}


def test_who_comes_back_had_nothing_for_sure_meanwhile() -> None:
    """A number may have been a successor's; where it was nobody's, it may have been theirs all the time."""
    left = user(MIRA, unmapped=micros(4))
    back = user(MIRA, former_of(left, MIRA, MAY.at), None, later=later_of(left, MIRA, MAY))
    assert sorted((e.since, e.reaches, e.until) for e in back.identities if e.value == "+491") == [
        (micros(3), EVER, micros(4)),
        (micros(5), micros(4), NEVER),
    ]
    assert not any(each.kind in ("first_name", "object_id") for each in back.former)


def test_a_flapping_value_does_not_displace_former_ones() -> None:
    former: tuple[Former, ...] = (Former("email", "old@x", "2026-02-01T00:00:00Z"),)
    later: dict[tuple[str, str], Since] = {}
    for _ in range(50):
        left = user(MIRA, former, micros(4), later=later)
        former, later = former_of(left, MIRA, MAY.at), later_of(left, MIRA, MAY)
    assert former[0].value == "old@x"
    assert max(Counter((each.kind, each.value) for each in former).values()) == MAX_TIMES


def test_values_sealed_without_times_count_from_the_last_change() -> None:
    old = {"person": fields(MIRA), "former": [["email", "old@x", "2026-02-01T00:00:00Z"]]}
    found = {each.value: each for each in shown(row(None), old).identities}
    assert (found["+491"].since, found["+491"].reaches, found["+491"].until) == (micros(3), EVER, NEVER)
    assert (found["old@x"].since, found["old@x"].until) == (EVER, micros(2))
