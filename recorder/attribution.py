"""Whose voice is in each stream of a recording, over all re-offers; pure.

The rules of `sip.owners` look at the m= lines of this moment, and a stream outlives its line: the slot goes to somebody
else, the line comes back under another label, without one, or not at all. So what was known of a stream is noted when
an offer changes its line, before the metadata beside that offer are read. Owners are positions among the people, which
never change; `Picture.shown` turns them into indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from recorder.stream import Stream
from sip.lines import LinePlan
from sip.owners import Owner
from sip.picture import Picture


class Known(NamedTuple):
    """What was known of a live stream when an offer came."""

    stream: Stream
    label: str | None
    owner: Owner


def owners(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: Picture) -> list[Owner]:
    """Return the owner of each stream; `lines` are those that were agreed on last, refused ones too."""
    of_line = picture.speakers(_labels(streams, lines))
    return [stream.owner or Owner() if stream.removed else _owner(stream, of_line) for stream in streams]


def known(streams: Sequence[Stream], lines: Sequence[LinePlan], picture: Picture) -> list[Known]:
    """Return what is known of the live streams; `remember` takes it once the offer has changed them."""
    if not streams:
        return []
    of_stream = zip(streams, owners(streams, lines, picture), strict=True)
    return [Known(stream, stream.label, owner) for stream, owner in of_stream if not stream.removed]


def remember(before: Sequence[Known]) -> None:
    """Let a stream whose line was taken from it keep its owner, and one under a new label who was heard in it."""
    for stream, label, owner in before:
        if stream.removed:
            stream.owner = owner
        elif stream.label != label and not owner.inferred:
            stream.before = tuple(dict.fromkeys((*owner.parties, *owner.earlier)))


def _owner(stream: Stream, of_line: Sequence[Owner]) -> Owner:
    """Return the owner of a live stream, with everybody who was heard in it under its earlier labels."""
    now = of_line[stream.line.index]
    if not stream.before:
        return now
    earlier = dict.fromkeys((*now.earlier, *stream.before))
    return replace(now, earlier=tuple(who for who in earlier if who not in now.parties))


def _labels(streams: Sequence[Stream], lines: Sequence[LinePlan]) -> list[str | None]:
    """Return the label of each m= line; one without (mostly it has port 0), or one that is missing, as its stream."""
    labels = [line.label for line in lines]
    live = {stream.line.index: stream.label for stream in streams if not stream.removed}
    labels += [None] * (max(live, default=-1) + 1 - len(labels))
    stated = set(labels)
    return [live.get(i) if label is None and live.get(i) not in stated else label for i, label in enumerate(labels)]
