"""The sockets of live calls in the service manager's store, where they outlive this process (sd_notify(3), FDSTORE=1).

All sockets of a call have one name, so that a call costs the manager two messages; a name can only be dropped whole.
So the sockets of a stream that the client took out stay where they are, deaf, until the call ends: dropped and stored
anew, the others would be nobody's for a moment, and a kill in it would cost the call audio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from media.receive.sockets import Pair
from media.spec import Former
from recorder.calls.registry import LiveCall
from recorder.runtime.sd_notify import Notifier

ASK_SECONDS = 0.01
"""How soon a service manager that had no room for the sockets of a new call is asked again: its client waits."""

KEPT_SECONDS = 3.0
"""So long a call waits for its sockets to be kept before it is answered all the same: longer than a systemd that reads
its units anew is away, and less than clients wait that have got a 100."""


LINGER_SECONDS = 1.0
"""So long streams that a re-offer took out are heard: a round trip by satellite, and a busy client."""


async def linger() -> None:
    """Wait until the client must have the answer that takes streams out: it sends to their sockets until then."""
    await asyncio.sleep(LINGER_SECONDS)


def keep(notify: Notifier, call: LiveCall, opened: Mapping[int, Pair]) -> None:
    """Have new sockets of a call kept, under the name that it has or gets by the lowest port of the first ones."""
    if not opened:
        return
    if not call.fd_name:
        call.fd_name = name_of(opened.values())
    descriptors = [fd for pair in opened.values() for fd in pair.filenos()]
    call.unkept = not notify.store(call.fd_name, descriptors) or call.unkept


def heard(pair: Pair, figures: Mapping[str, Any]) -> Former | None:
    """Tell whom a stream heard at its port by its figures, so that the next call there does not."""
    return (*pair.peer, tuple(source[0] for source in figures.get("sources", ()))) if pair.peer else None


def retire(
    notify: Notifier, call: LiveCall, numbers: Iterable[int], figures: Iterable[Mapping[str, Any]] = ()
) -> list[tuple[Pair, Former | None]]:
    """Take streams out of a call; return the sockets that nobody needs any more, to be closed, and whom they heard."""
    known = {each["stream"]: each for each in figures}
    numbers = [number for number in numbers if number in call.pairs]
    gone = [(pair, heard(pair, known.get(n, {}))) for n, pair in [(n, call.pairs.pop(n)) for n in numbers]]
    if not notify.present or not call.fd_name:
        return gone
    call.retired = (*call.retired, *gone)
    if call.pairs:
        for pair, _ in gone:
            pair.deafen()
        return []
    gone, call.retired = list(call.retired), ()
    forget(notify, call)
    return gone


def forget(notify: Notifier, call: LiveCall) -> None:
    """Have the store drop everything of a call: it would keep the ports bound."""
    if call.fd_name:
        notify.remove(call.fd_name)
    call.fd_name, call.unkept = "", False


def asked_again(notify: Notifier, calls: Iterable[LiveCall]) -> bool:
    """Tell a manager that was busy what it did not take; False if it has no room for some of it still."""
    if not notify.present:
        return True
    if not notify.settle():
        return False
    return all(_stored(notify, call) for call in calls if call.unkept)


def waits(notify: Notifier, call: LiveCall) -> bool:
    """Tell whether it is worth waiting for the manager before a new call is answered: it is busy, not gone for good."""
    return call.unkept and notify.busy and not notify.deaf


async def kept(notify: Notifier, call: LiveCall) -> None:
    """Wait until the manager has the sockets of a call that is being set up, or for as long as may be."""
    loop = asyncio.get_running_loop()
    until = loop.time() + KEPT_SECONDS
    while call.pairs and call.unkept and not _stored(notify, call) and waits(notify, call):
        if loop.time() > until:
            notify.deaf = True
            return
        await asyncio.sleep(ASK_SECONDS)


def _stored(notify: Notifier, call: LiveCall) -> bool:
    call.unkept = not notify.store(call.fd_name, call.descriptors())
    return not call.unkept


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
