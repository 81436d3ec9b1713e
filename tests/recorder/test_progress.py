"""A bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import io

from recorder.progress import progress


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
