"""The table of duties is whole, and what it names exists and carries the id."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "interop" / "duties.md"
COUNTS = {"R": 34, "X": 17, "F": 10, "S": 36, "O": 15, "T": 14, "C": 10, "D": 7, "8.": 14}
"""How many duties of each kind there are."""
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| (?:[RXFSOTCD]|8\.)\d+ ", line)
]


@cache
def docstrings_of(path: str) -> dict[str, str]:
    """Give the tests of a file, each with its docstring."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name: ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)}


def names(duty, path, test):
    """Return whether a test exists and names a duty."""
    said = f"{test} {docstrings_of(path)[test]}".replace("_", " ") if test in docstrings_of(path) else ""
    return re.search(rf"(?i)(?<![a-z0-9.]){re.escape(duty)}(?![0-9])", said)


def test_every_duty_has_its_row():
    assert [row[0] for row in ROWS] == [f"{kind}{n}" for kind, count in COUNTS.items() for n in range(1, count + 1)]


def test_a_duty_is_shown_by_tests_or_says_why_not():
    for _, _, what, where, shown, remark in ROWS:
        assert what and (where or remark) and (shown or remark)
    wanted = [(row[0], *entry.strip("`").split("` ")) for row in ROWS for entry in filter(None, row[4].split("<br>"))]
    assert [each for each in wanted if not names(*each)] == []
