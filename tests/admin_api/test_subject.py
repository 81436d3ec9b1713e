"""The person who is meant is found in any spelling, and nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.subject import Subject, senders
from storage import identity

ADA = {"name": "Ada Müller", "number": "+4930123456", "uri": "sip:+4930123456@x.example"}
BODO = {"name": "Bodo Klein", "number": "+4940777888", "uri": "sip:bodo@x.example"}


@pytest.mark.parametrize(
    "text", ["+49 30 123456", "030/123456", "Ada Mueller", "müller ada", "sip:+4930123456@x.example"]
)
def test_the_party_that_is_meant(text: str) -> None:
    assert Subject(text, "DE").of([BODO, ADA]) == {1}


def test_last_digits_mean_nobody() -> None:
    assert Subject("123456", "DE").of([ADA]) == frozenset()


def test_twice_in_a_call_and_not_at_all() -> None:
    assert Subject("bodo@x.example", "DE").of([BODO, ADA, BODO]) == {0, 2}
    assert Subject("bodo@x.example", "DE").of([ADA, {"name": None}, {}]) == frozenset()


@pytest.mark.parametrize("number", ["+٤٩٣٠١٢٣٤٥٦", "+４９３０１２３４５６", "tel:%2B4930123456", "+49³⁰123456"])
def test_digits_in_other_scripts(number: str) -> None:
    party = {"number": number, "uri": number}
    forms = identity.stored(party, "DE")
    meant = any(needle.meets(forms) for needle in identity.asked("+4930123456", "DE", exact=True))
    assert meant and Subject("+4930123456", "DE").of([party]) == {0}


@given(st.sampled_from(["number", "uri", "name"]), st.text(alphabet="+0123456789 -%sip:@xö²٣㏠", max_size=20))
def test_the_short_cut_never_differs_from_looking_closely(key: str, value: str) -> None:
    """A property of any party: what the digits rule out, the forms do not find."""
    asked = identity.asked("+4930123456", "DE", exact=True)
    forms = identity.stored({key: value}, "DE")
    assert bool(Subject("+4930123456", "DE").of([{key: value}])) == any(needle.meets(forms) for needle in asked)


@pytest.mark.parametrize(
    ("stream", "heard"),
    [
        ({"party": 0}, 0),
        ({"party": [0, 1]}, [0, 1]),
        ({"party": None}, None),
        ({}, None),
        ({"party": 0, "inferred": False, "earlier": []}, 0),
        ({"party": 0, "inferred": True}, None),
        ({"party": 2, "earlier": [1]}, [2, 1]),
        ({"party": [0, 1], "earlier": [2]}, [0, 1, 2]),
    ],
)
def test_who_is_heard_in_a_stream(stream: dict[str, object], heard: object) -> None:
    assert senders(stream) == heard
