"""A recording session: one dialog, its offers, and its state.

Only the session changes its own state. The states and the transitions between them are the tables of
`sip.ua.session_state`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sip.errors import MalformedMessage, RemoteError
from sip.message.header_values import Flow, NameAddr
from sip.message.headers import Headers
from sip.message.message import Request
from sip.message.replaces import Replaces
from sip.message.uri import Uri
from sip.transaction.layer import ServerKey
from sip.transaction.response import TLS_PORT, UDP_PORT
from sip.transaction.timers import GIVE_UP, T1, T2, Timers
from sip.ua.dialog import Dialog
from sip.ua.events import SessionKey, Token
from sip.ua.session_state import PHASES, AckInput, AckState, AckWait, OfferState, OfferWait, Phase, PhaseInput
from sip.ua.session_timer import SessionTimer, decided, raised

SNAPSHOT_REQUEST = "application/rs-metadata-request"
"""Body with which a recorder asks for a snapshot of the metadata."""
MAX_SNAPSHOTS = 5
"""Limit of snapshots asked for in one dialog, for clients whose metadata are damaged every time."""
MAX_ENDED = 1_000
"""Number of ended dialogs remembered: a request that names one of them lost a race of seconds."""
LAST_REFRESH = 10.0
"""A refused refresh is not tried again in these last seconds of a session: a busy peer needs some time."""
ACK_TIMERS = ("repeat", "no-ack", "uncertain")
"""Timers of a 200 that waits for its ACK: next repetition, end of the session, end of an uncertain wait."""
BYE_TIMERS = (*ACK_TIMERS, "refresh", "expire", "retry")
"""Timers that stop at a BYE of either side."""
SESSION_TIMERS = (*BYE_TIMERS, "confirm", "forget")
"""All timers of a session."""


@dataclass(slots=True)
class Session:
    """State of a running session; kept small, since thousands run at a time."""

    # Its name: our tag, random.
    key: SessionKey
    # Tags, CSeq, route.
    dialog: Dialog
    # The newest flow to the peer.
    flow: Flow
    # CSeq of the first INVITE, to recognise a late or merged copy of it.
    first_cseq: int
    # The timers of the endpoint; the session sets its own among them.
    timers: Timers = field(repr=False)
    phase: Phase = Phase.INVITED
    # A 200 that has not been acknowledged.
    ack: AckWait = field(default_factory=AckWait)
    # Whose offer is open, and our last SDP.
    offers: OfferWait = field(default_factory=OfferWait)
    # The question that the user has not answered yet.
    token: Token | None = None
    # The interval agreed by RFC 4028.
    session_timer: SessionTimer | None = None
    # The peer's Allow names UPDATE.
    takes_update: bool = False
    # The peer's Allow names INFO.
    takes_info: bool = False
    # The peer's Accept names requests for a snapshot of the metadata (RFC 7866 section 9.2).
    takes_snapshot: bool = False
    # Snapshots asked for so far.
    snapshots: int = 0
    # The user wants nothing sent for now, so our offers stay inactive.
    paused: bool = False
    # Branch of the request that asks whether the peer still knows the session.
    probe: str = ""
    # Something waits to be sent until a flow leads to the peer.
    waits_for_flow: bool = False
    # Reason of a BYE that waits for the ACK.
    waiting_bye: str | None = None
    # The owner that the user has set; nobody else can replace the session or send in it.
    owner: str = ""
    # Names in the certificate of the first INVITE's connection.
    names: tuple[str, ...] = ()
    # Our 200 has arrived: its ACK came, or another request in the dialog.
    reached: bool = False

    def turn(self, happened: PhaseInput) -> bool:
        """Change the phase; return False and change nothing if the table does not allow it."""
        phase = PHASES.get((self.phase, happened))
        if phase is not None:
            self.phase = phase
        return phase is not None

    @property
    def over(self) -> bool:
        """Whether either side has sent a BYE, or a BYE of ours waits for an ACK."""
        return self.phase in (Phase.LEAVING, Phase.HANGING_UP, Phase.CLOSED) or self.waiting_bye is not None

    @property
    def settled(self) -> bool:
        """Whether the session runs and no 200 of ours waits for its ACK."""
        return self.phase is Phase.RUNNING and not self.ack

    @property
    def free_to_offer(self) -> bool:
        """Whether no offer is open, no question waits for the user, and no 200 of ours waits for its ACK."""
        return self.settled and self.offers.state is OfferState.NONE and self.token is None

    def hang_up(self) -> bool:
        """End it with a BYE of ours, and everything under way with it; return False if it does not run."""
        if not self.turn(PhaseInput.HANG_UP):
            return False
        self._end_waits()
        self.offers.drop_pending()
        self.waiting_bye = None
        return True

    def hang_up_later(self, reason: str) -> None:
        """Note the reason of a BYE that has to wait for an ACK."""
        self.waiting_bye = reason

    def leave(self) -> None:
        """End it because of a BYE from the peer."""
        self.turn(PhaseInput.BYE)
        self._end_waits()

    def _end_waits(self) -> None:
        self.ack.end(AckInput.GIVEN_UP)
        self.disarm(*BYE_TIMERS)

    # Timers.

    def arm(self, letter: str, at: float) -> None:
        """Set a timer."""
        self.timers.set(("session", self.key), letter, at)

    def disarm(self, *letters: str) -> None:
        """Clear timers."""
        self.timers.clear(("session", self.key), *letters)

    def due_at(self, letter: str) -> float | None:
        """Return when a timer fires, None if it is not set."""
        return self.timers.due_at(("session", self.key), letter)

    # The peer and the flow to it.

    def learn(self, headers: Headers) -> None:
        """Note what the peer supports, as its headers say; what they do not mention stays as it was."""
        if "Allow" in headers:
            allowed = headers.tokens("Allow")
            self.takes_update, self.takes_info = "update" in allowed, "info" in allowed
        if "Accept" in headers:
            kinds = [value.partition(";")[0].strip().lower() for value in headers.values("Accept")]
            self.takes_snapshot = SNAPSHOT_REQUEST in kinds

    def unlearn_update(self) -> None:
        """Note that the peer does not support UPDATE, whatever its Allow said."""
        self.takes_update = False

    def keeps_to(self, flow: Flow) -> bool:
        """Return whether a flow is as safe as that of the first INVITE: TLS, with one of the same certificate names."""
        if self.flow.transport != "tls":
            return True
        return flow.transport == "tls" and (not self.names or not set(self.names).isdisjoint(flow.certificate_names))

    def leads_to(self, flow: Flow) -> bool:
        """Return whether a connection that we opened leads to where our requests go (section 12.2.1.1)."""
        try:
            uri = Uri.parse(self.dialog.next_hop())
        except MalformedMessage:
            return False
        port = uri.port or (TLS_PORT if flow.transport == "tls" else UDP_PORT)
        return bool(flow.connection) and flow.remote == (uri.host, port)

    def belong_to(self, owner: str) -> None:
        """Set the owner: nobody else can replace the session or send in it."""
        self.owner = owner

    def move_to(self, flow: Flow) -> None:
        """Set the newest flow to the peer."""
        self.flow = flow

    def hear(self, flow: Flow) -> None:
        """Note a request from the peer, which shows that our 200 has arrived, and the flow on which it came."""
        self.flow, self.reached = flow, True

    def wait_for_flow(self) -> None:
        """Note that something must be sent as soon as a flow leads to the peer."""
        self.waits_for_flow = True

    def flow_found(self) -> bool:
        """Note that a flow to the peer was found; return whether anything waited for one."""
        waited, self.waits_for_flow = self.waits_for_flow, False
        return waited

    # Questions to the user.

    def ask(self, token: Token) -> None:
        """Wait for the user to answer a question."""
        self.token = token

    def close_question(self) -> Token | None:
        """Stop waiting for the user and return the question that was open."""
        token, self.token = self.token, None
        return token

    # The ACK of a 200.

    def await_ack(self, response: bytes, transaction: ServerKey, cseq: int, now: float) -> None:
        """Repeat a 2xx on every transport until its ACK: after T1, up to T2, for at most 32 s (section 13.3.1.4)."""
        self.ack.begin(AckInput.SENT, response, transaction, cseq)
        self.disarm("uncertain")
        self.arm("repeat", now + T1)
        self.arm("no-ack", now + GIVE_UP)

    def await_uncertain_ack(self, response: bytes, transaction: ServerKey, cseq: int, now: float) -> None:
        """Repeat the 2xx of an earlier process on a stream for T2, as soon as a flow leads to the peer."""
        self.ack.begin(AckInput.RESTORED, response, transaction, cseq)
        self.arm("repeat", now + T1)
        self.arm("uncertain", now + T2)
        self.wait_for_flow()

    def repeat_response(self, now: float) -> bytes:
        """Return the 2xx that waits for its ACK, to be sent again."""
        self.arm("repeat", now + self.ack.back_off())
        return self.ack.response

    def acknowledge(self) -> bool:
        """Note the ACK of our 2xx; return whether it brings the answer to an offer of ours."""
        answers = self.offers.state is OfferState.OURS
        self.ack.end(AckInput.ACKNOWLEDGED)
        self.disarm(*ACK_TIMERS)
        if answers:
            self.offers.answered_in_ack()
        return answers

    @property
    def ack_is_uncertain(self) -> bool:
        """Whether a 200 of an earlier process may have been acknowledged."""
        return self.ack.state is AckState.UNCERTAIN

    def give_up_ack(self) -> None:
        """Stop waiting for an ACK. An offer in that 200 is made again, since the ACK would have brought its answer."""
        self.ack.end(AckInput.GIVEN_UP)
        self.disarm("repeat", "uncertain")
        self.offers.make_again()

    # Our requests.

    def reoffer(self, sdp: bytes, *, paused: bool) -> None:
        """Set our next offer, and whether it asks the peer to send nothing; only a running session sends it."""
        self.paused = paused
        if self.phase is Phase.RUNNING:
            self.offers.want(sdp)

    def count_snapshot(self) -> bool:
        """Count a request for a snapshot; return False if none can be sent now, or not to this peer."""
        ready = self.takes_snapshot and self.free_to_offer and not self.offers.pending
        if not ready or self.snapshots >= MAX_SNAPSHOTS or not (self.takes_update or self.offers.local):
            return False
        self.snapshots += 1
        return True

    def probing(self, branch: str) -> None:
        """Note the request that asks whether the peer still knows the session."""
        self.probe = branch

    def probed(self, branch: str) -> bool:
        """Return whether a request of ours was the probe; if so, the probe is answered."""
        if branch != self.probe:
            return False
        self.probe = ""
        return True

    # The session timer (RFC 4028).

    def agree_on(self, timer: SessionTimer | None) -> None:
        """Set the agreed interval; None if there is none."""
        self.session_timer = timer

    def restart_timer(self, now: float) -> None:
        """Restart the session interval (RFC 4028 section 10)."""
        self.disarm("refresh", "expire")
        if self.session_timer:
            self.arm("expire", now + self.session_timer.expires_after())
            if self.session_timer.ours:
                self.arm("refresh", now + self.session_timer.refresh_after())

    def resume_timer(self, expires: float, now: float) -> None:
        """Restore the deadlines of an earlier process; a refresh of ours is due at its old time, before the end.

        The peer's refresh may have been lost while no process listened, so its retransmissions get a chance.
        """
        timer = self.session_timer
        if timer is None:
            return
        self.arm("expire", max(now + GIVE_UP, expires))
        if timer.ours:
            self.arm("refresh", max(now, expires - timer.expires_after() + timer.refresh_after()))

    def retry_refresh(self, now: float, after: float = 0.0) -> None:
        """Schedule a refused refresh again, halfway to the end of the session, if there is time.

        `after`: seconds of the peer's Retry-After; it waits longer than halfway only if the peer wants that.
        """
        end, timer = self.due_at("expire"), self.session_timer
        waits = self.due_at("refresh") is not None
        if timer and timer.ours and not waits and end is not None and end - now > LAST_REFRESH:
            left = end - now
            self.arm("refresh", now + max(left / 2, min(after, left - LAST_REFRESH)))

    def raise_interval(self, headers: Headers) -> bool:
        """Take the Min-SE of a 422; return whether the request may be repeated at once, which happens only once."""
        timer, first = raised(headers, self.session_timer), not (self.session_timer and self.session_timer.minimum)
        self.session_timer = timer or self.session_timer
        return timer is not None and first

    def refreshed(self, headers: Headers, now: float) -> None:
        """Take target, capabilities and interval from the 2xx to our re-INVITE or UPDATE."""
        self.dialog.retarget(headers)
        self.learn(headers)
        self.agree_on(decided(headers, self.session_timer))
        self.restart_timer(now)


class Sessions:
    """All sessions, by name and by dialog."""

    def __init__(self) -> None:
        self._all: dict[SessionKey, Session] = {}
        # several sessions if customers use the same Call-ID and tag
        self._origins: dict[tuple[str, str], tuple[SessionKey, ...]] = {}
        self._ended: dict[str, tuple[str, str, str]] = {}  # our tag -> Call-ID, the peer's tag, owner; oldest first

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._all.values())

    def add(self, session: Session) -> None:
        """Add a session."""
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
        if session.offers.local:  # only an answered INVITE has a dialog
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
        """Return the sessions that an earlier copy of this INVITE may have started (section 8.2.2.2)."""
        keys = self._origins.get((request.call_id, sender.tag or ""), ())
        return [self._all[key] for key in keys if request.cseq.number <= self._all[key].first_cseq]

    def replaced(self, named: Replaces, owner: str, flow: Flow) -> Session:
        """Return the session that an INVITE of `owner` may replace (RFC 3891 section 3); raise RemoteError.

        A session of another owner counts as unknown, and so does one that was not answered yet: that section allows
        early dialogs only if the server initiated them. A session over TLS can only be replaced over TLS; a client's
        standby has a certificate of its own.
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
