"""Who a person is in a directory, and what a user was known by."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from storage.instants import to_micros
from storage.people import MAX_FORMER, Former, Person, UserState, fields, former_of, shown, told

MIRA = Person(first_name="Mira", email="Mira@X.example", numbers=("+491", "+492"))


def user(person: Person, former: tuple[Former, ...] = ()):
    at = to_micros(datetime(2026, 3, 1, tzinfo=UTC))
    row = SimpleNamespace(
        id="i", state="inactive", source="csv", source_key=b"k", updated_at=at, unmapped_at=at, leaf=7
    )
    return shown(row, told(person, former))


def test_what_is_told_is_shown() -> None:
    found = user(MIRA, (Former("email", "old@x", "t"),))
    assert (found.person, found.state, found.former[0].value) == (MIRA, UserState.INACTIVE, "old@x")
    assert "Mira" not in repr(found) and "old@x" not in repr(found)


@pytest.mark.parametrize(
    ("person", "key"),
    [
        (Person(object_id="O", upn="u", email="e"), "o"),
        (Person(upn="U@x", email="e"), "u@x"),
        (Person(email=" E@x "), "e@x"),
        (Person(account_name="a"), "a"),
        (Person(first_name="x"), ""),
    ],
)
def test_what_tells_people_apart(person: Person, key: str) -> None:
    assert person.key == key


def test_what_is_empty_is_null() -> None:
    shown = fields(MIRA)
    assert (shown["last_name"], shown["addresses"], shown["numbers"]) == (None, [], ["+491", "+492"])


def test_what_was_lost_is_former_and_names_identify_nobody() -> None:
    after = former_of(user(MIRA), Person(first_name="Maria", numbers=("+492",)), "now")
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
