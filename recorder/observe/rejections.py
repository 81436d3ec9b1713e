"""Input that is not taken: all of it is counted, and one line a source and second says so.

A flood costs a counter for each message and nothing else; it comes from as many sources as it likes, so the lines of
all together are limited as well. What is held back is counted in recorder_log_suppressed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator

from prometheus_client import Counter

from recorder.observe.log_throttle import RateLimit
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.runtime.token_bucket import Rates

LINES_A_SECOND = 20
"""Lines about unwelcome input from all sources together, twice as many in one go: what a person can follow."""

ANSWER_SECONDS = 32.0
"""A challenged INVITE that has not come again by then never will: as long as its transaction lives (RFC 3261)."""

MAX_CHALLENGED = 10_000
"""Challenged INVITEs that are remembered; a flood has any number, and its oldest are forgotten."""


DIGEST_BYTES = 16
"""So short that ten thousand take little, so long that no two are the same."""


class Rejections:
    """Counts and tells what was refused or dropped."""

    def __init__(self, log: Log, metrics: Metrics) -> None:
        self._log = log
        self._metrics = metrics
        self._sources = RateLimit()
        self._together = Rates()
        self._dropped: dict[str, Counter] = {}

    def drop(self, reason: str, source: str | None, now: float) -> None:
        """Take note of input that got no answer; `now` in seconds of a monotonic clock."""
        counter = self._dropped.get(reason)
        if counter is None:
            counter = self._dropped[reason] = self._metrics.sip_dropped.labels(reason)
        counter.inc()
        held = self._admit(source, now)
        if held is not None:
            self._log.warning("sip.dropped", source=source, reason=reason, suppressed=held)

    def refuse(
        self, method: str, status: int, reason: str, customer: str | None, source: str | None, now: float
    ) -> None:
        """Take note of a request that was refused."""
        self._metrics.sip_refused.labels(method, str(status), reason).inc()
        method = "INVITE" if method == "re-offer" else method  # a line names methods only
        held = self._admit(source, now)
        if held is not None:
            self._log.warning(
                "sip.refused",
                source=source, method=method, status=status, reason=reason, customer=customer, suppressed=held,
            )  # fmt: skip

    def _admit(self, source: str | None, now: float) -> int | None:
        """Return how many lines were held back; None if this one is: its source had one, or all together had enough."""
        held = self._sources.admit(source, now)
        if held is not None and not self._together.admit("", LINES_A_SECOND, now):
            self._sources.hold_back(source, held + 1)  # its next line says so
            held = None
        if held is None:
            self._metrics.log_suppressed.inc()
        return held


class Challenges:
    """INVITEs that were answered 401 and have not come again with credentials."""

    def __init__(self) -> None:
        self._asked: deque[tuple[float, bytes, str, str]] = deque()
        self._open: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._open)

    def ask(self, call: str, customer: str, source: str, now: float) -> None:
        """Note a challenge; `call` is the Call-ID, which the answer repeats (RFC 3261 section 22.2)."""
        name = _digest(call)
        if name in self._open:
            return
        if len(self._asked) >= MAX_CHALLENGED:
            self._open.discard(self._asked.popleft()[1])
        self._open.add(name)
        self._asked.append((now, name, customer, source))

    def answer(self, call: str) -> None:
        """Note that credentials came, right or wrong."""
        self._open.discard(_digest(call))

    def overdue(self, now: float) -> Iterator[tuple[str, str]]:
        """Yield customer and source of every challenge that nobody took up, once."""
        while self._asked and self._asked[0][0] <= now - ANSWER_SECONDS:
            _, name, customer, source = self._asked.popleft()
            if name in self._open:
                self._open.discard(name)
                yield customer, source


def _digest(call: str) -> bytes:
    """Return what a Call-ID is remembered by: a client may choose one of many KB, and a person's name in it."""
    return hashlib.blake2b(call.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).digest()
