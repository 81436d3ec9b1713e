"""A recording session: one dialog, the offers in it, and how far its life has come.

Only the session changes its state. The states themselves, and what leads from one to the next, are the tables of
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
from sip.ua.session_timer import SessionTimer

SNAPSHOT_REQUEST = "application/rs-metadata-request"
"""Body in which a recorder asks for a snapshot of the metadata."""
MAX_SNAPSHOTS = 5
"""Snapshots asked for in one dialog: a client whose metadata stay damaged would be asked for ever."""
MAX_ENDED = 1_000
"""Ended dialogs that are remembered: who names one of them has lost a race of seconds."""
LAST_REFRESH = 10.0
"""Seconds before the end of a session after which a refresh that was refused is not tried again: a busy peer needs
some."""
ACK_TIMERS = ("repeat", "no-ack", "uncertain")
"""Timers of a 200 that waits for its ACK: its next repetition, the end of the session, the end of an uncertain wait."""
BYE_TIMERS = (*ACK_TIMERS, "refresh", "expire", "retry")
"""What a BYE of either side ends."""
SESSION_TIMERS = (*BYE_TIMERS, "confirm", "forget")
"""All timers of a session."""


@dataclass(slots=True)
class Session:
    """Everything kept of a running session; small, since thousands run at a time."""

    # Its name: our tag, random.
    key: SessionKey
    # Tags, CSeq, route.
    dialog: Dialog
    # The newest flow to the peer.
    flow: Flow
    # CSeq of the first INVITE, to know a late or merged copy of it.
    first_cseq: int
    # Those of the endpoint, among which the session sets its own.
    timers: Timers = field(repr=False)
    # Where it stands.
    phase: Phase = Phase.INVITED
    # A 200 that has not been acknowledged.
    ack: AckWait = field(default_factory=AckWait)
    # Whose offer is open, and our last SDP.
    offers: OfferWait = field(default_factory=OfferWait)
    # The question the user has not answered yet.
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
    # The user wants nothing sent for now: offers of ours stay inactive.
    paused: bool = False
    # Branch of the request that asks whether the peer still knows the session.
    probe: str = ""
    # Something is to be sent to the peer as soon as a flow leads there.
    waits_for_flow: bool = False
    # Reason of a BYE that has to wait for the ACK.
    waiting_bye: str | None = None
    # Whose it is, as the user said; nobody else can replace it or speak in it.
    owner: str = ""
    # Names of the certificate that the first INVITE came with.
    names: tuple[str, ...] = ()
    # Our 200 has arrived: its ACK came, or another request in the dialog.
    reached: bool = False

    # Its phase.

    def turn(self, happened: PhaseInput) -> bool:
        """Move on; False if the table does not allow it, and nothing has changed."""
        phase = PHASES.get((self.phase, happened))
        if phase is not None:
            self.phase = phase
        return phase is not None

    @property
    def over(self) -> bool:
        """Whether a BYE of either side was sent, or waits for an ACK to be sent."""
        return self.phase in (Phase.LEAVING, Phase.HANGING_UP, Phase.CLOSED) or self.waiting_bye is not None

    @property
    def settled(self) -> bool:
        """Whether the session runs and no 200 of ours waits for its ACK."""
        return self.phase is Phase.RUNNING and not self.ack

    @property
    def free_to_offer(self) -> bool:
        """Whether no offer is open, no question waits for the user, and no 200 of ours for its ACK."""
        return self.settled and self.offers.state is OfferState.NONE and self.token is None

    def hang_up(self) -> bool:
        """End it by a BYE of ours, and with it all that was under way; False if it does not run."""
        if not self.turn(PhaseInput.HANG_UP):
            return False
        self._end_waits()
        self.offers.drop_pending()
        self.waiting_bye = None
        return True

    def hang_up_later(self, reason: str) -> None:
        """Remember a BYE that has to wait for an ACK."""
        self.waiting_bye = reason

    def leave(self) -> None:
        """End it by a BYE of the peer."""
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
        """Say when a timer goes off, None if it is not set."""
        return self.timers.due_at(("session", self.key), letter)

    # The peer and the flow to it.

    def learn(self, headers: Headers) -> None:
        """Take from a request or response of the peer what it can do; what it does not mention stays as it was."""
        if "Allow" in headers:
            allowed = headers.tokens("Allow")
            self.takes_update, self.takes_info = "update" in allowed, "info" in allowed
        if "Accept" in headers:
            kinds = [value.partition(";")[0].strip().lower() for value in headers.values("Accept")]
            self.takes_snapshot = SNAPSHOT_REQUEST in kinds

    def unlearn_update(self) -> None:
        """Note that the peer does not take UPDATE, whatever its Allow said."""
        self.takes_update = False

    def keeps_to(self, flow: Flow) -> bool:
        """Tell whether a flow is as safe as the one the dialog began on: TLS, with one of the names shown then."""
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

    def belong_to(self, owner: str) -> None:
        """Take an owner: nobody else can replace the session or speak in it."""
        self.owner = owner

    def move_to(self, flow: Flow) -> None:
        """Take the newest flow to the peer."""
        self.flow = flow

    def hear(self, flow: Flow) -> None:
        """Take a request of the peer that shows that our 200 has arrived, and the flow it came by."""
        self.flow, self.reached = flow, True

    def wait_for_flow(self) -> None:
        """Note that something is to be sent as soon as a flow leads to the peer."""
        self.waits_for_flow = True

    def flow_found(self) -> bool:
        """Take the news of a flow to the peer; tell whether something waited for one."""
        waited, self.waits_for_flow = self.waits_for_flow, False
        return waited

    # Questions to the user.

    def ask(self, token: Token) -> None:
        """Wait for the user's answer to a question."""
        self.token = token

    def close_question(self) -> Token | None:
        """Wait for the user's answer no longer; give the question that was open."""
        token, self.token = self.token, None
        return token

    # The ACK of a 200.

    def await_ack(self, response: bytes, transaction: ServerKey, cseq: int, now: float) -> None:
        """Repeat a 2xx from T1 to T2 on every transport until its ACK, 32 s at most (section 13.3.1.4)."""
        self.ack.begin(AckInput.SENT, response, transaction, cseq)
        self.disarm("uncertain")
        self.arm("repeat", now + T1)
        self.arm("no-ack", now + GIVE_UP)

    def await_uncertain_ack(self, response: bytes, transaction: ServerKey, cseq: int, now: float) -> None:
        """Repeat the 2xx of an earlier process on a stream, for T2, as soon as a flow leads to the peer."""
        self.ack.begin(AckInput.RESTORED, response, transaction, cseq)
        self.arm("repeat", now + T1)
        self.arm("uncertain", now + T2)
        self.wait_for_flow()

    def repeat_response(self, now: float) -> bytes:
        """Give the 2xx that waits for its ACK, to be sent once more."""
        self.arm("repeat", now + self.ack.back_off())
        return self.ack.response

    def acknowledge(self) -> bool:
        """Take the ACK of our 2xx; tell whether it brings the answer to an offer of ours."""
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
        """Wait no longer for the ACK of a 200; the offer in it is made again, for its answer was to come there."""
        self.ack.end(AckInput.GIVEN_UP)
        self.disarm("repeat", "uncertain")
        self.offers.make_again()

    # Requests of ours.

    def reoffer(self, sdp: bytes, *, paused: bool) -> None:
        """Note what to offer next, and whether nothing is to be sent to us; only a running session offers it."""
        self.paused = paused
        if self.phase is Phase.RUNNING:
            self.offers.want(sdp)

    def count_snapshot(self) -> bool:
        """Count a request for a snapshot; False if it cannot be sent now, or not to this peer."""
        ready = self.takes_snapshot and self.free_to_offer and not self.offers.pending
        if not ready or self.snapshots >= MAX_SNAPSHOTS or not (self.takes_update or self.offers.local):
            return False
        self.snapshots += 1
        return True

    def probing(self, branch: str) -> None:
        """Note the request that asks whether the peer still knows the session."""
        self.probe = branch

    def probed(self, branch: str) -> bool:
        """Tell whether a request of ours was the probe; then it is answered."""
        if branch != self.probe:
            return False
        self.probe = ""
        return True

    # The session timer (RFC 4028).

    def agree_on(self, timer: SessionTimer | None) -> None:
        """Take the interval that was agreed, None for none."""
        self.session_timer = timer

    def restart_timer(self, now: float) -> None:
        """Count the session interval from now (RFC 4028 section 10)."""
        self.disarm("refresh", "expire")
        if self.session_timer:
            self.arm("expire", now + self.session_timer.expires_after())
            if self.session_timer.ours:
                self.arm("refresh", now + self.session_timer.refresh_after())

    def resume_timer(self, expires: float, now: float) -> None:
        """Keep the deadlines of an earlier process; where refreshing is ours it is due when it was, before the end.

        A refresh may have been lost while nobody listened: its retransmissions get their chance.
        """
        timer = self.session_timer
        if timer is None:
            return
        self.arm("expire", max(now + GIVE_UP, expires))
        if timer.ours:
            self.arm("refresh", max(now, expires - timer.expires_after() + timer.refresh_after()))

    def retry_refresh(self, now: float) -> None:
        """Have a refresh that was refused tried again, halfway to the end of the session, while there is time."""
        end, timer = self.due_at("expire"), self.session_timer
        waits = self.due_at("refresh") is not None
        if timer and timer.ours and not waits and end is not None and end - now > LAST_REFRESH:
            self.arm("refresh", now + (end - now) / 2)

    def refreshed(self, headers: Headers, now: float) -> None:
        """Take the 2xx to a re-INVITE or UPDATE of ours: target, abilities, interval."""
        self.dialog.retarget(headers)
        self.learn(headers)
        self.restart_timer(now)


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
        if session.offers.local:  # it was answered: there was a dialog
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
        """Return the session that an INVITE of `owner` by a flow may replace (RFC 3891 section 3); raise RemoteError.

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
