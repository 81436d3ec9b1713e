"""The public state machine of this package: bytes and time in, events and bytes out.

Call it in this order: feed it (`receive_datagram`, `receive_stream`, `connection_…`, `handle_timer`), take every
`next_event` and answer with `accept`, `refuse` or `confirm`, send `data_to_send`, and wake up at `next_timer`. It uses
no socket, clock, loop or log; `random` returns unguessable bytes. Nothing that a peer sends raises an exception: what
cannot be answered becomes the event `Dropped`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sip.errors import MalformedMessage
from sip.message.header_values import Flow
from sip.message.message import Framed, Request, Response, parse
from sip.message.replaces import Replaces
from sip.transaction.response import Fields
from sip.ua.checkpoint import revive, snapshot
from sip.ua.connections import Connections
from sip.ua.context import Authorize, Context, IsForeign
from sip.ua.events import Close, Dropped, Ending, Event, Send, SessionKey, Token
from sip.ua.session import Session
from sip.ua.session_state import Phase, PhaseInput
from sip.ua.settings import Settings
from sip.ua.uac import UserAgentClient
from sip.ua.uas import UserAgentServer, Warned

# Datagrams that are only a keep-alive: two CRLFs (RFC 5626 section 3.5.1), one CRLF, or no bytes at all.
BLANKS = b"\r\n\0 "
# Highest first byte of a STUN message (RFC 7983 section 7); a SIP start line begins with a letter.
STUN_BYTES = frozenset(range(4))

Watch = Callable[[bytes | Framed, Flow, bool], None]
"""Sees a message: as received, or the bytes that are sent."""


class Endpoint:
    """A session recording server without its sockets (RFC 7866 on RFC 3261)."""

    def __init__(self, settings: Settings | None = None, *, random: Callable[[int], bytes]) -> None:
        self._context = Context(settings or Settings(), random)
        self._client = UserAgentClient(self._context)
        self._server = UserAgentServer(self._context, self._client)
        self._connections = Connections(self._context, self._message, self._server.unframed)
        self._watch: Watch | None = None

    # Input from the network.

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        """Process one UDP datagram from an admitted source."""
        if not data.strip(BLANKS) or data[0] in STUN_BYTES:
            return
        self._message(data, flow, now)

    def connection_made(self, flow: Flow, now: float, *, ours: bool = False) -> None:
        """Add a TCP or TLS connection. `flow.connection` is its number, never reused; `ours`: we opened it."""
        self._connections.made(flow, now, ours=ours)

    def receive_stream(self, data: bytes, flow: Flow, now: float) -> None:
        """Process bytes from a connection; they may end anywhere in a message."""
        self._connections.receive(data, flow, now)

    def connection_lost(self, flow: Flow, now: float) -> None:
        """Remove a lost connection, or note that a requested connection (number 0) could not be opened."""
        for unsent in self._connections.lost(flow, now):
            self._client.unsent(unsent, now)

    # Output.

    def next_event(self) -> Event | None:
        """Return the next event, or None."""
        return self._context.events.popleft() if self._context.events else None

    def data_to_send(self) -> list[Send | Close]:
        """Return what to send and which connections to close, in order."""
        out = self._context.take_out()
        if self._watch is not None:
            for each in out:
                if isinstance(each, Send):
                    self._watch(each.data, each.flow, True)
        return out

    # Time.

    def next_timer(self) -> float | None:
        """Return the time at which to call `handle_timer`, or None."""
        return self._context.timers.next()

    def handle_timer(self, now: float) -> None:
        """Run everything that is due."""
        while (due := self._context.timers.pop(now)) is not None:
            (kind, key), letter = due
            try:
                self._fire(kind, key, letter, now)
            except Exception:  # a bug ends the call of this timer, not the process
                self._context.emit(Dropped(None, "internal"))

    # Answers from the user.

    def waits(self, token: Token) -> bool:
        """Return whether a question still needs an answer; the peer may have withdrawn it."""
        return self._server.waits(token)

    def accept(self, token: Token, sdp: bytes, now: float) -> bool:
        """Answer 200 with an SDP; return False if the peer has withdrawn the question."""
        return self._server.accept(token, sdp, now)

    def refuse(
        self,
        token: Token,
        status: int,
        now: float,
        *,
        retry_after: int | None = None,
        warning: Warned | None = None,
        headers: Fields = (),
    ) -> bool:
        """Answer with 3xx to 6xx. A refused re-offer leaves the session as it was (RFC 3261 section 14.2)."""
        return self._server.refuse(token, status, now, retry_after=retry_after, warning=warning, headers=headers)

    def confirm(self, token: Token, now: float) -> bool:
        """Answer a BYE with 200, once the whole recording is durable."""
        return self._server.confirm(token, now)

    def own(self, session: SessionKey, owner: str) -> None:
        """Set the owner of a session, also after `restore`. Only that owner may replace the session or send in it."""
        found = self._context.sessions.get(session)
        if found:
            found.belong_to(owner)

    def authorized_by(
        self,
        authorize: Authorize,
        known: Callable[[Flow], bool] = lambda flow: True,
        is_foreign: IsForeign = lambda owner, flow: False,
    ) -> None:
        """Set the functions that decide which senders may act for the owner of a session; until then, the tags suffice.

        `known` returns whether an address belongs to a customer; refusals are not repeated to anyone else (section
        26.3.2.4). We send no request to an address for which `is_foreign` returns true, whatever the Contact or the
        route says.
        """
        self._context.authorize_by(authorize, known, is_foreign)

    def replaced(self, named: Replaces, owner: str, flow: Flow) -> SessionKey:
        """Return the session that an INVITE of `owner` replaces; raise RemoteError if the INVITE must be refused.

        The old session runs until the user hangs it up, which is due once the new one is acknowledged (RFC 3891
        section 3): if the 200 never arrives, the peer has only the old session.
        """
        return self._context.sessions.replaced(named, owner, flow).key

    def hang_up(self, session: SessionKey, reason: str, now: float) -> None:
        """End a session with BYE, after the ACK if one is still awaited. `reason` is sent to the peer."""
        found = self._context.sessions.get(session)
        if found and found.phase is Phase.INVITED and found.token is not None:
            self._server.refuse(found.token, 503, now, retry_after=self._context.settings.retry_after)
        elif found:
            self._client.hang_up(found, reason, now)

    def reoffer(self, session: SessionKey, sdp: bytes, now: float, *, paused: bool = False) -> None:
        """Offer new media by re-INVITE as soon as no other offer is open; `Reanswered` follows.

        With `paused`, the peer must send nothing until the next call of this method, even if it asks us for an offer.
        """
        found = self._context.sessions.get(session)
        if found:
            self._client.reoffer(found, sdp, now, paused=paused)

    def ask_snapshot(self, session: SessionKey, reason: str, now: float) -> bool:
        """Ask the peer for its complete metadata, if it supports such requests; they arrive in a separate request."""
        found = self._context.sessions.get(session)
        return found is not None and self._client.ask_snapshot(found, reason, now)

    def ask_picture(self, session: SessionKey, now: float) -> bool:
        """Ask the peer for a full video picture by INFO, if it supports that."""
        found = self._context.sessions.get(session)
        return found is not None and self._client.ask_picture(found, now)

    def probe(self, session: SessionKey, now: float) -> bool:
        """Ask the peer whether it still knows the session; `Probed` follows. Return False if it cannot be asked now."""
        found = self._context.sessions.get(session)
        return found is not None and self._client.probe(found, now)

    def set_accepting(self, accepting: bool, retry_after: int | None = None) -> None:
        """Accept new calls, or answer them and OPTIONS with 503. Existing dialogs continue."""
        seconds = self._context.settings.retry_after if retry_after is None else retry_after
        self._context.refuse_calls(None if accepting else seconds)

    def refuse_from(self, seconds: Callable[[Flow], int | None]) -> None:
        """Set the function that returns Retry-After in seconds if nobody at an address can be served now, else None.

        OPTIONS and requests in unknown dialogs then get 503. The user decides about each INVITE.
        """
        self._context.refuse_from(seconds)

    def watched_by(self, watch: Watch | None) -> None:
        """Set the function that sees each whole message and its flow, before it is processed or sent; None: nobody.

        The last argument is whether we send the message. `watch` raises nothing.
        """
        self._watch = watch

    # State for a successor process.

    def export(self, session: SessionKey, *, now: float = 0.0, wall: float = 0.0) -> dict[str, Any]:
        """Return a session's state for `restore`; `now` (timer clock) and `wall` convert deadlines to wall time.

        Without them, deadlines stay on the timer clock, which works as long as that clock continues (CLOCK_MONOTONIC
        within one boot). Raise KeyError if the session is unknown.
        """
        found = self._context.sessions.get(session)
        if found is None:
            raise KeyError(session)
        return snapshot(found, wall - now)

    def restore(self, state: dict[str, Any], now: float, wall: float | None = None) -> SessionKey:
        """Continue a session of an earlier process; its requests may come on any connection. Raise ValueError."""
        return revive(self._context, state, now, 0.0 if wall is None else wall - now)

    def sessions(self) -> list[SessionKey]:
        """Return all sessions, for metrics and checks."""
        return [session.key for session in self._context.sessions]

    # Private.

    def _message(self, data: bytes | Framed, flow: Flow, now: float) -> None:
        """Process one whole message. A bug in its handling is caught here and answered with 500 if possible."""
        if self._watch is not None:
            self._watch(data, flow, False)
        message = None
        try:
            message = self._parse(data, flow)
            if message is not None:
                self._take(message, flow, now)
        except Exception:  # a bug in one call ends that call and is counted; the daemon goes on
            self._context.emit(Dropped(flow, "internal"))
            self._answer_500(message, flow)

    def _parse(self, data: bytes | Framed, flow: Flow) -> Request | Response | None:
        try:
            return parse(data)
        except MalformedMessage as error:
            self._server.malformed(error, flow)
            if error.request is None and error.code == "start-line":  # left by a wrong Content-Length
                self._connections.abandon(flow)
            return None

    def _take(self, message: Request | Response, flow: Flow, now: float) -> None:
        if isinstance(message, Request):
            self._server.receive(message, flow, now)
            return
        try:
            if not self._client.expected(message, flow):
                self._context.emit(Dropped(flow, "response-foreign"))
                return
            known = self._context.clients.receive(message, now)
            stray = known is None and self._client.stray(message, flow)
        except MalformedMessage as error:
            self._context.emit(Dropped(flow, error.code))
            return
        if known is None and not stray:
            self._context.emit(Dropped(flow, "response-unknown"))
        elif known and known[1]:
            self._client.answered(known[0], message, now)

    def _answer_500(self, message: Request | Response | None, flow: Flow) -> None:
        try:
            if isinstance(message, Request) and message.method != "ACK":
                self._server.malformed(MalformedMessage("internal", 500, message), flow)
        except Exception:
            # Not even a 500 can be written for this message; the error is already counted.
            return

    def _fire(self, kind: str, key: Any, letter: str, now: float) -> None:
        if kind == "server":
            self._context.servers.fire(key, letter, now)
        elif kind == "client":
            late = self._context.clients.fire(key, letter, now)
            if late:
                self._client.timed_out(late, now)
        elif kind == "connection":
            self._connections.fire(key, letter)
        else:
            session = self._context.sessions.get(key)
            if session:
                self._session_timer(session, letter, now)

    def _session_timer(self, session: Session, letter: str, now: float) -> None:
        if letter == "repeat":
            transaction = self._context.servers.find(session.ack.transaction)
            data = session.repeat_response(now)
            self._context.send(session.flow, data, transaction.port if transaction else 0)
        elif letter == "no-ack":
            self._client.expire(session, Ending.NO_ACK, now)
        elif letter == "uncertain":
            session.give_up_ack()
            self._client.catch_up(session, now)
        elif letter == "expire":
            self._client.expire(session, Ending.TIMER, now)
        elif letter == "refresh":
            self._client.refresh(session, now)
        elif letter == "retry":
            self._client.catch_up(session, now)
        elif letter == "forget" and session.token is None and session.turn(PhaseInput.CONFIRMED):
            self._context.close(session)
        elif letter == "confirm" and session.token is not None:
            self._context.emit(Dropped(session.flow, "bye-unconfirmed"))
            self._server.confirm(session.token, now)
