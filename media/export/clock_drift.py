"""How far a sender's RTP clock has run from the wall clock of its own sender reports (RFC 3550 section 6.4.1)."""

from __future__ import annotations

SECOND = 1_000_000_000  # ns
STEP = 6_000_000  # ns; with the lag of REPORTS reports at 100 ppm, two streams stay within 20 ms of each other
REPORTS = 12  # the smallest error of these counts: some senders report the time of their last packet, up to 20 ms old
FASTEST = 500  # a clock drifts by at most one part in this many: 2,000 ppm, as poor sound cards do
LEAP = 100_000_000  # ns between the errors of two reports: no clock drifts so fast, so it was set


class Drift:
    """The error of one RTP clock, reported in steps that are worth a correction."""

    __slots__ = ("_clock", "_errors", "_ntp", "_ts", "_zero", "correction")

    def __init__(self, clock: int, ntp: int, ts: int) -> None:
        """Start with a report: `ntp` in ns, `ts` unwrapped in units of `clock` Hz."""
        self._clock, self._ntp, self._ts = clock, ntp, ts
        self._errors = [0]
        self._zero: int | None = None  # error of the first REPORTS reports, each of which may be off
        self.correction = 0
        # ns by which later packets must be moved behind their timestamps

    def take(self, ntp: int, ts: int) -> bool:
        """Add a further report; return True if `correction` has changed."""
        error = ntp - self._ntp - (ts - self._ts) * SECOND // self._clock
        if abs(error - self._errors[-1]) > LEAP:
            self._ntp += error - self._errors[-1]  # a clock was set: earlier errors remain valid
            return False
        self._errors = [*self._errors[1 - REPORTS :], error]
        if len(self._errors) < REPORTS:
            return False
        least = min(self._errors)
        if self._zero is None:
            self._zero = least
        if abs(least - self._zero - self.correction) < STEP:
            return False
        self.correction = least - self._zero
        return True
