"""The streams of a recording across all re-offers: which line each belongs to, and who speaks in it; pure.

A line is identified by its position (RFC 3264 section 8). A new stream starts where another medium takes the position,
or where a payload type now means another codec, which is forbidden but happens: the earlier packets would otherwise be
decoded wrongly. Port 0 counts as a hold: when the same medium returns it continues its stream, unless its label is
different. A line missing from a shorter offer, also forbidden, counts as port 0. A line that returns without its label
keeps its old one.

The rules of `sip.siprec.stream_owners` look at the current m= lines, but a stream outlives its line: the position goes
to another stream, the line returns with another label or none, or never, or its label moves to another line. So what is
known of a stream is saved when an offer or a message arrives, before its metadata are read. A stream that starts
mid-call inherits nobody who spoke under its label before. Owners are positions in the list of people, which never
change; `CallModel.shown` turns them into indices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple

from recorder.session.commands import PortKeys, StreamPlan
from recorder.session.events import Keyed
from recorder.session.stream import Stream, own_key
from sip.errors import NotAcceptable
from sip.sdp.plan import Addresses, LinePlan
from sip.siprec.call_model import CallModel
from sip.siprec.stream_owners import Owner, exchanged

Holding = Callable[[str | None], bool]

MAX_STREAMS = 125
"""Streams of a call over its whole life. A successor process gets two files and two sockets for each stream in one
message, and the kernel takes at most 253 descriptors in it (SCM_MAX_FD).
"""

CONVERSATION = frozenset({"audio", "video", "text"})
"""Media in which people communicate. Fax images, MSRP and data channels are always refused."""
INTENDED = frozenset({None, "removed", "port-zero", "kind"})
"""Reasons why a line is deliberately not recorded."""


def stream_of(streams: Sequence[Stream], index: int) -> Stream | None:
    """Return the live stream of an m= line."""
    for stream in streams:
        if stream.line.index == index and not stream.removed:
            return stream
    return None


def within_limit(streams: Sequence[Stream], plans: Sequence[LinePlan]) -> None:
    """Refuse an offer whose new streams would exceed the stream numbers of the records; raises NotAcceptable."""
    fresh = sum(1 for plan in plans if plan.accepted and not _goes_on(streams, plan))
    if len(streams) + fresh > MAX_STREAMS:
        raise NotAcceptable("too-many-streams", 399, "Too many streams in one recording")


def left_out(streams: Sequence[Stream], lines: Sequence[LinePlan]) -> tuple[LinePlan, ...]:
    """Return the lines of earlier offers that the newest one, `lines`, omits: a line that returns is not new."""
    return tuple(s.line for s in streams if not s.removed and s.line.index >= len(lines))


def unkept(plans: Sequence[LinePlan]) -> str | None:
    """Return why the first unrecorded line of a conversation is not recorded; None if all that can be are recorded."""
    mute = (plan.reason for plan in plans if plan.media in CONVERSATION and not plan.accepted)
    return next((reason for reason in mute if reason not in INTENDED), None)


def match(
    streams: list[Stream], plans: Sequence[LinePlan], random: Callable[[int], bytes], at: datetime, *,
    holding: Holding = lambda label: False, answered: bool = False,
) -> tuple[list[Stream], bool]:  # fmt: skip
    """Update, append and end streams to match the lines; return the new ones, and whether lines were missing.

    A current pause applies to new streams too, from when it was requested: they may be all that remain. `holding` says
    for a label whether the metadata say that nobody sends it. `answered`: the offer was ours and names the ports of its
    streams; media go there whatever the answer says.
    """
    fresh, labels, pause = [], {plan.label for plan in plans}, paused_since(streams)
    for plan in plans:
        old = stream_of(streams, plan.index)
        silent = old is not None and holding(plan.label or old.label)
        known = _goes_on(streams, plan, silent=silent, answered=answered)
        if old and plan.removed:
            old.leave(at)
        elif old and not known:
            old.remove(at)
        if known:
            known.renew(_labelled(plan, known, labels), random, silent=silent)
        elif plan.accepted:
            fresh.append(Stream(len(streams), _meant(plan, old, silent), own_key(plan, random), at))
            streams.append(fresh[-1])
            if old and plan.same_association(old.line):
                fresh[-1].follow(old)
            if pause is not None:
                fresh[-1].pause(True, pause)
    missing = [s for s in streams if not s.removed and s.line.index >= len(plans)]
    for stream in missing:
        stream.leave(at)
    return fresh, bool(missing)


def hold(streams: Sequence[Stream], holding: Holding, at: datetime) -> None:
    """Hold streams whose line or, by `holding`, whose label's metadata says so; end the hold of the others."""
    for stream in streams:
        if not stream.removed:
            stream.hold(stream.away or stream.line.held or holding(stream.label), at)


def opened(streams: Sequence[Stream], ports: Mapping[int, int]) -> None:
    """Give streams the ports that were opened for them, by stream number."""
    for stream in streams:
        if stream.number in ports:
            stream.opened(ports[stream.number])


def let_go(streams: Sequence[Stream], numbers: Sequence[int]) -> tuple[int, ...]:
    """Release the ports of removed streams; return the numbers of those that had one."""
    gone = [s for s in streams if s.removed and s.port and s.number in numbers]
    for stream in gone:
        stream.release_port()
    return tuple(s.number for s in gone)


def measured(streams: Sequence[Stream], figures: Mapping[int, Mapping[str, Any]]) -> None:
    """Give streams the figures that their worker counted."""
    for stream in streams:
        if stream.number in figures:
            stream.measured(figures[stream.number])


def keyed(streams: Sequence[Stream], event: Keyed) -> None:
    """Store the keys of a stream's handshake, which a successor of this process cannot repeat."""
    stream = next((s for s in streams if s.number == event.stream), None)
    if stream is not None:
        stream.keyed(event.rtcp, PortKeys(event.suite, event.theirs, event.ours), event.fingerprints)


def arriving(live: Sequence[Stream], ours: Addresses) -> Sequence[Stream]:
    """Note where the media of streams arrive, according to the answer that names our addresses."""
    for stream in live:
        stream.told(ours.reached(stream.line.family))
    return live


def plans_of(streams: Iterable[Stream]) -> tuple[StreamPlan, ...]:
    """Return what the media plane needs to know about all streams that continue."""
    return tuple(s.plan() for s in streams if not s.removed)


def paused_since(streams: Iterable[Stream]) -> datetime | None:
    """Return when the current administrator's pause was requested, None if there is none."""
    began = [s.pauses[-1][0] for s in streams if s.paused and s.pauses and s.pauses[-1][1] is None]
    return max(began, default=None)  # a stream that was already on hold has been silent for longer


class Known(NamedTuple):
    """What was known of a live stream when an event arrived."""

    stream: Stream
    owner: Owner


def owners(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[Owner]:
    """Return the owner of each stream; `lines` are those agreed on last, including refused ones."""
    of_line = picture.speakers(_labels(streams, lines, picture))
    if picture.swapped:
        of_line = exchanged(of_line, [line.media for line in lines])
    return [stream.owner_by(of_line) for stream in streams]


def known(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[Known]:
    """Return what is known of the live streams, for `attribute` to use once they and the metadata have changed."""
    if not streams:
        return []
    of_stream = zip(streams, owners(streams, lines, picture), strict=True)
    return [Known(stream, owner) for stream, owner in of_stream if not stream.removed]


def attribute(
    before: Sequence[Known],
    fresh: Sequence[Stream],
    streams: Sequence[Stream],
    lines: Sequence[LinePlan],
    picture: CallModel,
    at: datetime,
) -> None:
    """Note who speaks in each stream from `at` on, once lines and metadata have changed.

    `before` is what was `known` until then; `fresh` are the streams that start now.
    """
    for stream, owner in before:
        stream.remember(owner)
    if len(fresh) == len(streams):
        return
    now = {id(stream): owner for stream, owner in zip(streams, owners(streams, lines, picture), strict=True)}
    for stream in fresh:
        stream.spoke_elsewhere(now[id(stream)].earlier)
    for stream, was in before:
        stream.change_speaker(was, now[id(stream)], at)


def _goes_on(
    streams: Sequence[Stream], plan: LinePlan, *, silent: bool = False, answered: bool = False
) -> Stream | None:
    known = stream_of(streams, plan.index)
    if known is None or not plan.accepted or plan.media != known.line.media:
        return None
    if answered:
        return known
    if known.redefines(plan, silent=silent) or (known.away and plan.label not in (None, known.label)):
        return None
    return known


def _meant(plan: LinePlan, old: Stream | None, silent: bool) -> LinePlan:
    """Fill in codec parameters that a line omits from earlier offers, even if the line starts another stream."""
    same = old is not None and plan.media == old.line.media and old.redefines(plan, silent=silent)
    return old.named(plan, silent=silent) if old and same else plan


def _labelled(plan: LinePlan, known: Stream, labels: Set[str | None]) -> LinePlan:
    """Restore the label of a line that returned without one, unless another line of the offer now has it."""
    keeps = plan.label is None and known.label not in labels
    return replace(plan, label=known.label) if keeps else plan


def _labels(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[str | None]:
    """Return the label of each m= line; a line without one (mostly port 0), or a missing line, has its stream's label.

    This does not apply if the current metadata no longer have that label and use one that no line has.
    """
    labels = [line.label for line in lines]
    live = {stream.line.index: stream for stream in streams if not stream.removed}
    labels += [None] * (max(live, default=-1) + 1 - len(labels))
    stated, told = set(labels), picture.labels
    renamed = bool(told - stated - {stream.label for stream in live.values()})
    for index, stream in live.items():
        over = renamed and not stream.away and stream.label not in told
        if labels[index] is None and stream.label not in stated and not over:
            labels[index] = stream.label
    return labels
