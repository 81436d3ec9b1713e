"""The streams of one call over time: who sends which now, and who did last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sip.siprec.document import Document, StreamLink
from sip.siprec.participants import Participants

STATED, INSIDE = 1, 2
"""Where senders are named: participantstreamassoc, or `send` inside the participant; the first is more reliable."""
MAX_STREAMS = 256
"""Streams remembered for one call."""
MAX_LINKS = 512
"""Participants whose send sets are remembered."""


class MediaStream:
    """What is known about one stream of the metadata."""

    __slots__ = ("current", "heard", "id", "label", "live", "mixed", "owners", "rule", "session")

    def __init__(self, stream: str, label: str | None, mixed: bool) -> None:
        self.id = stream
        """Stream id; empty if the client had none."""
        self.label = label
        """Its label in the SDP."""
        self.mixed = mixed
        """Whether the client says that it contains several voices."""
        self.current = True
        """Whether the newest snapshot contains it."""
        self.live = False
        """Whether somebody sends it now, according to the metadata."""
        self.owners: tuple[int, ...] = ()
        """The last non-empty set of senders, as positions of people."""
        self.heard: tuple[int, ...] = ()
        """Everybody who ever sent it, according to the client: a transfer changes whose voice it contains."""
        self.rule = 0
        """The rule (1 or 2) by which they became owners."""
        self.session = ""
        """Id of its session; empty if the client does not say."""

    def remember(self, person: int | None) -> None:
        """Note that somebody has sent it."""
        if person is not None and person not in self.heard:
            self.heard = (*self.heard, person)
            if not self.owners:
                self.owners, self.rule = (person,), STATED


class MediaStreams:
    """All streams of one call; past ones first, the newest with a label last."""

    __slots__ = ("_links", "_streams")

    def __init__(self) -> None:
        self._streams: list[MediaStream] = []
        self._links: dict[str, tuple[tuple[str, ...], bool]] = {}

    def __iter__(self) -> Iterator[MediaStream]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    def apply(
        self, document: Document, ids: Mapping[str, int], people: Participants, *, snapshot: bool, keeps: bool
    ) -> None:
        """Merge the streams of a document; `ids` maps each participant to its position among the people.

        With `keeps`, the document may be incomplete, so what it does not mention puts no stream on hold.
        """
        if document.streams:
            self._apply_streams(document, snapshot)
        self._apply_links(document, snapshot, keeps)
        self._apply_ended(document, ids, keeps)
        self._settle(ids, people, keeps)

    def holding(self, label: str) -> bool:
        """Return whether the stream with this label had a sender and has none now."""
        known = [stream for stream in self._streams if stream.current and stream.label == label and stream.owners]
        return bool(known) and not any(stream.live for stream in known)

    def labels(self) -> frozenset[str]:
        """Return the labels of the newest snapshot and its updates."""
        return frozenset(stream.label for stream in self._streams if stream.current and stream.label is not None)

    def knows(self, person: int) -> bool:
        """Return whether somebody is or was the owner of a stream."""
        return any(person in stream.owners for stream in self._streams)

    def dangling(self, ids: Mapping[str, int]) -> frozenset[int]:
        """Return the people whose send set names only unknown streams."""
        known = {stream.id for stream in self._streams if stream.current}
        return frozenset(
            ids[participant]
            for participant, (send, _) in self._links.items()
            if participant in ids and send and not known.intersection(send)
        )

    def _apply_streams(self, document: Document, snapshot: bool) -> None:
        before = {(stream.id or f"\0{stream.label}"): stream for stream in self._streams}
        newest: dict[str, MediaStream] = {}
        for told in document.streams:
            key = told.id or f"\0{told.label}"
            stream = before.get(key) or newest.get(key) or MediaStream(told.id, told.label, told.mixed)
            stream.label, stream.mixed, stream.current = told.label or stream.label, told.mixed or stream.mixed, True
            stream.session = told.session or stream.session
            newest[key] = stream
        arrived = {stream.label for key, stream in newest.items() if key not in before}
        for key, stream in before.items():
            # In an update, a new stream takes over the label of an old one.
            if key not in newest and (snapshot or stream.label in arrived):
                stream.current = False
        known = [stream for key, stream in before.items() if not (snapshot and key in newest)]
        fresh = [stream for key, stream in newest.items() if snapshot or key not in before]
        # Past streams go first, so that the newest with a label is last; past ones that nobody ever sent are dropped.
        past = [stream for stream in known if not stream.current and stream.owners]
        self._streams = [*past, *(stream for stream in known if stream.current), *fresh][-MAX_STREAMS:]

    def _apply_links(self, document: Document, snapshot: bool, keeps: bool) -> None:
        links = _merged([link for link in document.stream_links if keeps or not link.ended])
        if keeps:
            links = {participant: link for participant, link in links.items() if link[0]}
        inside = any(link[1] for link in self._links.values())
        if snapshot and (links or (inside and document.participants)):
            self._links = {}
        for participant, (send, kind) in links.items():
            if participant in self._links or len(self._links) < MAX_LINKS:
                self._links[participant] = (send, kind)

    def _apply_ended(self, document: Document, ids: Mapping[str, int], keeps: bool) -> None:
        """End what an ended association names as sent, and remember who sent it."""
        ended = [link for link in document.stream_links if link.ended]
        again = {(link.participant, id) for link in document.stream_links if not link.ended for id in link.send}
        streams = {stream.id: stream for stream in self._streams if ended and stream.id}
        for link in ended:
            over = frozenset(id for id in link.send if (link.participant, id) not in again)
            if not keeps and link.participant in self._links:
                send, inside = self._links[link.participant]
                self._links[link.participant] = (tuple(id for id in send if id not in over), inside)
            for stream in filter(None, map(streams.get, link.send)):
                stream.remember(ids.get(link.participant))

    def _settle(self, ids: Mapping[str, int], people: Participants, keeps: bool) -> None:
        """Work out who sends each stream now, and remember the senders unless there are none."""
        senders: dict[str, dict[int, list[int]]] = {}
        # Each id is stored once in memory.
        shared = {stream.id: stream.id for stream in self._streams}
        named = {participant: participant for participant in ids}
        self._links = {
            named.get(participant, participant): (tuple(shared.get(id, id) for id in send), inside)
            for participant, (send, inside) in self._links.items()
        }
        for participant, (send, inside) in self._links.items():
            position = ids.get(participant)
            if position is None:
                continue
            for id in send:
                senders.setdefault(id, {}).setdefault(INSIDE if inside else STATED, []).append(position)
        for stream in self._streams:
            rules = senders.get(stream.id, {}) if stream.id else {}
            rule = min(rules, default=0)
            now = rules.get(rule, [])
            staying = [who for who in now if people[who].left is None]
            staying = [who for who in staying if stream.session not in people[who].quit] or staying
            stream.live = bool(now) or (keeps and stream.live)
            if now:
                stream.owners, stream.rule = tuple(dict.fromkeys(staying or now)), rule
                if not set(stream.heard).issuperset(now):
                    stream.heard = tuple(dict.fromkeys((*stream.heard, *now)))

    def to_state(self) -> dict[str, Any]:
        """Return everything as a dict fit for JSON."""
        return {
            "tracks": [
                [t.id, t.label, t.mixed, t.current, t.live, list(t.owners), t.rule, list(t.heard), t.session]
                for t in self._streams
            ],
            "links": {participant: [list(send), inside] for participant, (send, inside) in self._links.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> MediaStreams:
        """Restore what `to_state` returned."""
        streams = cls()
        for id, label, mixed, current, live, owners, rule, *more in state["tracks"]:
            stream = MediaStream(id, label, mixed)
            stream.current, stream.live, stream.owners, stream.rule = current, live, tuple(owners), rule
            stream.heard = tuple(more[0]) if more else stream.owners  # missing in states of older versions
            stream.session = more[1] if len(more) > 1 else ""
            streams._streams.append(stream)
        streams._links = {participant: (tuple(send), inside) for participant, (send, inside) in state["links"].items()}
        return streams


def _merged(links: Sequence[StreamLink]) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Return one send set per participant: from its associations if it has any, else from inside the participant."""
    found: dict[str, tuple[tuple[str, ...], bool]] = {}
    for link in sorted(links, key=lambda link: link.inside):
        send, inside = found.get(link.participant, ((), link.inside))
        if not send or inside is link.inside:
            found[link.participant] = (tuple(dict.fromkeys((*send, *link.send))), link.inside)
    return found
