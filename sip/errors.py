"""Everything that can go wrong in this package, as classes.

Remote errors say that the peer broke a rule; they carry the status to answer. Local errors say that we did.
No text here repeats input: a reason code is a fixed word, so it may be logged and counted.
"""

from __future__ import annotations

from typing import Any


class SipError(Exception):
    """Root of every error this package raises."""


class RemoteError(SipError):
    """The peer broke a rule; answer `status`, count `code`."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        """Fixed word that names the broken rule."""
        self.status = status
        """Status code a peer should see."""


class MalformedMessage(RemoteError):
    """A SIP message that cannot be taken as it is.

    `request` is the message as far as it could be read (`sip.message.message.Request`, always with a usable top Via),
    so that it can be answered; None if nothing can be answered: drop it.
    """

    def __init__(self, code: str, status: int = 400, request: Any = None) -> None:
        super().__init__(code, status)
        # Any: the class lives in sip.message.message, which imports this file.
        self.request = request
        """Request to answer, None to drop."""


class MalformedValue(MalformedMessage):
    """A URI or header value that does not follow RFC 3261 section 25."""


class FramingError(RemoteError):
    """A byte stream in which the next message cannot be found any more: answer if possible, then close.

    `before` are whole messages found ahead of the fault in the same data; `request` is the faulty message as far as it
    could be read, as in `MalformedMessage`.
    """

    def __init__(self, code: str, status: int = 400, *, request: Any = None, before: tuple[Any, ...] = ()) -> None:
        super().__init__(code, status)
        self.request = request
        """Request to answer, None to answer nothing."""
        self.before = before
        """What the same call would have returned had the fault not been there."""


class MalformedBody(RemoteError):
    """A body (multipart or SDP) that cannot be read at all."""


class NotAcceptable(RemoteError):
    """An offer of which nothing can be recorded; answer `status` with a Warning header (RFC 3261 section 20.43)."""

    def __init__(self, code: str, warning: int, text: str, status: int = 488) -> None:
        super().__init__(code, status)
        self.warning = warning
        """Three-digit warning code."""
        self.text = text
        """Warning text, without quotes."""


class LocalError(SipError):
    """We were about to do what the standard forbids."""


class UnsafeOutput(LocalError):
    """A header name or value of ours holds a line end and would start a new header field."""
