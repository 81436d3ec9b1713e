"""Waits after failed sign-ins: none for the first attempts, then twice as long each time, up to a limit.

An attempt is counted before it is checked, so that a hundred at once count as a hundred. `take` refuses an attempt that
comes too early. With `wait` and `count`, attempts queue instead: each is checked when the wait of the one before ends.

Password attempts queue (admin_api.page.sign_in.sign_in), so that nobody is refused because of somebody else. They are
counted:

- for one account from each address it has signed in from before, and from the other addresses of such a network
  together. The wait stays short enough for a person, however many failures there were.
- for one account from each other network; the wait grows to a quarter of an hour.
- for one account from all networks new to it together: somebody with many addresses gets one guess a minute.
- for one address, whatever the account.

Several nodes count these together (admin_api.page.sign_in.shared_logins), so that wrong passwords slow down as if they
had come to one. Each node counts for itself what only protects a machine: attempts in its queue, one-time links and
sign-ins through a provider, requests of a session, a token or an address (admin_api.http.rate_limit).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from cachetools import FIFOCache

MAX_KEYS = 10_000
"""Keys remembered; the one with the oldest last attempt is dropped."""
_MOST = 16
"""Limit of doublings: longer than any maximum wait."""


class Failures(NamedTuple):
    """The failures of one key; times in seconds."""

    failures: float
    """Failures that still count."""
    at: float
    """Last attempt."""
    until: float
    """Time from which the next attempt may be checked."""


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """The limits of one kind of key."""

    free: int
    """Attempts before the first wait."""
    longest: float
    """Longest wait in seconds."""
    ease: float
    """Seconds after which one failure is no longer counted."""
    name: str = ""
    """Its name in the keys of attempts that several nodes count together."""

    def counted(self, known: Failures | None, now: float) -> Failures:
        """Count an attempt that will be checked in its turn."""
        failures, at, until = known or (0.0, now, now)
        failures = max(0.0, failures - (now - at) / self.ease) + 1
        over = min(failures - self.free, _MOST)
        pause = min(self.longest, 2.0**over) if over >= 0 else 0.0
        return Failures(failures, now, max(now, until) + pause)

    def forgotten(self, known: Failures) -> float:
        """Return the time from which a key no longer counts."""
        return max(known.until, known.at + known.failures * self.ease)


def seconds(known: Failures | None, now: float) -> float:
    """Return the seconds until the next attempt may be checked."""
    return max(0.0, known.until - now) if known else 0.0


def forgiven(known: Failures | None) -> Failures | None:
    """Uncount the last attempt because it was right; those before it stay counted."""
    if known is None or known.failures <= 1:  # expired entries must not displace current ones
        return None
    return Failures(known.failures - 1, known.at, known.at)


PER_USUAL = BackoffPolicy(5, 4.0, 300.0, "usual")
"""Limits of an account from an address where it signed in before, or from the network's other addresses together. An
insider gets 21,600 guesses a day, too few to find a password of twelve characters; the owner waits a few seconds at
worst at an address they signed in from before."""
PER_NETWORK = BackoffPolicy(5, 900.0, 900.0, "network")
"""Limits of an account from one other network: it takes fifteen networks to use up the limit for all of them."""
PER_ACCOUNT = BackoffPolicy(20, 60.0, 60.0, "account")
"""Limits of an account from all other networks together: 1,440 guesses a day, however many addresses are used."""
PER_SHARED_ADDRESS = BackoffPolicy(20, 4.0, 60.0, "address")
"""Limits of one address with any account names: a whole office may share an address."""
PER_ADDRESS = BackoffPolicy(20, 900.0, 60.0)
"""Limits of one address in one-time links and sign-ins through a provider."""
PER_CODE = BackoffPolicy(5, 900.0, 3600.0, "code")
"""Codes have six digits: an attacker who has the password gets some thirty attempts a day, each with a chance of 1 in
300,000."""
MAX_DELAY = 15.0
"""Seconds that an attempt may queue; browsers and proxies wait longer. Three waits at a known address."""
MAX_DELAYED = 64
"""Attempts queued at once: each holds a connection and a task."""
MAX_DELAYED_OF_ONE = 2
"""Attempts of one address in the queue, so that it cannot fill it."""


class LoginBackoff:
    """Attempts of one kind by key, in the memory of this process."""

    def __init__(self, terms: BackoffPolicy) -> None:
        self._terms = terms
        self._kept: FIFOCache[str, Failures] = FIFOCache(MAX_KEYS)

    def take(self, key: str, now: float) -> int:
        """Count an attempt at monotonic time `now` and return 0, or the whole seconds to wait without counting it."""
        wait = self.wait(key, now)
        if wait > 0:
            return math.ceil(wait)
        self.count(key, now)
        return 0

    def wait(self, key: str, now: float) -> float:
        """Return the seconds until the next attempt may be checked."""
        return seconds(self._kept.get(key), now)

    def count(self, key: str, now: float) -> None:
        """Count an attempt that will be checked in its turn."""
        self._kept[key] = self._terms.counted(self._kept.get(key), now)

    def passed(self, key: str) -> None:
        """Forget all failures after a successful sign-in."""
        self._kept.pop(key, None)

    def forgive(self, key: str) -> None:
        """Uncount the last attempt because it was right; those before it stay counted."""
        left = forgiven(self._kept.pop(key, None))
        if left is not None:
            self._kept[key] = left


Try = tuple[BackoffPolicy, str]
"""One way in which an attempt is counted: by which limits, and under which key."""


class AttemptStore(Protocol):
    """A counter of attempts; raises StorageError if the database of several nodes is away."""

    async def count(self, customer: str, tries: Sequence[Try], now: float, admit: Callable[[float], bool]) -> float:
        """Count an attempt at monotonic time `now` in each way if `admit` accepts its wait; return the wait.

        No other attempt is counted in between. `customer` is as typed.
        """

    async def passed(self, customer: str, tries: Sequence[Try]) -> None:
        """Forget all failures after a successful sign-in."""

    async def forgive(self, customer: str, tries: Sequence[Try]) -> None:
        """Uncount the last attempt because it was right; those before it stay counted."""


class Attempts:
    """Attempts in the memory of this process (AttemptStore)."""

    def __init__(self) -> None:
        kinds = (PER_USUAL, PER_NETWORK, PER_ACCOUNT, PER_SHARED_ADDRESS, PER_CODE)
        self._kept = {kind: LoginBackoff(kind) for kind in kinds}

    async def count(self, customer: str, tries: Sequence[Try], now: float, admit: Callable[[float], bool]) -> float:
        """Count an attempt, whichever customer's it is."""
        wait = max(self._kept[kind].wait(key, now) for kind, key in tries)
        if admit(wait):
            for kind, key in tries:
                self._kept[kind].count(key, now)
        return wait

    async def passed(self, customer: str, tries: Sequence[Try]) -> None:
        """Forget all failures."""
        for kind, key in tries:
            self._kept[kind].passed(key)

    async def forgive(self, customer: str, tries: Sequence[Try]) -> None:
        """Uncount the last attempt."""
        for kind, key in tries:
            self._kept[kind].forgive(key)


class DelayedAttempts:
    """The attempts in the queue."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Queue an attempt of an address; False if too many are queued."""
        if self._of.total() >= MAX_DELAYED or self._of[address] >= MAX_DELAYED_OF_ONE:
            return False
        self._of[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Remove an attempt from the queue."""
        self._of[address] -= 1
        self._of += Counter()  # drops zero counts
