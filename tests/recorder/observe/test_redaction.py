"""Only what the allow-list promises stands in a log line."""

from __future__ import annotations

import ast
import enum
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from personal import MASK, Personal
from recorder.observe.redaction import FIELDS, MAX_SENTENCE, Kind, mask, scrub

ROOT = Path(__file__).parents[3]
CALL = "b0a5c5b4-0d2d-4f0a-9a0e-3f2f0a4d7b11"


def test_only_fields_on_the_list_are_written() -> None:
    line = {
        "event": "call.started",
        "call": CALL,
        "customer": "acme",
        "count": 3,
        "peer": "192.0.2.1:5060",
        "bytes": 123_456,
    }
    assert mask(line) == line
    assert mask({"event": "a.b", "surname": "Mueller", "body": b"x"}) == {"event": "a.b", "masked_fields": 2}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("call", "Alice Mueller"),
        ("call", "4915112345678"),
        ("customer", "Alice"),
        ("customer", "49151123456"),
        ("count", "4915112345678"),
        ("count", float("nan")),
        ("count", 1e300),
        ("person", "+4915112345678"),
        ("reason", "Alice"),
        ("reason", "alice mueller"),
        ("reason", "x4915112345678"),
        ("method", "ALICE"),
        ("codec", "alice"),
        ("suite", "inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"),
        ("peer", "alice.example"),
        ("peer", "4915112345678"),
        ("at", "alice@example.com.py"),
        ("event", "call from 4915112345678"),
        ("event", "call.of4915112345678"),
        ("time", "4915112345678"),
        ("time", "4915-11-23T10:20:30Z"),
        ("time", "1999-12-31T23:59:59Z"),
        ("time", "2026-13-01T00:00:00Z"),
        ("customer", "49-151-123-4567"),
        ("at", "49151123456.py:1 f"),
        ("reason", "a12.34.56.7"),
        ("reason", "12345"),
        ("error", "Alice Mueller"),
        ("reason", b"alice"),
        ("reason", {"name": "alice"}),
        ("reason", Personal("alice")),
        ("reason", ValueError("alice")),
    ],
)
def test_a_value_of_another_shape_is_masked(field: str, value: object) -> None:
    assert mask({field: value}) == {field: MASK}


def test_every_entry_of_a_list_is_looked_at() -> None:
    assert mask({"customer": ["acme", "Alice"]}) == {"customer": ["acme", MASK]}
    assert mask({"count": {1, 2}}) == {"count": [1, 2]}
    assert len(mask({"count": list(range(1000))})["count"]) == 64


def test_codes_come_from_enums_too() -> None:
    State = enum.Enum("State", {"OPEN": "open"})
    assert mask({"state": State.OPEN}) == {"state": "open"}
    assert mask({"state": None, "result": True}) == {"state": None, "result": True}


@pytest.mark.parametrize(
    "said",
    [
        "call sip:alice@acme.example now",
        "call +49 (151) 1234-5678 now",
        "call 01511234567 now",
        'name "Alice Mueller" said',
        "name 'Alice' said",
        "to <tel:alice> now",
        "write to alice@acme.example now",
        "key inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz",
        "Authorization: Bearer alice",
        "token Zx8alice1lkjhgfdsaqwertz",
        "by Müller-Alice now",
    ],
)
def test_scrubbing_masks_text_like_personal_data(said: str) -> None:
    assert not re.search(r"(?i)alice|mueller|151|1234|WVNf", scrub(said))
    assert MASK in scrub(said)


def test_the_last_resort_leaves_what_an_operator_needs() -> None:
    said = "127.0.0.1:5060 cannot be listened on. Is another recorder running? See /etc/recorder/recorder.toml"
    assert scrub(said) == said
    assert len(scrub("a " * 10_000)) <= MAX_SENTENCE


@pytest.mark.parametrize(
    ("field", "fits", "too_much"),
    [
        ("event", "a" * 32, "a" * 33),
        ("event", "a.b", "a.b."),
        ("event", "a.b.c.d.e", "a.b.c.d.e.f"),
        ("event", "a." + "b" * 32, "a." + "b" * 33),
        ("event", "a.b", "a..b"),
        ("event", "a1234", "a12345"),
        ("reason", "a", ""),
        ("reason", "a" * 48, "a" * 49),
        ("reason", "a1-2-3-4-5-6", "a1-2-3-4-5-6-7"),
        ("reason", "a1234", "a12345"),
        ("error", "A", ""),
        ("error", "A" * 64, "A" * 65),
        ("customer", "a", ""),
        ("customer", "a" * 40, "a" * 41),
        ("customer", "12-34-56", "12-34-567"),
        ("at", "a.py:1 f", ".py:1 f"),
        ("at", "a" * 120 + ".py:1 f", "a" * 121 + ".py:1 f"),
        ("at", "a.py:123456 f", "a.py: f"),
        ("at", "a.py:1 " + "f" * 80, "a.py:1 " + "f" * 81),
        ("at", "a.py:1 f", "a.py:1 "),
        ("at", "a123456.py:1 f", "a1234567.py:1 f"),
        ("time", "2026-01-02T03:04:05Z", "2026-01-02T03:04:05"),
        ("time", "2026-01-02T03:04:05.1Z", "2026-01-02T03:04:05.Z"),
        ("time", "2026-01-02T03:04:05.123456Z", "2026-01-02T03:04:05.1234567Z"),
        ("time", "2000-01-01T00:00:00Z", "1999-12-31T23:59:59Z"),
        ("time", "2199-12-31T23:59:59Z", "2200-01-01T00:00:00Z"),
        ("call", CALL, CALL + "0"),
        ("person", "p-0123456789abcdef", "p-0123456789abcdef0"),
        ("person", "p-0123456789abcdef", "p-0123456789abcde"),
        ("peer", "192.0.2.1:1", "192.0.2.1:"),
        ("peer", "0.0.0.0", "0.0.0"),
        ("peer", "255.255.255.255", "255.255.255.256"),
        ("peer", "[::]:65535", "[::]:65536"),
        ("peer", "::", ":"),
    ],
)
def test_each_shape_ends_where_it_says(field: str, fits: str, too_much: str) -> None:
    assert mask({field: fits}) == {field: fits}
    assert mask({field: too_much}) == {field: MASK}


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("4321 stay", "4321 stay"),
        ("54321 go", "*** go"),
        ("12-3 stay", "12-3 stay"),
        ("12-34 go", "*** go"),
        ("1-2-3-4-5 go", "*** go"),
        ("1,,,2,,,3,,,4,,,5 go", "*** go"),
        ("1::::2::::3::::4::::5 stay", "1::::2::::3::::4::::5 stay"),
        ("a5bcdefghijklm stays", "a5bcdefghijklm stays"),
        ("a5bcdefghijklmno goes", "*** goes"),
        ("192.0.2.1:65535 stays", "192.0.2.1:65535 stays"),
        ("192.0.2.1:65536 goes", "*** goes"),
        ("999.0.2.1 goes", "*** goes"),
        ("a " * 150 + "beyond", "a " * 150),
        ("a" + " " * 1198 + "b" + "c", "a b"),
    ],
)
def test_the_last_resort_begins_where_it_says(said: str, kept: str) -> None:
    assert scrub(said) == kept


@given(
    st.text() | st.binary() | st.integers() | st.floats() | st.lists(st.text(max_size=3), max_size=3),
    st.sampled_from(sorted(FIELDS)),
)
def test_a_property_any_value_can_be_masked_and_written(value: object, field: str) -> None:
    json.dumps(mask({field: value}), allow_nan=False)


NUMBERS = st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True)
"""Digits of what can be called: E.164 has 15 at most, and what has fewer than 7 is a service's."""


def member(value: object) -> object:
    """Return the member of an enum that has this value."""
    Given: Any = enum.Enum("Given", {"ONE": value})
    return Given.ONE


@st.composite
def spellings(draw: st.DrawFn) -> tuple[str, Any]:
    """Give a number and something that holds it: an integer, a fraction, text, an address, a list of these."""
    number = draw(NUMBERS)
    between = draw(st.sampled_from(["", " ", "-", "/", ".", "_", ":", ",", ") (", "\u2011"]))
    sizes, rest, parts = draw(st.lists(st.integers(1, 4), min_size=1, max_size=15)), number, []
    for size in [*sizes, len(number)]:
        parts, rest = [*parts, rest[:size]], rest[size:]
    grouped = between.join(part for part in parts if part)
    hextets = ":".join(number[i : i + 4] for i in range(0, len(number), 4))
    shift = draw(st.integers(0, 14))
    one = draw(
        st.sampled_from(
            [
                int(number),
                -int(number),
                float(number),
                float(number) + 0.5,
                int(number) / 10**shift,
                number,
                f"+{number}",
                f"00{number}",
                grouped,
                f"x{grouped}y",
                f"call {grouped} now",
                f"{grouped}.py:12 f",
                f"a.py:12 {grouped}",
                f"1::{number}",
                f"::{hextets}",
                f"1::{hextets}",
                f"2001:db8:{hextets}::",
                f"[2001:db8::{hextets}]:5060",
                f"192.0.2.1:{number}",
                f"fe80::1%{number}",
                f"{number[:4]}-11-23T10:20:30.{number[4:10]}Z",
                member(int(number)),
                member(grouped),
                {"deeper": grouped},
                [[int(number)]],
                grouped.encode(),
            ]
        )
    )
    return number, draw(st.sampled_from([one, [one], (1, one), {"a": one}, frozenset([one]) if _hashes(one) else one]))


def _hashes(value: object) -> bool:
    return not isinstance(value, list | dict)


@settings(max_examples=200, deadline=None)
@given(spellings(), st.sampled_from(sorted(FIELDS)))
def test_a_property_no_telephone_number_passes_in_any_spelling(given: tuple[str, Any], field: str) -> None:
    number, value = given
    written = json.dumps(mask({field: value})[field])
    if FIELDS[field] is Kind.ADDRESS:  # four times three digits are a machine's there, whoever else could be called so
        written = re.sub(r"\b[0-9]{1,3}(\.[0-9]{1,3}){3}\b", "", written)
    assert number not in re.sub(r"[^A-Za-z0-9]", "", written)
    assert not re.search(r"[0-9](?:[^A-Za-z0-9]?[0-9]){6}", written)


@pytest.mark.parametrize(
    ("field", "value", "written"),
    [
        ("bytes", 999_999, 999_999),
        ("bytes", 1_000_000, "1.00e+06"),
        ("bytes", 4915112345678, "4.92e+12"),
        ("bytes", -1_000_000, "-1.00e+06"),
        ("bytes", 10**18 - 10**15, "9.99e+17"),
        ("bytes", 10**18, MASK),
        ("bytes", -(10**18), MASK),
        ("duration_ms", 4915112345678, "4.92e+12"),
        ("count", 301234567, "3.01e+08"),
        ("count", 999_999.4, 999_999),
        ("seconds", 999_999, 999_999),
        ("seconds", -999_999, -999_999),
        ("seconds", 1_000_000, MASK),
        ("seconds", -1_000_000, MASK),
        ("seconds", 0.1234567, 0.123),
        ("seconds", 999.9994, 999.999),
        ("seconds", 1000.25, 1000),
        ("port", 65_535, 65_535),
        ("port", 65_536, MASK),
        ("status", 699, 699),
        ("status", 700, MASK),
        ("exit_status", 255, 255),
        ("exit_status", 256, MASK),
        ("percent", 100, 100),
        ("percent", 101, MASK),
        ("worker", 9_999, 9_999),
        ("worker", 10_000, MASK),
        ("workers", 10_000, MASK),
        ("days", 99_999, 99_999),
        ("days", 100_000, MASK),
    ],
)
def test_a_number_has_the_bound_of_its_field(field: str, value: float, written: object) -> None:
    assert mask({field: value}) == {field: written}


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:65535", "192.0.2.1:65535"),
        ("192.0.2.1:65536", MASK),
        ("192.0.2.1:0000005060", MASK),
        ("999.0.2.1", MASK),
        ("192.000.002.001", MASK),
        ("49.151.12345678", MASK),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]:5060", "[2001:db8::1]:5060"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("1::4915112345678", MASK),
        ("1::4915:1123:4567", "1::/64"),
        ("2001:db8:1234:5678::1", "2001:db8::/32"),
        ("2001:db8:1:a123:4567:1234::", "2001:db8:1:a123::/64"),
        ("2001:db8:a12:3456:1::", "2001:db8:a12::/48"),
        ("2001:4567:1234::1", MASK),
        ("fe80::1%4915112345678", MASK),
    ],
)
def test_an_address_is_parsed_and_a_number_like_one_is_cut(value: str, written: str) -> None:
    assert mask({"peer": value}) == {"peer": written}


def test_every_field_our_code_logs_is_on_the_list() -> None:
    paths = [
        path for name in ("recorder", "sip", "media", "storage", "admin_api") for path in (ROOT / name).rglob("*.py")
    ]
    logged = [(path.relative_to(ROOT), *found) for path in paths for found in logged_fields(path)]
    assert len(logged) > 100 and [each for each in logged if each[2] not in FIELDS] == []


def logged_fields(path: Path) -> list[tuple[int, str]]:
    """Return line and name of every field that a call such as log.info(…, field=…) passes."""
    found = []
    text = path.read_text()
    for node in ast.walk(ast.parse(text)) if "log." in text else ():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.keywords:
            owner = ast.unparse(node.func.value).rpartition(".")[2].strip("_").lower()
            given = [keyword for keyword in node.keywords if keyword.arg != "exc_info"]
            if owner == "log" and node.func.attr in {"debug", "info", "warning", "error", "fault"}:
                found += [(node.lineno, keyword.arg or "**") for keyword in given]
    return found
