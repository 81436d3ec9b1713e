"""Listening sockets: opened, taken over, or a sentence that says why not."""

from __future__ import annotations

import socket

import pytest

from recorder.config.value_readers import Address, Listener, Transport
from recorder.errors import NotPossible
from recorder.service.listeners import open_all, open_socket


def free(transport: Transport, host: str = "127.0.0.1") -> Listener:
    kind = socket.SOCK_DGRAM if transport is Transport.UDP else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind) as found:
        found.bind((host, 0))
        return Listener(transport, Address(host, found.getsockname()[1]))


@pytest.mark.parametrize("transport", list(Transport))
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_each_transport_on_each_family(transport: Transport, host: str) -> None:
    wanted = free(transport, host)
    with open_socket(wanted) as made:
        assert made.getsockname()[:2] == (host, wanted.port)
        assert not made.getblocking()


def test_a_taken_port_is_named_and_the_others_closed() -> None:
    first = free(Transport.TCP)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        second = Listener(Transport.TCP, Address("127.0.0.1", taken.getsockname()[1]))
        with pytest.raises(NotPossible) as told:
            open_all([first, second], "sip", {})
    assert str(second.port) in told.value.sentence()
    open_socket(first).close()


def test_a_stored_socket_is_adopted_for_the_same_address() -> None:
    wanted = free(Transport.TCP)
    stored = open_socket(wanted)
    (kept,) = open_all([wanted], "sip", {"sip0": [stored]})
    assert kept.adopted
    assert kept.socket is stored
    other = free(Transport.TCP)
    (fresh,) = open_all([other], "sip", {"sip0": [stored]})
    assert not fresh.adopted
    fresh.socket.close()
    stored.close()
    (again,) = open_all([wanted], "sip", {"sip0": [stored]})
    assert not again.adopted
    again.socket.close()
