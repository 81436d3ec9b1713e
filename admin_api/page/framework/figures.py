"""Figures as a language writes them: 1,234.5 in English, 1.234,5 in German (Unicode CLDR, by Babel)."""

from __future__ import annotations

from babel.numbers import format_decimal

UNITS = ("B", "kB", "MB", "GB", "TB")


def number(value: float, language: str, *, exact: bool = False) -> str:
    """Format a number: an `int` without decimals, any other with one decimal or, if `exact`, with all it has."""
    decimals = "" if isinstance(value, int) else ".###" if exact else ".0"
    return format_decimal(value, f"#,##0{decimals}", language)


def size(count: int | None, language: str) -> str:
    """Format a number of bytes with the unit that keeps it short."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 1000 and unit < len(UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{number(value if unit else count, language)} {UNITS[unit]}"
