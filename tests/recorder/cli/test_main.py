"""Exit statuses, and never a traceback."""

from __future__ import annotations

import sys

import pytest

from recorder.cli import main
from recorder.errors import Negative, NotPossible, WrongUse


@pytest.mark.parametrize(
    ("problem", "status", "said"),
    [
        (Negative("There is none.", "Look."), 1, "recorder: There is none. Look."),
        (WrongUse("Wrong."), 2, "recorder: Wrong."),
        (NotPossible("Full."), 3, "recorder: Full."),
        (PermissionError(13, "x", "/etc/secret"), 3, "recorder: /etc/secret: Permission denied."),
        (KeyError("+4915198765432"), 3, "recorder: internal error, KeyError at "),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_whatever_happens_is_a_sentence_and_a_status(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], problem: BaseException, status: int, said: str
) -> None:
    def fail(arguments: list[str]) -> int:
        raise problem

    monkeypatch.setattr(main, "_others", fail)
    monkeypatch.setattr("sys.stdout", sys.stdout)
    assert main.run(["calls"]) == status
    told = capsys.readouterr().err
    assert told.startswith(said)
    assert "4915198765432" not in told
    assert "Traceback" not in told


@pytest.mark.parametrize("words", [["nonsense"], ["calls", "--nonsense"], ["serve", "--nonsense"], ["token", "create"]])
def test_wrong_arguments_exit_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status: object = main.run(words)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert capsys.readouterr().err
