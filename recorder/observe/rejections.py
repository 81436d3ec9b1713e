"""Count all input that is refused or dropped, and log at most one line for each source and second.

Each message of a flood costs no more than a counter. A flood may use any number of sources, so the lines of all sources
together are limited too. Lines that are held back are counted in recorder_log_suppressed.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator

from prometheus_client import Counter

from recorder.observe.incidents import Incidents
from recorder.observe.log_throttle import RateLimit
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.runtime.invite_rates import Rates

LINES_A_SECOND = 20
"""Lines about refused input from all sources together, with bursts of twice as many: what a person can follow."""

ANSWER_SECONDS = 32.0
"""A challenged INVITE that has not been repeated by then never will be: the life of its transaction (RFC 3261)."""

MAX_CHALLENGED = 10_000
"""Challenged INVITEs that are remembered; a flood has any number of them, and the oldest are forgotten."""


DIGEST_BYTES = 16
"""Short enough that ten thousand take little memory, long enough that no two are the same."""

Watch = Callable[[str, str | None], None]
"""Sees what was refused and why, in words of our own, and the source's address."""


OFFERING = frozenset({"INVITE", "UPDATE", "re-offer"})
"""Methods that may carry an offer, and their names in a dialog."""


class Rejections:
    """Count and log what was refused or dropped."""

    def __init__(self, log: Log, metrics: Metrics, incidents: Incidents) -> None:
        self._log = log
        self._metrics = metrics
        self._incidents = incidents
        self._sources = RateLimit()
        self._together = Rates()
        self._dropped: dict[str, Counter] = {}
        self._watch: Watch | None = None

    def watched_by(self, watch: Watch | None) -> None:
        """Set the function that gets the reason and the source of each refusal or drop; None: no function.

        `watch` raises nothing.
        """
        self._watch = watch

    def drop(self, reason: str, source: str | None, now: float) -> None:
        """Count input that got no answer; `now` in seconds of a monotonic clock."""
        counter = self._dropped.get(reason)
        if counter is None:
            counter = self._dropped[reason] = self._metrics.sip_dropped.labels(reason)
        counter.inc()
        if self._watch is not None:
            self._watch(f"no answer: {reason}", source)
        held = self._admit(source, now)
        if held is not None:
            self._log.warning("sip.dropped", source=source, reason=reason, suppressed=held)

    def refuse(
        self, method: str, status: int, reason: str, customer: str | None, source: str | None, now: float
    ) -> None:
        """Count a request that was refused."""
        self._metrics.sip_refused.labels(method, str(status), reason).inc()
        if self._watch is not None:
            self._watch(f"{method} refused with {status}: {reason}", source)
        method = "INVITE" if method == "re-offer" else method  # a log line may name only SIP and HTTP methods
        held = self._admit(source, now)
        if held is not None:
            self._log.warning(
                "sip.refused",
                source=source, method=method, status=status, reason=reason, customer=customer, suppressed=held,
            )  # fmt: skip

    def report(
        self, method: str, status: int, reason: str, customer: str | None, source: str | None, now: float,
        *, call: str | None = None,
    ) -> None:  # fmt: skip
        """Count a request that was refused; list a refused call, or a refused offer of the live `call`, as an
        incident.
        """
        self.refuse(method, status, reason, customer, source, now)
        if call and method in OFFERING:
            self._incidents.add("offer-refused", customer, call=call, status=status, reason=reason)
        elif method == "INVITE":
            self._metrics.call("refused", customer)
            self._incidents.add("call-refused", customer, status=status, reason=reason)

    def _admit(self, source: str | None, now: float) -> int | None:
        """Return how many lines were held back; None to hold this one back too, for its source or all together."""
        held = self._sources.admit(source, now)
        if held is not None and not self._together.admit("", LINES_A_SECOND, now):
            self._sources.hold_back(source, held + 1)  # the next line of this source counts it
            held = None
        if held is None:
            self._metrics.log_suppressed.inc()
        return held


class Challenges:
    """INVITEs that were answered 401 and have not been repeated with credentials."""

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
        """Note that credentials arrived, right or wrong."""
        self._open.discard(_digest(call))

    def overdue(self, now: float) -> Iterator[tuple[str, str]]:
        """Yield customer and source of every challenge that got no answer in time, once."""
        while self._asked and self._asked[0][0] <= now - ANSWER_SECONDS:
            _, name, customer, source = self._asked.popleft()
            if name in self._open:
                self._open.discard(name)
                yield customer, source


def _digest(call: str) -> bytes:
    """Return a digest to remember a Call-ID by: the client may send many KB, or put a person's name in it."""
    return hashlib.blake2b(call.encode("utf-8", "surrogateescape"), digest_size=DIGEST_BYTES).digest()
