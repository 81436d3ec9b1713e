"""The sockets of live calls in the service manager's store, where they outlive this process (sd_notify(3), FDSTORE=1).

All sockets of a call have one name, so that a call costs the manager two messages; a name can only be dropped whole.
So the sockets of a stream that the client took out stay where they are, deaf, until the call ends: dropped and stored
anew, the others would be nobody's for a moment, and a kill in it would cost the call audio.
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
"""How soon a service manager that had no room for the sockets of a new call is asked again: its client waits."""

KEPT_SECONDS = 3.0
"""So long a call waits for its sockets to be kept before it is answered all the same: longer than a systemd that reads
its units anew is away, and less than clients wait that have got a 100."""


LINGER_SECONDS = 1.0
"""So long streams that a re-offer took out are heard: a round trip by satellite, and a busy client."""

Released = list[tuple[Pair, Former | None]]
"""Sockets that nobody needs any more, to be closed, and whom they heard."""


class CallSockets:
    """The sockets of one call, and what the store has of them."""

    __slots__ = ("closed_ports", "name", "pairs", "retired", "unstored")

    def __init__(self) -> None:
        self.pairs: dict[int, Pair] = {}  # stream number -> sockets
        self.name = ""  # in the store; empty while it has none of them
        self.unstored = False  # the store did not take them: it was busy, and is asked again
        self.retired: tuple[tuple[Pair, Former | None], ...] = ()  # of streams that are gone; held until the call ends
        self.closed_ports: tuple[int, ...] = ()  # it may get one again, and whom it heard there it is to hear

    def descriptors(self) -> list[int]:
        """Return those of all sockets, which stay ours."""
        pairs = (*self.pairs.values(), *(pair for pair, _ in self.retired))
        return [descriptor for pair in pairs for descriptor in pair.filenos()]

    def store(self, notify: Notifier, opened: Mapping[int, Pair]) -> None:
        """Take new sockets and have them kept, under the name there is or one by the lowest port of the first ones."""
        self.pairs.update(opened)
        if not opened:
            return
        self.name = self.name or name_of(opened.values())
        descriptors = [fd for pair in opened.values() for fd in pair.filenos()]
        self.unstored = not notify.store(self.name, descriptors) or self.unstored

    def retire(self, notify: Notifier, numbers: Iterable[int], figures: Iterable[Mapping[str, Any]] = ()) -> Released:
        """Take streams out; return the sockets to be closed now. `figures`: the newest of these streams."""
        known = {each["stream"]: each for each in figures}
        gone = [(n, self.pairs.pop(n)) for n in [n for n in numbers if n in self.pairs]]
        released = [(pair, heard(pair, known.get(n, {}))) for n, pair in gone]
        if notify.present and self.name:
            self.retired = (*self.retired, *released)
            if self.pairs:
                for _, pair in gone:
                    pair.deafen()
                return []
            released, self.retired = list(self.retired), ()
            self.forget(notify)
        self.closed_ports += tuple(pair.port for pair, _ in released)
        return released

    def release(self, notify: Notifier, figures: Mapping[int, Mapping[str, Any]]) -> Released:
        """Let go of all sockets, to be closed; `figures` by stream."""
        released = [(pair, heard(pair, figures.get(number, {}))) for number, pair in self.pairs.items()]
        released += self.retired
        self.pairs.clear()
        self.retired = ()
        self.forget(notify)
        return released

    def forget(self, notify: Notifier) -> None:
        """Have the store drop everything of the call: it would keep the ports bound."""
        if self.name:
            notify.remove(self.name)
        self.name, self.unstored = "", False

    # ---- a manager that is busy ----
    def waits(self, notify: Notifier) -> bool:
        """Tell whether it is worth waiting for before a new call is answered: it is busy, not gone for good."""
        return self.unstored and notify.busy and not notify.deaf

    async def wait_stored(self, notify: Notifier) -> None:
        """Wait until the manager has the sockets of a call that is being set up, or for as long as may be."""
        loop = asyncio.get_running_loop()
        until = loop.time() + KEPT_SECONDS
        while self.pairs and self.unstored and not self.store_again(notify) and self.waits(notify):
            if loop.time() > until:
                notify.give_up()
                return
            await asyncio.sleep(ASK_SECONDS)

    def store_again(self, notify: Notifier) -> bool:
        """Tell the manager what it did not take; False if it has no room for it still."""
        self.unstored = not notify.store(self.name, self.descriptors())
        return not self.unstored

    # ---- a former life of this process ----
    def restore(
        self,
        name: str,
        streams: Sequence[Stream],
        stored: dict[str, list[socket.socket]],
        bound: dict[int, Pair],
        ports: Ports[Pair],
        notify: Notifier,
    ) -> bool:
        """Take the sockets of before, or bind the same ports again; tell whether all are those of before.

        `name`: of the checkpoint. `stored`: what the store kept, by name, and `bound`: pairs that were bound again
        already, by port; what is the call's is taken out of both. Raises SocketRefused.
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
                self.name = name_of(self.pairs.values())  # the old one may be of a port that the call has no more
            self.unstored = not notify.store(self.name, fresh)
        return not fresh


def stored_again(notify: Notifier, calls: Iterable[CallSockets]) -> bool:
    """Tell a manager that was busy what it did not take; False if it has no room for some of it still."""
    if not notify.present:
        return True
    if not notify.settle():
        return False
    return all(sockets.store_again(notify) for sockets in calls if sockets.unstored)


async def linger() -> None:
    """Wait until the client must have the answer that takes streams out: it sends to their sockets until then."""
    await asyncio.sleep(LINGER_SECONDS)


def heard(pair: Pair, figures: Mapping[str, Any]) -> Former | None:
    """Tell whom a stream heard at its port by its figures, so that the next call there does not."""
    return (*pair.peer, tuple(source[0] for source in figures.get("sources", ()))) if pair.peer else None


def name_of(pairs: Iterable[Pair]) -> str:
    """Return a name that no other call has as long as one of these has its port."""
    return "m" + base36(min(pair.port for pair in pairs))


def base36(number: int) -> str:
    """Return a number in base 36: the names of all descriptors come back in one environment string."""
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    out = ""
    while number:
        number, digit = divmod(number, 36)
        out = digits[digit] + out
    return out or "0"


def _kept_as(name: str, streams: Sequence[Stream], stored: Mapping[str, Sequence[socket.socket]]) -> str:
    """Return the name a call's sockets are kept under: a newer one than the checkpoint's after a kill in between."""
    if name in stored:
        return name
    ports = {stream.port for stream in streams}
    found = (other for other, group in stored.items() if any(each.getsockname()[1] in ports for each in group))
    return next(found, name)


def _stored_pair(port: int, by_port: dict[int, socket.socket]) -> Pair | None:
    """Take the sockets of one stream that the service manager kept; the RTCP port lies above, if there is one."""
    if port not in by_port:
        return None
    found = [by_port.pop(port)] + ([by_port.pop(port + 1)] if port + 1 in by_port else [])
    return Pair.adopt([each.detach() for each in found])
