"""What the daemon itself can fail with, beside the errors of the libraries it wires."""

from __future__ import annotations


class RecorderError(Exception):
    """Root of the daemon's own errors; `hint` tells an operator what to do, `status` is a command's exit status."""

    status = 3

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def sentence(self) -> str:
        """Return one sentence for a terminal: what is wrong and what to do."""
        return f"{self} {self.hint}".strip()


class WrongUse(RecorderError):
    """The command line, the configuration or the request is wrong: exit status 2."""

    status = 2


class NotPossible(RecorderError):
    """It could not be done now (locked, no space, address in use, a service away): exit status 3."""


class OtherVersion(NotPossible):
    """A media worker is of other files than main, which cannot command it; a main of those files goes on."""

    def __init__(self) -> None:
        super().__init__("The program's files were replaced while it ran.", "It has to be started again.")


class Negative(RecorderError):
    """The answer is "no" (not found, verification failed): exit status 1."""

    status = 1
