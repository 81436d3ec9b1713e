"""The person who is meant is found in any spelling, and nobody else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from personal import Personal
from storage import search_forms
from storage.exports.subject_filter import Subject, moments, senders, separable

ADA = {"name": "Ada Müller", "number": "+4930123456", "uri": "sip:+4930123456@x.example"}
BODO = {"name": "Bodo Klein", "number": "+4940777888", "uri": "sip:bodo@x.example"}


@pytest.mark.parametrize(
    ("text", "parties", "found"),
    [
        ("+49 30 123456", [BODO, ADA], {1}),
        ("030/123456", [BODO, ADA], {1}),
        ("Ada Mueller", [BODO, ADA], {1}),
        ("müller ada", [BODO, ADA], {1}),
        ("sip:+4930123456@x.example", [BODO, ADA], {1}),
        ("123456", [ADA], frozenset()),  # the last digits identify no party
        ("bodo@x.example", [BODO, ADA, BODO], {0, 2}),
        ("bodo@x.example", [ADA, {"name": None}, {}], frozenset()),
    ],
)
def test_the_party_that_is_meant(text: str, parties: list[dict[str, str | None]], found: set[int]) -> None:
    assert Subject(Personal(text), "DE").of(parties) == found


@pytest.mark.parametrize("number", ["+٤٩٣٠١٢٣٤٥٦", "+４９３０１２３４５６", "tel:%2B4930123456", "+49³⁰123456"])
def test_digits_in_other_scripts(number: str) -> None:
    party = {"number": number, "uri": number}
    forms = search_forms.stored(party, "DE")
    meant = any(needle.meets(forms) for needle in search_forms.asked("+4930123456", "DE", exact=True))
    assert meant and Subject(Personal("+4930123456"), "DE").of([party]) == {0}


@given(st.sampled_from(["number", "uri", "name"]), st.text(alphabet="+0123456789 -%sip:@xö²٣㏠", max_size=20))
def test_the_short_cut_never_differs_from_looking_closely(key: str, value: str) -> None:
    """A property of any party: what the digits rule out, the forms do not find."""
    asked = search_forms.asked("+4930123456", "DE", exact=True)
    forms = search_forms.stored({key: value}, "DE")
    assert bool(Subject(Personal("+4930123456"), "DE").of([{key: value}])) == any(
        needle.meets(forms) for needle in asked
    )


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
def test_who_is_heard_in_a_stream(stream, heard):
    assert senders(stream) == heard


def speakers(*told: tuple[int, int | list[int] | None, bool]) -> list[dict[str, object]]:
    times = [None, *(f"2026-11-25T10:00:{second:02}.000Z" for second, _, _ in told[1:])]
    ends = [*times[1:], None]
    parts = zip(times, ends, told, strict=True)
    return [{"from": a, "to": b, "party": party, "inferred": inferred} for a, b, (_, party, inferred) in parts]


@pytest.mark.parametrize(
    ("told", "mine", "apart", "wanted"),
    [
        ([(0, 0, False), (10, 1, False)], {0}, True, [(None, "09.5")]),
        ([(0, 0, False), (10, 1, False)], {1}, True, [("10.5", None)]),
        ([(0, 0, False), (10, 1, False)], {2}, True, []),
        ([(0, 0, False), (10, 1, False)], {0, 1}, True, None),
        ([(0, 0, False), (10, 1, False), (20, 0, False)], {0}, True, [(None, "09.5"), ("20.5", None)]),
        ([(0, 0, False), (10, 2, False), (20, 1, False)], {0, 2}, True, [(None, "19.5")]),
        (
            [(0, 0, False), (10, 1, False), (20, 0, False), (21, 2, False)],
            {0, 2},
            True,
            [(None, "09.5"), ("20.5", None)],
        ),
        (
            [(0, 0, False), (10, 1, False), (20, 2, False), (21, 1, False), (30, 0, False)],
            {0, 2},
            True,
            [(None, "09.5"), ("30.5", None)],
        ),
        ([(0, 0, True), (10, 1, False)], {0}, False, []),
        ([(0, [0, 1], False), (10, 1, False)], {1}, False, [("10.5", None)]),
        ([(0, None, False), (10, 1, False), (11, 0, False)], {1}, False, []),
    ],
)
def test_when_a_stream_holds_only_the_person(told, mine, apart, wanted):
    stream: Any = {"party": told[-1][1], "earlier": [0], "speakers": speakers(*told)}
    found = moments(stream, mine)
    shown = None if found is None else [tuple(at and at.strftime("%S.%f")[:4] for at in pair) for pair in found]
    assert (separable(stream), shown) == (apart, wanted)
