"""Which address of ours stands in an SDP answer, by what media sockets are bound to and where a request came from."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest

from media.receive.ports import Ports
from recorder.signalling import local_address
from recorder.signalling.local_address import Closed, LocalAddresses
from sip.message.header_values import Flow
from sip.sdp.plan import Addresses

V4 = Flow("udp", ("192.0.2.10", 5060), ("192.0.2.1", 5060))
V6 = Flow("tls", ("2001:db8::10", 5061), ("2001:db8::1", 40_000), 7)
LINK = Flow("udp", ("fe80::10%eth0", 5060), ("fe80::1%eth0", 5060))
ROUTES = {"192.0.2.1": "192.0.2.10", "2001:db8::1": "2001:db8::10", "203.0.113.1": "203.0.113.10"}


def route(remote: str) -> str:
    return ROUTES.get(remote, "")


@pytest.mark.parametrize(
    ("bind", "advertise", "flow", "ours"),
    [
        ("0.0.0.0", None, V4, ("192.0.2.10", "")),
        ("::", None, V4, ("192.0.2.10", "2001:db8::10")),
        ("::", None, V6, ("2001:db8::10", "192.0.2.10")),
        ("::", None, LINK, ("fe80::10", "192.0.2.10")),
        ("0.0.0.0", None, V6, ("192.0.2.10", "")),
        ("::", "198.51.100.7", V4, ("198.51.100.7", "2001:db8::10")),
        ("0.0.0.0", "198.51.100.7", V6, ("198.51.100.7", "")),
        ("203.0.113.9", None, V4, ("203.0.113.9", "")),
        ("2001:db8::9", None, V4, ("2001:db8::9", "")),
        ("0.0.0.0", None, Flow("udp", ("0.0.0.0", 5060), ("203.0.113.1", 5060)), ("203.0.113.10", "")),
    ],
)
def test_the_ip_version_of_the_signalling_comes_first_s32(
    bind: str, advertise: str | None, flow: Flow, ours: tuple[str, str]
) -> None:
    assert LocalAddresses(bind, advertise, route).addresses(flow) == Addresses(*ours)


@pytest.mark.parametrize(
    ("bind", "advertise", "behind"),
    [
        ("0.0.0.0", "198.51.100.7", "192.0.2.10"),
        ("203.0.113.9", "198.51.100.7", "203.0.113.9"),
        ("0.0.0.0", "2001:db8::7", ""),
        ("0.0.0.0", "127.0.0.1", ""),
        ("0.0.0.0", None, ""),
    ],
)
def test_media_for_a_nat_address_arrive_where_the_request_did(bind: str, advertise: str | None, behind: str) -> None:
    assert LocalAddresses(bind, advertise, route).addresses(V4).behind == behind


def test_a_client_without_a_route_is_an_error() -> None:
    with pytest.raises(OSError, match="cannot be reached"):
        LocalAddresses("0.0.0.0", None, route).addresses(Flow("udp", ("0.0.0.0", 5060), ("233.252.0.1", 5060)))


def test_remembered_routes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_address, "MAX_ROUTES", 3)
    looked = list[str]()

    def slow(remote: str) -> str:
        looked.append(remote)
        return "2001:db8::10"

    asked = LocalAddresses("::", None, slow)
    for last in (1, 1, 2, 3, 4, 1):  # the fourth makes them all be looked up again
        asked.addresses(Flow("udp", ("192.0.2.10", 5060), (f"192.0.2.{last}", 5060)))
    assert len(looked) == 5


def test_an_ip_version_that_comes_after_the_start_is_found() -> None:
    routes = dict[str, str]()
    asked = LocalAddresses("::", None, lambda remote: routes.get(remote, ""))
    assert asked.addresses(V4) == Addresses("192.0.2.10")
    routes.update(ROUTES)
    assert asked.addresses(V4) == Addresses("192.0.2.10", "2001:db8::10")


def media_ports() -> Ports[Any]:
    """Ports of which none is opened in earnest."""
    return Ports(30_000, 30_003, lambda port, rtcp: SimpleNamespace(port=port, close=lambda: None), lambda: 0.0)


def test_nothing_is_sent_to_our_own_ports_or_a_broadcast() -> None:
    ports = media_ports()
    closed = Closed([5060, 8443], ports)
    assert not closed("127.0.0.1", 30_000)  # it may be somebody else's on this machine
    first = ports.open()
    asked = [("127.0.0.1", 5060), ("127.0.0.9", 8443), ("127.0.0.1", 30_000), ("127.0.0.1", 30_001)]
    assert [closed(*each) for each in asked] == [True] * 4
    assert not any(closed("192.0.2.1", port) for _, port in asked)  # the same ports of another machine
    behind = Closed([5060, 8443], ports, "198.51.100.7")  # of a NAT, which leads back to us
    assert [behind("198.51.100.7", port) for port in (5060, 30_001, 30_002)] == [True, True, False]
    assert behind("127.0.0.1", 30_000) and not behind("198.51.100.8", 30_000)
    bound = Closed([5060], ports, None, "127.0.0.1")  # an SBC at another address of this machine may have the same
    assert [bound(f"127.0.0.{last}", 30_000) for last in (1, 2)] == [True, False]
    assert [bound(f"127.0.0.{last}", 5060) for last in (1, 2)] == [True, True]
    assert Closed([], ports, None, "::")("127.0.0.2", 30_001)
    assert not closed("127.0.0.1", 30_002)
    assert closed("127.255.255.255", 40_000)
    ports.release(first)
    assert not closed("127.0.0.1", 30_000)


@pytest.mark.parametrize(
    ("source", "host", "refused"),
    [
        ("192.0.2.1", "127.0.0.1", True),
        ("192.0.2.1", "127.9.9.9", True),
        ("2001:db8::1", "::1", True),
        ("192.0.2.1", "192.0.2.1", False),
        ("127.0.0.2", "127.0.0.1", False),  # an SBC on this machine
        ("::1", "127.0.0.1", False),
        (None, "127.0.0.1", False),  # an earlier version did not keep it
    ],
)
def test_no_client_elsewhere_leads_to_services_of_our_loopback(source: str | None, host: str, refused: bool) -> None:
    closed = Closed([5060], media_ports()).of(source)
    assert closed(host, 40_000) is refused
    assert closed("127.0.0.1", 5060)


def test_a_local_client_has_its_media_at_our_loopback() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))  # sends nothing
        except OSError:
            pytest.skip("no network beside the loopback")
        own = str(probe.getsockname()[0])
    closed = Closed([5060], media_ports()).of(own)
    assert (closed("127.0.0.1", 40_000), closed("127.0.0.1", 5060)) == (False, True)
