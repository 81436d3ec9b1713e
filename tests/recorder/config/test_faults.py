"""Faults point at the line they are on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from recorder.config.faults import Fault, SettingsError
from recorder.config.parser import key_lines, suggestion


def test_every_key_and_table_has_its_line() -> None:
    text = '[sip]\nlisten = [\n  "udp:a",\n]\n# x = 1\n[[customer]]\nname = "a"\n[[customer]] # second\nname = "b"\n'
    assert key_lines(text) == {
        "sip": 1,
        "sip.listen": 2,
        "customer[0]": 6,
        "customer[0].name": 7,
        "customer[1]": 8,
        "customer[1].name": 9,
    }


def test_a_missing_key_is_on_the_line_of_its_table() -> None:
    lines = {"customer[1]": 8, "sip": 1, "sip.listen": 2}
    assert Fault("customer[1].name", "nothing", "x").at(lines).line == 8
    assert Fault("sip.listen[3]", "x", "y").at(lines).line == 2
    assert Fault("media.ports", "x", "y").at(lines).line is None


def test_the_sentence_has_one_fault_a_line() -> None:
    error = SettingsError((Fault("a", "1", "2"), Fault("b", "", "no such key")), "/etc/x.toml")
    assert error.sentence() == "/etc/x.toml has 2 faults:\n  a: found 1; should be 2\n  b: no such key"
    assert error.status == 2


def test_only_a_similar_key_is_suggested() -> None:
    assert suggestion("certifcate", ["certificate", "listen"]) == "; did you mean certificate?"
    assert suggestion("zzz", ["certificate", "listen"]) == ""


@given(st.text(alphabet='[]a."=\n# ', max_size=60))
def test_any_bytes_of_text_have_lines(text: str) -> None:
    assert all(1 <= line <= len(text.splitlines()) for line in key_lines(text).values())
