"""Which stream an offered line goes on with; pure.

A line is known by its place (RFC 3264 section 8). Another medium in the same place begins another stream, and so does
a payload type that means another codec now, which no client may send and some do: what came before would be decoded as
what it is not. Port 0 is a hold in another spelling: when the same medium comes back it goes on in its stream, unless
its label is another. A line that is missing from a shorter offer, which no client may send and some do, is taken for
one with port 0. A line that comes back without its label keeps the one it had.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from recorder.session.commands import PortKeys
from recorder.session.events import Keyed
from recorder.session.stream import Stream, own_key, paused_since
from sip.errors import NotAcceptable
from sip.sdp.plan import LinePlan

Holding = Callable[[str | None], bool]

MAX_STREAMS = 125
"""Streams of a call in its whole life: a successor gets two files and the sockets of all that are heard, two each,
in one message, with which the kernel takes 253 descriptors (SCM_MAX_FD)."""

CONVERSATION = frozenset({"audio", "video", "text"})
"""Media in which people say something; the pictures of a fax, MSRP and data channels are refused everywhere."""
INTENDED = frozenset({None, "removed", "port-zero", "kind"})
"""Reasons for which somebody wants a line not to be kept."""


def stream_of(streams: Sequence[Stream], index: int) -> Stream | None:
    """Return the live stream of an m= line."""
    for stream in streams:
        if stream.line.index == index and not stream.removed:
            return stream
    return None


def within_limit(streams: Sequence[Stream], plans: Sequence[LinePlan]) -> None:
    """Refuse an offer whose new streams would get numbers that the records cannot hold; raises NotAcceptable."""
    fresh = sum(1 for plan in plans if plan.accepted and not _goes_on(streams, plan))
    if len(streams) + fresh > MAX_STREAMS:
        raise NotAcceptable("too-many-streams", 399, "Too many streams in one recording")


def left_out(streams: Sequence[Stream], lines: Sequence[LinePlan]) -> tuple[LinePlan, ...]:
    """Give the lines of the offers before that the newest one, `lines`, left out: one that comes back is no new one."""
    return tuple(s.line for s in streams if not s.removed and s.line.index >= len(lines))


def unkept(plans: Sequence[LinePlan]) -> str | None:
    """Return why a line of a conversation is not kept, of the first of them; None if all are that can be."""
    mute = (plan.reason for plan in plans if plan.media in CONVERSATION and not plan.accepted)
    return next((reason for reason in mute if reason not in INTENDED), None)


def match(
    streams: list[Stream], plans: Sequence[LinePlan], random: Callable[[int], bytes], at: datetime, *,
    holding: Holding = lambda label: False, answered: bool = False,
) -> tuple[list[Stream], bool]:  # fmt: skip
    """Renew, append and end streams as the lines ask; return the new ones, and whether lines were missing.

    A pause that lasts holds for new ones too, from where it was asked for: they may be all that goes on.
    `holding` tells of a label whether the metadata say that nobody sends it.
    `answered`: the offer was ours, with the ports of its streams; whatever the answer says, they are what is sent to.
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
    """Hold what is held by its line or, as `holding` tells of a label, by the metadata; free the others."""
    for stream in streams:
        if not stream.removed:
            stream.hold(stream.away or stream.line.held or holding(stream.label), at)


def let_go(streams: Sequence[Stream], numbers: Sequence[int]) -> tuple[int, ...]:
    """Take the ports from streams that were taken out; return the numbers of those of them that had one."""
    gone = [s for s in streams if s.removed and s.port and s.number in numbers]
    for stream in gone:
        stream.port = 0
    return tuple(s.number for s in gone)


def measured(streams: Sequence[Stream], figures: Mapping[int, Mapping[str, Any]]) -> None:
    """Give streams what their worker counted."""
    for stream in streams:
        if stream.number in figures:
            stream.measured(figures[stream.number])


def keyed(streams: Sequence[Stream], event: Keyed) -> None:
    """Give a stream the keys of its handshake, which a successor of this process cannot make again."""
    stream = next((s for s in streams if s.number == event.stream), None)
    if stream is not None:
        stream.keyed(event.rtcp, PortKeys(event.suite, event.theirs, event.ours), event.fingerprints)


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
    """Give what a line leaves out of its codecs the meaning it had, also where it begins another stream for one."""
    same = old is not None and plan.media == old.line.media and old.redefines(plan, silent=silent)
    return old.named(plan, silent=silent) if old and same else plan


def _labelled(plan: LinePlan, known: Stream, labels: Set[str | None]) -> LinePlan:
    """Give a line that came back without its label the one it had, unless another line of the offer has that now."""
    keeps = plan.label is None and known.label not in labels
    return replace(plan, label=known.label) if keeps else plan
