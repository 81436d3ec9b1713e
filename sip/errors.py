"""All errors of this package.

Remote errors mean that the peer broke a rule; they carry the status to answer. Local errors mean that we did.
No message repeats input. Reason codes are fixed words, so they can be logged and counted.
"""

from __future__ import annotations

from typing import Any


class SipError(Exception):
    """Root of every error this package raises."""


class RemoteError(SipError):
    """The peer broke a rule: answer with `status`, count `code`."""

    def __init__(self, code: str, status: int = 400) -> None:
        super().__init__(code)
        self.code = code
        """Fixed word that names the broken rule."""
        self.status = status
        """Status code to answer."""


class MalformedMessage(RemoteError):
    """A SIP message that cannot be processed.

    `request` holds what could be read of it (`sip.message.message.Request`, always with a usable top Via), so that it
    can be answered. It is None if the message can only be dropped.
    """

    def __init__(self, code: str, status: int = 400, request: Any = None) -> None:
        super().__init__(code, status)
        # Any: the class lives in sip.message.message, which imports this file.
        self.request = request
        """The request to answer; None to drop it."""


class MalformedValue(MalformedMessage):
    """A URI or header value that does not follow RFC 3261 section 25."""


class FramingError(RemoteError):
    """A byte stream in which the start of the next message cannot be found: answer if possible, then close.

    `before` holds the whole messages that precede the fault in the same data; `request` is what could be read of the
    faulty message, as in `MalformedMessage`.
    """

    def __init__(self, code: str, status: int = 400, *, request: Any = None, before: tuple[Any, ...] = ()) -> None:
        super().__init__(code, status)
        self.request = request
        """The request to answer; None to answer nothing."""
        self.before = before
        """What the call would have returned without the fault."""


class MalformedBody(RemoteError):
    """A body (multipart or SDP) that cannot be read."""


class NotAcceptable(RemoteError):
    """An offer in which nothing can be recorded: answer `status` with a Warning header (RFC 3261 section 20.43)."""

    def __init__(self, code: str, warning: int, text: str, status: int = 488) -> None:
        super().__init__(code, status)
        self.warning = warning
        """Three-digit warning code."""
        self.text = text
        """Warning text, without quotes."""


class LocalError(SipError):
    """We were about to do something that the standard forbids."""


class UnsafeOutput(LocalError):
    """A header name or value of ours contains a line end, which would start a new header field."""
