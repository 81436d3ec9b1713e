"""Packets that no key opened: they only change the reason of the gap that they leave."""

from media.stream.gaps import Reason

SECOND = 1_000_000_000
#: If one in this many of the packets missing in a gap failed authentication, that is the reason.
SHARE = 2
#: ns of silence per packet that failed: no codec sends fewer packets.
EACH = SECOND


class RefusedPackets:
    """How many packets no key opened since the last good one, and when (ns) the first of them came."""

    __slots__ = ("_count", "_first")

    def __init__(self) -> None:
        self._count = self._first = 0

    def note(self, arrival: int, last_good: int) -> None:
        """Note a packet that no key opens; `last_good`: when the newest genuine packet came."""
        if self._first > last_good:
            self._count += 1
        else:
            self._count, self._first = 1, arrival

    def reason(self, since: int, missing: int) -> Reason:
        """Return why this many packets are missing since then (ns)."""
        return Reason.DECRYPT if self._first > since and self._count * SHARE >= missing else Reason.LOSS

    def reason_of_silence(self, begin: int, end: int, last_good: int) -> Reason:
        """Return why nothing was stored in a time (ns)."""
        refused = self._first > last_good and self._count * EACH >= end - begin
        return Reason.DECRYPT if refused else Reason.NO_MEDIA

    # ---- checkpoint ----
    def state(self) -> tuple[int, int]:
        """Return what a successor has to know."""
        return self._count, self._first

    def restore(self, state: tuple[int, int]) -> None:
        """Restore what `state` returned."""
        self._count, self._first = state
