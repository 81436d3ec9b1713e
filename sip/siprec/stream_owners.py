"""Whose voice is in which stream: seven rules, applied to what a call model knows.

In this order: (1) `send` in participantstreamassoc; (2) `send` inside the participant; (3) the last known owner;
(4) exactly one participant without a stream; (5) exactly one whose `send` matches no stream; (6) as many participants
without a stream as streams without an owner, in document order; (7) what a header says about the m= line. Rules 4 to 6
are inferences and marked as such. The order of m= lines alone proves nothing: rtpengine puts the callee first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from sip.siprec.media_streams import MediaStream

LAST, ONLY, DANGLING, ORDER, HEADER = range(3, 8)
"""Numbers of the rules from the third on; the first two are set in `MediaStream.rule`."""


@dataclass(slots=True)
class Owner:
    """Who is heard in one m= line."""

    parties: tuple[int, ...] = ()
    """Indices into the parties; several for a mixed stream, empty if unknown."""
    inferred: bool = False
    """Whether it was inferred rather than stated."""
    rule: int = 0
    """Number of the rule that applied; 0 if none did."""
    earlier: tuple[int, ...] = ()
    """Others who were heard in it before."""
    label: str | None = field(default=None, compare=False)
    """Id of its stream in the metadata; does not identify the owner."""

    @property
    def party(self) -> int | list[int] | None:
        """Return the owner as the admin API shows it: an index, a list for a mixed stream, None if unknown."""
        if len(self.parties) > 1:
            return list(self.parties)
        return self.parties[0] if self.parties else None


class OwnerFacts(NamedTuple):
    """Input of the rules; people are given as positions."""

    streams: Sequence[MediaStream]
    """In document order."""
    present: Sequence[int]
    """Participants who have not left, in document order."""
    dangling: frozenset[int]
    """Those whose send set names only unknown streams."""
    lines: Mapping[int, tuple[tuple[int, ...], tuple[int, ...]]]
    """By index of an m= line: the participants whom a header names for it or named last, and all it ever named."""


def assign(labels: Sequence[str | None], facts: OwnerFacts) -> tuple[Owner, ...]:
    """Return the owner of each m= line; `labels` are those of all SDP lines in order, None for a line without one."""
    pairs = pair(labels, facts.streams)
    # Inferences are for streams that never had a stated sender.
    concluded = {} if all(stream.owners for stream in facts.streams if stream.current) else _conclude(facts)
    owners = []
    for line, (streams, guessed) in enumerate(pairs):
        owner = _of_streams(streams, facts, concluded)
        now, named = facts.lines.get(line, ((), ()))
        if now and not owner.parties:
            owner = Owner(now, False, HEADER, tuple(who for who in named if who not in now))
        inferred = owner.inferred or (guessed and bool(owner.parties) and owner.rule != HEADER)
        earlier = dict.fromkeys((*owner.earlier, *_heard(labels[line], streams, facts, owner.parties)))
        label = streams[0].label if streams else None
        owners.append(Owner(owner.parties, inferred, owner.rule, tuple(earlier), label))
    return tuple(owners)


def exchanged(owners: Sequence[Owner], kinds: Sequence[str]) -> tuple[Owner, ...]:
    """Exchange the owners of the two m= lines of a medium, for a client that names them the wrong way round.

    `kinds` are the media of the lines in order. If a medium does not have exactly two lines, it is unclear which ones
    to exchange, so they stay unchanged.
    """
    found = list(owners)
    for kind in dict.fromkeys(kinds):
        lines = [line for line, other in enumerate(kinds) if other == kind]
        if len(lines) == 2:
            one, two = lines
            found[one] = replace(owners[two], label=owners[one].label)
            found[two] = replace(owners[one], label=owners[two].label)
    return tuple(found)


def pair(labels: Sequence[str | None], streams: Sequence[MediaStream]) -> list[tuple[list[MediaStream], bool]]:
    """Match m= lines with streams, and tell whether only by order: if a label is missing, repeated or unknown."""
    found: list[tuple[list[MediaStream], bool]] = [([], False) for _ in labels]
    free = [stream for stream in streams if stream.current]
    for line, label in enumerate(labels):
        stream = _first(free, label)
        if stream is not None:
            free.remove(stream)
            found[line] = ([stream], labels.count(label) > 1)
    for line, label in enumerate(labels):
        past = None if found[line][0] else _first(list(reversed(streams)), label)
        if past is not None and not past.current:
            found[line] = ([past], False)
    unique = {label for label in labels if label is not None and labels.count(label) == 1}
    for line in range(len(labels)):
        if not found[line][0] and free:
            found[line] = ([free.pop(0)], True)
    for stream in free:
        # Two streams with one label: a mixed stream, written as one element per voice.
        if stream.label in unique:
            found[labels.index(stream.label)][0].append(stream)
    return found


def _first(streams: Sequence[MediaStream], label: str | None) -> MediaStream | None:
    return next((stream for stream in streams if label is not None and stream.label == label), None)


def _of_streams(streams: Sequence[MediaStream], facts: OwnerFacts, concluded: Mapping[int, Owner]) -> Owner:
    for live in (True, False):
        known = [stream for stream in streams if stream.owners and stream.live is live]
        people = tuple(dict.fromkeys(who for stream in known for who in stream.owners))
        if people:
            return Owner(people, False, min(stream.rule for stream in known) if live else LAST)
    for stream in streams:
        earlier = _earlier(stream, facts)
        if any(who in facts.present for who in earlier):
            return Owner(earlier, False, LAST)
        if id(stream) in concluded:
            return concluded[id(stream)]
        if earlier:
            return Owner(earlier, False, LAST)
    return Owner()


def _heard(
    label: str | None, streams: Sequence[MediaStream], facts: OwnerFacts, now: tuple[int, ...]
) -> tuple[int, ...]:
    """Return everybody else who was heard in a line: in its streams, and in earlier ones with its label."""
    past = [stream for stream in facts.streams if label is not None and stream.label == label]
    return tuple(dict.fromkeys(who for stream in (*past, *streams) for who in stream.heard if who not in now))


def _earlier(stream: MediaStream, facts: OwnerFacts) -> tuple[int, ...]:
    """Return the owners of an earlier stream with the same label."""
    older = [
        other
        for other in facts.streams
        if not other.current and other.owners and other.label == stream.label is not None
    ]
    return older[-1].owners if older else ()


def _conclude(facts: OwnerFacts) -> dict[int, Owner]:
    """Apply rules 4 to 6: infer owners for streams that never had a stated sender."""
    current = [stream for stream in facts.streams if stream.current]
    orphans = [stream for stream in current if not stream.owners]
    heard = {who for stream in current for who in stream.owners}
    silent = [who for who in facts.present if who not in heard]
    dangling = [who for who in silent if who in facts.dangling]
    if len(silent) == 1:
        return {id(stream): Owner((silent[0],), True, ONLY) for stream in orphans}
    if len(dangling) == 1:
        return {id(stream): Owner((dangling[0],), True, DANGLING) for stream in orphans}
    if len(silent) == len(orphans):
        return {id(stream): Owner((who,), True, ORDER) for stream, who in zip(orphans, silent, strict=True)}
    if len(orphans) == 1 and orphans[0].mixed and silent:
        return {id(orphans[0]): Owner(tuple(silent), True, ORDER)}
    return {}
