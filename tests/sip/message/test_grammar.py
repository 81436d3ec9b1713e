"""Fragments of the grammar: lists, parameters, quotes, and the end of a head."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip.message.grammar import (
    cut,
    has_empty_element,
    head_end,
    params,
    quote,
    quotes_closed,
    readable,
    unquote,
    write_params,
)


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("a, b ,c", ["a", "b", "c"]),
        ('"a,b" <sip:x,y>, c', ['"a,b" <sip:x,y>', "c"]),
        ('"a\\",b", c', ['"a\\",b"', "c"]),
        (",, a,,", ["a"]),
        ('x "open, y', ['x "open, y']),
        ("<sip:a, b", ["<sip:a, b"]),
        ("", []),
    ],
)
def test_lists_are_cut_outside_quotes_and_brackets(text: str, pieces: list[str]) -> None:
    assert cut(text, ",") == pieces


def test_parameters_keep_order_and_lose_their_quotes() -> None:
    assert write_params((("tag", "1"), ("lr", None), ("x", 'a;"b'))) == ';tag=1;lr;x="a;\\"b"'
    assert params(' ; Tag = 1 ;lr; x="a;b\\"c" ') == (("tag", "1"), ("lr", None), ("x", 'a;b"c'))


@given(st.lists(st.tuples(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.none() | st.text(max_size=20)), max_size=6))
def test_parameters_survive_the_way_out_and_in(pairs: list[tuple[str, str | None]]) -> None:
    assert params(write_params(tuple(pairs))) == tuple(pairs)


@given(st.text())
def test_quoting_is_undone_by_unquoting(text: str) -> None:
    assert unquote(quote(text)) == text
    assert quotes_closed(quote(text))


@pytest.mark.parametrize("text", ['"', '"a', '"a\\"', 'a "b" "c', '"a\\'])
def test_an_open_quote_is_noticed(text: str) -> None:
    assert not quotes_closed(text)


@pytest.mark.parametrize(
    ("text", "empty"),
    [(text, True) for text in ("a;;b", "a ; ; b", "a,,b", "a;,b", "a,", "a , ")]
    + [(text, False) for text in ("a;b", '";;" <sip:a;;b>;c', "a;", "a, b")],
)
def test_empty_elements_are_noticed(text: str, empty: bool) -> None:
    assert has_empty_element(text) is empty


def test_latin_1_names_become_readable_and_utf_8_stays() -> None:
    assert readable(b"M\xfcller".decode("utf-8", "surrogateescape")) == "Müller"
    assert readable("Müller 北") == "Müller 北"


@pytest.mark.parametrize(
    ("data", "end"),
    [
        (b"a\r\nb\r\n\r\nc", (4, 8)),
        (b"a\nb\n\nc", (3, 5)),
        (b"a\r\nb\r\n", None),
        (b"a\r\nb\n\nContent-Length: 5\r\n\r\n", (23, 27)),  # a head with CRLF does not end at bare line feeds
    ],
)
def test_the_head_ends_at_the_first_blank_line(data: bytes, end: tuple[int, int] | None) -> None:
    assert head_end(data) == end


@given(st.text(alphabet='"\\<>,; a', max_size=40))
def test_cutting_loses_nothing_but_separators_and_blanks(text: str) -> None:
    kept = "".join("".join(cut(text, ",")).split())
    assert kept.replace(",", "") == "".join(text.split()).replace(",", "")
