"""The TCP and TLS connections of an endpoint: framing, keep-alives, and how long a peer may take over a message."""

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

# Seconds for the rest of a head whose first line begins no message: mostly the end of a body that was longer than its
# Content-Length said. If it comes, the 400 says more than a closed connection.
ADRIFT_SECONDS = 0.5

Receive = Callable[[Framed, Flow, float], None]
Refuse = Callable[[MalformedMessage, Flow], None]


class Connections:
    """Cut the bytes of all connections into messages and end those that misbehave."""

    def __init__(self, context: Context, receive: Receive, refuse: Refuse) -> None:
        self._context = context
        self._receive = receive
        self._refuse = refuse
        self._framers: dict[int, Framer] = {}

    def made(self, flow: Flow, now: float, *, ours: bool) -> None:
        """Take up a connection; its first message must come in time."""
        self._context.connections[flow.connection] = flow
        if ours:
            self._context.opened.add(flow.connection)
        self._framers[flow.connection] = Framer()
        timeout = self._context.settings.first_message_timeout
        self._context.timers.set(("connection", flow.connection), "first", now + timeout)

    def lost(self, flow: Flow, now: float) -> list[ClientTransaction]:
        """Forget a connection; dialogs live on, requests of ours try another flow. Return those that know none."""
        self._context.connections.pop(flow.connection, None)
        self._context.opened.discard(flow.connection)
        self._framers.pop(flow.connection, None)
        self._context.timers.clear(("connection", flow.connection), "first", "message")
        return self._context.clients.lost(flow, now)

    def receive(self, data: bytes, flow: Flow, now: float) -> None:
        """Take bytes of a connection."""
        framer = self._framers.get(flow.connection)
        if framer is None:
            return
        try:
            messages, fault = framer.feed(data), None
        except FramingError as error:
            messages, fault = list(error.before), error
        self._handle(messages, flow, now)
        if flow.connection not in self._framers:
            return  # it was closed over one of them
        if fault is not None:
            self._give_up(fault, flow)
        else:
            self._watch(framer, flow, now, whole=bool(messages))

    def abandon(self, flow: Flow) -> None:
        """Close a connection that cannot be followed any more: nobody knows where its next message begins."""
        if flow.connection in self._framers:
            self._close(flow)

    def fire(self, connection: int, letter: str) -> None:
        """Close a connection that kept us waiting."""
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
        """Ask the shell to close; it will report the connection lost."""
        self._framers.pop(flow.connection, None)
        self._context.timers.clear(("connection", flow.connection), "first", "message")
        self._context.out.append(Close(flow))
