"""Packets that the kernel throws away: noticed soon, found out whose, and forgotten when it is over."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from media.receive.sockets import dropped, widen
from recorder.workers.rcvbuf_overflow import HOT, LOOK, PLACES, SEARCH_SHARE, Overflow

SNMP = "Udp: InDatagrams RcvbufErrors SndbufErrors\nUdp: 7 {} 9\nUdpLite: InDatagrams RcvbufErrors\nUdpLite: 0 5000\n"


class Kernel:
    """Counts as the kernel keeps them, and a clock that moves as told."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "snmp"
        self.counts = {1: 0, 2: 0, 3: 0}
        self.wide: list[int] = []
        self.asked = 0
        self.now = 100.0
        self.lose(0)
        self.overflow = Overflow(self.count, self.wide.append, str(self.path))

    def lose(self, descriptor: int, packets: int = 1) -> None:
        self.counts[descriptor] = self.counts.get(descriptor, 0) + packets
        self.path.write_text(SNMP.format(sum(self.counts.values())))

    def count(self, descriptor: int) -> int:
        self.asked += 1
        return self.counts[descriptor]

    def calls(self) -> Iterable[tuple[str, Iterable[int]]]:
        return [("a", [1, 2]), ("b", [3])]

    def look(self, seconds: float = LOOK) -> tuple[str, ...]:
        self.now += seconds
        self.overflow.look(self.calls, lambda: self.now)
        return self.overflow.hot


def test_a_call_that_loses_packets_gets_a_larger_buffer(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    assert kernel.look() == ()
    kernel.lose(2)
    assert kernel.look() == ("a",)
    assert kernel.wide == [2]
    kernel.lose(2)
    assert kernel.look(HOT - 1) == ("a",)
    assert kernel.look(HOT - 1) == ("a",)
    assert kernel.look(2) == ()


def test_a_lossless_flood_keeps_a_call_hot_but_makes_none_hot(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.lose(2)
    assert kernel.look() == ("a",)
    for _ in range(5):
        kernel.look(HOT - 1)
        kernel.overflow.keep("a", kernel.now)
        kernel.overflow.keep("b", kernel.now)
    assert kernel.overflow.hot == ("a",)
    assert kernel.look(HOT + 1) == ()


def test_while_nothing_is_lost_no_socket_is_asked(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    for _ in range(100):
        kernel.look()
    assert kernel.asked == 0


def test_the_search_for_losses_takes_a_bounded_share(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)

    def slow(descriptor: int) -> int:
        kernel.asked += 1
        kernel.now += 0.01
        return 0

    kernel.overflow = Overflow(slow, kernel.wide.append, str(kernel.path))
    for _ in range(200):
        kernel.lose(99)
        assert kernel.look() == ()
    assert 3 <= kernel.asked <= 3 * (200 * LOOK / (SEARCH_SHARE * 0.03) + 2) * 1.5


def test_between_two_looks_nothing_is_read(tmp_path: Path) -> None:
    kernel = Kernel(tmp_path)
    kernel.look()
    kernel.lose(1)
    assert kernel.look(LOOK / 2) == ()
    assert kernel.look(LOOK) == ("a",)


def test_drop_counters_are_visible_in_a_restricted_proc() -> None:
    unit = (Path(__file__).parents[4] / "config" / "recorder.service").read_text()
    assert "ProcSubset=pid" in unit
    assert all(place.startswith("/proc/self/") for place in PLACES)


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_says_what_it_threw_away_and_gives_more_room(family: int, host: str) -> None:
    with socket.socket(family, socket.SOCK_DGRAM) as mine, socket.socket(family, socket.SOCK_DGRAM) as sender:
        mine.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        mine.bind((host, 0))
        before = mine.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        counts = Overflow(dropped, widen)
        for _ in range(100):
            sender.sendto(bytes(500), mine.getsockname())
        end = time.monotonic() + 30
        while dropped(mine.fileno()) <= 50:  # a busy kernel delivers a moment later
            assert time.monotonic() < end
        counts.look(lambda: [("a", [mine.fileno()])], lambda: 1000.0)
        assert counts.hot == ("a",)
        assert mine.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 10 * before
    assert dropped(10_000) == 0
