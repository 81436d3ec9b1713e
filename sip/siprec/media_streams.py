"""The streams of one call over time: who sends which now, and who did last."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sip.siprec.document import Document, StreamLink
from sip.siprec.participants import Participants

STATED, INSIDE = 1, 2
"""Where senders are named: participantstreamassoc, or `send` inside the participant; the first is more reliable."""
MAX_TRACKS = 256
"""Streams remembered for one call."""
MAX_LINKS = 512
"""Participants whose send sets are remembered."""


class Track:
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


class Tracks:
    """All streams of one call; past ones first, the newest with a label last."""

    __slots__ = ("_links", "_tracks")

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._links: dict[str, tuple[tuple[str, ...], bool]] = {}

    def __iter__(self) -> Iterator[Track]:
        return iter(self._tracks)

    def __len__(self) -> int:
        return len(self._tracks)

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
        known = [track for track in self._tracks if track.current and track.label == label and track.owners]
        return bool(known) and not any(track.live for track in known)

    def labels(self) -> frozenset[str]:
        """Return the labels of the newest snapshot and its updates."""
        return frozenset(track.label for track in self._tracks if track.current and track.label is not None)

    def knows(self, person: int) -> bool:
        """Return whether somebody is or was the owner of a stream."""
        return any(person in track.owners for track in self._tracks)

    def dangling(self, ids: Mapping[str, int]) -> frozenset[int]:
        """Return the people whose send set names only unknown streams."""
        known = {track.id for track in self._tracks if track.current}
        return frozenset(
            ids[participant]
            for participant, (send, _) in self._links.items()
            if participant in ids and send and not known.intersection(send)
        )

    def _apply_streams(self, document: Document, snapshot: bool) -> None:
        before = {(track.id or f"\0{track.label}"): track for track in self._tracks}
        newest: dict[str, Track] = {}
        for stream in document.streams:
            key = stream.id or f"\0{stream.label}"
            track = before.get(key) or newest.get(key) or Track(stream.id, stream.label, stream.mixed)
            track.label, track.mixed, track.current = stream.label or track.label, stream.mixed or track.mixed, True
            track.session = stream.session or track.session
            newest[key] = track
        arrived = {track.label for key, track in newest.items() if key not in before}
        for key, track in before.items():
            # In an update, a new stream takes over the label of an old one.
            if key not in newest and (snapshot or track.label in arrived):
                track.current = False
        known = [track for key, track in before.items() if not (snapshot and key in newest)]
        fresh = [track for key, track in newest.items() if snapshot or key not in before]
        # Past streams go first, so that the newest with a label is last; past ones that nobody ever sent are dropped.
        past = [track for track in known if not track.current and track.owners]
        self._tracks = [*past, *(track for track in known if track.current), *fresh][-MAX_TRACKS:]

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
        again = {(link.participant, stream) for link in document.stream_links if not link.ended for stream in link.send}
        tracks = {track.id: track for track in self._tracks if ended and track.id}
        for link in ended:
            over = frozenset(stream for stream in link.send if (link.participant, stream) not in again)
            if not keeps and link.participant in self._links:
                send, inside = self._links[link.participant]
                self._links[link.participant] = (tuple(stream for stream in send if stream not in over), inside)
            for track in filter(None, map(tracks.get, link.send)):
                track.remember(ids.get(link.participant))

    def _settle(self, ids: Mapping[str, int], people: Participants, keeps: bool) -> None:
        """Work out who sends each stream now, and remember the senders unless there are none."""
        senders: dict[str, dict[int, list[int]]] = {}
        # Each id is stored once in memory.
        shared = {track.id: track.id for track in self._tracks}
        named = {participant: participant for participant in ids}
        self._links = {
            named.get(participant, participant): (tuple(shared.get(stream, stream) for stream in send), inside)
            for participant, (send, inside) in self._links.items()
        }
        for participant, (send, inside) in self._links.items():
            position = ids.get(participant)
            if position is None:
                continue
            for stream in send:
                senders.setdefault(stream, {}).setdefault(INSIDE if inside else STATED, []).append(position)
        for track in self._tracks:
            rules = senders.get(track.id, {}) if track.id else {}
            rule = min(rules, default=0)
            now = rules.get(rule, [])
            staying = [who for who in now if people[who].left is None]
            staying = [who for who in staying if track.session not in people[who].quit] or staying
            track.live = bool(now) or (keeps and track.live)
            if now:
                track.owners, track.rule = tuple(dict.fromkeys(staying or now)), rule
                if not set(track.heard).issuperset(now):
                    track.heard = tuple(dict.fromkeys((*track.heard, *now)))

    def to_state(self) -> dict[str, Any]:
        """Return everything as a dict fit for JSON."""
        return {
            "tracks": [
                [t.id, t.label, t.mixed, t.current, t.live, list(t.owners), t.rule, list(t.heard), t.session]
                for t in self._tracks
            ],
            "links": {participant: [list(send), inside] for participant, (send, inside) in self._links.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Tracks:
        """Restore what `to_state` returned."""
        tracks = cls()
        for stream, label, mixed, current, live, owners, rule, *more in state["tracks"]:
            track = Track(stream, label, mixed)
            track.current, track.live, track.owners, track.rule = current, live, tuple(owners), rule
            track.heard = tuple(more[0]) if more else track.owners  # missing in states of older versions
            track.session = more[1] if len(more) > 1 else ""
            tracks._tracks.append(track)
        tracks._links = {participant: (tuple(send), inside) for participant, (send, inside) in state["links"].items()}
        return tracks


def _merged(links: Sequence[StreamLink]) -> dict[str, tuple[tuple[str, ...], bool]]:
    """Return one send set per participant: from its associations if it has any, else from inside the participant."""
    found: dict[str, tuple[tuple[str, ...], bool]] = {}
    for link in sorted(links, key=lambda link: link.inside):
        send, inside = found.get(link.participant, ((), link.inside))
        if not send or inside is link.inside:
            found[link.participant] = (tuple(dict.fromkeys((*send, *link.send))), link.inside)
    return found
