"""How far a sender's RTP clock has run from the wall clock of its own sender reports (RFC 3550 section 6.4.1)."""

from __future__ import annotations

SECOND = 1_000_000_000  # ns
STEP = 6_000_000  # ns; with what REPORTS of them lag behind at 100 ppm, two streams stay within 20 ms of each other
REPORTS = 12  # whose least error counts: some senders put the time of their last packet into a report, up to 20 ms old
FASTEST = 500  # a clock runs away by one part in so many at most: 2,000 ppm, which poor sound cards have
LEAP = 100_000_000  # ns between two reports' errors: no clock drifts so fast, somebody set it


class Drift:
    """The error of one RTP clock, told in steps that are worth a correction."""

    __slots__ = ("_clock", "_errors", "_ntp", "_ts", "_zero", "told")

    def __init__(self, clock: int, ntp: int, ts: int) -> None:
        """Begin with a report: `ntp` in ns, `ts` unwrapped in units of `clock` Hz."""
        self._clock, self._ntp, self._ts = clock, ntp, ts
        self._errors = [0]
        self._zero: int | None = None  # what the first REPORTS of them say: a report may be as far off as any other
        self.told = 0
        # ns by which what comes now has to lie later than the timestamps say

    def take(self, ntp: int, ts: int) -> bool:
        """Take a further report; True if `told` has changed."""
        error = ntp - self._ntp - (ts - self._ts) * SECOND // self._clock
        if abs(error - self._errors[-1]) > LEAP:
            self._ntp += error - self._errors[-1]  # a clock was set: what was known before stays true
            return False
        self._errors = [*self._errors[1 - REPORTS :], error]
        if len(self._errors) < REPORTS:
            return False
        least = min(self._errors)
        if self._zero is None:
            self._zero = least
        if abs(least - self._zero - self.told) < STEP:
            return False
        self.told = least - self._zero
        return True
