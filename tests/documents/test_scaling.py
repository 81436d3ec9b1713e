"""docs/scaling.md has what `bench.scaling` computes."""

from __future__ import annotations

from pathlib import Path

from bench.scaling import Costs, Wanted, tables

PAGE = Path(__file__).parents[2] / "docs" / "scaling.md"


def test_the_tables_of_the_page_are_what_is_computed() -> None:
    text = PAGE.read_text(encoding="utf-8")
    computed = tables(Wanted(), Costs())
    assert [table in text for table in computed] == [True] * len(computed), "make bench BENCH=scaling prints them"
