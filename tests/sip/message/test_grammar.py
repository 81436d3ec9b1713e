"""Fragments of the grammar: lists, parameters, quotes, and the end of a head."""

from __future__ import annotations

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
from tests.sip.cpu_cost import cost


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
    assert params(' ; Tag = 1 ;lr; x="a;b\\"c" ') == (("tag", "1"), ("lr", None), ("x", 'a;b"c'))


def test_parameters_are_quoted_where_needed() -> None:
    assert write_params((("tag", "1"), ("lr", None), ("x", 'a;"b'))) == ';tag=1;lr;x="a;\\"b"'


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


@pytest.mark.parametrize("text", ["a;;b", "a ; ; b", "a,,b", "a;,b", "a,", "a , "])
def test_empty_elements_are_noticed(text: str) -> None:
    assert has_empty_element(text)


@pytest.mark.parametrize("text", ["a;b", '";;" <sip:a;;b>;c', "a;", "a, b"])
def test_quoted_separators_make_no_empty_elements(text: str) -> None:
    assert not has_empty_element(text)


def test_latin_1_names_become_readable_and_utf_8_stays() -> None:
    assert readable(b"M\xfcller".decode("utf-8", "surrogateescape")) == "Müller"
    assert readable("Müller 北") == "Müller 北"


def test_the_head_ends_at_the_first_blank_line() -> None:
    assert head_end(b"a\r\nb\r\n\r\nc") == (4, 8)
    assert head_end(b"a\nb\n\nc") == (3, 5)
    assert head_end(b"a\r\nb\r\n") is None


def test_a_head_with_crlf_does_not_end_at_bare_line_feeds() -> None:
    assert head_end(b"a\r\nb\n\nContent-Length: 5\r\n\r\n") == (23, 27)


@pytest.mark.parametrize(
    "nasty", ['"' * 60_000, '\\"' * 30_000, "<" * 60_000, '"\\' * 30_000, " ;" * 30_000, "; " * 30_000]
)
def test_no_value_makes_scanning_slow(nasty: str) -> None:
    assert cost(lambda: [cut(nasty, ","), params(nasty), has_empty_element(nasty), quotes_closed(nasty)], 1.0) < 1.0


@given(st.text(alphabet='"\\<>,; a', max_size=40))
def test_cutting_loses_nothing_but_separators_and_blanks(text: str) -> None:
    kept = "".join("".join(cut(text, ",")).split())
    assert kept.replace(",", "") == "".join(text.split()).replace(",", "")
