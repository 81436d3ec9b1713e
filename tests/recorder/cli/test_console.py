"""What commands print."""

from __future__ import annotations

import json

import pytest

from recorder.cli import console


@pytest.mark.parametrize("odd", ["\x1b[31m", "\x07", "\n", "\x7f", "\x85", "\x9b2J", "\u2028", "\u202e", "\u2066"])
def test_a_name_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str], odd: str) -> None:
    console.table(("name",), [(f"E{odd}va",)])
    console.facts({"name": f"E{odd}va"})
    shown = capsys.readouterr().out
    assert odd[0] not in shown.replace("\n", "") and shown.count("\n") == 3
    console.document({"name": f"Ö{odd}mer"})
    told = capsys.readouterr().out
    assert json.loads(told) == {"name": f"Ö{odd}mer"}
    assert odd[0] not in told.replace("\n", "") and told.count("\n") == 3


def test_columns_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    console.table(("id", "n"), [("long-one", 1), ("x", 22)])
    console.table(("id",), [])
    console.facts({"a": 1, "bcd": 2})
    console.say("Done.")
    tables = "id        n\nlong-one  1\nx         22\nid\n"
    assert capsys.readouterr() == (tables + "a    1\nbcd  2\n", "Done.\n")
