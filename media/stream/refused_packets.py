"""Packets that came and that no key opened: they change nothing but the reason of the gap that they leave."""

from media.stream.gaps import Reason

SECOND = 1_000_000_000
#: Of the packets missing in a gap, one in so many came and failed authentication: then that is why.
SHARE = 2
#: ns of silence for each packet that failed: no codec sends fewer.
EACH = SECOND


class RefusedPackets:
    """How many packets no key opened since the last good one, and when (ns) the first of them came."""

    __slots__ = ("_count", "_first")

    def __init__(self) -> None:
        self._count = self._first = 0

    def note(self, arrival: int, last_good: int) -> None:
        """Note a packet that no key opens; `last_good`: when the newest packet came that one did."""
        if self._first > last_good:
            self._count += 1
        else:
            self._count, self._first = 1, arrival

    def reason(self, since: int, missing: int) -> Reason:
        """Say why as many packets are missing since then (ns)."""
        return Reason.DECRYPT if self._first > since and self._count * SHARE >= missing else Reason.LOSS

    def reason_of_silence(self, begin: int, end: int, last_good: int) -> Reason:
        """Say why nothing was stored in a time (ns)."""
        refused = self._first > last_good and self._count * EACH >= end - begin
        return Reason.DECRYPT if refused else Reason.NO_MEDIA

    # ---- checkpoint ----
    def state(self) -> tuple[int, int]:
        """Give what a successor has to know."""
        return self._count, self._first

    def restore(self, state: tuple[int, int]) -> None:
        """Take back what `state` gave."""
        self._count, self._first = state
