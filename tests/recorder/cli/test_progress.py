"""A bar on a terminal, nothing in a pipe."""

from __future__ import annotations

import io

from recorder.cli.progress import progress, watched


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
