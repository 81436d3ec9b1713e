"""Track who speaks in each stream of a recording, across all re-offers; pure.

The rules of `sip.siprec.stream_owners` look at the current m= lines, but a stream outlives its line: the position goes
to another stream, the line returns with another label or none, or never, or its label moves to another line. So what is
known of a stream is saved when an offer or a message arrives, before its metadata are read. A stream that starts
mid-call inherits nobody who spoke under its label before. Owners are positions in the list of people, which never
change; `CallModel.shown` turns them into indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

from recorder.session.stream import Speakers, Stream
from sip.sdp.plan import LinePlan
from sip.siprec.call_model import CallModel
from sip.siprec.stream_owners import Owner, exchanged

MOST_CHANGES = 500
"""Changes of speaker that are stored for a stream; after them the speaker is unknown."""


class Known(NamedTuple):
    """What was known of a live stream when an event arrived."""

    stream: Stream
    owner: Owner


def owners(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[Owner]:
    """Return the owner of each stream; `lines` are those agreed on last, including refused ones."""
    of_line = picture.speakers(_labels(streams, lines, picture))
    if picture.swapped:
        of_line = exchanged(of_line, [line.media for line in lines])
    return [stream.owner or Owner() if stream.removed else _owner(stream, of_line) for stream in streams]


def known(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[Known]:
    """Return what is known of the live streams, for `remember` to use once they and the metadata have changed."""
    if not streams:
        return []
    of_stream = zip(streams, owners(streams, lines, picture), strict=True)
    return [Known(stream, owner) for stream, owner in of_stream if not stream.removed]


def remember(before: Sequence[Known]) -> None:
    """Let a stream that lost its line keep its owner, and every other stream all who were named as its speakers."""
    for stream, owner in before:
        stated = bool(owner.parties) and not owner.inferred
        stream.owner = owner if stream.removed or (stream.away and stated) else None
        if not owner.inferred:
            stream.before = tuple(dict.fromkeys((*owner.parties, *owner.earlier)))


def change(
    before: Sequence[Known], streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel, at: datetime
) -> None:
    """Note who speaks in each stream from `at` on.

    Call it after `remember`, which keeps the speakers of streams without a line. Late information applies from the
    stream's first packet on: the first name for an unknown speaker, and the client's statement if the owner had only
    been inferred. Anything else is another speaker, as after a transfer.
    """
    if not before:
        return
    now = {id(stream): owner for stream, owner in zip(streams, owners(streams, lines, picture), strict=True)}
    for stream, was in before:
        stream.speakers = _changed(stream.speakers, was, now[id(stream)], at)


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


def begin(fresh: Sequence[Stream], streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> None:
    """Note for streams that start mid-call who spoke under their labels before, in another stream."""
    if len(fresh) == len(streams) or not fresh:
        return
    for stream, owner in zip(streams, owners(streams, lines, picture), strict=True):
        if stream in fresh:
            stream.elsewhere = owner.earlier


def _owner(stream: Stream, of_line: Sequence[Owner]) -> Owner:
    """Return the owner of a live stream, with everybody who spoke in it before; unchanged while the stream is away."""
    if stream.away and stream.owner:
        return stream.owner
    now = of_line[stream.line.index]
    if not (stream.before or stream.elsewhere):
        return now
    earlier = dict.fromkeys((*(who for who in now.earlier if who not in stream.elsewhere), *stream.before))
    return replace(now, earlier=tuple(who for who in earlier if who not in now.parties))


def _labels(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[str | None]:
    """Return the label of each m= line; a line without one (mostly port 0), or a missing line, has its stream's label.

    This does not apply if the current metadata no longer have that label and use one that no line has.
    """
    labels = [line.label for line in lines]
    live = {stream.line.index: stream for stream in streams if not stream.removed}
    labels += [None] * (max(live, default=-1) + 1 - len(labels))
    stated, entries = set(labels), picture.labels
    renamed = bool(entries - stated - {stream.label for stream in live.values()})
    for index, stream in live.items():
        over = renamed and not stream.away and stream.label not in entries
        if labels[index] is None and stream.label not in stated and not over:
            labels[index] = stream.label
    return labels
