"""The daemon's own errors, in addition to those of the libraries it wires together."""

from __future__ import annotations


class RecorderError(Exception):
    """Root of the daemon's own errors; `hint` tells the operator what to do, `status` is a command's exit status."""

    status = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def sentence(self) -> str:
        """Return what is wrong and what to do about it, for a terminal."""
        return f"{self} {self.hint}".strip()


class WrongUse(RecorderError):
    """The command line, the configuration or the request is wrong: exit status 2."""

    status = 2


class NotPossible(RecorderError):
    """It cannot be done now (locked, no space, address in use, a service unreachable): exit status 3."""


class OtherVersion(NotPossible):
    """A media worker runs other files than main, so main cannot command it; a main with the new files takes over."""

    def __init__(self) -> None:
        super().__init__("The program's files were replaced while it was running.", "Start it again.")


class Negative(RecorderError):
    """The answer is "no" (not found, verification failed): exit status 1."""

    status = 1
