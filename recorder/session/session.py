"""One recording session: events in, commands out (RFC 7866); pure. Its states are in recorder.session.states.

The core uses no socket, file, clock or log: each event brings the time, and a callable brings randomness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime, timedelta
from functools import lru_cache
from sys import intern
from typing import Any

from personal import Personal
from recorder.session import commands as c
from recorder.session import document_builder, streams
from recorder.session import events as e
from recorder.session.index_row import parse_time
from recorder.session.offer_answer import Agreement, Before
from recorder.session.states import TRANSITIONS, Input, State
from recorder.session.stream import Certificate, Stream
from sip.errors import NotAcceptable, SipError
from sip.message.message import Request
from sip.sdp import answer, offer
from sip.sdp.answer import Closed, LinePlan, closes_nothing
from sip.sdp.description import SessionDescription
from sip.sdp.plan import Addresses
from sip.siprec import document as metadata
from sip.siprec.call_model import CallModel
from sip.siprec.stream_owners import Owner
from sip.siprec.vendor_extensions import WORDS
from sip.siprec.xml_reader import Damage
from sip.ua.events import Token
from storage.calls.call_document import CallDocument
from storage.calls.call_document import State as CallState
from storage.timestamps import rfc3339

RETRY_AFTER = 30
"""Seconds an SBC should leave us alone when we cannot take its call: until a call ends or the disk takes more.

It fails over to another recorder meanwhile.
"""

UNREADABLE = (305, "The session description cannot be read")
ENDING = (399, "The recording is ending")
"""Warnings of RFC 3261 section 20.43."""

CLOCK_CORRECTION = timedelta(seconds=60)
"""How far a time server may set the clock back without effect (storage.retention.policy.MAX_STEP)."""

MILLISECOND = timedelta(milliseconds=1)

PLAIN = ("paused", "interrupted", "reason", "call_id", "client", "notes")
"""Fields that are already JSON."""

MAX_POLICIES = 256
"""Encoded policies, cached across checkpoints: a customer has two, with and without TLS."""

_NOTHING: tuple[Sequence[Stream], Before, bool] = ((), Before(), False)
"""The state before the first offer; all recordings share it."""


class Recording:
    """One SIPREC dialog: what was offered, who takes part, which streams exist, what happened to them."""

    __slots__ = (
        "_answer_token", "_before", "_bye", "_first", "_pending", "_random", "_state", "agreement", "call_id", "client",
        "ended", "id", "inferred", "interrupted", "notes", "offers_first", "paused", "picture", "policy", "reason",
        "source", "started", "streams",
    )  # fmt: skip

    def __init__(
        self,
        call: str,
        policy: answer.Policy,
        random: Callable[[int], bytes],
        *,
        source: str | None = None,
        swapped: bool = False,
        certify: Callable[[], Certificate] | None = None,
        closed: Closed = closes_nothing,
    ) -> None:
        """`source`: address of the client. `swapped`: the client attributes each stream to the wrong party.

        `certify` returns our certificate, which is needed if the policy accepts DTLS-SRTP; `closed` returns where
        nothing may be sent.
        """
        self.id = call
        self.policy = policy
        self._state = State.NEW
        self.picture = CallModel(swapped=swapped)
        self.streams: list[Stream] = []
        self.notes: tuple[dict[str, Any], ...] = ()
        self.paused = False
        self.interrupted = False
        self.started: e.Now | None = None
        self.ended: e.Now | None = None
        self.reason: str | None = None
        self.call_id = ""
        self.client: str | None = None
        self.source = source
        self.agreement = Agreement(int.from_bytes(random(6), "big"), certify, closed)
        self.inferred = 0  # streams whose owner was inferred rather than stated, in the newest document
        self._random = random
        self._bye: Token | None = None
        self._answer_token: tuple[Token, Addresses] | None = None
        self._pending: tuple[LinePlan, ...] = ()
        self._first = True  # the newest offer is the first one
        self.offers_first = False  # the first offer is ours, and its answer has not come yet
        self._before = _NOTHING

    # ---- entry point ----
    def handle(self, event: e.Event, now: e.Now) -> list[c.Command]:
        """Take one event and return the commands that follow, in order."""
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
                return [c.HangUp(reason), *ending] if self._state is State.CLOSING and ending else ending
            case e.Replaced(call):
                self.note("replaces", now, call=call)
                return [c.Index()] if self.alive else []
            case e.PauseAsked():
                return self._pause(now, paused=True)
            case e.ResumeAsked():
                return self._pause(now, paused=False)
            case e.Keyed():
                streams.keyed(self.streams, event)
                return []
            case e.Unkeyed(_, reason):
                self.note(f"dtls-{reason}", now)
                return [c.Index()] if self.alive else []
            case e.Lingered(numbers):
                gone = streams.release_ports(self.streams, numbers) if self.alive else ()
                return [c.EndStreams(gone)] if gone else []
            case e.Severed(certificate):
                return self._renew(certificate)
            case e.MediaClosed(figures, clean):
                return self._media_closed(figures, clean, now)
            case e.Distrusted(why):
                return self._distrusted(why, now)
            case e.Resumed(part):
                writable = self.alive or self._state is State.CLOSING
                return [self._event("resumed", now, part=part), c.Index()] if writable else []

    # ---- the state ----
    @property
    def state(self) -> State:
        """Return the state of the recording."""
        return self._state

    def _takes(self, what: Input) -> bool:
        """Return whether an input is possible in the current state."""
        return what in TRANSITIONS[self._state]

    def _move(self, what: Input) -> None:
        self._state = TRANSITIONS[self._state][what]

    def release(self) -> None:
        """Note that everything held for the recording is released."""
        self._move(Input.RELEASE)

    @property
    def locked(self) -> bool:
        """Whether no media can be decrypted yet, because the keys are in the client's answer."""
        return self.offers_first and any(stream.line.profile != "RTP/AVP" for stream in self.streams)

    @property
    def under_way(self) -> bool:
        """Whether media are recorded, so that there is something to pause."""
        return self._state is State.RECORDING

    @property
    def alive(self) -> bool:
        """Whether the dialog lives and media are recorded."""
        return self._state in (State.OPENING, State.RECORDING)

    # ---- offers ----
    def _offered(self, event: e.Offered, now: e.Now) -> list[c.Command]:
        if not self._takes(Input.OFFER):
            return [c.Refuse(event.token, 488, "ending", ENDING)]
        try:
            offer = SessionDescription.parse(event.offer)
            before, closed = self.agreement.lines, self.agreement.closed
            before = (*before, *streams.left_out(self.streams, before))
            plans = answer.plan(offer, self._policy(event.secure), before, event.ours.families, closed)
            streams.within_limit(self.streams, plans)
        except NotAcceptable as problem:
            return self._refused(event.token, problem.status, problem.code, (problem.warning, problem.text))
        except SipError:
            return self._refused(event.token, 488, "sdp", UNREADABLE)
        known = self.agreement.before()
        self.agreement.offered(offer, event.offer)
        return [c.Keep(c.Kept.OFFER, event.offer), *self._take_up(event, plans, known, now)]

    def _offer_wanted(self, event: e.OfferWanted, now: e.Now) -> list[c.Command]:
        """Offer our line; media start with the answer, which comes in the ACK."""
        if self._state is not State.NEW:
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
        """Turn lines into streams, and open sockets for the new ones."""
        self._first = self._state is State.NEW
        self._before = _NOTHING if self._first else ([x.copy() for x in self.streams], before, self.offers_first)
        known = streams.known(self.streams, self.agreement.lines, self.picture)
        done = self._learn(event.request, event.metadata, now)
        fresh = self._match(plans, now, answered=self.locked)  # nothing of its streams has been stored yet
        streams.attribute(known, fresh, self.streams, plans, self.picture, now.wall)
        self._answer_token, self._pending = (event.token, event.ours), plans
        self._move(Input.OFFER)
        if self._first:
            self.started = now
            self.call_id = event.request.headers.get("Call-ID", "") or ""
            # a few values shared by all calls
            self.client = intern(event.request.headers.get("User-Agent", "") or "") or None
            if self.picture.swapped:
                self.note("owners-swapped", now)
        if fresh:
            return [*done, c.OpenSockets(tuple(s.plan() for s in fresh))]
        return [*done, *self._answer(now)]

    def _refused(self, token: Token, status: int, reason: str, warning: tuple[int, str]) -> list[c.Command]:
        refusal = c.Refuse(token, status, reason, warning)
        if self._state is State.NEW:
            self._move(Input.REJECT)
            return [refusal, c.Discard()]
        return [refusal]

    def _match(self, plans: tuple[LinePlan, ...], now: e.Now, *, answered: bool = False) -> list[Stream]:
        """Match each accepted line to the stream it continues, or start a new one; return the new ones."""
        holding = self.picture.holding
        fresh, fewer = streams.match(self.streams, plans, self._random, now.wall, holding=holding, answered=answered)
        if fewer:
            self.note("fewer-lines", now)
        streams.hold(self.streams, holding, now.wall)
        return fresh

    def _opened(self, ports: Mapping[int, int], now: e.Now) -> list[c.Command]:
        if not self.alive:
            return []
        streams.opened(self.streams, ports)
        return self._answer(now)

    def _open_failed(self, reason: str) -> list[c.Command]:
        if not self.alive:
            return []
        token = self._answer_token[0] if self._answer_token else Token(0)
        refusal = c.Refuse(token, 503, reason, retry_after=RETRY_AFTER)
        if self._state is State.OPENING:
            self._move(Input.REJECT)
            return [refusal, c.Discard()]
        self._go_back()
        return [refusal]

    def _unwanted(self) -> list[c.Command]:
        if not self.alive:
            return []
        if self._first:
            self._move(Input.REJECT)
            return [c.Discard()]
        fresh = tuple(s.number for s in self.streams[len(self._before[0]) :])
        self._go_back()
        return [c.CloseSockets(fresh)] if fresh else []

    def _go_back(self) -> None:
        """Undo what a later offer changed."""
        former, before, self.offers_first = self._before
        for stream, later in zip(former, self.streams, strict=False):
            stream.keep_speakers(later)  # what the metadata said about participants stays
        self.streams = list(former)
        self.agreement.go_back(before)

    def _answer(self, now: e.Now) -> list[c.Command]:
        token, ours = self._answer_token or (Token(0), Addresses(""))
        self._answer_token = None
        first = self._state is State.OPENING
        gone = tuple(s.number for s in self.streams if s.removed and s.port)
        live = [s for s in self.streams if not s.removed]
        paused, agreement = self.paused and self.policy.reoffers, self.agreement
        agreement.agree(self._pending)
        ask = first and self.offers_first
        self.offers_first = ask  # the client's own offer replaces its answer to ours
        sdp = agreement.invite(live, ours.address) if ask else agreement.answer(live, ours, paused=paused)
        self._move(Input.ANSWER)
        plans = streams.plans_of(streams.arriving(live, ours))
        kept, reason = c.Keep(c.Kept.ANSWER, sdp), streams.unkept(self._pending)
        new = reason and self.note("line-refused", now, reason=reason)  # half a conversation must not pass as complete
        reports = [c.Report("line-refused", reason)] if new and reason else []
        if first:  # after an offer of ours, media start with the answer
            return [kept, c.Accept(token, sdp, first=True, streams=() if ask else plans), *reports]
        # an offer that is withdrawn must not change the media
        return [kept, c.Accept(token, sdp, streams=plans), *reports, c.ChangeMedia(plans, gone), c.Index()]

    def _agreed(self, sdp: bytes | None, asked: bytes, now: e.Now) -> list[c.Command]:
        """Take the answer to our offer; without a usable first answer there is nothing to record."""
        if not self.under_way:
            return []
        ours, self.offers_first = self.offers_first, False
        try:
            plans, renewed = self.agreement.answered(SessionDescription.parse(sdp or b""), self.policy, asked)
        except SipError:
            if ours:
                return [c.HangUp("no-answer"), *self._end("no-answer", now, interrupted=False)]
            self.agreement.settle(asked, taken=False)  # it stays with the previous certificate
            return []
        for stream in self.streams if renewed else ():
            stream.request_handshake()
        known = streams.known(self.streams, self.agreement.lines, self.picture)
        self._match(plans, now, answered=True)
        streams.attribute(known, (), self.streams, plans, self.picture, now.wall)
        self.agreement.agree(plans)
        gone = tuple(s.number for s in self.streams if s.removed and s.port)
        live = streams.plans_of([s for s in self.streams if not s.removed])
        return [c.Keep(c.Kept.OFFER, sdp or b""), c.ChangeMedia(live, gone), c.Index()]

    # ---- our offers in the dialog ----
    def _pause(self, now: e.Now, *, paused: bool) -> list[c.Command]:
        """Pause or resume the recording as an administrator requested; nothing in between is stored.

        Do nothing if it already is in that state.
        """
        if not self.under_way or self.paused == paused:
            return []
        self.paused = paused
        for stream in self.streams:
            stream.pause(paused, now.wall)
        offers = [c.Reoffer(self.agreement.turned(paused=paused), paused)] if self._may_offer else []
        event = self._event("pause" if paused else "resume", now)
        return [c.PauseMedia() if paused else c.ResumeMedia(), *offers, event, c.Index()]

    def _renew(self, certificate: Certificate) -> list[c.Command]:
        """Offer the same lines with another certificate, because a worker died during a handshake.

        The peer has state that depends on what only the dead worker knew. Some clients start again when they see a
        fresh ClientHello (RFC 6347 section 4.2.8); most do not: OpenSSL takes it for an old one that arrives late. All
        of them react to a new association (RFC 8842 section 4), which an offer with another certificate of ours
        requests.

        One request serves all streams that wait for it. It affects every stream with a handshake: those with keys keep
        using them until they have new ones.
        """
        if not self.under_way or not self._may_offer or self.agreement.renewal is not None:
            return []
        return [c.Reoffer(self.agreement.renewed(certificate), self.paused)]

    @property
    def _may_offer(self) -> bool:
        """Return whether we can send an offer now, and the customer's clients accept that."""
        return self.policy.reoffers and bool(self.agreement.answer_sdp) and not self.offers_first

    # ---- information about the call ----
    def _informed(self, request: Request, body: bytes | None, now: e.Now) -> list[c.Command]:
        if not self.alive:
            return []
        offerless = request.method == "INVITE" and request.contents.offer is None
        if offerless and self.agreement.answer_sdp:  # a 2xx to our INVITE comes with SDP
            self.agreement.offered_again(paused=self.paused and self.policy.reoffers)
        known = streams.known(self.streams, self.agreement.lines, self.picture)
        done = self._learn(request, body, now)
        streams.attribute(known, (), self.streams, self.agreement.lines, self.picture, now.wall)
        streams.hold(self.streams, self.picture.holding, now.wall)
        return [*done, c.Index()] if done else []

    def _learn(self, request: Request, body: bytes | None, now: e.Now) -> list[c.Command]:
        done: list[c.Command] = [c.Keep(c.Kept.EVENT, document_builder.message(request, now.wall))]
        for at, raw in enumerate((body, *request.contents.later) if body else ()):
            done.append(c.Keep(c.Kept.METADATA, raw))
            # in addition to the first
            parsed = metadata.parse(raw, WORDS)
            parsed = replace(parsed, partial=True) if at else parsed
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
        """Note an oddity of the call once, to be shown with it; nothing personal. Return False if it is not new."""
        known = any(n["kind"] == kind for n in self.notes)
        if not known:
            self.notes = (*self.notes, {"kind": kind, "at": rfc3339(now.wall), **more})
        return not known

    @property
    def wants_snapshot(self) -> str | None:
        """Return why the client should be asked for its complete metadata (RFC 7866 section 9.2); None: no reason."""
        return self.picture.snapshot_reason

    def snapshot_asked(self) -> None:
        """Note that the client was asked for the whole metadata."""
        self.picture.snapshot_asked()

    # ---- the end ----
    def _hung_up(self, token: Token, request: Request, body: bytes | None, now: e.Now) -> list[c.Command]:
        self._bye = token
        if not self.under_way:
            return self._end("bye", now, interrupted=False)
        return [*self._learn(request, body, now), *self._end("bye", now, interrupted=False)]

    def _end(self, reason: str, now: e.Now, *, interrupted: bool) -> list[c.Command]:
        if self._state is State.OPENING:
            return self._open_failed(reason)
        if not self._takes(Input.END):
            return []
        self._move(Input.END)
        self.ended, self.reason = now, reason
        self.interrupted = self.interrupted or interrupted
        for stream in self.streams:
            stream.close(now.wall)
        self.picture.end(now.wall)
        return [self._event("ended", now, reason=reason), c.CloseMedia()]

    def _media_closed(self, figures: Mapping[int, Mapping[str, Any]], clean: bool, now: e.Now) -> list[c.Command]:
        if not self._takes(Input.SEALED):
            return []
        streams.measured(self.streams, figures)
        crashed = any(gap[2] in ("restart", "disk") for s in self.streams for gap in s.figures.get("gaps", ()))
        self.interrupted = self.interrupted or crashed or not clean
        self._move(Input.SEALED)
        return [c.Finish(self.call_document(now), clean)]

    def not_durable(self) -> None:
        """Note that the recording could not be made durable, although the last document may say otherwise."""
        self.interrupted = True

    def take_bye(self) -> Token | None:
        """Return and forget the token of a BYE that waits for its answer."""
        token, self._bye = self._bye, None
        return token

    # ---- documents ----
    def _event(self, kind: str, now: e.Now, **more: Any) -> c.Keep:
        return c.Keep(c.Kept.EVENT, document_builder.happening(kind, now.wall, **more))

    @property
    def session_id(self) -> str:
        """Return the id of the metadata's session element, or the Call-ID without metadata."""
        return self.picture.session_id or self.call_id

    def shown_state(self) -> CallState:
        """Return the state as the API shows it."""
        if self._state in (State.FINISHING, State.OVER):
            return "interrupted" if self.interrupted else "complete"
        return "recording"

    def seconds(self, now: e.Now) -> float:
        """Return the duration of the recording in seconds."""
        return self._duration(now).total_seconds()

    def _duration(self, now: e.Now) -> timedelta:
        """Return the duration of the recording by the monotonic clock, in whole milliseconds."""
        if self.started is None:
            return timedelta(0)
        return timedelta(milliseconds=max(0, round(1000 * ((self.ended or now).mono - self.started.mono))))

    def _kept_from(self, now: e.Now) -> datetime | None:
        """Return the true end of the recording, or now while it lasts; None if the wall clock has it right.

        If the clock was set back while the daemon ran, the recording would later be erased too early.
        """
        if self.started is None:
            return None
        end, began = self.ended or now, self.started
        true = max(end.wall + end.behind, began.wall + began.behind + self._duration(now))
        return true if true - end.wall > CLOCK_CORRECTION else None

    def call_document(self, now: e.Now) -> CallDocument:
        """Return everything known of the call, as the API shows it, without what the database adds."""
        picture, later = self.picture, self._kept_from(now)
        owners = picture.shown(streams.owners(self.streams, self.agreement.lines, picture))
        self.inferred = sum(owner.inferred for owner in owners)
        kept: CallDocument = {"kept_from": rfc3339(later)} if later else {}
        return {
            "id": self.id,
            "state": self.shown_state(),
            "started_at": rfc3339(self.started.wall if self.started else None),
            "ended_at": rfc3339(self.ended.wall if self.ended else None),
            "duration_ms": self._duration(now) // MILLISECOND,
            "session_id": Personal(self.session_id),
            "sip_call_id": Personal(self.call_id),
            "client": self.client,
            "source": self.source,
            "direction": picture.direction,
            **kept,
            "end_reason": self.reason,
            "paused": self.paused,
            "parties": [document_builder.party(p) for p in picture.parties()],
            "streams": [s.document(o, self._heard_in(s)) for s, o in zip(self.streams, owners, strict=True)],
            "groups": list(picture.groups),
            "correlations": [[kind, value] for kind, value in picture.correlations],
            **document_builder.belonging(picture.names),
            "notes": list(self.notes),
        }

    def _heard_in(self, stream: Stream) -> Sequence[Owner]:
        """Return who spoke when in a stream that changed its owner, as indices into the current participants."""
        if not stream.speakers:
            return ()
        return self.picture.shown([Owner(who, inferred) for _, who, inferred in stream.speakers])

    # ---- checkpoints ----
    def to_state(self) -> dict[str, Any]:
        """Return everything a successor needs to continue the recording, as JSON."""
        return {
            "id": self.id,
            "policy": _policy_to_state(self.policy),
            "started": _moment_to_state(self.started),
            "picture": self.picture.to_state(),
            "streams": [s.to_state() for s in self.streams],
            "source": self.source,
            "offers_first": self.offers_first,
            **self.agreement.to_state(self.streams),
            **{name: getattr(self, name) for name in PLAIN},
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        random: Callable[[int], bytes],
        certify: Callable[[], Certificate] | None = None,
        closed: Closed = closes_nothing,
    ) -> Recording:
        """Restore the recording from a checkpoint, in state RECORDING; other arguments as for a new one."""
        source = state.get("source")  # earlier versions stored neither this nor `offers_first`
        self = cls(
            state["id"], _policy_from_state(state["policy"]), random, source=source, certify=certify, closed=closed
        )
        self.started = _moment_from_state(state["started"])
        self.picture = CallModel.from_state(state["picture"])
        self.streams = [Stream.from_state(s) for s in state["streams"]]
        self.agreement.restore(state, self.streams)
        for name in PLAIN:
            setattr(self, name, state[name])
        self.offers_first = bool(state.get("offers_first"))
        for passed in (Input.OFFER, Input.ANSWER):
            self._move(passed)
        return self


@lru_cache(MAX_POLICIES)
def _policy_to_state(policy: answer.Policy) -> dict[str, Any]:
    plain = {item.name: getattr(policy, item.name) for item in fields(policy)}
    return {**plain, "supported": sorted(policy.supported), "kinds": sorted(policy.kinds)}


def _policy_from_state(state: Mapping[str, Any]) -> answer.Policy:
    return answer.Policy(**{**state, **{name: frozenset(state[name]) for name in ("supported", "kinds")}})


def _moment_to_state(now: e.Now | None) -> list[Any] | None:
    return [rfc3339(now.wall), now.mono, now.behind.total_seconds()] if now else None


def _moment_from_state(state: Sequence[Any] | None) -> e.Now | None:
    wall = parse_time(state[0]) if state else None
    if not state or not wall:
        return None
    return e.Now(wall, float(state[1]), timedelta(seconds=sum(state[2:])))  # older checkpoints lack the third
