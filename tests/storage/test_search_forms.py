"""Any two spellings of the same person meet, and those of two persons do not."""

import unicodedata

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage import search_forms
from storage.search_forms import Needle, address, asked, fold, is_country, is_number, numbers, spell, stored, stored_of

MIRA = {
    "name": "Mira Ößling-Krüger",
    "number": "+4930901820101",
    "uri": "sip:+4930901820101@sbc.example;user=phone",
    "email": "Mira.Oessling@firm.example",
    "user_id": "0F8FAD5B-D9CB-469F-A165-70867728950E",
}


def found(question: str, party: dict[str, str], country: str = "DE", exact: bool = False) -> bool:
    forms = stored(party, country)
    return any(needle.meets(forms) for needle in asked(question, country, exact=exact))


@pytest.mark.parametrize(
    "question",
    [
        "+4930901820101",
        "+49 (0)30 90 18 20 101",
        "030/901820-101",
        "0049 30 901820101",
        "4930901820101",
        "30901820101",
        "820101",
        "901820101",
        "٠٣٠٩٠١٨٢٠١٠١",
        "\uff0b\uff14\uff19 30 901820101",
        "\u200e+49 30 901820101\u200f",
        "tel:+49-30-901820101",
        "tel:901820101;phone-context=+4930",
        "sip:030901820101@elsewhere.example;user=phone",
        "sips:+4930901820101@sbc.example:5061",
        "sip:%2B4930901820101@SBC.example",
        '"Anybody" <sip:+4930901820101@sbc.example>;tag=1',
        "Mira Ößling-Krüger",
        "krüger, mira",
        "Mira Krueger",
        "MIRA OESSLING",
        "Mira Ossling Kruger",
        "Ößling",
        "oessling",
        "mira.oessling@FIRM.example",
        "mailto:Mira.Oessling@firm.example",
        "mira.oessling",
        "0f8fad5b-d9cb-469f-a165-70867728950e",
    ],
)
def test_a_person_is_found_in_every_spelling(question: str) -> None:
    assert found(question, MIRA)


@pytest.mark.parametrize(
    "question",
    [
        "+4930901820102",
        "+4989901820101",
        "920101",
        "20101",
        "Mira Krug",
        "Anna Krüger",
        "mira@firm.example",
        "sip:mira@sbc.example",
        "",
        " ",
        "+",
        "@",
        "<>",
        "tel:",
        "sip:",
    ],
)
def test_another_person_is_not_found(question: str) -> None:
    assert not found(question, MIRA)


PHONE = {"number": "4711", "uri": "sip:4711@pbx.example"}


@pytest.mark.parametrize(
    ("party", "questions", "others"),
    [
        (PHONE, ["4711", "sip:4711@pbx.example"], ["sip:4711@other.example", "47", "1247114"]),
        ({"name": "O’Hara, Seán"}, ["Sean OHara"], []),
        *(({"name": name}, [name], []) for name in ("Владимир Łukasz", "שלום כהן", "李小龍")),
        ({"name": "😀 Zoë"}, ["😀 Zoë", "zoe"], []),
    ],
)
def test_extensions_and_names_of_other_scripts(party: dict[str, str], questions: list[str], others: list[str]) -> None:
    assert [question for question in [*questions, *others] if found(question, party)] == questions


def test_last_digits_are_left_out_of_an_exact_question() -> None:
    assert found("820101", MIRA) and found("030 901820101", MIRA, exact=True)
    assert not found("820101", MIRA, exact=True)


def test_words_of_two_parties_do_not_make_one_person() -> None:
    forms = stored_of([{"name": "Anna Weber"}, {"name": "Bodo Klein"}], "DE")
    assert not any(needle.meets(forms) for needle in asked("Anna Klein", "DE"))
    assert any(needle.meets(forms) for needle in asked("Klein, Bodo", "DE"))


def test_a_possible_country_code_is_read_both_ways() -> None:
    assert numbers("493512345678", "DE") == ("+49493512345678", "+493512345678")
    assert numbers("4930901820101", "DE") == ("+4930901820101",)
    assert numbers("4711", "DE") == ()
    assert numbers("+12", "DE") == ()


def test_addresses_lose_scheme_port_parameters_and_case() -> None:
    assert address("SIPS:Bob@Host.Example.:5061;transport=tls?x=y") == "bob@host.example"
    assert address("sip:b%6Fb;x=1:secret@[2001:DB8::1]:5060") == "bob@[2001:db8::1]"
    assert address("bob@münchen.example") == "bob@xn--mnchen-3ya.example"
    assert address("urn:uuid:ABC") == "urn:uuid:abc"
    assert address("host.example:5060") == "host.example"


def test_the_number_of_search_words_is_limited() -> None:
    assert len(stored({"name": " ".join(f"w{i}" for i in range(500))}, "DE")) <= 27
    many = [{"name": f"a{i} b{i}"} for i in range(2000)]
    assert len(stored_of(many, "DE")) == search_forms.MAX_FORMS


def test_values_of_a_wrong_type_are_no_forms() -> None:
    assert stored({"name": None, "number": 5, "uri": ["x"]}, "DE") == ()


EXAMPLES = [
    (region, number)
    for region in ("DE", "AT", "CH", "US", "GB", "FR", "IT", "NL", "PL", "SE", "JP", "AU", "IN", "BR", "ES")
    for kind in (phonenumbers.PhoneNumberType.FIXED_LINE, phonenumbers.PhoneNumberType.MOBILE)
    if (number := phonenumbers.example_number_for_type(region, kind)) is not None
]


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, str, str]:
    """Country and two ways to write one of its numbers."""
    region, number = draw(st.sampled_from(EXAMPLES))
    plain = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    international = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    national = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL)
    ways = [
        plain,
        international,
        national,
        f"00{plain[1:]}",
        f"tel:{plain}",
        f"sip:{plain}@h.example",
        national.replace(" ", ""),
    ]
    ways += [international.replace(" ", c) for c in "-./\u00a0\u2011"]
    return region, draw(st.sampled_from(ways)), draw(st.sampled_from(ways))


@given(spellings())
def test_any_spelling_of_a_number_meets_any_other(case: tuple[str, str, str]) -> None:
    country, written, question = case
    assert found(question, {"uri" if ":" in written else "number": written}, country)


@given(st.text(max_size=40))
def test_folding_is_the_same_for_composed_and_decomposed_text(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == fold(unicodedata.normalize("NFC", text))
    assert spell(unicodedata.normalize("NFD", text)) == spell(unicodedata.normalize("NFC", text))


@given(st.text(max_size=60), st.sampled_from(["DE", "US", "", "xx"]))
def test_any_text_is_taken(text: str, country: str) -> None:
    forms = stored(dict.fromkeys(("name", "number", "uri", "email", "upn", "user_id"), text), country)
    assert all(form[1] == ":" for form in forms)
    asked(text, country)
    is_number(text)


@given(st.lists(st.text("abcdefgäöü", min_size=2, max_size=8), min_size=1, max_size=3, unique=True), st.randoms())
def test_a_name_meets_itself_in_any_order(words: list[str], random: object) -> None:
    assert found(" ".join(reversed(words)), {"name": " ".join(words)})


def test_a_needle_with_a_tail_needs_a_number_that_ends_so() -> None:
    needle = Needle("t:820101", tail="1820101")
    assert needle.meets(["t:820101", "e:+4930901820101"])
    assert not needle.meets(["t:820101", "e:+4930902820101"])


def test_a_country_is_one_with_a_numbering_plan() -> None:
    assert [is_country(code) for code in ("DE", "GB", "UK", "XX")] == [True, True, False, False]
