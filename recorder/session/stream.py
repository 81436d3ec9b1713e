"""One stream of a recording as the main process sees it: m= line, our key and port, holds; pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from media.codecs import amr
from media.codecs.decoders import CODINGS
from recorder.session import document_builder
from recorder.session.commands import DtlsKeys, PortKeys, StreamPlan
from sip.sdp.answer import LinePlan
from sip.sdp.description import Format
from sip.sdp.sdes import SUITES
from sip.siprec.stream_owners import Owner
from storage.calls.call_document import Stream as StreamDocument
from storage.timestamps import from_text, rfc3339


@dataclass(frozen=True, slots=True)
class Certificate:
    """Our certificate for DTLS-SRTP, one for all answers of a recording."""

    fingerprint: str  # value of a=fingerprint
    identity: bytes = field(repr=False)  # certificate and key, media.srtp.dtls.Identity

    def to_state(self) -> list[str]:
        """Return it for a checkpoint: a successor must keep a certificate that an SDP named (RFC 8842 section 4)."""
        return [self.fingerprint, base64.b64encode(self.identity).decode()]

    @classmethod
    def from_state(cls, state: Sequence[str]) -> Certificate:
        """Restore a certificate from a checkpoint."""
        return cls(state[0], base64.b64decode(state[1]))


MOST_CHANGES = 500
"""Changes of speaker that are stored for a stream; after them the speaker is unknown."""


class Speakers(NamedTuple):
    """Who speaks in a stream from a moment on."""

    since: datetime | None  # None: from the first packet
    parties: tuple[int, ...]  # positions in the list of people; empty if unknown
    inferred: bool  # inferred, not stated


class Stream:
    """What is kept about one accepted m= line across all re-offers."""

    __slots__ = (
        "away", "before", "began", "elsewhere", "figures", "formats", "held", "here", "keys", "line", "moved", "number",
        "own_key", "owner", "paused", "pauses", "port", "removed", "speakers",
    )  # fmt: skip

    def __init__(self, number: int, line: LinePlan, own_key: bytes, began: datetime | None = None) -> None:
        self.number = number
        self.began = began  # None: an earlier version did not store it
        self.line = line
        self.formats: tuple[Format, ...] = ()  # every payload type ever offered, the newest meaning of each
        self._remember(line)
        self.own_key = own_key
        self.keys: DtlsKeys | None = DtlsKeys() if line.answer_setup else None
        self.port = 0
        self.here = ""  # local address where media arrive
        self.held = False
        self.paused = False
        self.moved = False  # the source changed with the newest re-offer
        self.away = False  # its line has port 0: counts as a hold, unless it never comes back
        self.removed = False
        self.owner: Owner | None = None  # once removed or away: who spoke in it; positions in the list of people
        self.before: tuple[int, ...] = ()  # positions of all named as its speakers up to the last message
        self.elsewhere: tuple[int, ...] = ()  # positions of those who spoke under its label before it started
        self.speakers: tuple[Speakers, ...] = ()  # who spoke when; empty while it is the same from the first packet
        self.pauses: tuple[tuple[datetime, datetime | None], ...] = ()
        self.figures: Mapping[str, Any] = {}

    @property
    def label(self) -> str | None:
        """Return the a=label of the stream (RFC 4574)."""
        return self.line.label

    def plan(self) -> StreamPlan:
        """Return what the media plane needs to know."""
        return StreamPlan(
            self.number, self.line, self.own_key, self.held, self.keys, self.moved, self.expected, self.here
        )  # fmt: skip

    @property
    def expected(self) -> datetime | None:
        """Return since when media are expected: the start of the stream, or the end of its last hold or pause."""
        return (self.pauses and self.pauses[-1][1]) or self.began

    def renew(self, line: LinePlan, random: Callable[[int], bytes], *, silent: bool = False) -> None:
        """Take a re-offer of the same m= line; a changed suite needs a new key of ours.

        `silent`: the metadata say that nobody sends it for now.
        """
        line = self.named(line, silent=silent)
        if line.suite != self.line.suite:
            self.own_key = own_key(line, random)
        self._remember(line)
        self.away = False
        self.moved = line.source != self.line.source
        if not line.answer_setup:
            self.keys = None
        elif self.keys is None:
            self.keys = DtlsKeys()
        elif not line.same_association(self.line):
            self.keys = replace(self.keys, stale=bool(self.keys.rtp or self.keys.rtcp))
        self.line = line

    def follow(self, before: Stream) -> None:
        """Copy the keys of the line's previous stream, for a client that makes no new handshake.

        The offer names the same association, so the client may continue it and only send to our new port.
        """
        if before.keys:
            self.keys = replace(before.keys, stale=bool(before.keys.rtp or before.keys.rtcp))

    def set_local_address(self, here: str) -> None:
        """Note where media arrive, according to the newest answer; a new address is another network path."""
        self.moved = self.moved or bool(self.here and self.here != here)
        self.here = here

    def opened(self, port: int) -> None:
        """Take the port that was opened for the stream."""
        self.port = port

    def release_port(self) -> None:
        """Note that the stream's sockets are closed."""
        self.port = 0

    def keyed(self, rtcp: bool, keys: PortKeys, fingerprints: Sequence[str]) -> None:
        """Store the keys of a handshake, unless a re-offer has requested another certificate meanwhile."""
        if self.keys is None or frozenset(fingerprints) != frozenset(self.line.fingerprints):
            return
        before = DtlsKeys() if self.keys.stale else self.keys
        self.keys = replace(before, rtcp=keys) if rtcp else replace(before, rtp=keys)

    def request_handshake(self) -> None:
        """Request another handshake; the current keys stay in use until it completes."""
        if self.keys is not None:
            self.keys = replace(self.keys, stale=bool(self.keys.rtp or self.keys.rtcp))

    def redefines(self, line: LinePlan, *, silent: bool = False) -> bool:
        """Return whether a line assigns a payload type to another codec, which is forbidden (RFC 3264 section 8.3.2).

        What was recorded before would be decoded wrongly.
        """
        known = {entry.payload_type: entry for entry in self.formats if entry.encoding}
        named = [entry for entry in self.named(line, silent=silent).formats if entry.encoding]
        return any(self._differs(known[each.payload_type], each) for each in named if each.payload_type in known)

    def _differs(self, known: Format, entry: Format) -> bool:
        unsaid = self._never_sent and known.fmtp is None
        return _codec(known)[:2] != _codec(entry)[:2] if unsaid else _codec(known) != _codec(entry)

    @property
    def _never_sent(self) -> bool:
        """Return whether the stream has been on hold since it began, so that no packet depends on a packing mode."""
        return self.line.held and self.held and self.pauses == ((self.began, None),)

    def named(self, line: LinePlan, *, silent: bool) -> LinePlan:
        """Fill in payload type parameters that a re-offer omits; without them nobody can decode the stream."""
        known = {entry.payload_type: entry for entry in self.formats if entry.encoding}
        formats = tuple([_meant(each, known.get(each.payload_type), line.held, silent) for each in line.formats])
        return line if formats == line.formats else replace(line, formats=formats)

    def _remember(self, line: LinePlan) -> None:
        known = {entry.payload_type: entry for entry in (*self.formats, *line.formats)}
        formats = tuple(known.values())
        self.formats = line.formats if formats == line.formats else formats  # usually one list for thousands of calls

    def hold(self, held: bool, at: datetime) -> None:
        """Note that the client holds or resumes the stream (RFC 3264 section 8.4)."""
        self._interval(self.held or self.paused, held or self.paused, at)
        self.held = held

    def pause(self, paused: bool, at: datetime) -> None:
        """Note that an administrator paused or resumed the recording."""
        self._interval(self.held or self.paused, self.held or paused, at)
        self.paused = paused

    def _interval(self, before: bool, after: bool, at: datetime) -> None:
        if after and not before:
            self.pauses = (*self.pauses, (at, None))
        elif before and not after and self.pauses:
            self.pauses = (*self.pauses[:-1], (self.pauses[-1][0], at))

    def owner_by(self, of_line: Sequence[Owner]) -> Owner:
        """Return the owner, with everybody who spoke before; `of_line`: the owner of each current line.

        It does not change while the stream has no line.
        """
        if self.removed:
            return self.owner or Owner()
        if self.away and self.owner:
            return self.owner
        now = of_line[self.line.index]
        if not (self.before or self.elsewhere):
            return now
        earlier = dict.fromkeys((*(who for who in now.earlier if who not in self.elsewhere), *self.before))
        return replace(now, earlier=tuple(who for who in earlier if who not in now.parties))

    def remember(self, owner: Owner) -> None:
        """Keep the owner if the stream has lost its line, and otherwise all who were named as its speakers."""
        stated = bool(owner.parties) and not owner.inferred
        self.owner = owner if self.removed or (self.away and stated) else None
        if not owner.inferred:
            self.before = tuple(dict.fromkeys((*owner.parties, *owner.earlier)))

    def spoke_elsewhere(self, earlier: tuple[int, ...]) -> None:
        """Note who spoke under the stream's label before it started: they were never heard in it."""
        self.elsewhere = earlier

    def change_speaker(self, was: Owner, now: Owner, at: datetime) -> None:
        """Note who speaks from `at` on.

        Late information applies from the first packet on: the first name for an unknown speaker, and the client's
        statement if the owner had only been inferred. Anything else is another speaker, as after a transfer.
        """
        self.speakers = _changed(self.speakers, was, now, at)

    def keep_speakers(self, later: Stream) -> None:
        """Take who spoke when from a later state of the same stream, whose offer is undone."""
        self.speakers = later.speakers

    def measured(self, figures: Mapping[str, Any]) -> None:
        """Store the figures that its worker counted."""
        self.figures = figures

    def copy(self) -> Stream:
        """Return a copy of the stream's state, to restore later."""
        other = Stream(self.number, self.line, self.own_key, self.began)
        other.formats, other.pauses, other.keys = self.formats, self.pauses, self.keys
        other.port, other.held, other.paused, other.removed = self.port, self.held, self.paused, self.removed
        other.away, other.owner, other.before, other.elsewhere = self.away, self.owner, self.before, self.elsewhere
        other.here, other.speakers = self.here, self.speakers
        other.figures = self.figures
        return other

    def leave(self, at: datetime) -> None:
        """Note that the client removed the stream (port 0). Its sockets are kept, because many clients mean a hold."""
        self.away, self.moved = True, False
        self.hold(True, at)

    def remove(self, at: datetime) -> None:
        """Note that another medium took the stream's position, or that its line can no longer be accepted."""
        self.close(at)
        self.removed = True

    def close(self, at: datetime) -> None:
        """End a hold that is still on."""
        self._interval(self.held or self.paused, False, at)
        self.held = self.paused = False

    def document(self, owner: Owner, speakers: Sequence[Owner] = ()) -> StreamDocument:
        """Return the stream as the API shows it; `speakers` are those of `self.speakers` with indices for positions."""
        return {
            "label": owner.label if self.label is None else self.label,
            "party": owner.party,
            "inferred": owner.inferred,
            "earlier": list(owner.earlier),
            "speakers": document_builder.speakers([each.since for each in self.speakers], speakers),
            "media": self.line.media,
            "codec": document_builder.codec(self.line.formats),
            "srtp": self.line.protection,
            "removed": self.removed or self.away,
            "formats": [document_builder.payload(f) for f in self.formats],
            **document_builder.figures(self.figures),
            "pauses": document_builder.pauses(self.pauses),
        }

    def to_state(self) -> dict[str, Any]:
        """Return the stream for a checkpoint."""
        return {
            "number": self.number,
            "line": self.line.to_state(),
            "formats": [(f.payload_type, f.encoding, f.clock, f.channels, f.fmtp) for f in self.formats],
            "own_key": self.own_key.hex(),
            "began": rfc3339(self.began),
            "keys": self.keys and _keys_to_state(self.keys),
            "port": self.port,
            "here": self.here,
            "held": self.held,
            "paused": self.paused,
            "away": self.away,
            "removed": self.removed,
            "owner": self.owner and _owner_to_state(self.owner),
            "before": list(self.before),
            "elsewhere": list(self.elsewhere),
            "speakers": [(rfc3339(at), list(who), inferred) for at, who, inferred in self.speakers],
            "pauses": document_builder.pauses(self.pauses),
            "figures": dict(self.figures),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Stream:
        """Restore a stream from a checkpoint."""
        began = state.get("began")
        self = cls(
            state["number"],
            LinePlan.from_state(state["line"]),
            bytes.fromhex(state["own_key"]),
            from_text(began) if began else None,
        )
        known = state.get("keys")  # earlier versions had no DTLS-SRTP
        self.keys = _keys_from_state(known) if known else self.keys
        self.formats = tuple(Format(*f) for f in state["formats"])
        self.port, self.held, self.paused, self.removed = (
            state["port"],
            state["held"],
            state["paused"],
            state["removed"],
        )
        self.away = state.get("away", False)  # earlier versions did not store it
        self.here = state.get("here", "")  # earlier versions did not store it
        owner = state.get("owner")  # earlier versions stored neither this nor the earlier speakers
        self.owner = Owner(tuple(owner[0]), owner[1], owner[2], tuple(owner[3]), owner[4]) if owner else None
        self.before = tuple(state.get("before", ()))
        self.elsewhere = tuple(state.get("elsewhere", ()))
        kept = state.get("speakers", ())  # earlier versions did not store when the speaker changed
        self.speakers = tuple(Speakers(at and from_text(at), tuple(who), inferred) for at, who, inferred in kept)
        self.pauses = tuple((from_text(a), from_text(b) if b else None) for a, b in state["pauses"])
        self.figures = state["figures"]
        return self


def _codec(entry: Format) -> tuple[str, int, object]:
    """Return what decides how a payload is decoded.

    Digits are not decoded, and many codecs have one clock whatever the SDP says. For AMR the parameters give the bit
    layout; for L16 the channels give the sample layout.
    """
    name = entry.encoding.lower()
    coding = CODINGS.get(name.upper())
    fixed = name == "telephone-event" or (coding and coding.clock)
    lies = amr.packing(entry.fmtp) if name in ("amr", "amr-wb") else entry.channels if name == "l16" else None
    return name, 0 if fixed else entry.clock, lies


def _meant(entry: Format, known: Format | None, held: bool, silent: bool) -> Format:
    """Return the meaning of a payload type, completed from an earlier one with the same number.

    Omitted parameters are no change unless they say how AMR is packed. During a hold even those are no change, nor is
    another packing mode, because nothing is sent until the stream resumes.
    """
    if known is None or not entry.encoding:
        return known._replace(fmtp=entry.fmtp or known.fmtp) if known else entry
    before, now = _codec(known), _codec(entry)
    left_out = entry.fmtp is None and (held or silent or now[2] is None)
    if before[:2] == now[:2] and (left_out or (held and before != now)):
        return entry._replace(fmtp=known.fmtp)
    return entry


def _changed(known: tuple[Speakers, ...], was: Owner, now: Owner, at: datetime) -> tuple[Speakers, ...]:
    # others spoke earlier and no time is known (a call of an older version): the speaker may be any of them
    entries = known or (Speakers(None, (*was.parties, *was.earlier), was.inferred),)
    last = entries[-1]
    same = now.parties == last.parties
    if same and (now.inferred or not last.inferred):
        return known
    if same or (len(entries) == 1 and not last.parties):
        entries = (*entries[:-1], Speakers(last.since, now.parties, now.inferred))
    elif len(entries) > MOST_CHANGES:
        return known if not last.parties else (*entries[:-1], Speakers(last.since, (), False))
    else:
        entries = (*entries, Speakers(at, now.parties, now.inferred))
    return entries if len(entries) > 1 else ()


def own_key(line: LinePlan, random: Callable[[int], bytes]) -> bytes:
    """Make our own key and salt for an SRTP line, never a copy of the offer's (RFC 4568 section 5.1.2)."""
    return random(SUITES[line.suite]) if line.suite else b""


def _keys_to_state(keys: DtlsKeys) -> dict[str, Any]:
    ports = {"rtp": keys.rtp, "rtcp": keys.rtcp}
    return {"stale": keys.stale} | {
        name: port and [port.suite, port.theirs.hex(), port.ours.hex()] for name, port in ports.items()
    }


def _keys_from_state(state: Mapping[str, Any]) -> DtlsKeys:
    rtp, rtcp = (
        PortKeys(port[0], bytes.fromhex(port[1]), bytes.fromhex(port[2])) if port else None
        for port in (state["rtp"], state["rtcp"])
    )
    return DtlsKeys(rtp, rtcp, state["stale"])


def _owner_to_state(owner: Owner) -> list[Any]:
    return [list(owner.parties), owner.inferred, owner.rule, list(owner.earlier), owner.label]
