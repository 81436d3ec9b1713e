"""What commands print: for people by default, one JSON document with --json.

Names come from whoever called: what would steer a terminal, or turn the direction of a line, is not printed as it is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Control characters of ASCII and of ISO 6429 (C1), line ends of Unicode, and what overrides the direction of text.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return a text of one line that a terminal only shows."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def document(value: Any) -> None:
    """Print one JSON document."""
    for line in json.dumps(value, ensure_ascii=False, indent=2).split("\n"):
        print(_STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", line))


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns as wide as they need to be."""
    lines = [[plain(str(cell)) for cell in row] for row in rows]
    widths = [max(len(header[i]), *(len(row[i]) for row in lines), 0) for i in range(len(header))]
    for row in [list(header), *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def facts(values: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        print(f"{name.ljust(width)}  {plain(str(value))}")


def say(sentence: str) -> None:
    """Tell a person something on standard error, so that the output stays clean."""
    print(sentence, file=sys.stderr)
