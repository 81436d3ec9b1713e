"""The holes of one stream: where audio should be and is not, and why."""

from enum import StrEnum

#: Gaps kept apart per stream; beyond, the oldest two become one, so that hours of 1 % loss stay small.
MAX_GAPS = 128


class Reason(StrEnum):
    """Why audio is missing."""

    LOSS = "loss"
    RESTART = "restart"
    DISK = "disk"


#: from ns, to ns, reason, ssrc, first missing extended number, last one (-1: not to be filled any more)
Gap = tuple[int, int, str, int, int, int]


class Gaps:
    """An ordered, bounded list of gaps and the sum of what is missing."""

    __slots__ = ("items", "missing_ns")

    def __init__(self) -> None:
        self.items: list[Gap] = []
        self.missing_ns = 0

    def add(self, begin: int, end: int, reason: Reason, ssrc: int = 0, first: int = 0, last: int = -1) -> None:
        """Note a hole of `end - begin` ns in which the numbers `first` to `last` are missing."""
        if end <= begin:
            return
        self.missing_ns += end - begin
        self.items.append((begin, end, reason.value, ssrc, first, last))
        if len(self.items) > MAX_GAPS:
            self._merge()

    def fill(self, ssrc: int, extended: int) -> bool:
        """Take a late packet's time out of its gap; False if no gap holds its number."""
        for at in range(len(self.items) - 1, -1, -1):
            begin, end, reason, source, first, last = self.items[at]
            if source == ssrc and first <= extended <= last:
                each = (end - begin) // (last - first + 1)
                middle = begin + each * (extended - first)
                left = (begin, middle, reason, source, first, extended - 1)
                right = (middle + each, end, reason, source, extended + 1, last)
                self.items[at : at + 1] = [gap for gap in (left, right) if gap[4] <= gap[5]]
                self.missing_ns -= each
                return True
        return False

    @property
    def burst(self) -> float:
        """Give how many packets were lost at a time, in the mean of the losses that are kept apart; 0 without any."""
        lengths = [last - first + 1 for _, _, reason, _, first, last in self.items if reason == Reason.LOSS]
        lengths = [length for length in lengths if length > 0]
        return sum(lengths) / len(lengths) if lengths else 0.0

    def listed(self) -> list[tuple[int, int, str]]:
        """Give (from ns, to ns, reason) in order, touching ones of one reason joined."""
        out: list[tuple[int, int, str]] = []
        for begin, end, reason, *_ in sorted(self.items):
            if out and out[-1][2] == reason and begin <= out[-1][1]:
                out[-1] = (out[-1][0], max(end, out[-1][1]), reason)
            else:
                out.append((begin, end, reason))
        return out

    def _merge(self) -> None:
        """Join the two oldest gaps; the reason that is our fault wins."""
        one, two = self.items[0], self.items[1]
        reason = one[2] if one[2] != Reason.LOSS else two[2]
        self.items[:2] = [(min(one[0], two[0]), max(one[1], two[1]), reason, 0, 0, -1)]
