"""Handshakes under way: who has how many, and which one has to go for a source that has fewer."""

from __future__ import annotations

from dataclasses import dataclass

from sip.transport.tls_handshakes import Handshakes


@dataclass(eq=False)
class Gate:
    """A connection before its handshake."""

    remote: tuple[str, int]


def gates(under_way: Handshakes[Gate], *hosts: str) -> list[Gate]:
    made = [Gate((host, 1)) for host in hosts]
    for gate in made:
        under_way.begin(gate)
    return made


def test_each_counts_for_its_source_until_it_is_over() -> None:
    here = Handshakes[Gate]()
    first, second, other = gates(here, "a", "a", "b")
    assert (len(here), here.of("a"), here.of("b"), here.of("c")) == (3, 2, 1, 0)
    here.end(first)
    here.end(first)
    assert (len(here), here.of("a")) == (2, 1)
    here.end(second)
    here.end(other)
    assert (len(here), here.of("a"), here._gates) == (0, 0, {})


def test_the_oldest_of_whoever_has_most_is_in_the_way_of_one_that_has_fewer() -> None:
    here = Handshakes[Gate]()
    _, first, _ = gates(here, "b", "a", "a")
    assert here.in_the_way("c") is first
    assert here.in_the_way("b") is first
    assert here.in_the_way("a") is None


def test_where_nothing_is_under_way_nothing_is_in_the_way() -> None:
    assert Handshakes[Gate]().in_the_way("a") is None


def test_a_network_of_one_subscriber_pushes_nobody_else_out() -> None:
    """With IPv6 it has more addresses than there are places."""
    here = Handshakes[Gate]()
    slow, mine, _, _ = gates(here, "2001:db8:1::1", "2001:db8:0:2::1", "2001:db8::2:0:0:0:2", "2001:db8:0:2:f::")
    assert (here.of("2001:db8:0:2::9"), here.of("2001:db8:1::2"), here.of("fe80::1%lo")) == (3, 1, 0)
    assert here.in_the_way("2001:db8:0:2::9") is None
    assert here.in_the_way("2001:db8:1::1") is mine
    here.end(slow)
    assert here.of("2001:db8:1::1") == 0
