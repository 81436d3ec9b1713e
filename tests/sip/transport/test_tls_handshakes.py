"""Handshakes under way: who has how many, and which one has to go for a source that has fewer."""

from dataclasses import dataclass

from sip.transport.tls_handshakes import Handshakes


@dataclass(eq=False)
class TlsAcceptor:
    """A connection before its handshake."""

    remote: tuple[str, int]


def waiting(under_way: Handshakes[TlsAcceptor], *hosts: str) -> list[TlsAcceptor]:
    made = [TlsAcceptor((host, 1)) for host in hosts]
    for acceptor in made:
        under_way.begin(acceptor)
    return made


def test_a_new_handshake_displaces_the_oldest_of_the_busiest() -> None:
    here = Handshakes[TlsAcceptor]()
    assert here.to_abort_for("a") is None
    _, first, _ = waiting(here, "b", "a", "a")
    assert here.to_abort_for("c") is first
    assert here.to_abort_for("b") is first
    assert here.to_abort_for("a") is None


def test_one_subscribers_network_displaces_nobody_else() -> None:
    """With IPv6 it has more addresses than there are places."""
    here = Handshakes[TlsAcceptor]()
    slow, mine, _, _ = waiting(here, "2001:db8:1::1", "2001:db8:0:2::1", "2001:db8::2:0:0:0:2", "2001:db8:0:2:f::")
    assert (here.of("2001:db8:0:2::9"), here.of("2001:db8:1::2"), here.of("fe80::1%lo")) == (3, 1, 0)
    assert here.to_abort_for("2001:db8:0:2::9") is None
    assert here.to_abort_for("2001:db8:1::1") is mine
    here.end(slow)
    assert here.of("2001:db8:1::1") == 0
