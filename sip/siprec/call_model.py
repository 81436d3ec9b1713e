"""The model of one recorded call, built up from metadata documents and SIP requests as they arrive.

A recording client describes a call in documents: snapshots (complete) and updates (partial), each carried by a request
whose headers may add more. The model accumulates them:

* **People.** A participant gets an entry when its address of record is first seen; two ids with one address share an
  entry. A disassociate-time says that a participant left. If it is only missing from a sound snapshot, we infer that it
  left, and mark that. An id that gets another address is another person, unless the number stays the same or the first
  address was a placeholder, which is then replaced. A participant that was only missing counts as present again once
  an update says that it sends something.
* **Documents that remove nothing.** A document that may lack an element (an unescaped & in a name hides none), a
  document that names nobody, and the metadata of a BYE (`final`: Cisco sends a complete one without streams). A
  document whose end is missing, or the metadata of a BYE, does not put a stream on hold either.
* **Streams.** A stream has its current set of senders and the last non-empty one. A participantstreamassoc replaces the
  set of its participant; a snapshot replaces all sets, if it contains any associations. A stream whose set became empty
  is on hold and keeps its owner. `sip.siprec.media_streams` holds the streams; `sip.siprec.stream_owners` finds the
  owner of an m= line.
* **Roles** come from vendors' extensions (`sip.siprec.vendor_extensions`), then from headers (`sip.siprec.parties`),
  never from an order.
* **Times.** Our clock is passed to every call and counts; the client's times are kept as well.

Documents and requests are not kept. `to_state` returns everything for a checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from personal import Personal
from sip.message.message import Request
from sip.siprec.call_names import CallName, call_names
from sip.siprec.document import Document, Identity, Participant, SessionLink
from sip.siprec.media_streams import MediaStreams
from sip.siprec.participants import HEADERS, VENDOR, OriginOfName, ParticipantEntry, Participants
from sip.siprec.parties import Party, Person, Role, plain, read_headers
from sip.siprec.stream_owners import Owner, OwnerFacts, assign
from sip.siprec.timestamps import restore_time, store_time
from sip.siprec.vendor_extensions import Direction, VendorFacts, read_extensions
from sip.siprec.xml_reader import Damage

MAX_IDS = 1_024
"""Participant ids remembered; one person may have several in a long call."""
NO_ADDRESS = Personal("")
"""The address of a participant whose element has none."""
MAX_CORRELATIONS = 48
"""Names of the call in other systems that are kept."""


class CallModel:
    """All that is known about one call. Feed it documents and requests; ask for parties, owners and ids at any time."""

    __slots__ = (
        "_based", "_identities", "_ids", "_people", "_streams", "client_ended_at", "client_started_at",
        "correlations", "damage", "direction", "session_id", "swapped", "wanting",
    )  # fmt: skip

    def __init__(self, *, swapped: bool = False) -> None:
        """`swapped`: the client names the owners of two streams the wrong way round."""
        self.session_id: str | None = None
        """Id of the newest session element; None without metadata, when the Call-ID of the dialog takes its place."""
        self.damage = Damage.NONE
        """The worst damage in any document so far."""
        self.correlations: tuple[tuple[str, Personal[str]], ...] = ()
        """Names of the call in other systems, kind and value, in order of appearance."""
        self.direction: Direction | None = None
        """Seen from whose recording it is; None unless a vendor's extension says so."""
        self.client_started_at: datetime | None = None
        """When the session began, on the client's clock."""
        self.client_ended_at: datetime | None = None
        """When it ended, on the client's clock."""
        self.wanting: str | None = None
        """Why a snapshot should be asked for (RFC 7866 section 9.2): damaged, no-base, unknown-ids; None if not."""
        self.swapped = swapped
        """Whoever asks for the owners of two streams exchanges them."""
        self._based = False
        self._people = Participants()
        self._ids: dict[str, int] = {}
        self._streams = MediaStreams()
        self._identities: tuple[tuple[Personal[str], Personal[str]], ...] = ()

    # What is known

    def parties(self) -> tuple[Party, ...]:
        """Return everybody who ever took part, in order of appearance."""
        return tuple(self._people[i].party() for i in self._people.visible())

    def owners(self, labels: Sequence[str | None]) -> tuple[Owner, ...]:
        """Return the owner of each m= line, as indices into `parties`; `labels` are those of all lines in order."""
        return self.shown(self.speakers(labels))

    def speakers(self, labels: Sequence[str | None]) -> tuple[Owner, ...]:
        """Return the owner of each m= line as positions of people, which never change; pass them to `shown`."""
        return assign(labels, self._owner_facts())

    def shown(self, owners: Iterable[Owner]) -> tuple[Owner, ...]:
        """Convert owners to indices into the current `parties`."""
        index = {position: i for i, position in enumerate(self._people.visible())}

        def indices(positions: Sequence[int]) -> tuple[int, ...]:
            return tuple(sorted(index[who] for who in positions if who in index))

        return tuple(
            Owner(indices(owner.parties), owner.inferred, owner.rule, indices(owner.earlier), owner.label)
            for owner in owners
        )

    def holding(self, label: str | None) -> bool:
        """Return whether, according to the metadata, nobody sends the stream with this label any more."""
        return label is not None and self._streams.holding(label)

    @property
    def labels(self) -> frozenset[str]:
        """Labels of the streams in the newest metadata."""
        return self._streams.labels()

    @property
    def names(self) -> tuple[CallName, ...]:
        """Names of the call that other recordings may share, the most certain first."""
        return call_names(self.correlations)

    @property
    def groups(self) -> tuple[Personal[str], ...]:
        """Ids of all communication session groups seen so far, in order."""
        return tuple(value for kind, value in self.correlations if kind == "group")

    # What arrives

    def apply(self, document: Document, now: datetime, *, final: bool = False) -> None:
        """Merge a document that arrived at `now`; `final` marks the metadata of a BYE, which never remove anything."""
        if document.damaged:
            self.damage = max(self.damage, document.damaged, key=_SEVERITY.index)
        if document.damaged in (Damage.REFUSED, Damage.UNREADABLE):
            self.wanting = None if final else "damaged"
            return
        whole = document.damaged in (Damage.NONE, Damage.UNESCAPED)
        snapshot = whole and not document.partial and not final
        self.wanting = None if final else self._wanting(document)
        self._based = self._based or not document.partial
        self._apply_sessions(document)
        self._apply_participants(document, now, snapshot)
        if document.partial and not final:
            sending = [link.participant for link in document.stream_links if link.send and not link.ended]
            self._people.find_again([self._ids[who] for who in sending if who in self._ids])
        keeps = final or document.damaged is Damage.CUT
        self._streams.apply(document, self._ids, self._people, snapshot=snapshot, keeps=keeps)
        self._apply_hints(read_extensions(document), now)
        self._name_known()

    def _wanting(self, document: Document) -> str | None:
        """Return what a snapshot would repair."""
        if document.damaged is Damage.CUT:
            return "damaged"
        if not document.partial:
            return None
        if not self._based:
            return "no-base"
        fresh = {participant.id for participant in document.participants}
        named = {link.participant for link in document.stream_links}
        named |= {link.participant for link in document.session_links}
        return "unknown-ids" if named - fresh - set(self._ids) else None

    def apply_request(self, request: Request, now: datetime) -> None:
        """Merge what the headers of a client's request say."""
        facts = read_headers(request)
        self._correlate(facts.correlations)
        if named := [(who.uri, who.name) for who in facts.identities if who.name]:
            self._identities = tuple(dict.fromkeys((*named, *self._identities)))[:4]
        self._people.talk(facts.talkers, now)
        self._people.fall_back(facts.fallback, now)
        for who in facts.redirections:
            self._people.redirect(who, HEADERS, now)
        self._name_known()

    def snapshot_asked(self) -> None:
        """Note that a snapshot was asked for: only a later document can want one again."""
        self.wanting = None

    def end(self, now: datetime) -> None:
        """Note the end of the call: nobody is present any more."""
        for entry in self._people:
            entry.leave(now, inferred=True)

    # Sessions and groups

    def _apply_sessions(self, document: Document) -> None:
        known = set(self._session_ids())
        ids = [session.id for session in document.sessions]
        fresh = [session for session in ids if session not in known]
        if fresh or (ids and self.session_id not in ids):
            self.session_id = (fresh or ids)[-1]
        self._correlate([("session", Personal(session)) for session in ids])
        self._correlate([("group", Personal(group.id)) for group in document.groups])
        for session in document.sessions:
            self._correlate([("sip-session-id", Personal(value)) for value in session.sip_session_ids])
            if session.started and self.client_started_at is None:
                self.client_started_at = session.started.at
            if session.stopped and session.id == self.session_id:
                self.client_ended_at = session.stopped.at

    def _session_ids(self) -> list[str]:
        """Return the ids of all sessions so far, which say nothing about people."""
        return [value.reveal() for kind, value in self.correlations if kind == "session"]

    def _correlate(self, pairs: Iterable[tuple[str, Personal[str]]]) -> None:
        known = self.correlations
        fresh = [pair for pair in pairs if pair not in known]
        if fresh:
            self.correlations = tuple(dict.fromkeys((*known, *fresh)))[:MAX_CORRELATIONS]

    # Participants

    def _apply_participants(self, document: Document, now: datetime, snapshot: bool) -> None:
        listed = {i for i in [self._take(participant, now) for participant in document.participants] if i is not None}
        self._apply_session_links(document, now, snapshot)
        if not snapshot or not listed:
            return
        for i, entry in enumerate(self._people):
            if entry.origin <= OriginOfName.HEADER and i not in listed:
                entry.leave(now, inferred=True)
                if entry.is_placeholder() and not self._streams.knows(i):
                    entry.give_place()

    def _take(self, participant: Participant, now: datetime) -> int | None:
        """Find or create the entry for a participant element; return its position."""
        identities = tuple(map(plain, participant.identities))
        main = next((one for one in identities if one.uri), identities[0] if identities else None)
        old = self._ids.get(participant.id)
        if main is None or not main.uri:
            # A participant without an address still counts, known by its id alone.
            return (
                self._update(old, main)
                if old is not None
                else self._enter(participant.id, main or Identity(NO_ADDRESS, None), now)
            )
        found = self._people.find(main.uri, upto=OriginOfName.METADATA, exact=True)
        if found is None and old is not None and self._people[old].has_number(main.uri):
            self._people[old].know(main.uri)
            return self._update(old, Identity(NO_ADDRESS, main.name))
        if found is None:
            found = self._adopt(main, old)
        if old is not None and old != found:
            self._people[old].leave(now, inferred=True)
        if found is None:
            return self._enter(participant.id, main, now, identities)
        if old is not None or len(self._ids) < MAX_IDS:
            self._ids[participant.id] = found
        for other in identities:
            self._people[found].know(other.uri)
        return self._update(found, main)

    def _enter(self, participant: str, main: Identity, now: datetime, others: Sequence[Identity] = ()) -> int | None:
        entry = ParticipantEntry(main.uri, main.name, OriginOfName.METADATA, now)
        for other in others:
            entry.know(other.uri)
        position = self._people.add(entry)
        if position is not None and (participant in self._ids or len(self._ids) < MAX_IDS):
            self._ids[participant] = position
        return position

    def _adopt(self, main: Identity, old: int | None) -> int | None:
        """Return an existing entry that is this participant: its own placeholder, or somebody named by a header."""
        if old is not None and self._people[old].is_placeholder():
            position: int | None = old
        else:
            position = self._people.find(main.uri)
            if position is not None and self._people[position].origin == OriginOfName.METADATA:
                return None
        if position is not None:
            self._people[position].become(main.uri)
        return position

    def _update(self, position: int, identity: Identity | None) -> int:
        self._people[position].update(identity)
        return position

    def _apply_session_links(self, document: Document, now: datetime, snapshot: bool) -> None:
        """Note who joined and left; a person in several sessions is present while at least one goes on."""
        over = {session.id for session in document.sessions if session.stopped}
        self._people.end_sessions(None if snapshot else over)
        by_person: dict[int, list[SessionLink]] = {}
        for link in document.session_links:
            if link.participant in self._ids:
                by_person.setdefault(self._ids[link.participant], []).append(link)
        known = {session: session for session in self._session_ids()}
        for position, own in by_person.items():
            entry = self._people[position]
            joined = next((link.joined for link in own if link.joined), None)
            if joined:
                entry.joined_by_client(joined.at)
            if entry.attend([((known.get(link.session, ""), link.participant), not link.left) for link in own]):
                entry.come()
            else:
                entry.leave(now, inferred=False)
                entry.left_by_client(next((link.left.at for link in own if link.left), None))

    def _owner_facts(self) -> OwnerFacts:
        named: dict[int, list[int]] = {}
        for position, entry in enumerate(self._people):
            for line in entry.lines:
                named.setdefault(line, []).append(position)
        lines = {line: (tuple(self._people.staying(who)), tuple(who)) for line, who in named.items()}
        return OwnerFacts(tuple(self._streams), self._people.present(), self._streams.dangling(self._ids), lines)

    # Roles and names

    def _apply_hints(self, hints: VendorFacts, now: datetime) -> None:
        self._correlate(hints.correlations)
        self.direction = hints.direction or self.direction
        for participant, role in hints.roles.items():
            if participant in self._ids:
                self._people[self._ids[participant]].set_role(role, VENDOR)
        for stream in self._streams:
            if stream.label in hints.tracks and stream.live and len(stream.owners) == 1:
                self._people[stream.owners[0]].set_role(hints.tracks[stream.label], VENDOR)
        self._apply_people(hints, now)
        for participant, who in hints.aliases:
            if participant in self._ids:
                entry = self._people[self._ids[participant]]
                entry.name_once(who.name)
                entry.know(who.uri)
        for role, name in hints.names.items():
            for entry in self._people:
                if entry.role is role:
                    entry.name_once(name)

    def _apply_people(self, hints: VendorFacts, now: datetime) -> None:
        """Set roles of participants whose addresses the vendor names; add unknown redirectors, but nobody else."""
        if hints.side is not None:
            for uri in hints.recorded:
                position = self._people.find(uri, upto=OriginOfName.HEADER)
                if position is not None:
                    self._people[position].set_role(hints.side, VENDOR)
        unknown: list[Person] = []
        for who in sorted(hints.people, key=lambda who: who.role in _REDIRECTED):
            position = self._people.find(who.uri, upto=OriginOfName.HEADER)
            if who.role in _REDIRECTED:
                self._people.redirect(who, VENDOR, now)
            elif position is not None:
                entry = self._people[position]
                entry.set_role(who.role, VENDOR)
                entry.know(who.uri)
                entry.name_once(who.name)
            else:
                unknown.append(who)
        for who in unknown:
            holders = self._people.of_role(who.role)
            if len(holders) == 1 and self._people.find(who.uri) is None:
                # The recorded user's public number (the participant has an internal name), or the dialled digits.
                holders[0].know(who.uri)

    def _name_known(self) -> None:
        """Name participants that have no name from asserted identities."""
        for uri, name in self._identities:
            position = self._people.find(uri)
            if position is not None:
                self._people[position].name_once(name)

    # Checkpoints

    def to_state(self) -> Personal[dict[str, Any]]:
        """Return everything as a dict fit for JSON."""
        return Personal(
            {
                "version": 1,
                "session_id": self.session_id,
                "damage": self.damage.value,
                "direction": self.direction,
                "correlations": [[kind, value.reveal()] for kind, value in self.correlations],
                "started": store_time(self.client_started_at),
                "ended": store_time(self.client_ended_at),
                "people": self._people.to_state(),
                "attendance": self._people.attendance(),
                "ids": dict(self._ids),
                **self._streams.to_state(),
                "identities": [[uri.reveal(), name.reveal()] for uri, name in self._identities],
                "extensions": "",  # the version before expects it
                "based": self._based,
                "swapped": self.swapped,
            }
        )

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> CallModel:
        """Take back what `to_state` gave."""
        model = cls(swapped=bool(state.get("swapped")))  # a version before this one did not know it
        model.session_id, model.damage = state["session_id"], Damage(state["damage"])
        model.correlations = tuple((kind, Personal(value)) for kind, value in state["correlations"])
        model.direction = state.get("direction")
        model.client_started_at, model.client_ended_at = map(restore_time, (state["started"], state["ended"]))
        model._people, model._ids = Participants.from_state(state["people"]), dict(state["ids"])
        model._people.restore_attendance(state.get("attendance", ()))  # missing in states of older versions
        model._identities = tuple((Personal(uri), Personal(name)) for uri, name in state["identities"])
        model._streams, model._based = MediaStreams.from_state(state), bool(state.get("based", True))
        return model


_SEVERITY = (Damage.NONE, Damage.UNESCAPED, Damage.REPAIRED, Damage.CUT, Damage.UNREADABLE, Damage.REFUSED)
_REDIRECTED = (Role.REDIRECTED_BY, Role.REDIRECTED_TO)
