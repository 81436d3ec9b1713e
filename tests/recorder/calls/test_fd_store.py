"""What of a call the service manager keeps, and when."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from media.receive.sockets import Pair, open_pair
from recorder.calls import fd_store
from recorder.calls.fd_store import CallSockets
from recorder.runtime.sd_notify import Notifier


class Told(Notifier):
    """A service manager that takes everything, or nothing while it is busy."""

    def __init__(self) -> None:
        super().__init__("@nobody")
        self.full = False
        self.heard: list[tuple[str, int]] = []

    @property
    def busy(self) -> bool:
        return self.full

    def store(self, name: str, descriptors: object) -> bool:
        if not self.full:
            self.heard.append((name, len(descriptors)))  # type: ignore[arg-type]  # a list
        return not self.full

    def remove(self, name: str) -> bool:
        self.heard.append((name, 0))
        return True


@dataclass
class Scene:
    """A call's sockets, its service manager, and sockets to be closed."""

    notify: Told = field(default_factory=Told)
    opened: list[Pair] = field(default_factory=list)
    sockets: CallSockets = field(default_factory=CallSockets)

    def pairs(self, *numbers: int) -> dict[int, Pair]:
        """Open sockets for streams."""
        fresh = {number: open_pair("127.0.0.1", 0, rtcp=False) for number in numbers}
        self.opened += fresh.values()
        return fresh


@contextmanager
def scene() -> Iterator[Scene]:
    one = Scene()
    try:
        yield one
    finally:
        for pair in one.opened:
            pair.close()


def test_a_call_has_one_name_by_its_lowest_first_port() -> None:
    with scene() as one:
        first = one.pairs(0, 1)
        one.sockets.store(one.notify, first)
        one.sockets.store(one.notify, one.pairs(2))
        name = "m" + fd_store.base36(min(pair.port for pair in first.values()))
        assert one.notify.heard == [(name, 2), (name, 1)]
        assert one.sockets.name == name
        one.sockets.store(one.notify, {})
        assert len(one.notify.heard) == 2


def test_sockets_a_manager_refused_are_offered_again() -> None:
    with scene() as one:
        one.notify.full = True
        one.sockets.store(one.notify, one.pairs(0))
        assert one.sockets.unstored
        one.sockets.store(one.notify, one.pairs(1))
        assert not fd_store.stored_again(one.notify, [one.sockets])
        one.notify.full = False
        assert fd_store.stored_again(one.notify, [one.sockets])
        assert (one.notify.heard, one.sockets.unstored) == ([(one.sockets.name, 2)], False)
        assert fd_store.stored_again(one.notify, [one.sockets])
        assert len(one.notify.heard) == 1


def test_a_removed_streams_sockets_stay_until_all_are_removed() -> None:
    with scene() as one:
        pairs = one.pairs(0, 1)
        one.sockets.store(one.notify, pairs)
        name = one.sockets.name
        assert one.sockets.retire(one.notify, [0, 7]) == []
        assert (list(one.sockets.pairs), one.sockets.retired) == ([1], ((pairs[0], None),))
        assert len(one.sockets.descriptors()) == 2
        assert one.sockets.retire(one.notify, [1]) == [(pairs[0], None), (pairs[1], None)]
        assert one.notify.heard == [(name, 2), (name, 0)]
        assert (one.sockets.name, one.sockets.retired) == ("", ())


def test_without_a_manager_a_removed_stream_frees_its_ports() -> None:
    with scene() as one:
        pairs = one.pairs(0, 1)
        one.sockets.store(Notifier(None), pairs)
        assert one.sockets.retire(Notifier(None), [0]) == [(pairs[0], None)]
        assert fd_store.stored_again(Notifier(None), [one.sockets])
        assert not one.sockets.waits(Notifier(None))


async def test_a_call_waits_for_a_manager_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 60.0)
    with scene() as one:
        one.notify.full = True
        one.sockets.store(one.notify, one.pairs(0))
        assert one.sockets.waits(one.notify)
        waiting = asyncio.create_task(one.sockets.wait_stored(one.notify))
        await asyncio.sleep(0)
        assert not waiting.done()
        one.notify.full = False
        await asyncio.wait_for(waiting, 30)
        assert not one.sockets.unstored


async def test_a_manager_that_never_reads_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 0.0)
    with scene() as one:
        one.notify.full = True
        one.sockets.store(one.notify, one.pairs(0))
        await asyncio.wait_for(one.sockets.wait_stored(one.notify), 30)
        assert (one.sockets.unstored, one.notify.deaf) == (True, True)
        assert not one.sockets.waits(one.notify)


async def test_nobody_waits_for_the_sockets_of_a_withdrawn_call() -> None:
    with scene() as one:
        one.notify.full = True
        one.sockets.store(one.notify, one.pairs(0))
        one.sockets.pairs.clear()
        await asyncio.wait_for(one.sockets.wait_stored(one.notify), 30)


def test_pending_manager_messages_precede_new_ones(tmp_path: Path) -> None:
    """A name that is still to be dropped must not be given to other sockets meanwhile."""
    address = str(tmp_path / "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, scene() as one:
        manager.bind(address)
        manager.setblocking(False)
        notify = Notifier(address)
        taken = 0
        while notify.watchdog():
            taken += 1
        assert not notify.remove("m1")
        one.sockets.store(notify, one.pairs(0))
        for _ in range(taken):
            manager.recv(100)
        assert fd_store.stored_again(notify, [one.sockets])
        assert manager.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=m1"
        said, given, _, _ = socket.recv_fds(manager, 100, 10)
        for descriptor in given:
            os.close(descriptor)
        assert said.startswith(b"FDSTORE=1\nFDNAME=" + one.sockets.name.encode())
        notify.close()


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (35, "z"), (36, "10"), (20000, "ffk")])
def test_base36(number: int, text: str) -> None:
    assert fd_store.base36(number) == text
