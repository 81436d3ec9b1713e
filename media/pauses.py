"""When nothing may be kept (the customer's pause), decided by the kernel's time of arrival."""

from collections.abc import Iterable

#: ns since the epoch: from, to (None while it lasts)
Interval = tuple[int, int | None]
#: Pauses that may still have packets in the sockets; more cannot be, because each command drains.
MAX_INTERVALS = 64


class Pauses:
    """The pauses of one call whose packets may still be in the sockets."""

    __slots__ = ("items",)

    def __init__(self, items: Iterable[Interval] = ()) -> None:
        self.items: list[Interval] = list(items)

    @property
    def lasting(self) -> bool:
        """Tell whether a pause lasts."""
        return bool(self.items) and self.items[-1][1] is None

    def begin(self, at: int) -> bool:
        """Begin a pause; False if one lasts already."""
        if self.lasting:
            return False
        self.items.append((at, None))
        del self.items[:-MAX_INTERVALS]
        return True

    def end(self, at: int) -> bool:
        """End the pause that lasts; False if none does."""
        if not self.lasting:
            return False
        self.items[-1] = (self.items[-1][0], at)
        return True

    def covers(self, arrival: int) -> bool:
        """Tell whether a packet that arrived then must not be kept."""
        return any(begin <= arrival and (end is None or arrival < end) for begin, end in self.items)

    def forget(self, before: int) -> bool:
        """Drop pauses that were over before everything still in the sockets arrived; True if there were any."""
        count = len(self.items)
        self.items = [item for item in self.items if item[1] is None or item[1] > before]
        return len(self.items) < count
