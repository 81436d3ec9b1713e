"""Even/odd pairs of media ports with a rest period, so that a late packet of one call never reaches the next."""

from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from media.errors import PortsExhausted, SocketRefused
from media.spec import Former

#: Seconds that a port rests: longer than an SBC keeps sending after BYE, and than a packet lives (RFC 793 assumes 120,
#: 5 were seen in practice).
COOL_DOWN = 30.0
#: Pairs in use by other programs are skipped, up to this many.
MAX_TRIES = 500
#: Earlier calls whose senders are remembered at a port. A sender may outlast the next call if no BYE reaches it; each
#: takes about 200 bytes per port.
MAX_FORMER = 4


class Numbered(Protocol):
    """Sockets that know their port."""

    @property
    def port(self) -> int: ...
    def close(self) -> None: ...


PairT = TypeVar("PairT", bound=Numbered)


class Ports(Generic[PairT]):
    """Hand out pairs of a range in turn; `open_pair(port, rtcp)` opens sockets, `clock()` gives monotonic seconds."""

    def __init__(
        self,
        first: int,
        last: int,
        open_pair: Callable[[int, bool], PairT],
        clock: Callable[[], float],
        cool_down: float = COOL_DOWN,
    ) -> None:
        even = first + first % 2
        self._free = deque(range(even, last, 2))
        self._resting: deque[tuple[float, int]] = deque()
        self._open_pair = open_pair
        self._clock = clock
        self._cool_down = cool_down
        self._former: dict[int, tuple[Former, ...]] = {}
        self._span = range(even, last, 2)
        self._taken: set[int] = set()

    @property
    def free(self) -> int:
        """Number of pairs available now."""
        self._wake()
        return len(self._free)

    def open(self, rtcp: bool = True) -> PairT:
        """Open the next free pair; raise PortsExhausted if there is none."""
        self._wake()
        for _ in range(min(MAX_TRIES, len(self._free))):
            port = self._free.popleft()
            try:
                pair = self._open_pair(port, rtcp)
            except SocketRefused:
                self._rest(port)
            else:
                self._taken.add(port)
                return pair
        raise PortsExhausted("no media port is free: widen media.ports or lower sip.max_calls")

    def reopen(self, port: int, rtcp: bool = True) -> PairT:
        """Open a particular pair again after a restart; raise SocketRefused if it is in use."""
        pair = self._open_pair(port, rtcp)
        self.adopt(port)
        return pair

    def adopt(self, port: int) -> None:
        """Mark a pair as used whose sockets an earlier process handed over."""
        self._taken.add(port)
        if port in self._span and port in self._free:
            self._free.remove(port)

    def taken(self, port: int) -> bool:
        """Return whether a port, RTP or RTCP, belongs to a pair in use."""
        return port - port % 2 in self._taken

    def former(self, port: int) -> tuple[Former, ...]:
        """Return the senders that the last calls heard at a port, as far as known."""
        return self._former.get(port, ())

    def release(self, pair: PairT, former: Former | None = None) -> None:
        """Close a pair and let its ports rest; `former` holds the senders that it heard."""
        port = pair.port
        pair.close()
        if former:
            self._former[port] = (*self._former.get(port, ()), former)[-MAX_FORMER:]
        self.retire(port)

    def retire(self, port: int) -> None:
        """Let the ports of a pair rest whose sockets are closed."""
        self._taken.discard(port)
        if port in self._span:
            self._rest(port)

    def give_back(self, pair: PairT) -> None:
        """Close a pair that was never announced: it needs no rest."""
        port = pair.port
        pair.close()
        self._taken.discard(port)
        if port in self._span:
            self._free.appendleft(port)

    def _rest(self, port: int) -> None:
        self._resting.append((self._clock() + self._cool_down, port))

    def _wake(self) -> None:
        now = self._clock()
        while self._resting and self._resting[0][0] <= now:
            self._free.append(self._resting.popleft()[1])
