"""Split a byte stream into messages by Content-Length (RFC 3261 sections 7.5, 18.3), with keep-alives (RFC 5626 3.5.1).

If the start of the next message is uncertain, the stream is given up: guessing would let a peer hide one message inside
another.
"""

from __future__ import annotations

import re

from sip.errors import FramingError
from sip.message.grammar import MAX_HEAD, MAX_START_LINE, head_end
from sip.message.message import Framed, Head, salvage

KEEPALIVE = b"\r\n\r\n"
"""A ping of the peer instead of a message: answer one CRLF (RFC 5626 section 4.4.1)."""

_BEGINNING = re.compile(rb"[A-Z]+(?:[ /]|\Z)")
"""How a start line begins: every registered method is in capitals, and so is SIP/2.0."""


class Framer:
    """Split the bytes of one connection into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._head: Head | None = None  # of the message that is not complete yet
        self._body_at = 0  # where its body begins
        self._need = 0  # its length in bytes
        self._fault: FramingError | None = None

    @property
    def pending(self) -> int:
        """Bytes of an incomplete message. One that stays incomplete wastes our memory.

        Line ends after a message do not count: some devices send an extra one, and half a ping is no message.
        """
        return 0 if KEEPALIVE.startswith(self._buffer) else len(self._buffer)

    @property
    def adrift(self) -> bool:
        """Return whether the pending bytes do not begin with a start line, as after a wrong Content-Length."""
        if self._head or not self.pending:
            return False
        end = self._buffer.find(b"\n")
        return not _BEGINNING.match(self._buffer) if end < 0 else b"SIP/" not in self._buffer[:end].upper()

    def feed(self, data: bytes) -> list[Framed | bytes]:
        """Add bytes and return the messages that are now complete, for `sip.message.message.parse`, and KEEPALIVE.

        Raise FramingError, from then on every time, if the next message cannot be found: process its `before`, answer
        its `request` if there is one, and close the connection.
        """
        if self._fault is not None:
            raise FramingError(self._fault.code, self._fault.status)
        self._buffer += data
        found: list[Framed | bytes] = []
        try:
            while (item := self._next()) is not None:
                found.append(item)
        except FramingError as fault:
            self._fault, fault.before = fault, tuple(found)
            self._buffer.clear()
            raise
        return found

    def _next(self) -> Framed | bytes | None:
        if self._head is None and self._skip_blank():
            return KEEPALIVE
        if self._head is None:
            self._find_head()
        if self._head is None or len(self._buffer) < self._need:
            return None
        message = Framed(self._head, bytes(self._buffer[self._body_at : self._need]))
        del self._buffer[: self._need]
        self._head, self._searched = None, 0
        return message

    def _skip_blank(self) -> bool:
        """Drop line ends before a message; return whether they were a ping."""
        buffer = self._buffer
        while buffer.startswith((b"\r", b"\n")):
            self._searched = 0
            if buffer.startswith(KEEPALIVE):
                del buffer[:4]
                return True
            if len(buffer) < len(KEEPALIVE) and KEEPALIVE.startswith(bytes(buffer)):
                return False
            del buffer[: 2 if buffer.startswith(b"\r\n") else 1]
        return False

    def _find_head(self) -> None:
        self._check_start()
        end = head_end(self._buffer, self._searched)
        self._searched = len(self._buffer)
        length = len(self._buffer) if end is None else end[0]
        if length > MAX_HEAD:
            raise FramingError("head-size", 513, request=salvage(Head.cut(bytes(self._buffer[:MAX_HEAD]))))
        if end is not None:
            head = Head.cut(bytes(self._buffer[:length]))
            self._body_at, self._need = end[1], end[1] + _body_length(head)
            self._head = head

    def _check_start(self) -> None:
        # TLS hellos, STUN and other binary data do not begin with a letter; line ends may be the start of a ping.
        if self._buffer and not 0x21 <= self._buffer[0] <= 0x7E and self._buffer[0] not in (0x0D, 0x0A):
            raise FramingError("not-sip")
        if len(self._buffer) > MAX_START_LINE and self._buffer.find(b"\n", 0, MAX_START_LINE) < 0:
            raise FramingError("start-line-size", request=salvage(Head.cut(bytes(self._buffer[:MAX_START_LINE]))))


def _body_length(head: Head) -> int:
    if head.fault is not None:
        raise FramingError(head.fault, 513 if head.fault == "body-size" else 400, request=salvage(head))
    if head.length is None:
        raise FramingError("content-length-missing", request=salvage(head))
    return head.length
