"""What cannot be seen is named, and spellings of any script stay as they are."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from admin_api.page.framework.invisible_characters import visible


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("Anna\u202egnp.exe", "Anna⟨U+202E⟩gnp.exe"),
        ("Pay\u200bPal", "Pay⟨U+200B⟩Pal"),
        ("\u2066Bob\u2069", "⟨U+2066⟩Bob⟨U+2069⟩"),
        ("a\u200db", "a⟨U+200D⟩b"),
        ("a\x00\x1b[2J", "a⟨U+0000⟩⟨U+001B⟩[2J"),
        ("\U000e0041x", "⟨U+E0041⟩x"),
        ("two\nlines\tand more", "two\nlines\tand more"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🔧", "👩\u200d🔧"),
        ("Søren “Müller” 王", "Søren “Müller” 王"),
        ("‏مرحبا", "⟨U+200F⟩مرحبا"),
    ],
)
def test_visible_replaces_invisible_characters(sent: str, shown: str) -> None:
    assert visible(sent) == shown


@given(st.text())
def test_bidi_controls_are_removed_and_visible_text_kept(text: str) -> None:
    shown = visible(text)
    kinds = {unicodedata.bidirectional(each) for each in shown}
    assert not kinds & {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    assert not any(unicodedata.category(each) == "Cc" and each not in "\n\r\t" for each in shown)
    if all(unicodedata.category(each)[0] in "LNPS" for each in text) and visible(text) != text:
        assert any(each in "\u115f\u1160\u3164\uffa0" for each in text)
