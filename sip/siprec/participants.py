"""The people of one call over time: one entry an address of record, in order of appearance, nobody forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from datetime import datetime
from enum import IntEnum
from typing import Any

from sip.siprec.document import Identity
from sip.siprec.parties import Party, Person, Role, canonical, number_of, same_number, tail_of, user_of
from sip.siprec.timestamps import restore_time, store_time

MAX_PEOPLE = 256
"""Entries of one call; a conference with more is recorded, the rest of its people stands in the raw metadata only."""
MAX_SESSIONS = 64
"""Memberships of one person that are remembered, the newest: it may have many ids in many sessions."""
MAX_ALSO = 8
"""Further addresses kept of one party."""
FACING = {Role.CALLER: Role.CALLEE, Role.CALLEE: Role.CALLER}
"""Who is at the other end."""
HEADERS, VENDOR = 1, 2
"""How sure a role is: a header says it, a vendor's extension says it; 0 is not said."""


Membership = tuple[str, str]
"""Ids of a session and of the participant that is in it: one person may have several of both."""


class Source(IntEnum):
    """Where an entry comes from; a smaller one wins."""

    METADATA = 0
    HEADER = 1
    """A header that names participants."""
    REDIRECTION = 2
    """Diversion, History-Info or a vendor's word for them: took part, but never spoke."""
    FALLBACK = 3
    """From and To: counts only while there is no participant."""


class ParticipantEntry:
    """One person; compact, because a recorder keeps thousands of them in memory."""

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
        "quit",
        "replaced",
        "role",
        "sessions",
        "source",
        "tail",
        "uri",
        "weight",
    )

    def __init__(self, uri: str, name: str | None, source: Source, now: datetime) -> None:
        self.uri = uri
        self.key = canonical(uri)
        self.tail = tail_of(uri)
        self.name = name
        self.source = source
        self.role = Role.PARTICIPANT
        self.weight = 0
        """How sure the role is: 0, `HEADERS` or `VENDOR`."""
        self.joined = now
        self.left: datetime | None = None
        self.inferred = False
        self.client_joined: datetime | None = None
        self.client_left: datetime | None = None
        self.also: tuple[str, ...] = ()
        self.lines: tuple[int, ...] = ()
        self.replaced = False
        """A placeholder whose place somebody real has taken."""
        self.sessions: tuple[Membership, ...] = ()
        """What it joined and did not leave; empty where the client names no session."""
        self.quit: tuple[str, ...] = ()
        """Ids of the sessions that it left while it stayed in others."""

    def set_role(self, role: Role, weight: int) -> None:
        """Take a role if nothing at least as sure was said before."""
        if weight > self.weight:
            self.role, self.weight = role, weight

    def become(self, uri: str) -> None:
        """Turn out to be the participant with this address; a placeholder loses its name."""
        if self.is_placeholder():
            self.name = None
        self.uri, self.key, self.tail, self.source = uri, canonical(uri), tail_of(uri), Source.METADATA
        self.come()

    def update(self, identity: Identity | None) -> None:
        """Take what a document says of this person, who so is there unless the client said that it left."""
        if identity is not None:
            self.uri, self.name = identity.uri or self.uri, identity.name or self.name
        if self.left is not None and self.inferred:
            self.come()
        self.replaced = False

    def name_once(self, name: str | None) -> None:
        """Take a name if there is none yet."""
        self.name = self.name or name

    def give_place(self) -> None:
        """Note that somebody real has taken the place of this placeholder."""
        self.replaced = True

    def joined_by_client(self, at: datetime | None) -> None:
        """Note when it joined by the client's clock; the first time counts."""
        if self.client_joined is None:
            self.client_joined = at

    def left_by_client(self, at: datetime | None) -> None:
        """Note when it left by the client's clock."""
        self.client_left = at

    def leave(self, now: datetime, *, inferred: bool) -> None:
        """Note that this person is gone; the first time counts, a word of the client stands above a conclusion."""
        self.sessions = self.quit = ()
        if self.left is None:
            self.left, self.inferred = now, inferred
        elif not inferred:
            self.inferred = False

    def come(self) -> None:
        """Note that this person is there (again)."""
        self.left, self.inferred, self.client_left = None, False, None

    def attend(self, links: Sequence[tuple[Membership, bool]]) -> bool:
        """Note what it is in (True) or left, with an empty id for a session nobody knows; False if it is in none.

        Whoever leaves one that nobody knows may have left all that it was in under that id.
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

    def know(self, uri: str) -> None:
        """Add a further address of the same person."""
        if not uri or uri == self.uri or uri in self.also or canonical(uri) == self.key:
            return
        own = number_of(self.uri)
        if own is None or own != number_of(uri):
            self.also = (*self.also, uri)[:MAX_ALSO]

    def has_number(self, uri: str) -> bool:
        """Tell whether an address is its number in another form, or at another host."""
        return same_number(number_of(self.uri) or "", number_of(uri) or "")

    def is_placeholder(self) -> bool:
        """Tell whether a client put this in for somebody it did not know yet: no user part, or Avaya's ASBCE."""
        user = user_of(self.uri)
        return not user or user == "ASBCE"

    def party(self) -> Party:
        """Give the entry as the world sees it."""
        return Party(
            self.role,
            self.name,
            number_of(self.uri),
            self.uri or None,
            self.joined,
            self.left,
            self.client_joined,
            self.client_left,
            self.inferred,
            self.also,
        )


class Participants:
    """All entries of one call. Positions never change; what is shown is `visible`."""

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
        """Give the positions of those to show: by time of appearance, participants before redirectors."""
        talkers = any(entry.source <= Source.HEADER and not entry.replaced for entry in self._entries)
        limit = Source.REDIRECTION if talkers else Source.FALLBACK
        shown = [i for i, entry in enumerate(self._entries) if entry.source <= limit and not entry.replaced]
        return sorted(shown, key=lambda i: (self._entries[i].joined, self._entries[i].source == Source.REDIRECTION))

    def present(self) -> list[int]:
        """Give the positions of participants who have not left; once all have, of those who stayed to the end."""
        talkers = [i for i, e in enumerate(self._entries) if e.source <= Source.HEADER and not e.replaced]
        return self.staying(talkers)

    def staying(self, positions: Sequence[int]) -> list[int]:
        """Give those of them who have not left; once all have, those who left last."""
        staying = [i for i in positions if self._entries[i].left is None]
        if staying or not positions:
            return staying
        last = max(left for i in positions if (left := self._entries[i].left) is not None)
        return [i for i in positions if self._entries[i].left == last]

    def add(self, entry: ParticipantEntry) -> int | None:
        """Append an entry; give its position, None if there are too many."""
        if len(self._entries) >= MAX_PEOPLE:
            return None
        self._entries.append(entry)
        return len(self._entries) - 1

    def find(self, uri: str, *, upto: Source = Source.REDIRECTION, exact: bool = False) -> int | None:
        """Find the one entry of that address, else the one of that number."""
        entries = self._entries
        key = canonical(uri) if entries else ""
        if not key:
            return None
        for i, entry in enumerate(entries):
            if entry.key == key and entry.source <= upto:
                return i
        number = None if exact else number_of(uri)
        if number is None:
            return None
        # Hundreds of people are compared with hundreds: the last digits sort out most of them.
        tail = tail_of(uri)
        near = [i for i, e in enumerate(entries) if e.tail == tail and e.source <= upto]
        same = [i for i in near if same_number(number, number_of(entries[i].uri) or "")]
        return same[0] if len(same) == 1 else None

    def of_role(self, role: Role) -> list[ParticipantEntry]:
        """Give the participants of a role; where nobody has it but the other side is known, those without any role."""
        people = [entry for entry in self._entries if entry.source <= Source.HEADER and not entry.replaced]
        holders = [entry for entry in people if entry.role is role]
        if holders or not any(entry.role is FACING.get(role) for entry in people):
            return holders
        return [entry for entry in people if entry.role is Role.PARTICIPANT]

    def end_sessions(self, over: Set[str] | None) -> None:
        """Forget who is in these sessions, None for all of them."""
        for entry in self._entries:
            entry.sessions = () if over is None else tuple(each for each in entry.sessions if each[0] not in over)
            entry.quit = () if over is None else entry.quit

    def find_again(self, positions: Sequence[int]) -> None:
        """Let those come back of whom nobody said that they left: they were missing, and are named again."""
        for position in positions:
            if self._entries[position].inferred:
                self._entries[position].come()

    def redirect(self, who: Person, weight: int, now: datetime) -> None:
        """Note who redirected the call, or where to: a known person gets that role, anybody else becomes an entry."""
        position = self.find(who.uri)
        if position is None:
            entry = ParticipantEntry(who.uri, who.name, Source.REDIRECTION, now)
            # A redirector is not on the line: its part was over when we heard of it.
            entry.leave(now, inferred=True)
            position = self.add(entry)
        if position is not None:
            self._entries[position].set_role(who.role, weight)
            self._entries[position].name = self._entries[position].name or who.name

    def talk(self, talkers: Sequence[Person], now: datetime) -> None:
        """Take the participants a header names; those it named before and does not any more have left."""
        if not talkers:
            return
        listed = set()
        for who in talkers:
            position = self.find(who.uri, upto=Source.HEADER)
            if position is None:
                position = self.add(ParticipantEntry(who.uri, who.name, Source.HEADER, now))
            if position is not None:
                listed.add(position)
                entry = self._entries[position]
                entry.lines, entry.name = who.lines, entry.name or who.name
                if entry.source == Source.HEADER:
                    entry.come()
        for i, entry in enumerate(self._entries):
            if listed and entry.source == Source.HEADER and i not in listed:
                entry.leave(now, inferred=True)

    def fall_back(self, people: Sequence[Person], now: datetime) -> None:
        """Take From and To for the time in which nobody else is known."""
        for who in people:
            if not any(e.source == Source.FALLBACK and e.role is who.role for e in self._entries):
                entry = ParticipantEntry(who.uri, who.name, Source.FALLBACK, now)
                entry.set_role(who.role, HEADERS)
                self.add(entry)

    def to_state(self) -> list[list[Any]]:
        """Give all entries as lists fit for JSON."""
        return [
            [
                e.uri,
                e.name,
                int(e.source),
                e.role.value,
                e.weight,
                e.joined.isoformat(),
                store_time(e.left),
                e.inferred,
                store_time(e.client_joined),
                store_time(e.client_left),
                list(e.also),
                list(e.lines),
                e.replaced,
            ]
            for e in self._entries
        ]

    def attendance(self) -> list[list[Any]]:
        """Give who is in which session, beside `to_state`: a version before this one reads that alone."""
        return [[[list(each) for each in e.sessions], list(e.quit)] for e in self._entries]

    @classmethod
    def from_state(cls, state: list[list[Any]]) -> Participants:
        """Take back what `to_state` gave."""
        people = cls()
        for uri, name, source, role, weight, joined, left, inferred, came, went, also, lines, replaced in state:
            entry = ParticipantEntry(uri, name, Source(source), datetime.fromisoformat(joined))
            entry.role, entry.weight, entry.inferred, entry.replaced = Role(role), weight, inferred, replaced
            entry.left, entry.client_joined, entry.client_left = (
                restore_time(left),
                restore_time(came),
                restore_time(went),
            )
            entry.also, entry.lines = tuple(also), tuple(lines)
            people._entries.append(entry)
        return people

    def restore_attendance(self, state: Sequence[Sequence[Any]]) -> None:
        """Take back what `attendance` gave."""
        for entry, (sessions, quit_) in zip(self._entries, state, strict=False):
            entry.sessions, entry.quit = tuple((session, who) for session, who in sessions), tuple(quit_)
