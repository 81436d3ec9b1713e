"""What commands print: for people by default, one JSON document with --json."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def document(value: Any) -> None:
    """Print one JSON document."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows in columns as wide as they need to be."""
    lines = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(header[i]), *(len(row[i]) for row in lines), 0) for i in range(len(header))]
    for row in [list(header), *lines]:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def facts(values: Mapping[str, object]) -> None:
    """Print names and values, one a line."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        print(f"{name.ljust(width)}  {value}")


def say(sentence: str) -> None:
    """Tell a person something on standard error, so that the output stays clean."""
    print(sentence, file=sys.stderr)
