"""All users of a customer in memory, by their present and former values; none of these is kept in the clear.

    who = UserLookup("DE", room=100_000, secret=os.urandom(16))
    who.put(user)                               add a user, or replace it after a change
    match = who.party(party, at)                the user that a party of a call was at that time
    ids = who.find(alternatives)                users who have, or ever had, some values

Theory of operation. The values of a user become keys (storage.directory.match_keys). Each key becomes eight bytes of a
keyed hash, and each hash leads to a chain of *entries*: which user had it, and from when until when. Everything is kept
in arrays of numbers, 24 bytes an entry.

If several users had the same number one after the other, the time of the call decides. A user who *certainly* had it
then, because the directory said so at the time, comes before users who *may* have had it before the directory first
said so. Among the latter, the one whom the directory named first comes first. A party with several values is the user
who fits all of them. If not exactly one user fits, all who may fit are candidates; the recorder does not guess.
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.directory.match_keys import Group, begun_by, of_identity, of_party, words_of
from storage.directory.user import EVER, NEVER, User
from storage.ids import is_id
from storage.search_forms import MAX_CANDIDATES

Times = tuple[int, int, int]
"""From when, from when perhaps, and until when, in microseconds since 1970-01-01 UTC."""

NOBODY = -1
_LEAST_CHAINS = 1 << 10
_LONG = 8  # entries of a chain on average, above which to rebuild: a look-up then reads about ten hashes
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Match:
    """The user whom a party matches, or the candidates."""

    user: str | None = None
    """Id of the user, None if there is none or it is not certain which."""
    candidates: tuple[str, ...] = ()
    """Ids of the users who may be meant, if it is not certain which."""


NO_MATCH = Match()
_NO_TIME: Times = (NEVER, NEVER, EVER)  # for words: search finds them, and no party matches them


class UserLookup:
    """The users of one customer."""

    def __init__(self, country: str, *, secret: bytes, room: int = 0, extension_digits: int = 0) -> None:
        """Expect `room` users; `secret` keys the hashes and is used for this object only."""
        self._country = country
        self._secret = secret
        self._extension_digits = extension_digits
        chains = max(_LEAST_CHAINS, 1 << (8 * room).bit_length())  # a user with twenty addresses has some forty entries
        self._first = array("i", [NOBODY]) * chains  # first entry of each chain
        self._next = array("i")
        self._hash = array("Q")
        self._slot = array("i")  # slot of the entry's user, NOBODY if the entry is deleted
        self._time = array("i")  # index in _times
        self._before = array("i")  # previous entry of the same user
        self._times: list[Times] = []  # shared: one import gives the same times to thousands of entries
        self._time_of: dict[Times, int] = {}
        self._ids = bytearray()  # user ids, 16 bytes a slot
        self._last = array("i")  # newest entry of each slot
        self._slots: dict[bytes, int] = {}
        self._dropped = 0  # deleted entries

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def worn(self) -> bool:
        """Return whether to rebuild this object: most entries are outdated, or the chains have become long."""
        return self._dropped > max(_LEAST_CHAINS, len(self._hash) // 2) or len(self._hash) > _LONG * len(self._first)

    def put(self, user: User) -> None:
        """Add a user, or replace the user's old entries."""
        id, slot = _packed(user.id), len(self._last)
        self._ids += id
        self._last.append(NOBODY)
        found: dict[tuple[str, Times], None] = {}  # email, UPN and SIP address are often the same
        for known in user.identities:
            times = (known.since, known.reaches, known.until)
            keys = of_identity(known, self._country, self._extension_digits)
            found.update(((key, times), None) for key in keys)
        words = words_of(user.person)
        found.update(((word, _NO_TIME), None) for word in (*words, *begun_by(words)))
        for key, times in found:
            self._add(key, slot, times)
        before = self._slots.get(id, NOBODY)
        self._slots[id] = slot
        self._empty(before)  # last, so that another thread may find the user twice, but never misses it

    def drop(self, id: str) -> None:
        """Remove a user."""
        self._empty(self._slots.pop(_packed(id), NOBODY))

    def _empty(self, slot: int) -> None:
        entry = NOBODY if slot == NOBODY else self._last[slot]
        while entry != NOBODY:
            self._slot[entry] = NOBODY
            self._dropped += 1
            entry = self._before[entry]

    def knows(self, forms: Iterable[str]) -> bool:
        """Return whether any of these search forms of a call may name a user; if not, there is no need to match it."""
        return any(self._chain(form) for form in forms if form[:2] in ("e:", "x:", "u:"))

    def party(self, party: Mapping[str, Any], at: int) -> Match:
        """Match a party of a call with the users at a time, in microseconds since 1970-01-01 UTC."""
        if not self._slots:
            return NO_MATCH  # no directory, so there is no need to parse the party's numbers
        return self.match(of_party(party, self._country), at)

    def match(self, groups: Sequence[Group], at: int) -> Match:
        """Return the user, or the candidates, who fit all values of a party."""
        found = [holders for group in groups if (holders := self._holders(group, at))]
        if not found:
            return NO_MATCH
        meant = set(map(self._id, set.intersection(*found) or set.union(*found)))
        if len(meant) == 1:
            return Match(meant.pop())
        return NO_MATCH if len(meant) > MAX_CANDIDATES else Match(None, tuple(sorted(meant)))

    def silent(self, id: str, party: Mapping[str, Any]) -> bool:
        """Return whether a user exists but none of its stored values, present or former, fits this party.

        The oldest values of a user are dropped in the end (storage.directory.user.MAX_FORMER). Then an earlier match
        stays, because nothing contradicts it.
        """
        slot = self._slots.get(_packed(id), NOBODY)
        keys = (key for group in of_party(party, self._country) for key in group)
        return slot != NOBODY and not any(slot == whose for key in keys for _, whose in self._chain(key))

    def find(self, alternatives: Iterable[Sequence[str]]) -> tuple[str, ...]:
        """Return the ids, sorted, of users who have or had every key and word of one of the alternatives."""
        found: set[int] = set()
        for wanted in alternatives:
            having = [{slot for _, slot in self._chain(key)} for key in wanted]
            found |= set.intersection(*having) if having else set()
        return tuple(sorted({*map(self._id, found)}))

    def _holders(self, group: Group, at: int) -> set[int]:
        """Return the slots of users who certainly had one of these keys then, or else of those who may have had it."""
        certain: set[int] = set()
        perhaps: list[tuple[int, int]] = []
        for key in group:
            for entry, slot in self._chain(key):
                since, reaches, until = self._times[self._time[entry]]
                if since <= at < until:
                    certain.add(slot)
                elif reaches <= at < since:
                    perhaps.append((since, slot))
        if certain or not perhaps:
            return certain
        nearest = min(perhaps)[0]
        return {slot for since, slot in perhaps if since == nearest}

    def _chain(self, key: str) -> list[tuple[int, int]]:
        """Return the entries of a key with their slots; each slot is read once, as another thread may delete it."""
        hashed = self._hashed(key)
        entry, found = self._first[hashed & (len(self._first) - 1)], []
        while entry != NOBODY:
            slot = self._slot[entry]
            if slot != NOBODY and self._hash[entry] == hashed:
                found.append((entry, slot))
            entry = self._next[entry]
        return found

    def _add(self, key: str, slot: int, times: Times) -> None:
        hashed, entry = self._hashed(key), len(self._hash)
        place = hashed & (len(self._first) - 1)
        self._next.append(self._first[place])
        self._slot.append(slot)
        self._time.append(self._number_of(times))
        self._before.append(self._last[slot])
        self._hash.append(hashed)
        self._last[slot] = entry
        self._first[place] = entry  # last, so that another thread finds the whole entry or none

    def _number_of(self, times: Times) -> int:
        number = self._time_of.setdefault(times, len(self._times))
        if number == len(self._times):
            self._times.append(times)
        return number

    def _hashed(self, key: str) -> int:
        data = key.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=self._secret).digest(), "big")

    def _id(self, slot: int) -> str:
        text = self._ids[slot * _ID_BYTES : (slot + 1) * _ID_BYTES].hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _packed(id: str) -> bytes:
    """Return an id as its sixteen bytes."""
    return bytes.fromhex(id.replace("-", "")) if is_id(id) else b""
