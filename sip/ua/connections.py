"""The TCP and TLS connections of an endpoint: framing, keep-alives, and time limits for incoming messages."""

from __future__ import annotations

from collections.abc import Callable

from sip.errors import FramingError, MalformedMessage
from sip.message.framing import Framer
from sip.message.header_values import Flow
from sip.message.message import Framed
from sip.transaction.layer import ClientTransaction
from sip.ua.context import Context
from sip.ua.events import Close, Dropped, Send

# Answer to a keep-alive (RFC 5626 section 4.4.1).
PONG = b"\r\n"

# Seconds to wait for the rest of a head whose first line is no start line; it is mostly the end of a body that was
# longer than its Content-Length. If it comes, a 400 tells the peer more than a closed connection.
ADRIFT_SECONDS = 0.5

Receive = Callable[[Framed, Flow, float], None]
Refuse = Callable[[MalformedMessage, Flow], None]


class Connections:
    """Split the bytes of all connections into messages and close connections that misbehave."""

    def __init__(self, context: Context, receive: Receive, refuse: Refuse) -> None:
        self._context = context
        self._receive = receive
        self._refuse = refuse
        self._framers: dict[int, Framer] = {}

    def made(self, flow: Flow, now: float, *, ours: bool) -> None:
        """Add a connection; its first message must arrive in time."""
        self._context.connections[flow.connection] = flow
        if ours:
            self._context.opened.add(flow.connection)
        self._framers[flow.connection] = Framer()
        timeout = self._context.settings.first_message_timeout
        self._context.timers.set(("connection", flow.connection), "first", now + timeout)

    def lost(self, flow: Flow, now: float) -> list[ClientTransaction]:
        """Remove a connection. Dialogs live on and our requests try another flow; return those that have no other."""
        self._context.connections.pop(flow.connection, None)
        self._context.opened.discard(flow.connection)
        self._framers.pop(flow.connection, None)
        self._context.timers.clear(("connection", flow.connection), "first", "message")
        return self._context.clients.lost(flow, now)

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """Process bytes from a connection."""
        framer = self._framers.get(flow.connection)
        if framer is None:
            return
        try:
            messages, fault = framer.feed(data), None
        except FramingError as error:
            messages, fault = list(error.before), error
        self._handle(messages, flow, now)
        if flow.connection not in self._framers:
            return  # one of these messages closed the connection
        if fault is not None:
            self._give_up(fault, flow)
        else:
            self._watch(framer, flow, now, whole=bool(messages))

    def abandon(self, flow: Flow) -> None:
        """Close a connection in which the start of the next message cannot be found."""
        if flow.connection in self._framers:
            self._close(flow)

    def fire(self, connection: int, letter: str) -> None:
        """Close a connection whose message did not arrive in time."""
        flow = self._context.connections.get(connection)
        if flow:
            reason = "slow-message" if letter == "message" else "silent-connection"
            self._context.emit(Dropped(flow, reason))
            self._close(flow)

    def _handle(self, messages: list[Framed | bytes], flow: Flow, now: float) -> None:
        for message in messages:
            if flow.connection not in self._framers:
                return
            if isinstance(message, bytes):  # a keep-alive
                self._context.out.append(Send(flow, PONG))
            else:
                self._receive(message, flow, now)

    def _watch(self, framer: Framer, flow: Flow, now: float, *, whole: bool) -> None:
        owner = ("connection", flow.connection)
        if whole:
            self._context.timers.clear(owner, "first", "message")
        if not framer.pending:
            return
        timeout = ADRIFT_SECONDS if framer.adrift else self._context.settings.message_timeout
        due = self._context.timers.due_at(owner, "message")
        if due is None or due > now + timeout:
            self._context.timers.set(owner, "message", now + timeout)

    def _give_up(self, error: FramingError, flow: Flow) -> None:
        self._refuse(MalformedMessage(error.code, error.status, error.request), flow)
        self._close(flow)

    def _close(self, flow: Flow) -> None:
        """Ask the transport to close the connection; it reports the connection lost afterwards."""
        self._framers.pop(flow.connection, None)
        self._context.timers.clear(("connection", flow.connection), "first", "message")
        self._context.out.append(Close(flow))
