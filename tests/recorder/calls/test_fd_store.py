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
from recorder.calls.registry import LiveCall
from recorder.runtime.sd_notify import Notifier
from recorder.session.session import Recording
from sip.sdp.answer import Policy
from sip.ua.events import SessionKey
from tests.recorder.offers import random


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
class Desk:
    """A call, its service manager, and sockets to be closed."""

    notify: Told = field(default_factory=Told)
    opened: list[Pair] = field(default_factory=list)
    call: LiveCall = field(
        default_factory=lambda: LiveCall(
            Recording("c1", Policy(), random),
            None,  # type: ignore[arg-type]  # whose call it is does not matter here
            1,
            SessionKey("c1"),
        )
    )

    def pairs(self, *numbers: int) -> dict[int, Pair]:
        """Open sockets for streams and enter them."""
        fresh = {number: open_pair("127.0.0.1", 0, rtcp=False) for number in numbers}
        self.opened += fresh.values()
        self.call.pairs.update(fresh)
        return fresh


@contextmanager
def desk() -> Iterator[Desk]:
    one = Desk()
    try:
        yield one
    finally:
        for pair in one.opened:
            pair.close()


def test_a_call_has_one_name_by_its_lowest_first_port() -> None:
    with desk() as one:
        first = one.pairs(0, 1)
        fd_store.keep(one.notify, one.call, first)
        fd_store.keep(one.notify, one.call, one.pairs(2))
        name = "m" + fd_store.base36(min(pair.port for pair in first.values()))
        assert one.notify.heard == [(name, 2), (name, 1)]
        assert one.call.fd_name == name
        fd_store.keep(one.notify, one.call, {})
        assert len(one.notify.heard) == 2


def test_what_the_manager_did_not_take_is_asked_again() -> None:
    with desk() as one:
        one.notify.full = True
        fd_store.keep(one.notify, one.call, one.pairs(0))
        assert one.call.unkept
        fd_store.keep(one.notify, one.call, one.pairs(1))
        assert not fd_store.asked_again(one.notify, [one.call])
        one.notify.full = False
        assert fd_store.asked_again(one.notify, [one.call])
        assert (one.notify.heard, one.call.unkept) == ([(one.call.fd_name, 2)], False)
        assert fd_store.asked_again(one.notify, [one.call])
        assert len(one.notify.heard) == 1


def test_the_sockets_of_a_stream_that_goes_stay_until_the_last_one_went() -> None:
    with desk() as one:
        pairs = one.pairs(0, 1)
        fd_store.keep(one.notify, one.call, pairs)
        name = one.call.fd_name
        assert fd_store.retire(one.notify, one.call, [0, 7]) == []
        assert (list(one.call.pairs), one.call.retired) == ([1], ((pairs[0], None),))
        assert len(one.call.descriptors()) == 2
        assert fd_store.retire(one.notify, one.call, [1]) == [(pairs[0], None), (pairs[1], None)]
        assert one.notify.heard == [(name, 2), (name, 0)]
        assert (one.call.fd_name, one.call.retired) == ("", ())


def test_without_a_manager_a_stream_that_goes_gives_its_ports_back() -> None:
    with desk() as one:
        pairs = one.pairs(0, 1)
        fd_store.keep(Notifier(None), one.call, pairs)
        assert fd_store.retire(Notifier(None), one.call, [0]) == [(pairs[0], None)]
        assert fd_store.asked_again(Notifier(None), [one.call])
        assert not fd_store.waits(Notifier(None), one.call)


def test_a_call_waits_for_a_manager_that_is_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 60.0)

    async def story() -> None:
        with desk() as one:
            one.notify.full = True
            fd_store.keep(one.notify, one.call, one.pairs(0))
            assert fd_store.waits(one.notify, one.call)
            waiting = asyncio.create_task(fd_store.kept(one.notify, one.call))
            await asyncio.sleep(0)
            assert not waiting.done()
            one.notify.full = False
            await asyncio.wait_for(waiting, 30)
            assert not one.call.unkept

    asyncio.run(story())


def test_a_manager_that_never_reads_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fd_store, "KEPT_SECONDS", 0.0)

    async def story() -> None:
        with desk() as one:
            one.notify.full = True
            fd_store.keep(one.notify, one.call, one.pairs(0))
            await asyncio.wait_for(fd_store.kept(one.notify, one.call), 30)
            assert (one.call.unkept, one.notify.deaf) == (True, True)
            assert not fd_store.waits(one.notify, one.call)

    asyncio.run(story())


def test_nobody_waits_for_the_sockets_of_a_call_that_was_taken_back() -> None:
    async def story() -> None:
        with desk() as one:
            one.notify.full = True
            fd_store.keep(one.notify, one.call, one.pairs(0))
            one.call.pairs.clear()
            await asyncio.wait_for(fd_store.kept(one.notify, one.call), 30)

    asyncio.run(story())


def test_what_a_manager_must_know_comes_before_anything_new(tmp_path: Path) -> None:
    """A name that is still to be dropped must not be given to other sockets meanwhile."""
    address = str(tmp_path / "manager")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, desk() as one:
        manager.bind(address)
        manager.setblocking(False)
        notify = Notifier(address)
        taken = 0
        while notify.watchdog():
            taken += 1
        assert not notify.remove("m1")
        fd_store.keep(notify, one.call, one.pairs(0))
        for _ in range(taken):
            manager.recv(100)
        assert fd_store.asked_again(notify, [one.call])
        assert manager.recv(100) == b"FDSTOREREMOVE=1\nFDNAME=m1"
        said, given, _, _ = socket.recv_fds(manager, 100, 10)
        for descriptor in given:
            os.close(descriptor)
        assert said.startswith(b"FDSTORE=1\nFDNAME=" + one.call.fd_name.encode())
        notify.close()


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (35, "z"), (36, "10"), (20000, "ffk")])
def test_base36(number: int, text: str) -> None:
    assert fd_store.base36(number) == text
