"""Detect sockets whose receive buffer overflows, so that they are emptied at once and often.

A flood with a sender's forged address passes every filter of the kernel and fills a buffer of 20 s in a tenth of a
second. The kernel counts the packets it drops for all sockets of the network namespace together, and for each socket.
The first counter is cheap to read and is read often; only when it has increased are the sockets checked one by one.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

LOOK = 0.1
"""Seconds between two reads of the common counter: 20 µs each."""

HOT = 5.0
"""Seconds that a flooded call is served more often than others after the last sign of a flood."""

SEARCH_SHARE = 20
"""A check of all sockets is followed by a pause this many times as long: the packets may belong to another process, for
ever.
"""

PLACES = ("/proc/self/net/snmp", "/proc/self/net/snmp6")
"""The kernel's counters for IPv4 and IPv6; /proc/net is hidden where a service sees only processes."""

_COUNTER = b"RcvbufErrors"


class Overflow:
    """Detects which calls are flooded; times in seconds of a monotonic clock."""

    def __init__(self, dropped: Callable[[int], int], widen: Callable[[int], None], *paths: str) -> None:
        """`dropped` returns how many packets of a descriptor were dropped so far, `widen` enlarges its buffer.

        `paths` are read instead of PLACES.
        """
        self._dropped = dropped
        self._widen = widen
        self._files: list[int] = []
        for path in paths or PLACES:
            with suppress(OSError):
                self._files.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        self._common = self._read()
        self._seen: dict[int, int] = {}
        self._hot: dict[str, float] = {}
        self._next_look = 0.0
        self._next_search = 0.0

    @property
    def hot(self) -> tuple[str, ...]:
        """Return the calls that are flooded."""
        return tuple(self._hot)

    def keep(self, call: str, now: float) -> None:
        """Keep a flooded call marked: it may have no drops only because it is emptied so often."""
        if call in self._hot:
            self._hot[call] = now + HOT

    def look(self, calls: Callable[[], Iterable[tuple[str, Iterable[int]]]], clock: Callable[[], float]) -> None:
        """Find which calls are flooded; `calls` yields each with the descriptors of its sockets."""
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
        """Return the common counter; 0 if the system has none."""
        return sum(_count(os.pread(file, 8192, 0)) for file in self._files)


def _count(data: bytes) -> int:
    """Read the counter of IPv6, one per line, or of IPv4, a table with a line of names and one of numbers."""
    at = data.find(b"Udp6" + _COUNTER)
    if at >= 0:
        return int(data[at:].split(None, 2)[1])
    _, *table = data.split(b"Udp: ", 2)
    names, numbers = (line.partition(b"\n")[0].split() for line in table) if len(table) == 2 else ([], [])
    return int(numbers[names.index(_COUNTER)]) if _COUNTER in names else 0
