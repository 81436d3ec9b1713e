"""Keep the sockets of live calls in the service manager's store, where they outlive this process (FDSTORE=1).

The protocol is that of sd_notify(3). All sockets of a call share one name, so that a call costs the manager two
messages; only a whole name can be removed. So the sockets of a removed stream stay stored, unused, until the call ends.
To remove the name and store the other sockets again would leave them unstored for a moment, and a kill in that moment
would lose audio.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from media.receive.ports import Ports
from media.receive.sockets import Pair
from media.spec import Former
from recorder.runtime.sd_notify import Notifier
from recorder.session.stream import Stream

ASK_SECONDS = 0.01
"""Seconds between tries to store the sockets of a new call, while its client waits."""

KEPT_SECONDS = 3.0
"""Seconds a call waits for its sockets to be stored before it is answered anyway. systemd is away for less when it
reloads its units, and clients wait longer after a 100.
"""


LINGER_SECONDS = 1.0
"""Seconds that removed streams are still received: a satellite round trip and a busy client."""

Released = list[tuple[Pair, Former | None]]
"""Sockets that nobody needs any more, to be closed, and which sources sent to them."""


class CallSockets:
    """The sockets of one call, and which of them are in the store."""

    __slots__ = ("closed_ports", "name", "pairs", "retired", "unstored")

    def __init__(self) -> None:
        self.pairs: dict[int, Pair] = {}  # stream number -> sockets
        self.name = ""  # name in the store; empty while none of them is there
        self.unstored = False  # the store was too busy to take them, and is asked again
        # sockets of removed streams; held until the call ends
        self.retired: tuple[tuple[Pair, Former | None], ...] = ()
        self.closed_ports: tuple[int, ...] = ()  # the stream may get a port again, and then keeps the source it had

    def descriptors(self) -> list[int]:
        """Return the descriptors of all sockets, which stay ours."""
        pairs = (*self.pairs.values(), *(pair for pair, _ in self.retired))
        return [descriptor for pair in pairs for descriptor in pair.filenos()]

    def store(self, notify: Notifier, opened: Mapping[int, Pair]) -> None:
        """Take new sockets and store them under the call's name.

        A call without a name gets one from the lowest port of its first sockets.
        """
        self.pairs.update(opened)
        if not opened:
            return
        self.name = self.name or name_of(opened.values())
        descriptors = [fd for pair in opened.values() for fd in pair.filenos()]
        self.unstored = not notify.store(self.name, descriptors) or self.unstored

    def retire(self, notify: Notifier, numbers: Iterable[int], figures: Iterable[Mapping[str, Any]] = ()) -> Released:
        """Remove streams; return the sockets to be closed now. `figures`: the newest of these streams."""
        known = {each["stream"]: each for each in figures}
        gone = [(n, self.pairs.pop(n)) for n in [n for n in numbers if n in self.pairs]]
        released = [(pair, heard(pair, known.get(n, {}))) for n, pair in gone]
        if notify.present and self.name:
            self.retired = (*self.retired, *released)
            if self.pairs:
                for _, pair in gone:
                    pair.shrink_buffer()
                return []
            released, self.retired = list(self.retired), ()
            self.forget(notify)
        self.closed_ports += tuple(pair.port for pair, _ in released)
        return released

    def release(self, notify: Notifier, figures: Mapping[int, Mapping[str, Any]]) -> Released:
        """Release all sockets, to be closed; `figures` by stream."""
        released = [(pair, heard(pair, figures.get(number, {}))) for number, pair in self.pairs.items()]
        released += self.retired
        self.pairs.clear()
        self.retired = ()
        self.forget(notify)
        return released

    def forget(self, notify: Notifier) -> None:
        """Remove everything of the call from the store, which would otherwise keep the ports bound."""
        if self.name:
            notify.remove(self.name)
        self.name, self.unstored = "", False

    # ---- a busy service manager ----
    def waits(self, notify: Notifier) -> bool:
        """Return whether to wait for the manager before answering a new call: it is busy but has not gone."""
        return self.unstored and notify.busy and not notify.deaf

    async def wait_stored(self, notify: Notifier) -> None:
        """Wait until the manager has stored the sockets of a new call, or until the time limit."""
        loop = asyncio.get_running_loop()
        until = loop.time() + KEPT_SECONDS
        while self.pairs and self.unstored and not self.store_again(notify) and self.waits(notify):
            if loop.time() > until:
                notify.give_up()
                return
            await asyncio.sleep(ASK_SECONDS)

    def store_again(self, notify: Notifier) -> bool:
        """Store what the manager did not take; False if it still has no room."""
        self.unstored = not notify.store(self.name, self.descriptors())
        return not self.unstored

    # ---- sockets of a previous process ----
    def restore(
        self,
        name: str,
        streams: Sequence[Stream],
        stored: dict[str, list[socket.socket]],
        bound: dict[int, Pair],
        ports: Ports[Pair],
        notify: Notifier,
    ) -> bool:
        """Take the sockets of the previous process, or bind the same ports again; return whether all were taken over.

        `name`: from the checkpoint. `stored`: what the store kept, by name, and `bound`: pairs that are bound again
        already, by port; the call's are removed from both. Raises SocketRefused.
        """
        streams = [stream for stream in streams if stream.port]
        self.name = _kept_as(name, streams, stored)
        kept = stored.pop(self.name, [])
        by_port = {each.getsockname()[1]: each for each in kept}
        fresh: list[int] = []
        try:
            for stream in streams:
                pair = _stored_pair(stream.port, by_port)
                if pair is None:
                    pair = bound.pop(stream.port, None) or ports.reopen(stream.port, not stream.line.rtcp_mux)
                    fresh += pair.filenos()
                self.pairs[stream.number] = pair
                ports.adopt(stream.port)
        finally:
            for left in by_port.values():
                left.close()
        if fresh:
            if not kept:
                self.name = name_of(self.pairs.values())  # the old one may belong to a port that the call no longer has
            self.unstored = not notify.store(self.name, fresh)
        return not fresh


def stored_again(notify: Notifier, calls: Iterable[CallSockets]) -> bool:
    """Store what a busy manager did not take; False if it still has no room for some sockets."""
    if not notify.present:
        return True
    if not notify.settle():
        return False
    return all(sockets.store_again(notify) for sockets in calls if sockets.unstored)


async def linger() -> None:
    """Wait until the client must have the answer that removes streams: until then it sends to their sockets."""
    await asyncio.sleep(LINGER_SECONDS)


def heard(pair: Pair, figures: Mapping[str, Any]) -> Former | None:
    """Report which source a stream received from at its port, so that the next call there ignores it."""
    return (*pair.peer, tuple(source[0] for source in figures.get("sources", ()))) if pair.peer else None


def name_of(pairs: Iterable[Pair]) -> str:
    """Return a name that no other call has while one of these has its port."""
    return "m" + base36(min(pair.port for pair in pairs))


def base36(number: int) -> str:
    """Return a number in base 36: the names of all descriptors come back in one environment variable."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    out = ""
    while number:
        number, digit = divmod(number, 36)
        out = digits[digit] + out
    return out or "0"


def _kept_as(name: str, streams: Sequence[Stream], stored: Mapping[str, Sequence[socket.socket]]) -> str:
    """Return the name under which a call's sockets are stored; after a kill it may be newer than the checkpoint's."""
    if name in stored:
        return name
    ports = {stream.port for stream in streams}
    found = (other for other, group in stored.items() if any(each.getsockname()[1] in ports for each in group))
    return next(found, name)


def _stored_pair(port: int, by_port: dict[int, socket.socket]) -> Pair | None:
    """Take the sockets of one stream that the service manager kept; an RTCP port is one above."""
    if port not in by_port:
        return None
    found = [by_port.pop(port)] + ([by_port.pop(port + 1)] if port + 1 in by_port else [])
    return Pair.adopt([each.detach() for each in found])
