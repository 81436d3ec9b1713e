"""When nothing may be kept (the customer's pause), decided by the kernel's time of arrival."""

from collections.abc import Iterable, Sequence

#: ns since the epoch: from, to (None while it lasts)
Interval = tuple[int, int | None]
#: Pauses that are known one by one; there are more only where nobody has emptied the sockets for a while.
MAX_INTERVALS = 64
#: ns after a pause in which a digit that was keyed in it may still be held, or its end be repeated (RFC 4733 section
#: 2.5.1.4); longer while it is.
GRACE = 2_000_000_000
#: ns that a digit may be old in its first packet (RFC 4733 section 2.5.1.2): one keyed right after a pause is none of
#: it.
FIRST_UPDATE = 50_000_000
#: Digits of pauses that are remembered: of a second or two.
MAX_DIGITS = 64


def bounded(items: Sequence[Interval]) -> list[Interval]:
    """Keep the newest pauses, the older ones as one: rather what came between two of those is not kept than what was
    said in one.
    """
    if len(items) <= MAX_INTERVALS:
        return list(items)
    old, new = items[: 1 - MAX_INTERVALS], items[1 - MAX_INTERVALS :]
    return [(min(begin for begin, _ in old), max(end or begin for begin, end in old)), *new]


class Pauses:
    """The pauses of one call whose packets may still be in the sockets."""

    __slots__ = ("_digits", "items")

    def __init__(self, items: Iterable[Interval] = ()) -> None:
        self.items: list[Interval] = list(items)
        #: SSRC, timestamp of what was keyed in a pause, and until when (ns) it may be held; the newest last.
        self._digits: tuple[tuple[int, int, int], ...] = ()

    @property
    def lasting(self) -> bool:
        """Tell whether a pause lasts."""
        return bool(self.items) and self.items[-1][1] is None

    def begin(self, at: int) -> bool:
        """Begin a pause; False if one lasts already."""
        if self.lasting:
            return False
        self.items = bounded([*self.items, (at, None)])
        return True

    def end(self, at: int) -> bool:
        """End the pause that lasts; False if none does."""
        if not self.lasting:
            return False
        self.items[-1] = (self.items[-1][0], at)
        return True

    def take_over(self, left: Iterable[Interval], over: int | None) -> None:
        """Add the pauses that a predecessor knew to what we were told, which is newer.

        One that lasted, and of which we were told nothing, was over at `over` (None: it lasts).
        """
        before = [
            (begin, end if end is not None or over is None else max(begin, over))
            for begin, end in left
            if end is not None or not self.items
        ]
        self.items = bounded([*(item for item in before if item not in self.items), *self.items])

    def covers(self, arrival: int) -> bool:
        """Tell whether a packet that arrived then must not be kept."""
        if not self.items:  # mostly there are none, and a generator costs more than all else here
            return False
        return any(begin <= arrival and (end is None or arrival < end) for begin, end in self.items)

    def keyed(self, digit: tuple[int, int], began: int, arrival: int) -> bool:
        """Tell whether a digit (its SSRC and timestamp) was keyed in a pause, and remember it: it may outlast that."""
        others = tuple(each for each in self._digits if each[:2] != digit)
        known = len(others) < len(self._digits)
        if not (known or self.covers(arrival) or self.covers(began + FIRST_UPDATE)):
            return False
        self._digits = (*others, (*digit, arrival + GRACE))[-MAX_DIGITS:]
        return True

    def forget(self, before: int) -> bool:
        """Drop pauses of which nothing that is still in the sockets, or still comes, can be; True if there were any."""
        if self._digits and self._digits[-1][2] > before:
            return False
        count = len(self.items)
        self.items = [item for item in self.items if item[1] is None or item[1] + GRACE > before]
        if not self.items:
            self._digits = ()
        return len(self.items) < count
