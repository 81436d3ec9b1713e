"""State that all parts of the endpoint share: sessions, transactions, timers, and output."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from sip.message.header_values import MAGIC_COOKIE, Flow
from sip.message.message import Request
from sip.message.siprec_marks import unknown_tags
from sip.message.uri import host_port
from sip.message.value import small_value
from sip.transaction.layer import ClientTransactions, ServerKey, ServerTransactions
from sip.transaction.response import ACCEPT, Fields, new_tag
from sip.transaction.timers import Timers
from sip.ua.events import Close, Closed, Dropped, Event, Send, SessionKey, Token
from sip.ua.session import SESSION_TIMERS, Session, Sessions
from sip.ua.settings import Settings

# Length in bytes of the key from which stateless To tags are derived.
SECRET_BYTES = 32
# Returns whether the sender on a flow may act for the owner of a session: () for yes, None for no, or the header fields
# of a 401 that asks for credentials. It gets the request, or None for a response or for something that began before;
# and the flow of the INVITE that an ACK, CANCEL, response or retransmission belongs to; those are never challenged
# (section 22.1).
Authorize = Callable[[str, Flow, Request | None, Flow], Fields | None]
# Returns whether the address of a flow is known to belong to others than the owner of a session, and only to them.
IsForeign = Callable[[str, Flow], bool]


@small_value
class Question:
    """A question to the user."""

    # The transaction to answer.
    transaction: ServerKey
    # The session that it concerns.
    session: SessionKey
    # INVITE, UPDATE or BYE.
    method: str
    # Whether the peer sent an offer.
    offered: bool
    # CSeq of the request.
    cseq: int


class Context:
    """The state of one endpoint."""

    def __init__(self, settings: Settings, random: Callable[[int], bytes]) -> None:
        self.settings = settings
        self.random = random
        self.secret = random(SECRET_BYTES)
        self.timers = Timers()
        self.sessions = Sessions()
        self.servers = ServerTransactions(self.timers, self.send)
        self.clients = ClientTransactions(self.timers, self.send)
        self.events: deque[Event] = deque()
        self.out: list[Send | Close] = []
        self.questions: dict[Token, Question] = {}
        self.authorize: Authorize | None = None
        self.is_foreign: IsForeign = lambda owner, flow: False
        self.connections: dict[int, Flow] = {}
        # The connections that we opened.
        self.opened: set[int] = set()
        # Sessions of an earlier process, by the connection that was lost with that process.
        self.disconnected: dict[Flow, list[SessionKey]] = {}
        # None while new calls are accepted, otherwise the seconds for Retry-After.
        self.refusing: int | None = None
        # None, or the seconds for Retry-After while nobody at this address can be served though others can.
        self.refusing_from: Callable[[Flow], int | None] = lambda flow: None
        self._tokens = 0

    def authorize_by(self, authorize: Authorize, known: Callable[[Flow], bool], is_foreign: IsForeign) -> None:
        """Set the functions that decide who may act for the owner of a session."""
        self.authorize, self.is_foreign = authorize, is_foreign
        self.servers.repeat_only_to(known)

    def refuse_from(self, seconds: Callable[[Flow], int | None]) -> None:
        """Set the function that returns Retry-After in seconds if nobody at an address can be served now, else None."""
        self.refusing_from = seconds

    def refuse_calls(self, retry_after: int | None) -> None:
        """Answer new calls with 503 and these seconds to wait; None accepts calls again."""
        self.refusing = retry_after

    def take_out(self) -> list[Send | Close]:
        """Return what to send and which connections to close, in order."""
        out, self.out = self.out, []
        return out

    def emit(self, event: Event) -> None:
        """Queue an event for the user."""
        self.events.append(event)

    def send(self, flow: Flow, data: bytes, port: int = 0) -> None:
        """Send on a flow; if its connection is broken, on a new one to `port` of the peer (RFC 3261 section 18.2.2)."""
        if flow.connection and flow.connection not in self.connections:
            if not port:
                self.emit(Dropped(flow, "connection-gone"))
                return
            remote = (flow.remote[0], port)
            flow = Flow(flow.transport, flow.local, remote, 0, flow.listener, flow.certificate_names)
        self.out.append(Send(flow, data))

    def alive(self, flow: Flow) -> bool:
        """Return whether a flow can still be used."""
        return flow.connection == 0 or flow.connection in self.connections

    def ask(self, session: Session, key: ServerKey, offered: bool, cseq: int) -> Token:
        """Ask the user a question."""
        self._tokens += 1
        token = Token(self._tokens)
        self.questions[token] = Question(key, session.key, key[-1], offered, cseq)
        session.ask(token)
        return token

    def authorization(
        self, session: Session, flow: Flow, request: Request | None, before: Flow | None = None
    ) -> Fields | None:
        """Decide whether the sender may act in a dialog, as for its first INVITE: () yes, None no (see `Authorize`).

        Until the user has set an owner, only the sender of the INVITE may.
        """
        before = before or session.flow
        if not session.keeps_to(flow):
            return None
        if self.authorize is None:
            return ()
        if not session.owner:
            return () if same_host(flow, before) else None
        found = self.authorize(session.owner, flow, request, before)
        ours = found is None and flow.connection in self.opened
        return () if ours and session.leads_to(flow) else found

    def branch(self) -> str:
        """Return an unguessable branch (RFC 3261 section 8.1.1.7)."""
        return MAGIC_COOKIE + new_tag(self.random)

    def close(self, session: Session) -> None:
        """Remove a session whose phase is CLOSED."""
        session.disarm(*SESSION_TIMERS)
        if session.token is not None:
            self.questions.pop(session.token, None)
        self.sessions.remove(session)
        self.emit(Closed(session.key))


def same_host(flow: Flow, other: Flow) -> bool:
    """Return whether two flows lead to the same host; port and connection may differ."""
    return flow.remote[0] == other.remote[0]


def contact(session: Session, advertised: str = "") -> str:
    """Return our Contact: where the peer reached us, with the feature tag after the > (RFC 7866 section 6.2).

    Behind NAT, only an advertised address leads the peer back to us.
    """
    flow = session.flow
    scheme = "sips" if session.dialog.secure and flow.transport == "tls" else "sip"
    host, port = flow.local[0].partition("%")[0], flow.local[1]
    if advertised and (":" in advertised) == (":" in host):
        host = advertised
    return f"<{scheme}:{host_port(host, port)};transport={flow.transport}>;+sip.srs"


def refusal_fields(status: int, context: Context, request: Request | None = None) -> Fields:
    """Return the header fields that belong to a refusal (RFC 3261 section 21.4)."""
    fields: dict[int, Fields] = {
        406: (("Accept", ACCEPT),),
        415: (("Accept", ACCEPT), ("Accept-Encoding", "identity")),
        421: (("Require", "siprec"),),
        422: (("Min-SE", str(context.settings.min_session_expires)),),
    }
    if status == 420 and request:
        return (("Unsupported", ", ".join(unknown_tags(request.headers))),)
    return fields.get(status, ())
