"""Who was who: by time, by what fits, and never by a guess."""

from array import array
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from storage.directory.user import Former, Person, Since, User, UserState
from storage.directory.user_lookup import NO_MATCH, Match, UserLookup
from storage.search_forms import MAX_CANDIDATES
from storage.timestamps import to_micros, to_text


def day(number: int) -> datetime:
    return datetime(2026, 3, number, tzinfo=UTC)


def at(number: int) -> int:
    return to_micros(day(number))


def since(number: int, reaches: int | None = None) -> Since:
    return Since(to_text(day(number)), None if reaches is None else to_text(day(reaches)))


def id_of(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012d}"


def user(number: int, person: Person, begin: Since | None = None, *, former=(), later=None, gone: int | None = None):
    state = UserState.ACTIVE if gone is None else UserState.INACTIVE
    left = None if gone is None else day(gone)
    began = begin or since(2)
    return User(id_of(number), state, "csv", b"", day(1), left, 7, person, tuple(former), began, later or {})


def who(*users: User, extension_digits: int = 0) -> UserLookup:
    known = UserLookup("DE", secret=bytes(16), extension_digits=extension_digits)
    for each in users:
        known.put(each)
    return known


ANNA = Person("Anna", "Alt", email="anna@x.example", numbers=("+4930111111",))
BERT = Person("Bert", "Bund", email="bert@x.example", numbers=("+4930222222",))


@pytest.mark.parametrize(
    "party",
    [
        {"number": "+4930111111"},
        {"number": "030111111", "uri": "sip:030111111@pbx.example"},
        {"uri": "tel:+49-30-111111"},
        {"uri": "sip:ANNA@x.example;user=phone"},
        {"uri": "sip:conference@pbx.example", "also": ["sip:anna@x.example"]},
        {"email": "Anna@X.example"},
    ],
)
def test_a_party_is_recognised_in_any_spelling(party) -> None:
    assert who(user(1, ANNA), user(2, BERT)).party(party, at(5)) == Match(id_of(1))


@pytest.mark.parametrize(
    "party", [{"name": "Anna Alt"}, {"name": "+4930111111"}, {"number": "111111"}, {}, {"uri": "x"}]
)
def test_names_and_last_digits_prove_nothing(party) -> None:
    assert who(user(1, ANNA)).party(party, at(5)) == NO_MATCH


def test_a_reassigned_number_matches_its_owner_of_the_time() -> None:
    before = user(
        1,
        Person("Anna", "Neu", email="anna.neu@x.example"),
        former=[Former("numbers", "+4930111111", to_text(day(10)), since(2))],
        later={("email", "anna.neu@x.example"): since(10, 9)},
    )
    after = user(2, ANNA, later={("numbers", "+4930111111"): since(12, 11)})
    known = who(before, after)
    number = {"number": "+4930111111"}
    assert known.party(number, at(1)) == Match(id_of(1))  # before the first import: the first known
    assert known.party(number, at(9)) == Match(id_of(1))
    assert known.party(number, at(10)) == NO_MATCH  # nobody's for a day
    assert known.party(number, at(11)) == Match(id_of(2))  # between two imports: nobody else had it
    assert known.party(number, at(20)) == Match(id_of(2))


def test_a_later_user_did_not_have_a_number_before() -> None:
    known = who(user(1, ANNA, since(2)), user(2, Person(numbers=("+4930111111",)), since(8, None)))
    number = {"number": "+4930111111"}
    assert known.party(number, at(1)) == Match(id_of(1))  # both perhaps: it was said of one first
    assert known.party(number, at(5)) == Match(id_of(1))  # one certainly, the other perhaps
    assert known.party(number, at(8)) == Match(None, (id_of(1), id_of(2)))


def test_several_matching_users_are_only_candidates() -> None:
    both = Match(None, (id_of(1), id_of(2)))
    known = who(user(2, ANNA), user(1, Person(numbers=("030 111111",))))
    assert known.party({"number": "+4930111111"}, at(5)) == both
    contradiction = {"number": "+4930111111", "also": ["sip:bert@x.example"]}
    assert who(user(1, ANNA), user(2, BERT)).party(contradiction, at(5)) == both
    sharing = who(*(user(n, replace(BERT, email=f"{n}@x.example")) for n in (1, 2)))
    assert sharing.party({"number": "+4930222222", "also": ["sip:2@x.example"]}, at(5)) == Match(id_of(2))


def test_a_number_shared_by_too_many_matches_nobody() -> None:
    everybody = [user(n, Person(account_name=str(n), numbers=("+4930100000",))) for n in range(MAX_CANDIDATES + 1)]
    assert who(*everybody).party({"number": "+4930100000"}, at(5)) == NO_MATCH
    assert len(who(*everybody[:-1]).party({"number": "+4930100000"}, at(5)).candidates) == MAX_CANDIDATES


def test_extensions_where_the_customer_has_some() -> None:
    people = user(1, Person(numbers=("+49301234711",))), user(2, Person(numbers=("+49301234712", "+49401234711")))
    assert who(*people).party({"number": "4711"}, at(5)) == NO_MATCH
    known = who(*people, extension_digits=4)
    assert known.party({"uri": "sip:4712@pbx.example"}, at(5)) == Match(id_of(2))
    assert known.party({"number": "4711"}, at(5)).candidates == (id_of(1), id_of(2))
    assert known.party({"number": "711"}, at(5)) == NO_MATCH


def test_users_change_and_go() -> None:
    known = who(user(1, ANNA))
    known.put(user(1, BERT))
    assert known.party({"number": "+4930111111"}, at(5)) == NO_MATCH
    assert known.party({"number": "+4930222222"}, at(5)) == Match(id_of(1))
    assert len(known) == 1
    known.drop(id_of(1))
    known.drop(id_of(1))
    assert known.party({"number": "+4930222222"}, at(5)) == NO_MATCH and len(known) == 0


def test_a_forgotten_owner_is_distinct_from_one_of_another_time() -> None:
    known = who(user(1, ANNA, gone=6), user(2, BERT))
    assert known.party({"number": "+4930111111"}, at(5)) == Match(id_of(1))
    assert known.party({"number": "+4930111111"}, at(6)) == NO_MATCH
    assert not known.silent(id_of(1), {"number": "+4930111111"})
    assert known.silent(id_of(2), {"number": "+4930111111"})
    assert not known.silent(id_of(3), {"number": "+4930111111"})


def test_nothing_of_anybody_is_in_the_clear() -> None:
    known = who(user(1, ANNA))
    kept = b"".join(bytes(value) for value in vars(known).values() if isinstance(value, array | bytearray | bytes))
    assert len(kept) > 1000 and b"anna" not in kept.lower() and b"111111" not in kept
