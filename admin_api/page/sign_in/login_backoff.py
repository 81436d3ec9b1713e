"""How long somebody waits who got in wrong: nothing for the first tries, then twice as long each time, never for ever.

A try is counted before it is judged, so that a hundred at once are a hundred tries. `take` refuses a try that comes too
early; with `wait` and `count` tries take turns instead, each judged when the pause of the one before it is over.

Passwords take turns (admin_api.page.sign_in.sign_in), so that nobody is refused because of somebody else:

- of one account from one address that the person has signed in from before, apart from every other, and from the other
  addresses of such a network together. A pause is short enough to be waited for, however many failures there were.
- of one account from one other network; here it grows to a quarter of an hour.
- of one account from all networks together that are new to it: somebody with many addresses gets one guess a minute.
- of one address, whatever the account.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict
from dataclasses import dataclass

MAX_KEYS = 10_000
"""Names and addresses remembered; the one that tried last so long ago as no other goes."""
_MOST = 16
"""Doublings that are computed: more than any term is long."""


@dataclass(frozen=True, slots=True)
class BackoffPolicy:
    """What one kind of key is granted."""

    free: int
    """Tries before the first wait."""
    longest: float
    """Seconds that a wait takes at most."""
    ease: float
    """Seconds after which one failure is forgotten."""


PER_USUAL = BackoffPolicy(5, 4.0, 300.0)
"""Of an account, from an address where it signed in before, or from the other addresses of such a network together: an
insider gets 21,600 guesses a day, which find no password of twelve characters, and its owner waits some seconds at
worst where they signed in before from the same address."""
PER_NETWORK = BackoffPolicy(5, 900.0, 900.0)
"""Of an account, from one other network: so few that fifteen networks are needed to use up what all have together."""
PER_ACCOUNT = BackoffPolicy(20, 60.0, 60.0)
"""Of an account, from all other networks together: 1,440 guesses a day however many addresses somebody has."""
PER_SHARED_ADDRESS = BackoffPolicy(20, 4.0, 60.0)
"""Of one address, with any names: an office may come from one."""
PER_ADDRESS = BackoffPolicy(20, 900.0, 60.0)
"""Of one address where nobody else can be meant: one-time links, ways to a provider."""
PER_CODE = BackoffPolicy(5, 900.0, 3600.0)
"""Codes have six digits: whoever has the password already gets some thirty tries a day, of which each is right once in
300,000 times."""
MAX_DELAY = 15.0
"""Seconds that a try waits for its turn; browsers and proxies wait longer. Three pauses of the usual place."""
MAX_DELAYED = 64
"""Tries that wait at once: each holds a connection and a task."""
MAX_DELAYED_OF_ONE = 2
"""Of one address: its tries fill no queue for others."""


class LoginBackoff:
    """Tries of one kind by key."""

    def __init__(self, terms: BackoffPolicy) -> None:
        self._terms = terms
        self._kept: OrderedDict[str, tuple[float, float, float]] = OrderedDict()  # key: failures, last try, wait until

    def take(self, key: str, now: float) -> int:
        """Count a try at monotonic time `now` and return 0, or after how many whole seconds it may be made."""
        wait = self.wait(key, now)
        if wait > 0:
            return math.ceil(wait)
        self.count(key, now)
        return 0

    def wait(self, key: str, now: float) -> float:
        """Return after how many seconds it is the turn of the next try."""
        return max(0.0, self._kept.get(key, (0.0, now, now))[2] - now)

    def count(self, key: str, now: float) -> None:
        """Count a try that is judged when its turn comes."""
        failures, at, until = self._kept.get(key, (0.0, now, now))
        failures = max(0.0, failures - (now - at) / self._terms.ease) + 1
        over = min(failures - self._terms.free, _MOST)
        pause = min(self._terms.longest, 2.0**over) if over >= 0 else 0.0
        self._kept[key] = (failures, now, max(now, until) + pause)
        self._kept.move_to_end(key)
        while len(self._kept) > MAX_KEYS:
            self._kept.popitem(last=False)

    def passed(self, key: str) -> None:
        """Forget all failures: whoever it is got in."""
        self._kept.pop(key, None)

    def forgive(self, key: str) -> None:
        """Take the last try back: it was right, which says nothing about the ones before."""
        failures, at, _ = self._kept.pop(key, (0.0, 0.0, 0.0))
        if failures > 1:  # what is forgotten takes no place from what is not
            self._kept[key] = (failures - 1, at, at)


class DelayedAttempts:
    """The tries that wait for their turn."""

    def __init__(self) -> None:
        self._of: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Let a try of an address wait; False where too many do."""
        if self._of.total() >= MAX_DELAYED or self._of[address] >= MAX_DELAYED_OF_ONE:
            return False
        self._of[address] += 1
        return True

    def leave(self, address: str) -> None:
        """End the wait of a try."""
        self._of[address] -= 1
        self._of += Counter()  # drops what is zero
