"""Whether the kernel throws packets away for want of buffer, and whose: then a socket is emptied at once and often.

A flood in the name of a sender gets past every filter of the kernel and fills a buffer of 20 s in a tenth of one. The
kernel counts what it throws away, for all sockets of the network namespace together, and for each socket. The first is
cheap to ask, so it is asked often; only when it has risen the sockets are asked one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

LOOK = 0.1
"""Seconds between two looks at the common count: 25 µs each."""

HOT = 5.0
"""Seconds that a flooded call is emptied more often than others after the last packet that was thrown away."""

SEARCH_SHARE = 20
"""A search of all sockets is followed by a pause so many times as long: it may be somebody else's packets, for ever."""

_COUNTER = b"RcvbufErrors"


class Overflow:
    """Tells which calls are flooded; times in seconds of a monotonic clock."""

    def __init__(
        self, dropped: Callable[[int], int], widen: Callable[[int], None], path: str = "/proc/net/snmp"
    ) -> None:
        """`dropped` gives what was thrown away of a descriptor's packets so far, `widen` gives it a larger buffer."""
        self._dropped = dropped
        self._widen = widen
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._file = -1
        self._common = self._read()
        self._seen: dict[int, int] = {}
        self._hot: dict[str, float] = {}
        self._next_look = 0.0
        self._next_search = 0.0

    @property
    def hot(self) -> tuple[str, ...]:
        """Return the calls that are flooded."""
        return tuple(self._hot)

    def look(self, calls: Callable[[], Iterable[tuple[str, Iterable[int]]]], clock: Callable[[], float]) -> None:
        """Find out which calls are flooded; `calls` gives each with the descriptors of its sockets."""
        now = clock()
        if now < self._next_look:
            return
        self._next_look = now + LOOK
        self._hot = {call: until for call, until in self._hot.items() if until > now}
        common = self._read()
        if common != self._common and now >= self._next_search:
            self._common = common
            self._search(calls(), now)
            self._next_search = now + SEARCH_SHARE * (clock() - now)

    def _search(self, calls: Iterable[tuple[str, Iterable[int]]], now: float) -> None:
        seen: dict[int, int] = {}
        for call, descriptors in calls:
            for descriptor in descriptors:
                count = seen[descriptor] = self._dropped(descriptor)
                if count > self._seen.get(descriptor, 0):
                    self._widen(descriptor)
                    self._hot[call] = now + HOT
        self._seen = seen

    def _read(self) -> int:
        """Return the common count; 0 where the system has none."""
        if self._file < 0:
            return 0
        lines = [line.split() for line in os.pread(self._file, 8192, 0).splitlines() if line.startswith(b"Udp:")]
        if len(lines) < 2 or _COUNTER not in lines[0]:
            return 0
        return int(lines[1][lines[0].index(_COUNTER)])
