"""A bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import io

from recorder.cli.progress import progress, watched


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_pipe_stays_clean() -> None:
    pipe = io.StringIO()
    with progress("calls", 3, stream=pipe) as advance:
        advance(1)
    assert pipe.getvalue() == ""


def test_a_terminal_shows_how_far_it_is() -> None:
    terminal = Terminal()
    with progress("calls", 3, stream=terminal) as advance:
        for _ in range(3):
            advance(1)
    assert "calls" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_work_of_several_parts_says_how_far_each_is() -> None:
    terminal = Terminal()
    with watched("users", stream=terminal) as told:
        told(700, 0)  # read so far; nobody knows how many there are
        told(500, 900)
        told(900, 900)
    assert "users" in terminal.getvalue() and "900/900" in terminal.getvalue()
    pipe = io.StringIO()
    with watched("users", stream=pipe) as told:
        told(1, 2)
    assert pipe.getvalue() == ""
