"""The life of one recording as a pure state machine: events in, commands out (RFC 7866, DESIGN sections 2 and 6).

Theory of operation.  A recording is born by an INVITE with an offer.  Before it is answered its sockets and its
encrypted files exist (OPENING → RECORDING), because what is accepted must be kept.  Re-offers, holds, metadata and
pauses change it while it lives.  It ends by a BYE, by the loss of its dialog or by our own wish; then the media worker
seals the last part (CLOSING), the final document is written and made durable (FINISHING), and only then is the BYE
answered.

    state      offered            informed  hung up / lost / stop asked   media closed
    NEW        → OPENING          –         –                             –
    OPENING    488                ignored   → OVER, refused with 503      –   (opened → RECORDING, open failed → OVER)
    RECORDING  re-offer           metadata  → CLOSING                     –
    CLOSING    488                ignored   the BYE's token is kept       → FINISHING
    FINISHING  488                ignored   the BYE's token is kept       –
    OVER       –                  –         –                             –

An offer that fails or is withdrawn before its answer changes nothing: a first one ends the recording unwritten (OVER),
a later one goes back to what was (RFC 3261 section 14.2).

The core knows no socket, file, clock or log: time comes with each event, randomness by a callable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from sys import intern
from typing import Any

from recorder.session import call_document, mline_matching, pausing, renewing, speakers, telling
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.offer_answer import Agreement, Before
from recorder.session.stream import Stream, arriving, plans_of
from sip.errors import NotAcceptable, SipError
from sip.message.body import contents, documents
from sip.message.message import Request
from sip.sdp import answer, offer
from sip.sdp.answer import LinePlan
from sip.sdp.description import SessionDescription
from sip.sdp.plan import Addresses
from sip.siprec import document as metadata
from sip.siprec.call_model import CallModel
from sip.siprec.xml_reader import Damage
from sip.ua.events import Token

RETRY_AFTER = 30
"""Seconds an SBC should leave us alone when we cannot take its call; it fails over to another recorder meanwhile."""

UNREADABLE = (305, "The session description cannot be read")
ENDING = (399, "The recording is ending")
"""Warnings of RFC 3261 section 20.43."""

_NOTHING: tuple[Sequence[Stream], Before, bool] = ((), Before(), False)
"""What was before the first offer; one for all recordings."""


class State(Enum):
    """Where a recording is in its life."""

    NEW = "new"
    OPENING = "opening"
    RECORDING = "recording"
    CLOSING = "closing"
    FINISHING = "finishing"
    OVER = "over"


class Recording:
    """One SIPREC dialog: what was offered, who takes part, which streams there are, what happened to them."""

    __slots__ = (
        "_answer_token", "_before", "_bye", "_first", "_pending", "_random", "agreement", "call_id", "client",
        "ended", "id", "inferred", "interrupted", "notes", "offers_first", "paused", "picture", "policy", "reason",
        "source", "started", "state", "streams",
    )  # fmt: skip

    def __init__(self, call: str, policy: answer.Policy, random: Callable[[int], bytes]) -> None:
        self.id = call
        self.policy = policy
        self.state = State.NEW
        self.picture = CallModel()
        self.streams: list[Stream] = []
        self.notes: tuple[dict[str, Any], ...] = ()
        self.paused = False
        self.interrupted = False
        self.started: e.Now | None = None
        self.ended: e.Now | None = None
        self.reason: str | None = None
        self.call_id = ""
        self.client: str | None = None
        self.source: str | None = None
        self.agreement = Agreement(int.from_bytes(random(6), "big"))
        self.inferred = 0  # streams whose owner was inferred instead of told, in the newest document
        self._random = random
        self._bye: Token | None = None
        self._answer_token: tuple[Token, Addresses] | None = None
        self._pending: tuple[LinePlan, ...] = ()
        self._first = True  # the newest offer is the first one
        self.offers_first = False  # the first offer is ours, and its answer has not come yet
        self._before = _NOTHING

    # ---- the one entrance ----
    def handle(self, event: e.Event, now: e.Now) -> list[c.Command]:
        """Take one event and return what is to be done, in order."""
        match event:
            case e.Offered():
                return self._offered(event, now)
            case e.OfferWanted():
                return self._offer_wanted(event, now)
            case e.Agreed(sdp, asked):
                return self._agreed(sdp, asked, now)
            case e.Opened(ports):
                return self._opened(ports, now)
            case e.OpenFailed(reason):
                return self._open_failed(reason)
            case e.Informed(request, body):
                return self._informed(request, body, now)
            case e.HungUp(token, request, body):
                return self._hung_up(token, request, body, now)
            case e.Lost(reason):
                return self._end(reason, now, interrupted=False)
            case e.Unwanted():
                return self._unwanted()
            case e.StopAsked(reason, interrupted):
                ending = self._end(reason, now, interrupted=interrupted)
                return [c.HangUp(reason), *ending] if self.state is State.CLOSING and ending else ending
            case e.Replaced(call):
                self.note("replaces", now, call=call)
                return [c.Index()] if self.alive else []
            case e.PauseAsked():
                return pausing.turn(self, now, paused=True)
            case e.ResumeAsked():
                return pausing.turn(self, now, paused=False)
            case e.Keyed():
                mline_matching.keyed(self.streams, event)
                return []
            case e.Unkeyed(_, reason):
                self.note(f"dtls-{reason}", now)
                return [c.Index()] if self.alive else []
            case e.Lingered(streams):
                gone = mline_matching.let_go(self.streams, streams) if self.alive else ()
                return [c.EndStreams(gone)] if gone else []
            case e.Severed(certificate):
                return renewing.renew(self, certificate)
            case e.MediaClosed(figures, clean):
                return self._media_closed(figures, clean, now)
            case e.Distrusted(why):
                return self._distrusted(why, now)
            case e.Resumed(part):
                writable = self.alive or self.state is State.CLOSING
                return [self._event("resumed", now, part=part), c.Index()] if writable else []

    @property
    def locked(self) -> bool:
        """Whether nothing that comes can be read: the keys are in the client's answer."""
        return self.offers_first and any(stream.line.profile != "RTP/AVP" for stream in self.streams)

    @property
    def under_way(self) -> bool:
        """Whether media are recorded, so that there is something to pause."""
        return self.state is State.RECORDING

    @property
    def alive(self) -> bool:
        """Whether the dialog lives and media are kept."""
        return self.state in (State.OPENING, State.RECORDING)

    # ---- offers ----
    def _offered(self, event: e.Offered, now: e.Now) -> list[c.Command]:
        if self.state not in (State.NEW, State.RECORDING):
            return [c.Refuse(event.token, 488, "ending", ENDING)]
        try:
            offer = SessionDescription.parse(event.offer)
            before, closed = self.agreement.lines, self.agreement.closed
            before = (*before, *mline_matching.left_out(self.streams, before))
            plans = answer.plan(offer, self._policy(event.secure), before, event.ours.families, closed)
            mline_matching.within_limit(self.streams, plans)
        except NotAcceptable as problem:
            return self._refused(event.token, problem.status, problem.code, (problem.warning, problem.text))
        except SipError:
            return self._refused(event.token, 488, "sdp", UNREADABLE)
        known = self.agreement.before()
        self.agreement.offered(offer, event.offer)
        return [c.Keep(c.Kept.OFFER, event.offer), *self._take_up(event, plans, known, now)]

    def _offer_wanted(self, event: e.OfferWanted, now: e.Now) -> list[c.Command]:
        """Offer a line of ours; media begin with the answer, which comes in the ACK."""
        if self.state is not State.NEW:
            return [c.Refuse(event.token, 488, "ending", ENDING)]
        try:
            lines = offer.first_lines(self._policy(event.secure))
        except NotAcceptable as problem:
            return self._refused(event.token, problem.status, problem.code, (problem.warning, problem.text))
        self.offers_first = True
        return self._take_up(event, lines, self.agreement.before(), now)

    def _policy(self, secure: bool) -> answer.Policy:
        return self.policy if self.policy.secure == secure else replace(self.policy, secure=secure)

    def _take_up(
        self, event: e.Offered | e.OfferWanted, plans: tuple[LinePlan, ...], before: Before, now: e.Now
    ) -> list[c.Command]:
        """Let lines become streams, and have sockets opened for the new ones."""
        self._first = self.state is State.NEW
        self._before = _NOTHING if self._first else ([x.copy() for x in self.streams], before, self.offers_first)
        known = speakers.known(self.streams, self.agreement.lines, self.picture)
        done = self._learn(event.request, event.metadata, now)
        fresh = self._match(plans, now, answered=self.locked)  # nothing of its streams was kept yet
        speakers.remember(known)
        speakers.begin(fresh, self.streams, plans, self.picture)
        speakers.change(known, self.streams, plans, self.picture, now.wall)
        self._answer_token, self._pending = (event.token, event.ours), plans
        if self.state is State.NEW:
            self.started = now
            self.call_id = event.request.headers.get("Call-ID", "") or ""
            self.client = intern(event.request.headers.get("User-Agent", "") or "") or None  # a few for all calls
            self.state = State.OPENING
            if self.picture.swapped:
                self.note("owners-swapped", now)
        if fresh:
            return [*done, c.OpenSockets(tuple(s.plan() for s in fresh))]
        return [*done, *self._answer(now)]

    def _refused(self, token: Token, status: int, reason: str, warning: tuple[int, str]) -> list[c.Command]:
        refusal = c.Refuse(token, status, reason, warning)
        if self.state is State.NEW:
            self.state = State.OVER
            return [refusal, c.Discard()]
        return [refusal]

    def _match(self, plans: tuple[LinePlan, ...], now: e.Now, *, answered: bool = False) -> list[Stream]:
        """Tie each accepted line to the stream it goes on with, or begin a new one; return the new ones."""
        holding = self.picture.holding
        fresh, fewer = mline_matching.match(
            self.streams, plans, self._random, now.wall, holding=holding, answered=answered
        )
        if fewer:
            self.note("fewer-lines", now)
        mline_matching.hold(self.streams, holding, now.wall)
        return fresh

    def _opened(self, ports: Mapping[int, int], now: e.Now) -> list[c.Command]:
        if not self.alive:
            return []
        for stream in self.streams:
            if stream.number in ports:
                stream.port = ports[stream.number]
        return self._answer(now)

    def _open_failed(self, reason: str) -> list[c.Command]:
        if not self.alive:
            return []
        token = self._answer_token[0] if self._answer_token else Token(0)
        refusal = c.Refuse(token, 503, reason, retry_after=RETRY_AFTER)
        if self.state is State.OPENING:
            self.state = State.OVER
            return [refusal, c.Discard()]
        self._go_back()
        return [refusal]

    def _unwanted(self) -> list[c.Command]:
        if not self.alive:
            return []
        if self._first:
            self.state = State.OVER
            return [c.Discard()]
        fresh = tuple(s.number for s in self.streams[len(self._before[0]) :])
        self._go_back()
        return [c.CloseSockets(fresh)] if fresh else []

    def _go_back(self) -> None:
        """Take back what a later offer changed."""
        streams, before, self.offers_first = self._before
        for stream, later in zip(streams, self.streams, strict=False):
            stream.speakers = later.speakers  # what the metadata said of people stays said
        self.streams = list(streams)
        self.agreement.go_back(before)

    def _answer(self, now: e.Now) -> list[c.Command]:
        token, ours = self._answer_token or (Token(0), Addresses(""))
        self._answer_token = None
        first = self.state is State.OPENING
        gone = tuple(s.number for s in self.streams if s.removed and s.port)
        live = [s for s in self.streams if not s.removed]
        paused, agreement = self.paused and self.policy.reoffers, self.agreement
        agreement.lines = self._pending
        ask = first and self.offers_first
        self.offers_first = ask  # an offer of the client's own says all that its answer to ours would have said
        sdp = agreement.invite(live, ours.address) if ask else agreement.answer(live, ours, paused=paused)
        self.state = State.RECORDING
        plans = plans_of(arriving(live, ours))
        kept, reason = c.Keep(c.Kept.ANSWER, sdp), mline_matching.unkept(self._pending)
        told = reason and self.note("line-refused", now, reason=reason)  # half a conversation must not pass for all
        reports = [c.Report("line-refused", reason)] if told and reason else []
        if first:  # media of an offer of ours begin with its answer
            return [kept, c.Accept(token, sdp, first=True, streams=() if ask else plans), *reports]
        # what is withdrawn must not change the media
        return [kept, c.Accept(token, sdp, streams=plans), *reports, c.ChangeMedia(plans, gone), c.Index()]

    def _agreed(self, sdp: bytes | None, asked: bytes, now: e.Now) -> list[c.Command]:
        """Take the answer to an offer of ours; without a usable first one there is nothing to record."""
        if self.state is not State.RECORDING:
            return []
        ours, self.offers_first = self.offers_first, False
        try:
            plans = renewing.agreed(self, SessionDescription.parse(sdp or b""), asked)
        except SipError:
            ending = self._end("no-answer", now, interrupted=False) if ours else renewing.refused(self, asked)
            return [c.HangUp("no-answer"), *ending] if ours else ending
        known = speakers.known(self.streams, self.agreement.lines, self.picture)
        self._match(plans, now, answered=True)
        speakers.remember(known)
        speakers.change(known, self.streams, plans, self.picture, now.wall)
        self.agreement.lines = plans
        gone = tuple(s.number for s in self.streams if s.removed and s.port)
        live = plans_of([s for s in self.streams if not s.removed])
        return [c.Keep(c.Kept.OFFER, sdp or b""), c.ChangeMedia(live, gone), c.Index()]

    # ---- what is told about the call ----
    def _informed(self, request: Request, body: bytes | None, now: e.Now) -> list[c.Command]:
        if not self.alive:
            return []
        offerless = request.method == "INVITE" and contents(request.headers, request.body).offer is None
        if offerless and self.agreement.answer_sdp:  # a 2xx to an INVITE of ours comes with SDP
            self.agreement.offered_again(paused=self.paused and self.policy.reoffers)
        known = speakers.known(self.streams, self.agreement.lines, self.picture)
        done = self._learn(request, body, now)
        speakers.remember(known)
        speakers.change(known, self.streams, self.agreement.lines, self.picture, now.wall)
        mline_matching.hold(self.streams, self.picture.holding, now.wall)
        return [*done, c.Index()] if done else []

    def _learn(self, request: Request, body: bytes | None, now: e.Now) -> list[c.Command]:
        done: list[c.Command] = [c.Keep(c.Kept.EVENT, call_document.message(request, now.wall))]
        for at, raw in enumerate(documents(request.headers, request.body, body)):
            done.append(c.Keep(c.Kept.METADATA, raw))
            parsed = replace(metadata.parse(raw), partial=True) if at else metadata.parse(raw)  # on top of the first
            self.picture.apply(parsed, now.wall, final=request.method == "BYE")
            if parsed.damaged is not Damage.NONE:
                self.note(f"metadata-{parsed.damaged.value}", now)
        self.picture.apply_request(request, now.wall)
        return done

    def _distrusted(self, why: str, now: e.Now) -> list[c.Command]:
        if not self.alive:
            return []
        self.interrupted = True
        self.note(why, now)
        return [self._event(why, now), c.Index()]

    def note(self, kind: str, now: e.Now, **more: Any) -> bool:
        """Remember something odd about the call, shown with it, once; nothing personal. False if it was known."""
        known = any(n["kind"] == kind for n in self.notes)
        if not known:
            self.notes = (*self.notes, {"kind": kind, "at": call_document.rfc3339(now.wall), **more})
        return not known

    # ---- the end ----
    def _hung_up(self, token: Token, request: Request, body: bytes | None, now: e.Now) -> list[c.Command]:
        self._bye = token
        if self.state is not State.RECORDING:
            return self._end("bye", now, interrupted=False)
        return [*self._learn(request, body, now), *self._end("bye", now, interrupted=False)]

    def _end(self, reason: str, now: e.Now, *, interrupted: bool) -> list[c.Command]:
        if self.state is State.OPENING:
            return self._open_failed(reason)
        if not self.alive:
            return []
        self.state, self.ended, self.reason = State.CLOSING, now, reason
        self.interrupted = self.interrupted or interrupted
        for stream in self.streams:
            stream.close(now.wall)
        self.picture.end(now.wall)
        return [self._event("ended", now, reason=reason), c.CloseMedia()]

    def _media_closed(self, figures: Mapping[int, Mapping[str, Any]], clean: bool, now: e.Now) -> list[c.Command]:
        if self.state is not State.CLOSING:
            return []
        mline_matching.measured(self.streams, figures)
        crashed = any(gap[2] in ("restart", "disk") for s in self.streams for gap in s.figures.get("gaps", ()))
        self.interrupted = self.interrupted or crashed or not clean
        self.state = State.FINISHING
        return [c.Finish(self.call_document(now), clean)]

    def take_bye(self) -> Token | None:
        """Return and forget the token of a BYE that waits for its answer."""
        token, self._bye = self._bye, None
        return token

    # ---- documents ----
    def _event(self, kind: str, now: e.Now, **more: Any) -> c.Keep:
        return c.Keep(c.Kept.EVENT, call_document.happening(kind, now.wall, **more))

    @property
    def session_id(self) -> str:
        """Return the id of the metadata's session element, or the Call-ID without metadata."""
        return self.picture.session_id or self.call_id

    def shown_state(self) -> str:
        """Return the state as the API shows it."""
        if self.state in (State.FINISHING, State.OVER):
            return "interrupted" if self.interrupted else "complete"
        return "recording"

    def call_document(self, now: e.Now) -> dict[str, Any]:
        """Return everything known of the call, as the API shows it, without what the database adds."""
        owners = self.picture.shown(speakers.owners(self.streams, self.agreement.lines, self.picture))
        self.inferred = sum(owner.inferred for owner in owners)
        return telling.call_document(self, owners, now)
