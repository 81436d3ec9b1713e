"""Resolver of peers on UDP."""

import asyncio
import socket

import pytest

from sip.transport.resolver import Resolver, is_address


def test_an_address_needs_no_look_up():
    assert [is_address(host) for host in ("192.0.2.1", "2001:db8::1", "fe80::1%eth0", "sbc.example", "")] == [
        True, True, True, False, False
    ]  # fmt: skip
    assert not any(
        is_address(host) for host in ("01.2.3.4", "1.2.3", "1.2.3.4 ", "1.2.3.4\0", "\udcff", "[::1]", "::1:")
    )
    assert is_address("192.0.2.1%a:b") and Resolver().known("192.0.2.1") == "192.0.2.1"


def test_a_name_is_looked_up_once_and_remembered():
    async def story():
        names = Resolver()
        assert names.known("localhost") is None
        assert await names.look_up("localhost", 5060, socket.AF_INET) == "127.0.0.1"
        assert names.known("localhost") == "127.0.0.1"

    asyncio.run(story())


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a" * 300, "\udcff.example"])
def test_an_unresolvable_name_is_an_oserror(host):
    with pytest.raises(OSError):
        asyncio.run(Resolver().look_up(host, 5060, socket.AF_INET))
