"""Print the output of commands: for people by default, one JSON document with --json.

Names come from callers, so characters that would control a terminal or change the direction of a line are replaced.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Control characters of ASCII and of ISO 6429 (C1), line separators of Unicode, and characters that set direction.
_STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def plain(text: str) -> str:
    """Return a text as one line that is safe to show on a terminal."""
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
    """Print names and values, one on each line."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        print(f"{name.ljust(width)}  {plain(str(value))}")


def say(sentence: str) -> None:
    """Print a sentence for a person on standard error, so that standard output stays clean."""
    print(sentence, file=sys.stderr)
