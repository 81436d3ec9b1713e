"""What parties of calls and users of a directory have in common."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.directory.match_keys import answers, asked, of_identity, of_party, words_of
from storage.directory.user import EVER, NEVER, Identity, Person


def identity(kind: str, value: str) -> Identity:
    return Identity(kind, value, EVER, EVER, NEVER)


@pytest.mark.parametrize(
    ("kind", "value", "keys"),
    [
        ("numbers", "+49 (30) 123456", ("e:+4930123456",)),
        ("numbers", "030/123456", ("e:+4930123456",)),
        ("numbers", "4711", ("x:4711",)),
        ("numbers", "+49 30 123456 x4711", ("x:4711",)),
        ("numbers", "+49 30 123456 ext. 4711", ("x:4711",)),
        ("numbers", "+49 30 123456;ext=4711", ("x:4711",)),
        ("numbers", "+49 30 123456 Durchwahl 4711", ("x:4711",)),
        ("email", "Anna@X.example", ("u:anna@x.example",)),
        ("upn", "anna@x.example", ("u:anna@x.example",)),
        ("object_id", "1B4E28BA-2fa1-11d2-883f-0016d3cca427", ("u:1b4e28ba-2fa1-11d2-883f-0016d3cca427",)),
        ("addresses", "sip:Anna@X.example;transport=tls", ("u:anna@x.example",)),
        ("addresses", "sip:+4930123456@x.example", ("u:+4930123456@x.example", "e:+4930123456")),
        ("addresses", "tel:+49-30-123456", ("e:+4930123456",)),
    ],
)
def test_a_user_identity_has_few_match_keys(kind: str, value: str, keys: tuple[str, ...]) -> None:
    assert of_identity(identity(kind, value), "DE") == keys


def test_the_last_digits_may_be_configured_as_extension() -> None:
    assert of_identity(identity("numbers", "+49 30 1234711"), "DE", 4) == ("e:+49301234711", "x:4711")
    assert of_identity(identity("addresses", "sip:+49301234711@x"), "DE", 4) == ("u:+49301234711@x", "e:+49301234711")


def test_a_party_is_what_it_was_written_with_and_never_its_name() -> None:
    party = {
        "name": "+49 30 999999",
        "number": "030123456",
        "uri": "sip:030123456@pbx.example",
        "also": ["sip:anna@x.example", "4711"],
    }
    assert of_party(party, "DE") == (
        frozenset({"e:+4930123456"}),
        frozenset({"u:030123456@pbx.example"}),
        frozenset({"u:anna@x.example"}),
        frozenset({"x:4711"}),
    )
    assert of_party({"name": "Anna", "number": None, "uri": ""}, "DE") == ()


MIRA = Person("Mira", "Öztürk-Lind", "mlind", "mira@x.example", numbers=("+4930123456",))
KNOWN = (identity("email", "mira@x.example"), identity("numbers", "+4930123456"))


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (
            ("mira", "LIND", "mira ozturk", "Oeztuerk Mira", "030 123456", "MIRA@x.example", "mlind", "mi", "o mira"),
            True,
        ),
        (("mx", "ra", "m schmidt", "030 123457", "123456", "mira@y.example", "", "   "), False),
    ],
)
def test_a_user_is_found_in_any_spelling_and_by_nothing_else(texts: tuple[str, ...], found: bool) -> None:
    assert [text for text in texts if answers(KNOWN, MIRA, asked(text, "DE"), "DE") is not found] == []


@given(st.text(max_size=600) | st.from_regex(r"(sip:|tel:|\+)?[0-9 ()x;=.-]{0,40}(@[a-z.]{0,9})?", fullmatch=True))
def test_no_text_is_too_strange(text: str) -> None:
    party = {"number": text, "uri": text, "email": text, "also": [text, text[::-1]]}
    for group in of_party(party, "DE"):
        assert group and all(key[:2] in ("e:", "x:", "u:") for key in group)
    for kind in ("numbers", "addresses", "email"):
        assert all(key[:2] in ("e:", "x:", "u:") for key in of_identity(identity(kind, text), "DE", 4))
    words = words_of(Person(first_name=text, account_name=text))
    assert all(word.startswith("w:") for word in words)
    asked(text, "DE")
