"""Who was who: all users of a customer by what they are and were known by, in memory, without any of it in the clear.

    who = WhosWho("DE", room=100_000, secret=os.urandom(16))
    who.put(user)                               a user, or what has become of one
    match = who.party(party, at)                the user whom a party of a call was then
    ids = who.find(alternatives)                users who are known by something, at any time

Theory of operation. What somebody is known by becomes keys (storage.identities), a key becomes eight bytes of a keyed
hash, and each hash leads to a chain of *entries*: whose it was, and for which time. Everything lies in arrays of
numbers, 44 bytes an entry: a hundred thousand users with five identities each take 40 MB.

A time decides between several who had the same number one after the other. Whoever had it *certainly* then, because
the directory said so at the time, comes before those who *may* have had it earlier than the directory first said so;
of these the one of whom it was said first counts. A party that was written in several ways is whoever fits all of
them. Is that not one user, they are candidates: nobody is guessed.
"""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from storage.identities import Group, of_identity, of_party, words_of
from storage.identity import MAX_CANDIDATES
from storage.newid import is_id
from storage.people import EVER, NEVER, User

NOBODY = -1
_LEAST_CHAINS = 1 << 10
_LONG = 8  # entries of a chain on average: ten hashes are looked at for one
_ID_BYTES = 16


@dataclass(frozen=True, slots=True)
class Match:
    """Who a party was."""

    user: str | None = None
    """Id of the user, None if there is none or it cannot be told which."""
    candidates: tuple[str, ...] = ()
    """Ids of the users who may be meant, where that cannot be told."""


NO_MATCH = Match()


class WhosWho:
    """The users of one customer."""

    def __init__(self, country: str, *, secret: bytes, room: int = 0, extension_digits: int = 0) -> None:
        """`room`: users expected. `secret` keys the hashes; it lives as long as this object."""
        self._country = country
        self._secret = secret
        self._extension_digits = extension_digits
        chains = max(_LEAST_CHAINS, 1 << (4 * room).bit_length())
        self._first = array("i", [NOBODY]) * chains  # entry that a chain begins with
        self._next = array("i")
        self._hash = array("Q")
        self._slot = array("i")  # whose it is, NOBODY of one that is no more
        self._since = array("q")
        self._reaches = array("q")
        self._until = array("q")
        self._ids = bytearray()  # ids of the slots
        self._entries: dict[bytes, tuple[int, int]] = {}  # id → slot, and the newest of its entries
        self._before = array("i")  # the entry of the same user before
        self._dropped = 0  # entries that are no more

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def worn(self) -> bool:
        """Say whether it should be made anew: most of it is no more, or its chains have become long."""
        return self._dropped > max(_LEAST_CHAINS, len(self._hash) // 2) or len(self._hash) > _LONG * len(self._first)

    def put(self, user: User) -> None:
        """Take a user, in the place of what was known of it."""
        id = _packed(user.id)
        self.drop(user.id)
        slot, last = len(self._ids) // _ID_BYTES, NOBODY
        self._ids += id
        for known in user.identities:
            for key in of_identity(known, self._country, self._extension_digits):
                last = self._add(key, slot, last, known.since, known.reaches, known.until)
        for word in words_of(user.person):
            last = self._add(word, slot, last, NEVER, NEVER, EVER)  # is found and matches no party
        self._entries[id] = (slot, last)

    def drop(self, id: str) -> None:
        """Forget a user."""
        _, entry = self._entries.pop(_packed(id), (NOBODY, NOBODY))
        while entry != NOBODY:
            self._slot[entry] = NOBODY
            self._dropped += 1
            entry = self._before[entry]

    def knows(self, forms: Iterable[str]) -> bool:
        """Say whether any of these forms of a call may name a user; nothing else needs a closer look."""
        return any(self._chain(form) for form in forms if form[:2] in ("e:", "x:", "u:"))

    def party(self, party: Mapping[str, Any], at: int) -> Match:
        """Tell who a party of a call was then, microseconds since 1970-01-01 UTC."""
        return self.match(of_party(party, self._country), at)

    def match(self, groups: Sequence[Group], at: int) -> Match:
        """Tell whom all that a party was written with fits."""
        found = [holders for group in groups if (holders := self._holders(group, at))]
        if not found:
            return NO_MATCH
        meant = set.intersection(*found) or set.union(*found)
        if len(meant) == 1:
            return Match(self._id(meant.pop()))
        if len(meant) > MAX_CANDIDATES:
            return NO_MATCH
        return Match(None, tuple(sorted(map(self._id, meant))))

    def find(self, alternatives: Iterable[Sequence[str]]) -> tuple[str, ...]:
        """List the ids, in order, of users who have or had every key and word of one of the alternatives."""
        found: set[int] = set()
        for wanted in alternatives:
            having = [{self._slot[entry] for entry in self._chain(key)} for key in wanted]
            found |= set.intersection(*having) if having else set()
        return tuple(sorted(map(self._id, found)))

    def _holders(self, group: Group, at: int) -> set[int]:
        """Return the slots of those who had something then: certainly, or if nobody did, perhaps."""
        certain: set[int] = set()
        perhaps: list[tuple[int, int]] = []
        for key in group:
            for entry in self._chain(key):
                if self._since[entry] <= at < self._until[entry]:
                    certain.add(self._slot[entry])
                elif self._reaches[entry] <= at < self._since[entry]:
                    perhaps.append((self._since[entry], self._slot[entry]))
        if certain or not perhaps:
            return certain
        nearest = min(perhaps)[0]
        return {slot for since, slot in perhaps if since == nearest}

    def _chain(self, key: str) -> list[int]:
        """List the entries of a key."""
        hashed = self._hashed(key)
        entry, found = self._first[hashed & (len(self._first) - 1)], []
        while entry != NOBODY:
            if self._hash[entry] == hashed and self._slot[entry] != NOBODY:
                found.append(entry)
            entry = self._next[entry]
        return found

    def _add(self, key: str, slot: int, before: int, since: int, reaches: int, until: int) -> int:
        hashed, entry = self._hashed(key), len(self._hash)
        place = hashed & (len(self._first) - 1)
        self._next.append(self._first[place])
        self._first[place] = entry
        self._hash.append(hashed)
        self._slot.append(slot)
        self._since.append(since)
        self._reaches.append(reaches)
        self._until.append(until)
        self._before.append(before)
        return entry

    def _hashed(self, key: str) -> int:
        data = key.encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(data, digest_size=8, key=self._secret).digest(), "big")

    def _id(self, slot: int) -> str:
        text = self._ids[slot * _ID_BYTES : (slot + 1) * _ID_BYTES].hex()
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _packed(id: str) -> bytes:
    """Return an id as its sixteen bytes."""
    return bytes.fromhex(id.replace("-", "")) if is_id(id) else b""
