"""The keys of one stream: the one in use, earlier ones for a short overlap, later ones, and the search for rollover
counters.
"""

import hashlib
from collections.abc import Container, Iterable, Sequence
from typing import Any

from media.errors import UnusableKey
from media.spec import MAX_CONTEXTS
from media.srtp.context import AUTHENTICATION, REPLAYED, Context

#: ns between two searches for a rollover counter: one costs up to 1 ms, and anybody can trigger it with a forged
#: packet. Senders at the expected address have a separate allowance.
SEARCH_INTERVAL = 1_000_000_000
#: Keys that one search tries; if there are more, the others have their turn in the next searches.
MAX_SEARCHED = 4
#: ns between two searches after an outage: each costs 5 µs per index, and a forged packet can trigger one.
LOOK_INTERVAL = 50_000_000
#: ns after an offer in which its other lines are tried: a 200 without an ACK is repeated for 32 s (RFC 3261 section
#: 13.3.1.4), after which the call ends; a client that sent the ACK knows our answer.
UNANSWERED = 32_000_000_000
#: ns for which an old key is still tried after a packet under a new one (RFC 4568 section 7.1: packets on their way).
OVERLAP = 10_000_000_000


#: Suite, key‖salt and MKI length.
Offered = tuple[str, bytes, int]


def _check(key: bytes) -> bytes:
    return hashlib.sha256(b"srtp key check" + key).digest()[:8]


class Keyring:
    """Decrypt SRTP packets with whichever key fits, trying the last successful one first.

    An offer may have several a=crypto lines, each with its own key. The client may use any of them until it has our
    answer (RFC 4568 section 5.1.1), and rtpengine does. So all are added with the offer, and those that were not
    answered are removed once the answer has taken effect: UNANSWERED and OVERLAP after the offer.
    """

    __slots__ = (
        "_alternates",
        "_alternates_until",
        "_answered",
        "_lines",
        "_newer",
        "_next_expected",
        "_next_look",
        "_next_search",
        "_offers",
        "_old_until",
        "check",
        "contexts",
        "rollover",
        "session",
        "switched",
        "tag",
    )

    def __init__(
        self, suite: str, key: bytes, mki: int = 0, others: Sequence[bytes] = (), alternates: Sequence[Offered] = ()
    ) -> None:
        line = [(suite, each, mki) for each in dict.fromkeys((key, *others))]
        #: The key in use, then the others in the order of their offers; the last `_newer` are not in use yet.
        self.contexts = tuple([Context(*each) for each in dict.fromkeys((*line, *alternates))])
        #: Keys that were offered together, if there were several: in one line; or in lines of one offer, while
        #: those that were not answered are tried.
        self._lines: tuple[frozenset[Offered], ...] = ()
        self._offers: tuple[frozenset[Offered], ...] = ()
        #: Keys of the newest offer's answered line, if there are others; those of unanswered lines, and until when (ns)
        #: they are tried, None = not known yet.
        self._answered: tuple[Offered, ...] = ()
        self._alternates: tuple[Offered, ...] = ()
        self._alternates_until: int | None = None
        self._offered(line, alternates)
        self._newer = 0
        self._next_search = self._next_expected = self._next_look = 0
        #: Until when (ns) keys before the one in use are tried; None = for OVERLAP from the next check on.
        self._old_until: int | None = 0
        #: After `open`: the rollover counter with which a new context started, and whether the context changed.
        self.rollover = 0
        self.switched = False
        self._front()

    def _front(self) -> None:
        """Cache what the fast path needs of the context in use."""
        front = self.contexts[0]
        self.session: Any = front.session
        self.tag = front.suite.tag
        #: Identifies the key in use without revealing it; a successor's state starts with it.
        self.check = _check(front.key)

    def add(
        self, suite: str, key: bytes, mki: int = 0, others: Sequence[bytes] = (), alternates: Sequence[Offered] = ()
    ) -> bool:
        """Add the keys of a re-offer; a known key keeps its context (False), a new one waits for a packet (True)."""
        line = [(suite, each, mki) for each in dict.fromkeys((key, *others))]
        self._offered(line, alternates)
        # the answered line goes last, so that it is not the one removed if there are too many keys
        fresh = [self._await(*each) for each in dict.fromkeys((*reversed(alternates), *line))]
        return any(fresh)

    def _offered(self, line: Sequence[Offered], alternates: Sequence[Offered]) -> None:
        """Note which keys were offered together: none of them is old while another one is in use."""
        self._lines = _lines(self._lines, line)
        if alternates:
            self._offers = _lines(self._offers, (*line, *alternates))
        self._alternates = tuple(dict.fromkeys((*self._alternates, *alternates)))[-MAX_CONTEXTS:]
        self._answered, self._alternates_until = tuple(line) if self._alternates else (), None

    def _await(self, suite: str, key: bytes, mki: int) -> bool:
        known = next((each for each in self.contexts if each.offered == (suite, key, mki)), None)
        front, *others = self.contexts
        if known is front or known in self._awaited:
            return False
        others = [each for each in others if each is not known]  # an earlier key may be used again
        self.contexts = (front, *(*others, known or Context(suite, key, mki))[1 - MAX_CONTEXTS :])
        self._newer = min(self._newer + 1, len(self.contexts) - 1)
        return known is None

    def precede(self, keys: Iterable[tuple[str, bytes, int]]) -> None:
        """Add keys of earlier offers, oldest first: the worker before this one may not have received all of them."""
        own = {each.offered for each in self.contexts}
        before = tuple(Context(*key) for key in keys if key not in own)
        self.contexts = (*before, *self.contexts)[-MAX_CONTEXTS:]
        # packets under the keys before the one in use may still be on their way
        self._newer, self._old_until = len(self.contexts) - 1, None
        self._front()

    @property
    def _awaited(self) -> tuple[Context, ...]:
        return self.contexts[len(self.contexts) - self._newer :]

    @property
    def _line(self) -> frozenset[Offered]:
        """The key in use and those offered together with it."""
        front = self.contexts[0].offered
        return frozenset((front,)).union(*(each for each in (*self._lines, *self._offers) if front in each))

    def open(
        self, packet: bytes, arrival: int, known: Container[int], tried: Context | None = None, *, expected: bool = True
    ) -> bytes | int:
        """Return the plaintext of an RTP packet, or a libsrtp status; `tried` has refused it already.

        `expected`: it came from where the client may send from. A packet that looks like a replay under one key may be
        new under another, because libsrtp checks the number first.
        """
        self.switched, replay, replayed = False, 0, b""
        for context in self.contexts:
            if context is tried or context.key == replayed:
                continue
            opened = context.unprotect(packet)
            if not isinstance(opened, int):
                front = context is self.contexts[0] and context.shift is not None
                return opened if front else self._switch(context, arrival, 0, opened)
            if opened in REPLAYED:
                replay, replayed = opened, context.key
        return replay or self._search(packet, arrival, known, expected)

    def open_rtcp(self, packet: bytes) -> bytes | int:
        """Return the plaintext of an RTCP compound, or a libsrtp status."""
        for context in self.contexts:
            opened = context.unprotect_rtcp(packet)
            if not isinstance(opened, int):
                return opened
        return AUTHENTICATION

    def expire(self, now: int) -> None:
        """Remove keys whose overlap is over, except those offered together with the one in use."""
        if self._alternates:
            self._settle(now)
        if self._old_until is None:
            self._old_until = now + OVERLAP
        if now > self._old_until and len(self.contexts) > 1 + self._newer:
            line, awaited = self._line.union(self._answered), self._awaited
            self.contexts = tuple(each for each in self.contexts if each.offered in line or each in awaited)

    def _settle(self, now: int) -> None:
        """Remove lines that were not answered once our answer has taken effect."""
        if self._alternates_until is None:
            self._alternates_until = now + UNANSWERED + OVERLAP
        if now <= self._alternates_until:
            return
        gone = {*self._alternates} - {*self._answered, self.contexts[0].offered}
        awaited = [each for each in self._awaited if each.offered not in gone]
        self.contexts = tuple(each for each in self.contexts if each.offered not in gone)
        self._newer = len(awaited)
        self._offers = self._alternates = ()

    def walk(self, check: bytes, sources: Iterable[tuple[int, int]], shift: int | None = None) -> bool:
        """After a restart, advance (ssrc, index) to their old values under the key then in use, which is used again.

        Return False if we do not have that key. `shift`: rollover counter minus that of the stream's own numbers.
        """
        for context in self.contexts:
            if _check(context.key) == check:
                for ssrc, index in sources:
                    context.go_on_after(ssrc, index)
                self._lead(context)
                if shift is not None:
                    self.contexts[0].number_by(shift)
                return True
        return False

    def go_on(self, packet: bytes, arrival: int, indexes: Iterable[int]) -> tuple[bytes, int] | None:
        """Decrypt a packet that may have any of these indexes, and use the context that continues from there."""
        if arrival < self._next_look:
            return None
        self._next_look = arrival + LOOK_INTERVAL
        context = self.contexts[0]
        index = next((each for each in indexes if context.genuine(packet, each)), None)
        if index is None:
            return None
        further = Context(context.name, context.key, context.mki)
        opened = _brought(further, packet, index)
        return None if isinstance(opened, int) else (self._switch(further, arrival, index >> 16, opened), index)

    def take_on(self, packet: bytes, arrival: int, index: int) -> bytes | None:
        """Decrypt a packet whose index continues under a key that does not know its source; None if no key fits."""
        context = next((each for each in self.contexts if each.genuine(packet, index)), None)
        if context is None:
            return None
        opened = _brought(context, packet, index)
        return None if isinstance(opened, int) else self._switch(context, arrival, index >> 16, opened)

    def stay(self) -> None:
        """Note that the next packet was decrypted by the key in use, outside this object."""
        self.switched = False

    @property
    def fresh(self) -> bool:
        """Return whether the last decrypted packet is the first with its key."""
        return self.switched and self.contexts[0].shift is None

    def shift(self, extended: int) -> int:
        """Return the key's rollover counter minus that of the stream's own numbers; the first packet sets it."""
        front = self.contexts[0]
        return front.number_by(self.rollover - (extended >> 16)) if front.shift is None else front.shift

    def _switch(self, context: Context, arrival: int, rollover: int, opened: bytes) -> bytes:
        if context is not self.contexts[0]:
            self._old_until = self._old_until if context.offered in self._line else arrival + OVERLAP
            self._lead(context)
        self.rollover, self.switched = rollover, True
        self._front()
        return opened

    def _lead(self, context: Context) -> None:
        """Use a context from now on, one of ours or another with the same key; earlier offers are over."""
        at = next(i for i, each in enumerate(self.contexts) if each.offered == context.offered)
        self._newer = min(self._newer, len(self.contexts) - 1 - at)
        if context is not self.contexts[0]:
            others = [each for each in self.contexts[1:] if each is not context]
            others.insert(len(others) - self._newer, self.contexts[0])
            self.contexts = (context, *others[1 - MAX_CONTEXTS :])
        self._front()

    def _search(self, packet: bytes, arrival: int, known: Container[int], expected: bool) -> bytes | int:
        """Search for the rollover counter of an unknown source (RFC 3711 section 3.3.1)."""
        due = self._next_expected if expected else self._next_search
        if arrival < due or len(packet) < 12 or int.from_bytes(packet[8:12], "big") in known:
            return AUTHENTICATION
        if expected:
            self._next_expected = arrival + SEARCH_INTERVAL
        else:
            self._next_search = arrival + SEARCH_INTERVAL
        for context in self._searched(arrival // SEARCH_INTERVAL):
            try:
                found = context.find_rollover(packet)
            except UnusableKey:
                continue
            if found is not None:
                return self._switch(found[0], arrival, found[1], found[2])
        return AUTHENTICATION

    def _searched(self, turn: int) -> list[Context]:
        """Return the newest key, the one in use, and in turn as many others as one search may try."""
        front, *others = self.contexts
        *between, newest = others or [front]
        if len(self.contexts) > MAX_SEARCHED:
            some = MAX_SEARCHED - 2
            between = [between[(turn * some + n) % len(between)] for n in range(some)]
        return [newest, *reversed(between), *([front] if others else [])]


def _brought(context: Context, packet: bytes, index: int) -> bytes | int:
    """Advance a context that does not know a source to its index, and decrypt the packet."""
    context.begin_at(int.from_bytes(packet[8:12]), index >> 16)
    return context.unprotect(packet)


def _lines(known: tuple[frozenset[Offered], ...], keys: Sequence[Offered]) -> tuple[frozenset[Offered], ...]:
    """Add keys that were offered together. In one a=crypto line a sender may use them in turn, told apart by MKI.

    Each packet is tried with all of them, the one in use first, so that nothing depends on the MKI, which is not
    authenticated (RFC 3711 sections 3.2.1 and 8.1, RFC 4568 section 6.1).
    """
    line = frozenset(keys)
    return (*(each for each in known if each != line), line)[-MAX_CONTEXTS:] if len(line) > 1 else known


def renewed(
    keyring: Keyring | None, suite: str | None, key: bytes, mki: int, others: Sequence[bytes] = (),
    alternates: Sequence[Offered] = (),
) -> Keyring | None:  # fmt: skip
    """Add the keys of an offer to the known ones, or create or drop the keyring."""
    if suite is None or keyring is None:
        return Keyring(suite, key, mki, others, alternates) if suite else None
    keyring.add(suite, key, mki, others, alternates)
    return keyring
