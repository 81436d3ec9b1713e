"""The gaps of one stream: where audio is missing, and why."""

from enum import StrEnum

#: Gaps kept separately per stream; beyond, the oldest two are merged, so that hours of 1 % loss stay small.
MAX_GAPS = 128


class Reason(StrEnum):
    """Why audio is missing; a later member takes precedence (docs/api.md)."""

    LOSS = "loss"
    LATE = "late"
    NO_MEDIA = "no media"
    DECRYPT = "decrypt failure"
    RESTART = "restart"
    DISK = "disk"


_WEIGHTS = list(Reason)
#: Losses for a listener: the packets have numbers and were not there in time.
_LOST = frozenset({Reason.LOSS, Reason.LATE, Reason.DECRYPT})

#: from ns, to ns, reason, ssrc, first missing extended number, last one (-1: cannot be filled any more, -2: a silence
#: that the next packet may explain)
Gap = tuple[int, int, str, int, int, int]
CLOSED, UNSETTLED = -1, -2


class Gaps:
    """An ordered, limited list of gaps, and the total time missing."""

    __slots__ = ("_items", "missing_ns", "revision")

    def __init__(self) -> None:
        #: How often `items` were replaced: to compare that takes less time than 128 gaps.
        self.revision = 0
        #: Mostly empty; a list would take memory.
        self._items: tuple[Gap, ...] = ()
        self.missing_ns = 0

    @property
    def items(self) -> tuple[Gap, ...]:
        """The gaps in the order in which they were noted."""
        return self._items

    @items.setter
    def items(self, items: tuple[Gap, ...]) -> None:
        self._items = items
        self.revision += 1

    def add(self, begin: int, end: int, reason: Reason, ssrc: int = 0, first: int = 0, last: int = CLOSED) -> None:
        """Note a gap of `end - begin` ns in which the numbers `first` to `last` are missing."""
        if end <= begin:
            return
        self.missing_ns += end - begin
        self.items = (*self.items, (begin, end, reason.value, ssrc, first, last))
        self._bound()

    def stretch(self, begin: int, end: int, reason: Reason, missing: int | None) -> None:
        """Note `missing` ns of a gap, merged with overlapping gaps of its reason; None: as much as it adds to them.

        Others are noted while it lasts, so its own gap is not always the last one.
        """
        end = max(begin, end)
        met = [gap for gap in self.items if gap[2] == reason and gap[0] <= end and gap[1] >= begin]
        known = sum(gap[1] - gap[0] for gap in met)
        begin, end = min([begin, *(gap[0] for gap in met)]), max([end, *(gap[1] for gap in met)])
        self.missing_ns += end - begin - known if missing is None else missing
        self.items = (*(gap for gap in self.items if gap not in met), (begin, end, reason.value, 0, 0, CLOSED))
        self._bound()

    def holds(self, ssrc: int, extended: int) -> bool:
        """Return whether a number is known to be missing."""
        return self._find(ssrc, extended) is not None

    def fill(self, ssrc: int, extended: int) -> bool:
        """Remove a late packet's time from its gap; return False if no gap contains its number."""
        at = self._find(ssrc, extended)
        if at is None:
            return False
        left, own, right = self._split(at, extended)
        self._put(at, at + 1, left, right)
        self.missing_ns -= own[1] - own[0]
        return True

    def name(self, ssrc: int, extended: int, reason: Reason) -> bool:
        """Give a missing number its own reason; return False if no gap contains it or it has that reason."""
        at = self._find(ssrc, extended)
        if at is None or self.items[at][2] == reason:
            return False
        left, (begin, end, *_), right = self._split(at, extended)
        own = (begin, end, reason.value, ssrc, extended, extended)
        before = self.items[at - 1] if at else None
        if before and left[4] > left[5] and before[2:4] == (reason, ssrc) and before[5] == extended - 1:
            at, own = at - 1, (before[0], end, reason.value, ssrc, before[4], extended)
            self._put(at, at + 2, own, right)
        else:
            self._put(at, at + 1, left, own, right)
        self._bound()
        return True

    def settle(self, withdrawn: int | None = None) -> None:
        """Settle the silences that were open: they are gaps, except from `withdrawn` on."""
        kept: list[Gap] = []
        for gap in self.items:
            begin, end, reason, *_, last = gap
            if last != UNSETTLED:
                kept.append(gap)
            elif withdrawn is None or begin < withdrawn:
                kept.append((begin, end, reason, 0, 0, CLOSED))
            else:
                self.missing_ns -= end - begin
        self.items = tuple(kept)

    @property
    def burst(self) -> float:
        """Return the mean number of packets lost at a time, over the losses kept separately; 0 if there are none."""
        if not self.items:
            return 0.0
        lengths = [last - first + 1 for _, _, reason, _, first, last in self.items if reason in _LOST]
        lengths = [length for length in lengths if length > 0]
        return sum(lengths) / len(lengths) if lengths else 0.0

    def listed(self, most: int = MAX_GAPS) -> list[tuple[int, int, str]]:
        """Return (from ns, to ns, reason) in order, merging adjacent ones of one reason; beyond `most`, the oldest."""
        out: list[tuple[int, int, str]] = []
        for begin, end, reason, *_ in sorted(self.items):
            if out and out[-1][2] == reason and begin <= out[-1][1]:
                out[-1] = (out[-1][0], max(end, out[-1][1]), reason)
            else:
                out.append((begin, end, reason))
        if len(out) > most:
            old = out[: len(out) - most + 1]
            reason = max((each[2] for each in old), key=_WEIGHTS.index)  # type: ignore[arg-type]  # as in _bound
            out[: len(old)] = [(old[0][0], max(each[1] for each in old), reason)]
        return out

    def _find(self, ssrc: int, extended: int) -> int | None:
        """Return the index of the gap that contains a number, searching the newest first."""
        for at in range(len(self.items) - 1, -1, -1):
            _, _, _, source, first, last = self.items[at]
            if source == ssrc and first <= extended <= last:
                return at
        return None

    def _put(self, at: int, end: int, *pieces: Gap) -> None:
        """Replace gaps by others, leaving out empty ones."""
        self.items = (*self.items[:at], *(gap for gap in pieces if gap[4] <= gap[5]), *self.items[end:])

    def _split(self, at: int, extended: int) -> tuple[Gap, Gap, Gap]:
        """Split a gap into the parts before, at and after a number; an empty part ends before it begins."""
        begin, end, reason, source, first, last = self.items[at]
        each = (end - begin) // (last - first + 1)
        middle = begin + each * (extended - first)
        after = end if extended == last else middle + each
        return (
            (begin, middle, reason, source, first, extended - 1),
            (middle, after, reason, source, extended, extended),
            (after, end, reason, source, extended + 1, last),
        )

    def _bound(self) -> None:
        """Merge the two oldest gaps while there are too many; the later reason in `Reason` wins."""
        while len(self.items) > MAX_GAPS:
            one, two = self.items[0], self.items[1]
            reason = max(one[2], two[2], key=_WEIGHTS.index)  # type: ignore[arg-type]  # a StrEnum equals its text
            self.items = ((min(one[0], two[0]), max(one[1], two[1]), reason, 0, 0, CLOSED), *self.items[2:])
