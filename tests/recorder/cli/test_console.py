"""What commands print: tables, progress, and one sentence with an exit status whatever happens."""

from __future__ import annotations

import io
import json
import sys

import pytest

from recorder.cli import console, main
from recorder.cli.progress import progress, watched
from recorder.errors import Negative, NotPossible, WrongUse


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


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_how_far_it_is_and_a_pipe_nothing() -> None:
    for stream in (Terminal(), io.StringIO()):
        with progress("calls", 3, stream=stream) as advance:
            for _ in range(3):
                advance(1)
        with watched("users", stream=stream) as told:
            told(700, 0)  # read so far; nobody knows how many there are
            told(500, 900)
            told(900, 900)
        shown = stream.getvalue()
        words = ("calls", "3/3", "users", "900/900")
        assert [word for word in words if word in shown] == (list(words) if stream.isatty() else [])
        assert stream.isatty() or shown == ""


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
