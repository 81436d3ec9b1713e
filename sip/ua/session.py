"""A recording session: one dialog, the offers in it, and how far its life has come.

The phases are a table. Beside them runs the question whose turn the next offer is (RFC 3264): nobody's, ours while our
re-INVITE or our 200 with an offer waits, theirs while a re-INVITE or UPDATE with an offer waits for the user.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sip.errors import MalformedMessage, RemoteError
from sip.message.header_values import Flow, NameAddr
from sip.message.headers import Headers
from sip.message.message import Request
from sip.message.replaces import Replaces
from sip.message.uri import Uri
from sip.transaction.response import TLS_PORT, UDP_PORT
from sip.transaction.timers import T1
from sip.ua.dialog import Dialog
from sip.ua.events import SessionKey, Token
from sip.ua.session_timer import SessionTimer

SNAPSHOT_REQUEST = "application/rs-metadata-request"
"""Body in which a recorder asks for a snapshot of the metadata."""
MAX_ENDED = 1_000
"""Ended dialogs that are remembered: who names one of them has lost a race of seconds."""


class Phase(Enum):
    """How far a session has come."""

    INVITED = "invited"  # the first INVITE waits for the user
    RUNNING = "running"  # answered 200
    LEAVING = "leaving"  # the peer's BYE waits for the user
    HANGING_UP = "hanging-up"  # our BYE waits for its answer
    CLOSED = "closed"  # forgotten


class Turn(Enum):
    """What moves a session from one phase to the next."""

    ACCEPTED = "accepted"  # 200 sent
    REFUSED = "refused"  # final answer other than 2xx sent, or CANCEL received
    BYE = "bye"  # BYE received
    CONFIRMED = "confirmed"  # BYE answered
    HANG_UP = "hang-up"  # BYE sent
    OVER = "over"  # BYE of ours answered or given up, or the dialog is known to be gone


PHASES: dict[tuple[Phase, Turn], Phase] = {
    (Phase.INVITED, Turn.ACCEPTED): Phase.RUNNING,
    (Phase.INVITED, Turn.REFUSED): Phase.CLOSED,
    (Phase.RUNNING, Turn.BYE): Phase.LEAVING,
    (Phase.RUNNING, Turn.HANG_UP): Phase.HANGING_UP,
    (Phase.RUNNING, Turn.OVER): Phase.CLOSED,
    (Phase.LEAVING, Turn.CONFIRMED): Phase.CLOSED,
    (Phase.HANGING_UP, Turn.OVER): Phase.CLOSED,
}


class Offering(Enum):
    """Whose offer is open."""

    NONE = "none"
    OURS = "ours"
    THEIRS = "theirs"


@dataclass(slots=True)
class Session:
    """Everything kept of a running session; small, since thousands run at a time."""

    # Its name: our tag, random.
    key: SessionKey
    # Tags, CSeq, route.
    dialog: Dialog
    # The newest way to the peer.
    flow: Flow
    # CSeq of the first INVITE, to know a late or merged copy of it.
    first_cseq: int
    # Where it stands.
    phase: Phase = Phase.INVITED
    # Whose offer is open.
    offering: Offering = Offering.NONE
    # The question the user has not answered yet.
    token: Token | None = None
    # The last SDP of ours.
    local_sdp: bytes = b""
    # The interval agreed by RFC 4028.
    timer: SessionTimer | None = None
    # The peer's Allow names UPDATE.
    takes_update: bool = False
    # The peer's Allow names INFO.
    takes_info: bool = False
    # The peer's Accept names requests for a snapshot of the metadata (RFC 7866 section 9.2).
    takes_snapshot: bool = False
    # Snapshots asked for so far.
    snapshots: int = 0
    # A 200 that has not been acknowledged, as sent.
    unacked: bytes = b""
    # Name of its transaction, for retransmissions after a restart.
    unacked_key: tuple[str, ...] = ()
    # CSeq of its INVITE.
    unacked_cseq: int = -1
    # Pause before its next repetition, seconds.
    interval: float = T1
    # The user wants nothing sent for now: offers of ours stay inactive.
    quiet: bool = False
    # Branch of the request that asks whether the peer still knows the session.
    probe: str = ""
    # The user's next offer, which has to wait.
    wanted: bytes = b""
    # Something is to be said to the peer as soon as there is a way to it.
    stranded: bool = False
    # Our offer that waits for its answer.
    offered: bytes = b""
    # Reason of a BYE that has to wait for the ACK.
    parting: str | None = None
    # Whose it is, as the user said; nobody else can replace it or speak in it.
    owner: str = ""
    # Names of the certificate that the first INVITE came with.
    names: tuple[str, ...] = ()
    # Our 200 has arrived: its ACK came, or another request in the dialog.
    heard: bool = False

    def turn(self, turn: Turn) -> bool:
        """Move on; False if the table does not allow it, and nothing has changed."""
        phase = PHASES.get((self.phase, turn))
        if phase is not None:
            self.phase = phase
        return phase is not None

    def learn(self, headers: Headers) -> None:
        """Take from a request or response of the peer what it can do; what it does not mention stays as it was."""
        if "Allow" in headers:
            allowed = headers.tokens("Allow")
            self.takes_update, self.takes_info = "update" in allowed, "info" in allowed
        if "Accept" in headers:
            kinds = [value.partition(";")[0].strip().lower() for value in headers.values("Accept")]
            self.takes_snapshot = SNAPSHOT_REQUEST in kinds

    def keeps_to(self, flow: Flow) -> bool:
        """Tell whether a way is as safe as the one the dialog began on: TLS, with one of the names shown then."""
        if self.flow.transport != "tls":
            return True
        return flow.transport == "tls" and (not self.names or not set(self.names).isdisjoint(flow.certificate_names))

    def leads_to(self, flow: Flow) -> bool:
        """Tell whether a connection of ours is one to where requests of ours go (section 12.2.1.1)."""
        try:
            uri = Uri.parse(self.dialog.next_hop())
        except MalformedMessage:
            return False
        port = uri.port or (TLS_PORT if flow.transport == "tls" else UDP_PORT)
        return bool(flow.connection) and flow.remote == (uri.host, port)

    @property
    def over(self) -> bool:
        """Whether a BYE of either side was sent, or waits for an ACK to be sent."""
        return self.phase in (Phase.LEAVING, Phase.HANGING_UP, Phase.CLOSED) or self.parting is not None

    def settle(self, sdp: bytes) -> None:
        """Note that an offer of either side has been answered; `sdp` is the last text of ours."""
        self.offering = Offering.NONE
        self.local_sdp = sdp or self.local_sdp

    def give_up_ack(self) -> None:
        """Wait no longer for the ACK of a 200; the offer in it is made again, for its answer was to come there."""
        self.unacked, self.unacked_key = b"", ()
        self.settle(b"")
        self.wanted = self.wanted or self.local_sdp


class Sessions:
    """All sessions, by name and by dialog."""

    def __init__(self) -> None:
        self._all: dict[SessionKey, Session] = {}
        # several where customers use the same Call-ID and tag
        self._origins: dict[tuple[str, str], tuple[SessionKey, ...]] = {}
        self._ended: dict[str, tuple[str, str, str]] = {}  # our tag -> Call-ID, the peer's tag, owner; oldest first

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._all.values())

    def add(self, session: Session) -> None:
        """Take in a session."""
        self._all[session.key] = session
        origin = (session.dialog.call_id, session.dialog.remote_tag)
        self._origins[origin] = (*self._origins.get(origin, ()), session.key)

    def get(self, key: str) -> Session | None:
        """Return a session by its name."""
        return self._all.get(SessionKey(key))

    def remove(self, session: Session) -> None:
        """Forget a session."""
        self._all.pop(session.key, None)
        origin = (session.dialog.call_id, session.dialog.remote_tag)
        others = tuple(key for key in self._origins.pop(origin, ()) if key != session.key)
        if others:
            self._origins[origin] = others
        if session.local_sdp:  # it was answered: there was a dialog
            self._ended[session.key] = (*origin, session.owner)
            if len(self._ended) > MAX_ENDED:
                del self._ended[next(iter(self._ended))]

    def of_dialog(self, call_id: str, local_tag: str, remote_tag: str) -> Session | None:
        """Return the session of a dialog (RFC 3261 section 12)."""
        session = self._all.get(SessionKey(local_tag))
        if session and session.dialog.call_id == call_id and session.dialog.remote_tag == remote_tag:
            return session
        return None

    def made_by(self, request: Request, sender: NameAddr) -> list[Session]:
        """Return the sessions that an earlier copy of this INVITE may have begun (section 8.2.2.2)."""
        keys = self._origins.get((request.call_id, sender.tag or ""), ())
        return [self._all[key] for key in keys if request.cseq.number <= self._all[key].first_cseq]

    def replaced(self, named: Replaces, owner: str, flow: Flow) -> Session:
        """Return the session that an INVITE of `owner` on a way may replace (RFC 3891 section 3); raise RemoteError.

        One of somebody else is as unknown as one that never was, and so is one that was not answered yet: the early
        dialogs of that section are those which its server began. One over TLS is replaced over TLS only; the standby of
        a client has a certificate of its own.
        """
        session = self._all.get(SessionKey(named.to_tag))
        known = (session.dialog.call_id, session.dialog.remote_tag, session.owner) if session else None
        known = known or self._ended.get(named.to_tag)
        wanted = [(named.call_id, tag, owner) for tag in named.remote_tags]
        exposed = session is not None and session.flow.transport == "tls" != flow.transport
        if known not in wanted or exposed or (session and session.phase is Phase.INVITED):
            raise RemoteError("replaces-unknown", 481)
        if session is None or session.over:
            raise RemoteError("replaces-ended", 603)
        if named.early_only:
            raise RemoteError("replaces-early-only", 486)
        return session
