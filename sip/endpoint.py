"""The one public state machine: bytes and time in, events and bytes out.

Turn the crank in one order: feed (`receive_datagram`, `receive_stream`, `connection_…`, `handle_timer`), drain
`next_event`, answer with `accept`, `refuse`, `confirm`, then send `data_to_send`, wake up at `next_timer`. There is no
socket, clock, loop or log in here; `random` gives unguessable bytes. Nothing a peer sends raises: what cannot be
answered is `Dropped`.
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

# Bytes of a datagram that is only a keep-alive: RFC 5626 section 3.5.1, also one CRLF and nothing at all.
BLANKS = b"\r\n\0 "
# First byte of a STUN message (RFC 7983 section 7); a start line begins with a letter.
STUN_BYTES = frozenset(range(4))


class Endpoint:
    """A session recording server without its sockets (RFC 7866 on RFC 3261)."""

    def __init__(self, settings: Settings | None = None, *, random: Callable[[int], bytes]) -> None:
        self._context = Context(settings or Settings(), random)
        self._client = UserAgentClient(self._context)
        self._server = UserAgentServer(self._context, self._client)
        self._connections = Connections(self._context, self._message, self._server.unframed)

    # Network in.

    def receive_datagram(self, data: bytes, flow: Flow, now: float) -> None:
        """Take one UDP datagram of an admitted source."""
        if not data.strip(BLANKS) or data[0] in STUN_BYTES:
            return
        self._message(data, flow, now)

    def connection_made(self, flow: Flow, now: float, *, ours: bool = False) -> None:
        """Take up a TCP or TLS connection; `flow.connection` is its number, never used again; `ours`: we opened it."""
        self._connections.made(flow, now, ours=ours)

    def receive_stream(self, data: bytes, flow: Flow, now: float) -> None:
        """Take bytes of a connection, cut anywhere."""
        self._connections.receive(data, flow, now)

    def connection_lost(self, flow: Flow, now: float) -> None:
        """Forget a connection, or learn that one asked for (connection 0) cannot be made."""
        for unsent in self._connections.lost(flow, now):
            self._client.unsent(unsent, now)

    # Out.

    def next_event(self) -> Event | None:
        """Take the next event, None if there is none."""
        return self._context.events.popleft() if self._context.events else None

    def data_to_send(self) -> list[Send | Close]:
        """Take what has to be sent or closed, in order."""
        return self._context.take_out()

    # Time.

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, None if never."""
        return self._context.timers.next()

    def handle_timer(self, now: float) -> None:
        """Let everything happen that is due."""
        while (due := self._context.timers.pop(now)) is not None:
            (kind, key), letter = due
            try:
                self._fire(kind, key, letter, now)
            except Exception:  # a bug ends one timer, not the process
                self._context.emit(Dropped(None, "internal"))

    # Answers of the user.

    def waits(self, token: Token) -> bool:
        """Tell whether a question still waits for its answer: the peer may have withdrawn it."""
        return self._server.waits(token)

    def accept(self, token: Token, sdp: bytes, now: float) -> bool:
        """Answer 200 with an SDP; False if the peer withdrew the question."""
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
        """Answer with a 3xx to 6xx; a refused re-offer leaves the session as it was (RFC 3261 section 14.2)."""
        return self._server.refuse(token, status, now, retry_after=retry_after, warning=warning, headers=headers)

    def confirm(self, token: Token, now: float) -> bool:
        """Answer 200 to a BYE: everything of the recording is durable."""
        return self._server.confirm(token, now)

    def own(self, session: SessionKey, owner: str) -> None:
        """Say whose a session is, also after `restore`: only the same owner can replace it or speak in it."""
        found = self._context.sessions.get(session)
        if found:
            found.belong_to(owner)

    def authorized_by(
        self,
        authorize: Authorize,
        known: Callable[[Flow], bool] = lambda flow: True,
        is_foreign: IsForeign = lambda owner, flow: False,
    ) -> None:
        """Have somebody judge who may speak for the owner of a session; until then everybody may who knows its tags.

        `known` tells whether an address is one of somebody's: refusals are not repeated to others (section 26.3.2.4).
        To where `is_foreign` no request of ours goes, whatever Contact or route says.
        """
        self._context.authorize_by(authorize, known, is_foreign)

    def replaced(self, named: Replaces, owner: str, flow: Flow) -> SessionKey:
        """Return the session that an INVITE of `owner` takes the place of; raise RemoteError to refuse it with.

        It goes on until the user hangs it up, which is due once the new session is acknowledged (RFC 3891 section 3):
        where the 200 never arrives the peer still has the old one only.
        """
        return self._context.sessions.replaced(named, owner, flow).key

    def hang_up(self, session: SessionKey, reason: str, now: float) -> None:
        """End a session by BYE, after the ACK if that is still awaited; `reason` goes to the peer."""
        found = self._context.sessions.get(session)
        if found and found.phase is Phase.INVITED and found.token is not None:
            self._server.refuse(found.token, 503, now, retry_after=self._context.settings.retry_after)
        elif found:
            self._client.hang_up(found, reason, now)

    def reoffer(self, session: SessionKey, sdp: bytes, now: float, *, paused: bool = False) -> None:
        """Offer new media by re-INVITE as soon as no other offer is open; `Reanswered` follows.

        `paused`: nothing is to be sent to us until the next call of this, also where the peer leaves an offer to us.
        """
        found = self._context.sessions.get(session)
        if found:
            self._client.reoffer(found, sdp, now, paused=paused)

    def ask_snapshot(self, session: SessionKey, reason: str, now: float) -> bool:
        """Ask the peer for its whole metadata, if it takes such requests; they come in a request of its own."""
        found = self._context.sessions.get(session)
        return found is not None and self._client.ask_snapshot(found, reason, now)

    def ask_picture(self, session: SessionKey, now: float) -> bool:
        """Ask the peer for a whole picture of its video by INFO, if it takes that."""
        found = self._context.sessions.get(session)
        return found is not None and self._client.ask_picture(found, now)

    def probe(self, session: SessionKey, now: float) -> bool:
        """Ask the peer whether it still knows the session; `Probed` follows. False if it cannot be asked now."""
        found = self._context.sessions.get(session)
        return found is not None and self._client.probe(found, now)

    def set_accepting(self, accepting: bool, retry_after: int | None = None) -> None:
        """Take new calls or answer them, and OPTIONS, 503; running dialogs go on."""
        seconds = self._context.settings.retry_after if retry_after is None else retry_after
        self._context.refuse_calls(None if accepting else seconds)

    # Continuity.

    def export(self, session: SessionKey, *, now: float = 0.0, wall: float = 0.0) -> dict[str, Any]:
        """Describe a session for `restore`; deadlines become `wall` times where `now` is the clock of the timers.

        Without both they stay on the clock of the timers, which serves as long as that goes on (CLOCK_MONOTONIC of one
        boot). Raise KeyError if the session is unknown.
        """
        found = self._context.sessions.get(session)
        if found is None:
            raise KeyError(session)
        return snapshot(found, wall - now)

    def restore(self, state: dict[str, Any], now: float, wall: float | None = None) -> SessionKey:
        """Take up a session of an earlier process: its requests are answered, on any connection; raise ValueError."""
        return revive(self._context, state, now, 0.0 if wall is None else wall - now)

    def sessions(self) -> list[SessionKey]:
        """List the sessions, for figures and checks."""
        return [session.key for session in self._context.sessions]

    # Inside.

    def _message(self, data: bytes | Framed, flow: Flow, now: float) -> None:
        """Take one whole message; a bug in its handling ends here, answered 500 where that can be."""
        message = None
        try:
            message = self._parse(data, flow)
            if message is not None:
                self._take(message, flow, now)
        except Exception:  # a bug in one call ends that call, is counted, and never the daemon
            self._context.emit(Dropped(flow, "internal"))
            self._answer_500(message, flow)

    def _parse(self, data: bytes | Framed, flow: Flow) -> Request | Response | None:
        try:
            return parse(data)
        except MalformedMessage as error:
            self._server.malformed(error, flow)
            if error.request is None and error.code == "start-line":  # a wrong Content-Length took its head
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
            # The message is such that even this fails: silence, already counted.
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
