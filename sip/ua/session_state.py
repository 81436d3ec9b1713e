"""The state machines of a session, as tables.

A session runs three machines side by side. Each has an enum of states, an enum of inputs and one table. An input that
the table does not list for a state changes nothing.

*Phase* is the life of the session, from the first INVITE to the end of its dialog (RFC 3261 sections 12 to 15).

*The ACK wait* concerns our last 200 to an INVITE (section 13.3.1.4). The 200 is repeated until its ACK comes; without
one the session ends. If an earlier process sent the 200 on a stream, the connection was lost with that process, and
perhaps the ACK too. A missing ACK then ends nothing, and an offer in that 200 is made again.

*The offer wait* says whose offer is open (RFC 3264): none; ours, while our re-INVITE or our 200 with an offer waits for
the answer; or the peer's, while it waits for the user. At most one offer is open. Our next offer waits until that one
is answered.

`sip.ua.session.Session` owns one of each machine and its timers; the user agent asks the session.
"""

from __future__ import annotations

from sip.message.value import TableKey
from sip.transaction.layer import ServerKey
from sip.transaction.timers import T1, T2


class Phase(TableKey):
    """The phase of a session."""

    INVITED = "invited"  # the first INVITE waits for the user
    RUNNING = "running"  # answered 200
    LEAVING = "leaving"  # the peer's BYE waits for the user
    HANGING_UP = "hanging-up"  # our BYE waits for its answer
    CLOSED = "closed"  # forgotten


class PhaseInput(TableKey):
    """What changes the phase of a session."""

    ACCEPTED = "accepted"  # 200 sent
    REFUSED = "refused"  # final answer other than 2xx sent, or CANCEL received
    BYE = "bye"  # BYE received
    CONFIRMED = "confirmed"  # BYE answered
    HANG_UP = "hang-up"  # BYE sent
    OVER = "over"  # our BYE was answered or given up, or the dialog is known to be gone


PHASES: dict[tuple[Phase, PhaseInput], Phase] = {
    (Phase.INVITED, PhaseInput.ACCEPTED): Phase.RUNNING,
    (Phase.INVITED, PhaseInput.REFUSED): Phase.CLOSED,
    (Phase.RUNNING, PhaseInput.BYE): Phase.LEAVING,
    (Phase.RUNNING, PhaseInput.HANG_UP): Phase.HANGING_UP,
    (Phase.RUNNING, PhaseInput.OVER): Phase.CLOSED,
    (Phase.LEAVING, PhaseInput.CONFIRMED): Phase.CLOSED,
    (Phase.HANGING_UP, PhaseInput.OVER): Phase.CLOSED,
}


class AckState(TableKey):
    """Whether a 200 of ours waits for its ACK."""

    NONE = "none"
    AWAITED = "awaited"  # sent by this process, or on UDP: the session ends if no ACK comes
    UNCERTAIN = "uncertain"  # sent on a stream by an earlier process: the ACK may have come or been lost


class AckInput(TableKey):
    """What happens to a 200 of ours."""

    SENT = "sent"  # it went out
    RESTORED = "restored"  # an earlier process sent it, on a stream
    ACKNOWLEDGED = "acknowledged"  # its ACK came
    GIVEN_UP = "given-up"  # we stopped waiting for the ACK, or the session ended


ACK_STATES: dict[tuple[AckState, AckInput], AckState] = {
    (AckState.NONE, AckInput.SENT): AckState.AWAITED,
    (AckState.NONE, AckInput.RESTORED): AckState.UNCERTAIN,
    # the peer may send its next INVITE before the ACK of the previous one
    (AckState.AWAITED, AckInput.SENT): AckState.AWAITED,
    (AckState.AWAITED, AckInput.ACKNOWLEDGED): AckState.NONE,
    (AckState.AWAITED, AckInput.GIVEN_UP): AckState.NONE,
    (AckState.UNCERTAIN, AckInput.SENT): AckState.AWAITED,
    (AckState.UNCERTAIN, AckInput.ACKNOWLEDGED): AckState.NONE,
    (AckState.UNCERTAIN, AckInput.GIVEN_UP): AckState.NONE,
}


class OfferState(TableKey):
    """Whose offer is open."""

    NONE = "none"
    OURS = "ours"
    THEIRS = "theirs"


class OfferInput(TableKey):
    """What happens to an offer of either side."""

    SENT = "sent"  # ours went out, in a re-INVITE or a 200
    RECEIVED = "received"  # the peer's came
    ANSWERED = "answered"  # the other side answered
    REFUSED = "refused"  # the peer's was refused or withdrawn
    FAILED = "failed"  # ours was refused, reached nobody, or is no longer waited for


OFFER_STATES: dict[tuple[OfferState, OfferInput], OfferState] = {
    (OfferState.NONE, OfferInput.SENT): OfferState.OURS,
    (OfferState.NONE, OfferInput.RECEIVED): OfferState.THEIRS,
    (OfferState.OURS, OfferInput.ANSWERED): OfferState.NONE,
    (OfferState.OURS, OfferInput.FAILED): OfferState.NONE,
    (OfferState.THEIRS, OfferInput.ANSWERED): OfferState.NONE,
    (OfferState.THEIRS, OfferInput.REFUSED): OfferState.NONE,
}


class AckWait:
    """Our last 200 to an INVITE, and whether its ACK is awaited."""

    __slots__ = ("cseq", "interval", "response", "state", "transaction")

    def __init__(self) -> None:
        self.state = AckState.NONE
        self.response = b""  # as sent; empty while no ACK is awaited
        self.transaction: ServerKey = ()  # its name, for retransmissions after a restart; empty like the response
        self.cseq = -1  # of the last INVITE that was answered with 200
        self.interval = T1  # seconds until the next repetition

    def __bool__(self) -> bool:
        return self.state is not AckState.NONE

    def begin(self, happened: AckInput, response: bytes, transaction: ServerKey, cseq: int) -> None:
        """Start waiting for the ACK of a 200 that was SENT or RESTORED."""
        self._happen(happened)
        self.response, self.transaction, self.cseq, self.interval = response, transaction, cseq, T1

    def end(self, happened: AckInput) -> None:
        """Stop waiting: the 200 was ACKNOWLEDGED or GIVEN_UP."""
        self._happen(happened)
        self.response, self.transaction = b"", ()

    def is_of(self, cseq: int) -> bool:
        """Return whether the waiting 200 answers the INVITE with this CSeq."""
        return bool(self) and cseq == self.cseq

    def back_off(self) -> float:
        """Double the interval up to T2 and return it: seconds until the next repetition."""
        self.interval = min(2 * self.interval, T2)
        return self.interval

    def _happen(self, happened: AckInput) -> None:
        self.state = ACK_STATES.get((self.state, happened), self.state)


class OfferWait:
    """Offers and answers of one dialog: whose offer is open, our last SDP, and our next offer."""

    __slots__ = ("local", "pending", "sent", "state")

    def __init__(self) -> None:
        self.state = OfferState.NONE
        self.local = b""  # our last SDP that was answered, or that was an answer
        self.sent = b""  # our offer in a re-INVITE that waits for its answer
        self.pending = b""  # our next offer, which has to wait

    def restore(self, *, local: bytes, pending: bytes) -> None:
        """Restore what an earlier process saved."""
        self.local, self.pending = local, pending

    def receive(self) -> None:
        """Note an offer from the peer, which the user must answer."""
        self._happen(OfferInput.RECEIVED)

    def answer(self, sdp: bytes) -> None:
        """Note our answer. A waiting offer of ours is older than this answer, so it is dropped."""
        self._happen(OfferInput.ANSWERED)
        self.local, self.pending = sdp or self.local, b""

    def refuse(self) -> None:
        """Note that the peer's offer was refused or withdrawn; do nothing if there is none."""
        self._happen(OfferInput.REFUSED)

    def want(self, sdp: bytes) -> None:
        """Keep our next offer until it can be sent."""
        self.pending = sdp

    def send(self, sdp: bytes) -> None:
        """Note our offer in a re-INVITE."""
        self._happen(OfferInput.SENT)
        self.sent, self.pending = sdp, b""

    def send_in_response(self, sdp: bytes = b"") -> None:
        """Note our offer in a 200 (our last SDP if `sdp` is empty); the ACK brings its answer."""
        self._happen(OfferInput.SENT)
        self.local = sdp or self.local

    def answered_in_ack(self) -> None:
        """Note that the ACK brought the answer to our offer in a 200."""
        self._happen(OfferInput.ANSWERED)

    def answered(self, *, accepted: bool) -> bytes:
        """Note the final response to our re-INVITE and return the offer that was in it."""
        sdp, self.sent = self.sent, b""
        self._happen(OfferInput.ANSWERED if accepted else OfferInput.FAILED)
        self.local = sdp if accepted and sdp else self.local
        return sdp

    def postpone(self) -> None:
        """Offer again what a failed re-INVITE (glare, or no flow) offered, unless a newer offer waits."""
        sdp = self.answered(accepted=False)
        self.pending = self.pending or sdp

    def make_again(self) -> None:
        """Stop waiting for the answer to our offer in a 200; offer it again, unless a newer offer waits."""
        self._happen(OfferInput.FAILED)
        self.pending = self.pending or self.local

    def drop_pending(self) -> None:
        """Discard our next offer."""
        self.pending = b""

    def _happen(self, happened: OfferInput) -> None:
        self.state = OFFER_STATES.get((self.state, happened), self.state)
