"""Pairs of ports: even, in turn, rested."""

from dataclasses import dataclass

import pytest

from media.errors import PortsExhausted, SocketRefused
from media.receive.ports import MAX_FORMER, Ports


@dataclass
class Fake:
    port: int
    closed: bool = False

    def close(self) -> None:
        self.closed = True


def test_pairs_are_even_and_rest_before_they_come_again() -> None:
    """Duty R27."""
    now = [0.0]
    ports = Ports(20001, 20007, lambda port, rtcp: Fake(port), lambda: now[0], cool_down=30)
    first, second, third = ports.open(), ports.open(), ports.open()
    assert [first.port, second.port, third.port] == [20002, 20004, 20006]
    ports.release(second)
    assert second.closed
    with pytest.raises(PortsExhausted):
        ports.open()
    now[0] = 30.0
    assert ports.open().port == 20004


def test_an_unannounced_port_pair_needs_no_cool_down() -> None:
    """Its former peer stays known: what that still sends is not of the next call."""
    ports = Ports(20000, 20003, lambda port, rtcp: Fake(port), lambda: 0.0, cool_down=0)
    ports.release(ports.open(), ("192.0.2.1", 4000, (7,)))
    ports.release(ports.open())
    pair = ports.open()
    ports.give_back(pair)
    assert pair.closed
    assert ports.open().port == pair.port
    assert ports.former(pair.port) == (("192.0.2.1", 4000, (7,)),)
    stranger = Fake(30000)
    ports.give_back(stranger)
    assert (stranger.closed, ports.free) == (True, 1)


def test_a_port_in_use_or_handed_over_is_skipped() -> None:
    def open_pair(port: int, rtcp: bool) -> Fake:
        if port == 20000:
            raise SocketRefused("taken")
        return Fake(port)

    assert Ports(20000, 20003, open_pair, lambda: 0.0).open().port == 20002
    ports = Ports(20000, 20003, lambda port, rtcp: Fake(port), lambda: 0.0)
    ports.adopt(20000)
    assert (ports.open().port, ports.free) == (20002, 0)


def test_a_port_remembers_the_sources_of_recent_calls() -> None:
    """Who does not stop may outlast the next call, and one that heard nobody does not say that they are gone."""
    ports = Ports(20000, 20003, lambda port, rtcp: Fake(port), lambda: 0.0, cool_down=0)
    pair = ports.open()
    assert ports.former(pair.port) == ()
    heard = [("192.0.2.1", 4000 + call, (7,)) for call in range(MAX_FORMER + 1)]
    ports.release(pair, heard[0])
    ports.release(pair)
    assert ports.former(pair.port) == (heard[0],)
    for each in heard[1:]:
        ports.release(pair, each)
    assert ports.former(pair.port) == tuple(heard[1:])
    assert ports.former(pair.port + 2) == ()
