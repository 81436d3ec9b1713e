"""Whether a party of a call is the person who asks: for sure, perhaps and why, or somebody else."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from storage import search_forms
from storage.directory.user import Former, Person, Since, User, UserState
from storage.subject_requests import claims
from storage.subject_requests.claims import Claim, Why, known_as, matches, of_letter, of_user

T0 = datetime(2026, 3, 1, tzinfo=UTC)
ME, OTHER = "11111111-0000-4000-8000-000000000001", "22222222-0000-4000-8000-000000000002"
NUMBER = "+4930123456"


def user(**changes):
    person = Person("Anna", "Weber", "anna", "anna@pbx.example", "anna@pbx.example", "oid", (NUMBER,), ())
    former = (
        Former("last_name", "Schmidt", "2026-01-01T00:00:00Z", Since("")),
        Former("numbers", "+4930999999", "2026-02-01T00:00:00Z", Since("")),
        Former("last_name", "Alt", "2025-01-01T00:00:00Z", Since("")),
    )
    made = User(ME, UserState.ACTIVE, "csv", b"", T0, None, 1, person, former)
    return replace(made, **changes)


def claim(text=NUMBER, *holders, until=None, directory=True):
    found = claims.kind(text)
    return Claim(text, found, search_forms.asked(text, "DE", exact=True), directory, until, frozenset(holders))


def told(one, then=(), party=None, whom=ME):
    """Judge one party that the claim meets; `then`: the users that the directory takes it for."""
    given = party or {"number": NUMBER, "name": "Anna Weber"}
    found = matches([given], T0, [one], whom, lambda party, at: frozenset(then), "DE")
    return [(match.sure, match.why) for match in found]


@pytest.mark.parametrize(
    ("one", "then", "why"),
    [
        (claim(NUMBER, ME), [ME], Why.THEIRS),
        (claim("Anna Weber", ME), [ME], Why.THEIRS),
        (claim(NUMBER, ME, OTHER), [ME, OTHER], Why.SEVERAL),
        (claim("Anna Weber", ME), [ME, OTHER], Why.NAME),
        (claim("Anna Weber", ME), [OTHER], Why.OTHER_PARTY),
        (claim("Anna Weber", ME), [], Why.NAME),
        (claim(NUMBER, ME, until=T0), [], Why.ANOTHER_TIME),
        (claim(NUMBER), [], Why.THEIRS),
        (claim(NUMBER, OTHER), [], Why.ANOTHERS),
    ],
)
def test_sure_and_perhaps(one, then, why):
    assert told(one, then) == [(why is Why.THEIRS, why)]


def test_an_identity_of_another_person_is_no_match():
    assert told(claim(NUMBER, ME, OTHER), [OTHER]) == []
    assert told(claim("Anna Weber", ME, OTHER), [OTHER]) == []


def test_a_claim_without_a_user_counts_for_a_sole_holder():
    assert told(claim(NUMBER), whom=None)[0][0]
    assert told(claim(NUMBER, OTHER), [OTHER], whom=None)[0][0]
    for holders, then in (((ME, OTHER), [ME]), ((ME,), [OTHER]), ((), [ME, OTHER])):
        assert not told(claim(NUMBER, *holders), then, whom=None)[0][0]
    assert not told(claim("Anna Weber"), whom=None)[0][0]


def test_the_directory_is_asked_about_parties_that_are_met_only():
    asked = []

    def who(party, at):
        asked.append((party["number"], at))
        return frozenset()

    parties = [{"number": "+4940777777"}, {"number": NUMBER}]
    (found,) = matches(parties, T0, [claim(NUMBER, ME)], ME, who, "DE")
    assert found.party == 1 and asked == [(NUMBER, T0)]


def test_words_of_two_parties_do_not_form_one_name():
    parties = [{"name": "Anna Lang"}, {"name": "Jan Weber"}]
    assert matches(parties, T0, [claim("Anna Weber")], None, lambda party, at: frozenset(), "DE") == []


def test_claims_are_read_from_given_identities():
    texts = ["+49 30 123456", "tel:+4930123456", "anna@pbx.example", "sip:anna@pbx.example", "Anna Weber", "4711"]
    assert [one.kind for one in of_letter(texts, "DE")] == ["number", "number", "address", "address", "name", "number"]
    assert not any(one.directory for one in of_letter(texts, "DE"))


def test_a_user_has_the_name_of_the_time():
    for at, name in (("2026-06-01", "Anna Weber"), ("2025-06-01", "Anna Schmidt"), ("2024-06-01", "Anna Alt")):
        assert known_as(user(), datetime.fromisoformat(at).replace(tzinfo=UTC)) == name
    odd = user(former=(Former("last_name", "Schmidt", "soon", Since("")),))
    assert known_as(odd, T0) == "Anna Schmidt", "a time that cannot be read has not come"
    assert "4930" not in repr(claim()) and "Anna" not in repr(of_user(user(), "DE"))
