"""What commands print."""

from __future__ import annotations

import json

import pytest

from recorder import output


def test_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    output.document({"name": "Ömer"})
    assert json.loads(capsys.readouterr().out) == {"name": "Ömer"}


def test_columns_are_as_wide_as_they_need_to_be(capsys: pytest.CaptureFixture[str]) -> None:
    output.table(("id", "n"), [("long-one", 1), ("x", 22)])
    assert capsys.readouterr().out == "id        n\nlong-one  1\nx         22\n"
    output.table(("id",), [])
    assert capsys.readouterr().out == "id\n"


def test_facts_and_sentences(capsys: pytest.CaptureFixture[str]) -> None:
    output.facts({"a": 1, "bcd": 2})
    output.say("Done.")
    assert capsys.readouterr() == ("a    1\nbcd  2\n", "Done.\n")
