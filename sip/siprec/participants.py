"""The people in one call over time: one entry per address of record, in order of appearance; none is removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import datetime
from enum import IntEnum
from typing import Any

from personal import Personal
from sip.siprec.document import Identity
from sip.siprec.parties import Party, Person, Role, address_hash, is_placeholder, number_of, same_number, tail_hash
from sip.siprec.timestamps import restore_time, store_time

MAX_PEOPLE = 256
"""Entries of one call; a larger conference is recorded, but its other people are only in the raw metadata."""
MAX_SESSIONS = 64
"""Newest memberships of one person that are remembered; it may have many ids in many sessions."""
MAX_ALSO = 8
"""Further addresses kept for one party."""
FACING = {Role.CALLER: Role.CALLEE, Role.CALLEE: Role.CALLER}
"""The role at the other end."""
HEADERS, VENDOR = 1, 2
"""How reliable a role is: named by a header, or by a vendor's extension; 0 if not named."""


Membership = tuple[str, str]
"""Ids of a session and of a participant in it; one person may have several of both."""


class OriginOfName(IntEnum):
    """Where an entry comes from; the smaller one takes precedence."""

    METADATA = 0
    HEADER = 1
    """A header that names participants."""
    REDIRECTION = 2
    """Diversion, History-Info or a vendor's word for them: took part, but never spoke."""
    FALLBACK = 3
    """From and To: only count while there is no participant."""


class ParticipantEntry:
    """One person; kept small, because thousands are in memory."""

    __slots__ = (
        "also",
        "client_joined",
        "client_left",
        "inferred",
        "joined",
        "key",
        "left",
        "lines",
        "name",
        "number",
        "origin",
        "quit",
        "replaced",
        "role",
        "sessions",
        "tail",
        "uri",
        "weight",
    )

    def __init__(self, uri: Personal[str], name: Personal[str] | None, origin: OriginOfName, now: datetime) -> None:
        self._addressed(uri)
        self.name = name
        self.origin = origin
        self.role = Role.PARTICIPANT
        self.weight = 0
        """How reliable the role is: 0, `HEADERS` or `VENDOR`."""
        self.joined = now
        self.left: datetime | None = None
        self.inferred = False
        self.client_joined: datetime | None = None
        self.client_left: datetime | None = None
        self.also: tuple[Personal[str], ...] = ()
        self.lines: tuple[int, ...] = ()
        self.replaced = False
        """Whether this is a placeholder that a real person has replaced."""
        self.sessions: tuple[Membership, ...] = ()
        """What it has joined and not left; empty if the client names no session."""
        self.quit: tuple[str, ...] = ()
        """Ids of sessions that it left while it stayed in others."""

    def _addressed(self, uri: Personal[str]) -> None:
        """Set the address and the values used to compare it, which are read far more often than it changes."""
        self.uri, self.number = uri, number_of(uri)
        self.key, self.tail = address_hash(uri), tail_hash(self.number)

    def set_role(self, role: Role, weight: int) -> None:
        """Set the role, unless an equally reliable one is set."""
        if weight > self.weight:
            self.role, self.weight = role, weight

    def become(self, uri: Personal[str]) -> None:
        """Note that this is the participant with this address; a placeholder loses its name."""
        if self.is_placeholder():
            self.name = None
        self._addressed(uri)
        self.origin = OriginOfName.METADATA
        self.mark_present()

    def update(self, identity: Identity | None) -> None:
        """Note what a document says about this person, who counts as present unless the client reported a departure."""
        if identity is not None:
            self.name = identity.name or self.name
            if identity.uri and identity.uri != self.uri:
                self._addressed(identity.uri)
        if self.left is not None and self.inferred:
            self.mark_present()
        self.replaced = False

    def set_missing_name(self, name: Personal[str] | None) -> None:
        """Set the name if there is none yet."""
        self.name = self.name or name

    def mark_replaced(self) -> None:
        """Note that a real person has replaced this placeholder."""
        self.replaced = True

    def joined_by_client(self, at: datetime | None) -> None:
        """Note when it joined on the client's clock; the first time counts."""
        if self.client_joined is None:
            self.client_joined = at

    def left_by_client(self, at: datetime | None) -> None:
        """Note when it left on the client's clock."""
        self.client_left = at

    def leave(self, now: datetime, *, inferred: bool) -> None:
        """Note that this person left; the first time counts, and a client's statement overrides an inference."""
        self.sessions = self.quit = ()
        if self.left is None:
            self.left, self.inferred = now, inferred
        elif not inferred:
            self.inferred = False

    def mark_present(self) -> None:
        """Note that this person is present (again)."""
        self.left, self.inferred, self.client_left = None, False, None

    def set_attendance(self, links: Sequence[tuple[Membership, bool]]) -> bool:
        """Note what it joined (True) or left, with an empty id for an unknown session; return False if it is in none.

        Leaving an unknown session may mean leaving all sessions under that id.
        """
        joined = [each for each, there in links if there]
        left = dict.fromkeys(each for each, there in links if not there)
        gone = {who for session, who in left if not session}
        staying = [each for each in self.sessions if each not in left and each[1] not in gone]
        self.sessions = tuple(dict.fromkeys((*staying, *(each for each in joined if each[0]))))[-MAX_SESSIONS:]
        there = {"", *(session for session, _ in self.sessions)}
        quit_ = dict.fromkeys((*self.quit, *(session for session, _ in left)))
        self.quit = tuple(session for session in quit_ if session not in there)
        return bool(joined or self.sessions)

    def add_address(self, uri: Personal[str]) -> None:
        """Add a further address of the same person."""
        if not uri or uri == self.uri or uri in self.also or address_hash(uri) == self.key:
            return
        if self.number is None or self.number != number_of(uri):
            self.also = (*self.also, uri)[:MAX_ALSO]

    def has_number(self, uri: Personal[str]) -> bool:
        """Return whether an address is its number in another form, or at another host."""
        return same_number(self.uri, uri)

    def is_placeholder(self) -> bool:
        """Return whether the client did not know this person yet."""
        return is_placeholder(self.uri)

    def party(self) -> Party:
        """Return the entry as it is shown outside."""
        return Party(
            self.role,
            self.name,
            self.number,
            self.uri or None,
            self.joined,
            self.left,
            self.client_joined,
            self.client_left,
            self.inferred,
            self.also,
        )


class Participants:
    """All entries of one call. Positions never change; `visible` lists those that are shown."""

    __slots__ = ("_entries",)

    def __init__(self) -> None:
        self._entries: list[ParticipantEntry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, position: int) -> ParticipantEntry:
        return self._entries[position]

    def __iter__(self) -> Iterator[ParticipantEntry]:
        return iter(self._entries)

    def visible(self) -> list[int]:
        """Return the positions of shown entries: by time of appearance, participants before redirectors."""
        talkers = any(entry.origin <= OriginOfName.HEADER and not entry.replaced for entry in self._entries)
        limit = OriginOfName.REDIRECTION if talkers else OriginOfName.FALLBACK
        shown = [i for i, entry in enumerate(self._entries) if entry.origin <= limit and not entry.replaced]
        return sorted(
            shown, key=lambda i: (self._entries[i].joined, self._entries[i].origin == OriginOfName.REDIRECTION)
        )

    def present(self) -> list[int]:
        """Return the positions of participants who are present; if all have left, of those who stayed to the end."""
        talkers = [i for i, e in enumerate(self._entries) if e.origin <= OriginOfName.HEADER and not e.replaced]
        return self.staying(talkers)

    def staying(self, positions: Sequence[int]) -> list[int]:
        """Return those of them who are present; if all have left, those who left last."""
        staying = [i for i in positions if self._entries[i].left is None]
        if staying or not positions:
            return staying
        last = max(left for i in positions if (left := self._entries[i].left) is not None)
        return [i for i in positions if self._entries[i].left == last]

    def add(self, entry: ParticipantEntry) -> int | None:
        """Append an entry; return its position, or None if there are too many."""
        if len(self._entries) >= MAX_PEOPLE:
            return None
        self._entries.append(entry)
        return len(self._entries) - 1

    def find(
        self, uri: Personal[str], *, upto: OriginOfName = OriginOfName.REDIRECTION, exact: bool = False
    ) -> int | None:
        """Return the one entry with that address, otherwise the one with that number."""
        entries = self._entries
        key = address_hash(uri) if entries else 0
        if not key:
            return None
        for i, entry in enumerate(entries):
            if entry.key == key and entry.origin <= upto:
                return i
        if exact or (number := number_of(uri)) is None:
            return None
        # Hundreds of people may be compared with hundreds; comparing the last digits excludes most of them.
        tail = tail_hash(number)
        near = [i for i, e in enumerate(entries) if e.tail == tail and e.origin <= upto]
        same = [i for i in near if same_number(uri, entries[i].uri)]
        return same[0] if len(same) == 1 else None

    def of_role(self, role: Role) -> list[ParticipantEntry]:
        """Return the participants with a role; if none has it but the other side is known, those without any role."""
        people = [entry for entry in self._entries if entry.origin <= OriginOfName.HEADER and not entry.replaced]
        holders = [entry for entry in people if entry.role is role]
        if holders or not any(entry.role is FACING.get(role) for entry in people):
            return holders
        return [entry for entry in people if entry.role is Role.PARTICIPANT]

    def end_sessions(self, over: Set[str] | None) -> None:
        """Remove everybody from these sessions; None for all sessions."""
        for entry in self._entries:
            entry.sessions = () if over is None else tuple(each for each in entry.sessions if each[0] not in over)
            entry.quit = () if over is None else entry.quit

    def mark_found(self, positions: Sequence[int]) -> None:
        """Mark as present those of them that were only missing, not reported as having left."""
        for position in positions:
            if self._entries[position].inferred:
                self._entries[position].mark_present()

    def redirect(self, who: Person, weight: int, now: datetime) -> None:
        """Note who redirected the call, or to whom: give a known person that role, add an entry for anybody else."""
        position = self.find(who.uri)
        if position is None:
            entry = ParticipantEntry(who.uri, who.name, OriginOfName.REDIRECTION, now)
            # A redirector is not on the line; it had done its part before we learned about it.
            entry.leave(now, inferred=True)
            position = self.add(entry)
        if position is not None:
            self._entries[position].set_role(who.role, weight)
            self._entries[position].name = self._entries[position].name or who.name

    def set_from_header(self, talkers: Sequence[Person], now: datetime) -> None:
        """Set the participants that a header names; those that it no longer names have left."""
        if not talkers:
            return
        listed = set()
        for who in talkers:
            position = self.find(who.uri, upto=OriginOfName.HEADER)
            if position is None:
                position = self.add(ParticipantEntry(who.uri, who.name, OriginOfName.HEADER, now))
            if position is not None:
                listed.add(position)
                entry = self._entries[position]
                entry.lines, entry.name = who.lines, entry.name or who.name
                if entry.origin == OriginOfName.HEADER:
                    entry.mark_present()
        for i, entry in enumerate(self._entries):
            if listed and entry.origin == OriginOfName.HEADER and i not in listed:
                entry.leave(now, inferred=True)

    def fall_back(self, people: Sequence[Person], now: datetime) -> None:
        """Use From and To while nobody else is known."""
        for who in people:
            if not any(e.origin == OriginOfName.FALLBACK and e.role is who.role for e in self._entries):
                entry = ParticipantEntry(who.uri, who.name, OriginOfName.FALLBACK, now)
                entry.set_role(who.role, HEADERS)
                self.add(entry)

    def to_state(self) -> list[list[Any]]:
        """Return all entries as lists fit for JSON, names and addresses in the clear: for a state that is sealed."""
        return [
            [
                e.uri.reveal(),
                None if e.name is None else e.name.reveal(),
                int(e.origin),
                e.role.value,
                e.weight,
                e.joined.isoformat(),
                store_time(e.left),
                e.inferred,
                store_time(e.client_joined),
                store_time(e.client_left),
                [uri.reveal() for uri in e.also],
                list(e.lines),
                e.replaced,
            ]
            for e in self._entries
        ]

    def attendance(self) -> list[list[Any]]:
        """Return who is in which session, apart from `to_state`, because older versions only read that."""
        return [[[list(each) for each in e.sessions], list(e.quit)] for e in self._entries]

    @classmethod
    def from_state(cls, state: list[list[Any]]) -> Participants:
        """Restore what `to_state` returned."""
        people = cls()
        for uri, name, origin, role, weight, joined, left, inferred, came, went, also, lines, replaced in state:
            known = None if name is None else Personal(name)
            entry = ParticipantEntry(Personal(uri), known, OriginOfName(origin), datetime.fromisoformat(joined))
            entry.role, entry.weight, entry.inferred, entry.replaced = Role(role), weight, inferred, replaced
            entry.left, entry.client_joined, entry.client_left = (
                restore_time(left),
                restore_time(came),
                restore_time(went),
            )
            entry.also, entry.lines = tuple(map(Personal, also)), tuple(lines)
            people._entries.append(entry)
        return people

    def restore_attendance(self, state: Sequence[Sequence[Any]]) -> None:
        """Restore what `attendance` returned."""
        for entry, (sessions, quit_) in zip(self._entries, state, strict=False):
            entry.sessions, entry.quit = tuple((session, who) for session, who in sessions), tuple(quit_)
