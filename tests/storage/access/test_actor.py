"""Who does something is an id; names that pass for each other, or for the recorder's own, are nobody's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.access.actor import (
    MAX_NAME,
    RECORDER,
    RESERVED,
    Actor,
    Kind,
    alike,
    canonical,
    fault_of,
    proper,
    same,
    skeleton,
    subject,
)


@pytest.mark.parametrize(
    "name",
    [
        "anna", "Anna Schmidt", "anna@acme.example", "quality-desk", "Müller", "O'Hara", "Đặng Thị", "Иван Петров",
        "Νίκη", "山田 Taro", "やまだ太郎", "김철수", "first-admin", "record-keeper", "recorder2", "client", "systems",
        "a" * 64,
        "שרה", "محمد", "clip", "unknown-caller",
    ],
)  # fmt: skip
def test_names_of_people_and_scripts_are_taken(name: str) -> None:
    assert fault_of(name) == "" and proper(name)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        *[(name, "recorder's own") for name in (
            "recorder", "Recorder", " RECORDER ", "rec0rder", "ｒｅｃｏｒｄｅｒ", "𝐫𝐞𝐜𝐨𝐫𝐝𝐞𝐫", "ʀᴇᴄᴏʀᴅᴇʀ", "re corder",
            "system", "SYSTEM", "unknown", "cli", "CLI", "c1i", "cIi", "cli:root", "CLI:anna", "cli : root",
            "cli：root",
            "cli꞉root", "cl|:root", "recorder:x", "system:x", "r\u0335ecorder",
            "récorder", "reçorder", "recorder.", "'recorder'", "(recorder)", "clí:root", "cli :root", "sys-tem",
        )],
        *[(name, "one script") for name in ("аnna", "annа", "αnna", "rеcorder", "сli:root", "Ivan Петров", "annaش")],
        *[(name, "printable") for name in (
            "", "  ", "a" * (MAX_NAME + 1), "an\u200bna", "anna\u202e", "\u2066anna", "an\u00adna", "an\x00na", "a\nb",
            "an\u115fna", "\u3164", "an\ufe0fna", "an\u034fna", "\u2800", "an\u00a0na", "\u0301", "\ud800",
        )],
    ],
)  # fmt: skip
def test_names_that_pass_for_another_are_refused(name: str, why: str) -> None:
    assert why in fault_of(name)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        *[(one, other, True) for one, other in (
            ("anna", "ANNA"), ("anna", " anna "), ("anna", "аппа"), ("ΑΝΝΑ", "anna"), ("paul", "раuӏ"),
            ("scope", "ѕсоре"), ("admin1", "adminl"), ("admin1", "admini"), ("b0b", "bob"), ("barn", "bam"),
            ("vvanda", "wanda"), ("Ꭰꭱ", "Dꭱ"), ("a‐b", "a-b"), ("Ａnna", "anna"), ("Strasse", "STRASSE"),
            ("Νίκη", "νίκη"),
        )],
        ("anna", "anne", False), ("müller", "muller2", False), ("desk-2", "desk-3", False), ("ан", "анна", False),
    ],
)  # fmt: skip
def test_names_that_look_alike_count_as_one(one: str, other: str, same: bool) -> None:
    assert alike(one, other) is alike(other, one) is same


@given(st.text(max_size=20), st.text(max_size=20))
def test_a_property_any_two_names_can_be_compared(one: str, other: str) -> None:
    assert alike(one, one)
    assert alike(one, other) == alike(other, one)
    assert canonical(canonical(one)) == canonical(one)
    assert isinstance(fault_of(one), str)


@given(st.sampled_from(RESERVED), st.data())
def test_a_property_no_spelling_of_a_reserved_name_is_taken(word: str, data: st.DataObject) -> None:
    spelt = "".join(
        data.draw(
            st.sampled_from([each, each.upper(), chr(ord(each) - 0x61 + 0xFF41), chr(ord(each) - 0x61 + 0x1D41A)])
        )
        for each in word
    )
    tail = data.draw(st.sampled_from(["", ":x", "：x", " "]))
    assert fault_of(data.draw(st.sampled_from(["", " "])) + spelt + tail)


def test_one_person_is_one_identity_or_one_name() -> None:
    account = Actor(Kind.ACCOUNT, "a1", "anna")
    token = Actor(Kind.TOKEN, "t1", "nightly", holder="a1")
    assert account.identity == token.identity
    assert Actor(Kind.TOKEN, "a1", "x").identity != account.identity
    assert RECORDER.identity != Actor(Kind.TOKEN, "recorder", "recorder").identity
    assert "anna" not in repr(account) + repr(Actor(Kind.OPENID, "https://id anna", "x"))
    assert same("openid:x 1", "anna", "openid:x 1", "anna.renamed")
    assert same("token:1", "desk", "token:2", "desk")
    assert same("", "anna", "token:1", "Anna")
    assert not same("", "anna", "", "ben")
    assert not same("token:1", "anna", "token:2", "ben")
    assert len(skeleton("x" * 100_000)) <= 1024
    assert subject("https://a", "b c") != subject("https://a b", "c")[:-1]
