"""Exit statuses and sentences."""

from __future__ import annotations

import pytest

from recorder.errors import Negative, NotPossible, RecorderError, WrongUse


@pytest.mark.parametrize(("kind", "status"), [(Negative, 1), (WrongUse, 2), (NotPossible, 3), (RecorderError, 3)])
def test_each_has_the_exit_status_of_the_contract(kind: type[RecorderError], status: int) -> None:
    assert kind("x").status == status


def test_a_sentence_says_what_to_do() -> None:
    assert NotPossible("It is full.", "Free some space.").sentence() == "It is full. Free some space."
    assert NotPossible("It is full.").sentence() == "It is full."
