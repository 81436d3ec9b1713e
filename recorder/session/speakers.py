"""Whose voice is in each stream of a recording, over all re-offers; pure.

The rules of `sip.siprec.stream_owners` look at the m= lines of this moment, and a stream outlives its line: the slot
goes to somebody else, the line comes back under another label, without one, or not at all, its label goes to another
line. So what was known of a stream is noted when an offer or a message comes, before the metadata in it are read. A
stream that begins amid the call has nothing of those who were heard under its label before. Owners are positions among
the people, which never change; `CallModel.shown` turns them into indices.
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
"""Changes of who is heard that are noted of a stream; from the next on nobody knows whose voice it is."""


class Known(NamedTuple):
    """What was known of a live stream when something came."""

    stream: Stream
    owner: Owner


def owners(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[Owner]:
    """Return the owner of each stream; `lines` are those that were agreed on last, refused ones too."""
    of_line = picture.speakers(_labels(streams, lines, picture))
    if picture.swapped:
        of_line = exchanged(of_line, [line.media for line in lines])
    return [stream.owner or Owner() if stream.removed else _owner(stream, of_line) for stream in streams]


def known(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[Known]:
    """Return what is known of the live streams; `remember` takes it once they and the picture have changed."""
    if not streams:
        return []
    of_stream = zip(streams, owners(streams, lines, picture), strict=True)
    return [Known(stream, owner) for stream, owner in of_stream if not stream.removed]


def remember(before: Sequence[Known]) -> None:
    """Let a stream whose line was taken from it keep its owner, and every other one who was said to be heard in it."""
    for stream, owner in before:
        stated = bool(owner.parties) and not owner.inferred
        stream.owner = owner if stream.removed or (stream.away and stated) else None
        if not owner.inferred:
            stream.before = tuple(dict.fromkeys((*owner.parties, *owner.earlier)))


def change(
    before: Sequence[Known], streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel, at: datetime
) -> None:
    """Note of each stream who is heard in it from `at` on; after `remember`, which keeps those of streams without line.

    What was told late is true from the stream's first packet on: the first name for somebody who was not known, and
    the word of the client for what had only been concluded. Anything else is another speaker, as after a transfer.
    """
    if not before:
        return
    now = {id(stream): owner for stream, owner in zip(streams, owners(streams, lines, picture), strict=True)}
    for stream, was in before:
        stream.speakers = _changed(stream.speakers, was, now[id(stream)], at)


def _changed(known: tuple[Speakers, ...], was: Owner, now: Owner, at: datetime) -> tuple[Speakers, ...]:
    # where others were heard earlier and no time is known (an older version's call), it is somebody of them all
    told = known or (Speakers(None, (*was.parties, *was.earlier), was.inferred),)
    last = told[-1]
    same = now.parties == last.parties
    if same and (now.inferred or not last.inferred):
        return known
    if same or (len(told) == 1 and not last.parties):
        told = (*told[:-1], Speakers(last.since, now.parties, now.inferred))
    elif len(told) > MOST_CHANGES:
        return known if not last.parties else (*told[:-1], Speakers(last.since, (), False))
    else:
        told = (*told, Speakers(at, now.parties, now.inferred))
    return told if len(told) > 1 else ()


def begin(fresh: Sequence[Stream], streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> None:
    """Note of streams that begin amid the call who was heard under their labels before: somewhere else."""
    if len(fresh) == len(streams) or not fresh:
        return
    for stream, owner in zip(streams, owners(streams, lines, picture), strict=True):
        if stream in fresh:
            stream.elsewhere = owner.earlier


def _owner(stream: Stream, of_line: Sequence[Owner]) -> Owner:
    """Return the owner of a live stream, with everybody who was heard in it before; while it is away that stays."""
    if stream.away and stream.owner:
        return stream.owner
    now = of_line[stream.line.index]
    if not (stream.before or stream.elsewhere):
        return now
    earlier = dict.fromkeys((*(who for who in now.earlier if who not in stream.elsewhere), *stream.before))
    return replace(now, earlier=tuple(who for who in earlier if who not in now.parties))


def _labels(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: CallModel) -> list[str | None]:
    """Return the label of each m= line; one without (mostly it has port 0), or one that is missing, as its stream.

    But not where the metadata of now know that label no more, and call something by one that no line has.
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
