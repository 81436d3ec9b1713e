"""Whose call it is, and who is spoken to at all."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.config.model import Customer
from recorder.signalling.customer_lookup import CustomerLookup, normal_address


def customer(name: str, sources: tuple[str, ...] = (), **more: Any) -> Customer:
    """Make a customer."""
    return Customer(name=name, sources=tuple(ipaddress.ip_network(source) for source in sources), **more)


ACME = customer("acme", ("192.0.2.0/24", "2001:db8:1::/48"))
GLOBEX = customer("globex", ("192.0.2.0/28",), certificates=("sbc.globex.example",))
OPEN = customer("initech", domains=("initech.example",))


@pytest.mark.parametrize(
    ("source", "names", "domain", "whose"),
    [
        ("192.0.2.200", (), None, "acme"),
        ("192.0.2.1", (), None, "globex"),  # the narrower network
        ("::ffff:192.0.2.200", (), None, "acme"),  # IPv4 on an IPv6 socket
        ("2001:db8:1::5", (), None, "acme"),
        ("203.0.113.1", (), None, None),
        ("203.0.113.1", ("SBC.globex.example",), None, "globex"),
        ("192.0.2.200", ("sbc.globex.example",), None, "globex"),  # a certificate proves more than an address
        ("203.0.113.1", (), "Initech.Example.", "initech"),
        ("192.0.2.200", (), "initech.example", "initech"),  # named expressly
        ("not an address", (), None, None),
        ("", (), "", None),
    ],
)
def test_a_call_finds_its_customer(source: str, names: tuple[str, ...], domain: str | None, whose: str | None) -> None:
    assert CustomerLookup([ACME, GLOBEX, OPEN]).customer_of(source, names, domain) == whose
    assert CustomerLookup([OPEN, GLOBEX, ACME]).customer_of(source, names, domain) == whose


def test_the_domain_selects_among_customers_of_one_sbc() -> None:
    both = CustomerLookup([customer(name, ("192.0.2.1",), domains=(f"{name}.example",)) for name in ("a", "b")])
    assert [both.customer_of("192.0.2.1", (), f"{name}.example") for name in ("a", "b")] == ["a", "b"]
    assert both.customer_of("203.0.113.1", (), "a.example") is None  # it admits no unknown source
    assert all(both.may_be(name, "192.0.2.1") for name in ("a", "b"))


@pytest.mark.parametrize(
    ("customers", "transport", "source", "admitted"),
    [
        ([ACME, GLOBEX], "udp", "192.0.2.9", True),
        ([ACME, GLOBEX], "udp", "::ffff:192.0.2.9", True),
        ([ACME, GLOBEX], "udp", "203.0.113.1", False),  # strangers get silence, on UDP
        ([ACME, GLOBEX], "tcp", "203.0.113.1", True),
        ([ACME, GLOBEX], "tls", "203.0.113.1", True),
        ([ACME, OPEN], "udp", "203.0.113.1", True),  # a domain may be called from anywhere
        ([customer("six", ("::/0",))], "udp", "192.0.2.1", False),  # all of IPv6 is not all of IPv4
        ([customer("four", ("0.0.0.0/0",))], "udp", "192.0.2.1", True),
        ([customer("four", ("0.0.0.0/0",))], "udp", "2001:db8::1", False),
    ],
)
def test_strangers_get_silence_on_udp_only(
    customers: list[Customer], transport: str, source: str, admitted: bool
) -> None:
    assert CustomerLookup(customers).admits(transport, source) is admitted


def test_an_address_has_one_spelling() -> None:
    """Duty S32."""
    assert normal_address("::FFFF:192.0.2.1") == "192.0.2.1"
    assert normal_address("fe80::1%eth0") == "fe80::1"
    assert normal_address("::ffff:nonsense") == "::ffff:nonsense"


@given(st.ip_addresses(), st.ip_addresses(v=4).map(lambda ip: ipaddress.ip_network(f"{ip}/20", strict=False)))
def test_a_property_the_index_agrees_with_ipaddress(source: Any, network: Any) -> None:
    customer_lookup = CustomerLookup([Customer(name="a", sources=(network,))])
    plain = ipaddress.ip_address(normal_address(str(source)))
    assert customer_lookup.admits("udp", str(source)) == (plain.version == 4 and plain in network)


@pytest.mark.parametrize(
    ("source", "names", "whose"),
    [
        ("192.0.2.200", (), "acme"),
        ("192.0.2.1", (), "globex"),  # the narrower network
        ("203.0.113.1", ("sbc.globex.example",), "globex"),
        ("192.0.2.200", ("sbc.globex.example",), "globex"),
        ("203.0.113.1", (), None),
    ],
)
def test_a_refusal_is_assigned_only_to_an_unambiguous_customer(
    source: str, names: tuple[str, ...], whose: str | None
) -> None:
    assert CustomerLookup((ACME, GLOBEX, OPEN)).only(source, names) == whose


@pytest.mark.parametrize(
    ("customers", "source", "names", "known"),
    [
        ([ACME, GLOBEX], "192.0.2.7", (), True),
        ([ACME, GLOBEX], "203.0.113.1", (), False),
        ([ACME, GLOBEX], "203.0.113.1", ("SBC.globex.example.",), True),
        ([ACME, GLOBEX], "203.0.113.1", ("other.example",), False),
        ([ACME, OPEN], "203.0.113.1", (), True),  # a domain may be called from anywhere
    ],
)
def test_who_could_be_somebodys_is_no_stranger_s29(
    customers: list[Customer], source: str, names: tuple[str, ...], known: bool
) -> None:
    assert CustomerLookup(customers).knows(source, names) is known


@pytest.mark.parametrize(
    ("owner", "source", "names", "can"),
    [
        ("acme", "192.0.2.200", (), True),
        ("acme", "192.0.2.1", (), False),  # of globex, whose network is the narrower one
        ("globex", "192.0.2.1", (), True),
        ("globex", "192.0.2.200", (), False),
        ("globex", "203.0.113.1", ("sbc.globex.example",), True),
        ("acme", "192.0.2.200", ("sbc.globex.example",), False),  # the connection is of globex
        ("acme", "2001:db8:1::5", (), True),
        ("initech", "203.0.113.1", (), True),  # by its domain; a password has to follow
        ("acme", "203.0.113.1", (), False),
        ("acme", "sbc.example", (), False),
        ("gone", "192.0.2.200", (), False),
    ],
)
def test_an_in_dialog_request_is_admitted_like_an_invite(
    owner: str, source: str, names: tuple[str, ...], can: bool
) -> None:
    one = CustomerLookup([ACME, GLOBEX, OPEN])
    assert one.may_be(owner, source, names) is can
    assert one.may_be(owner, source, names) is can  # as it is remembered


def test_a_customer_around_another_keeps_its_dialogs() -> None:
    nested = [customer("wide", ("192.0.2.0/24",), domains=("wide.example",)), customer("narrow", ("192.0.2.0/28",))]
    assert all(CustomerLookup(nested).may_be(name, "192.0.2.1") for name in ("wide", "narrow"))
    assert not CustomerLookup(nested).may_be("narrow", "192.0.2.99")


@pytest.mark.parametrize(
    ("host", "names", "elsewhere"),
    [
        ("192.0.2.1", (), True),
        ("192.0.2.1", ("sbc.acme.example",), False),
        ("192.0.2.99", (), False),
        ("10.0.0.5", (), False),  # nobody's: an address inside the customer's network, as far as anybody knows
        ("sbc.acme.example", (), False),
    ],
)
def test_an_address_of_others_only_is_elsewhere(host: str, names: tuple[str, ...], elsewhere: bool) -> None:
    acme = customer("acme", ("192.0.2.0/24",), certificates=("sbc.acme.example",))
    assert CustomerLookup([acme, GLOBEX]).elsewhere("acme", host, names) is elsewhere


def test_a_nested_network_belongs_to_the_inner_customer() -> None:
    wide, narrow = customer("wide", ("192.0.2.0/24",)), customer("narrow", ("192.0.2.16/28",))
    named = customer("named", ("192.0.2.16/28",), domains=("named.example",))
    for order in ((wide, narrow), (narrow, wide)):
        customer_lookup = CustomerLookup(order)
        assert [customer_lookup.only(f"192.0.2.{last}") for last in (1, 17)] == ["wide", "narrow"]
        assert CustomerLookup((*order, named)).only("192.0.2.17") is None
