"""When connections are short: one address may have all, and the others still get some."""

from __future__ import annotations

import pytest

from admin_api.server.connection_limits import (
    FEW,
    MAX_CONNECTIONS,
    MAX_TURNED_AWAY,
    SPARE,
    has_place,
    has_room,
    may_be_told,
    network,
    subscriber,
)


def test_a_lone_address_has_all_that_there_are_and_no_more() -> None:
    assert has_room(["proxy"] * MAX_CONNECTIONS, "proxy")
    assert not has_room(["proxy"] * (MAX_CONNECTIONS + 1), "proxy")


def test_a_source_with_few_connections_still_has_room() -> None:
    too_many_connections = ["proxy"] * MAX_CONNECTIONS
    assert has_room([*too_many_connections, *["other"] * FEW], "other")
    assert not has_room([*too_many_connections, *["other"] * (FEW + 1)], "other")


def test_the_spare_ones_end_too() -> None:
    many = [f"192.0.2.{n}" for n in range(MAX_CONNECTIONS + SPARE)]
    assert has_room(many, many[-1])
    assert not has_room([*many, "last"], "last")


def test_a_handshake_has_the_place_of_a_connection() -> None:
    assert has_place(MAX_CONNECTIONS - 1, MAX_CONNECTIONS - 1)
    assert has_place(MAX_CONNECTIONS, FEW - 1) and not has_place(MAX_CONNECTIONS, FEW)
    assert has_place(MAX_CONNECTIONS + SPARE - 1, 0) and not has_place(MAX_CONNECTIONS + SPARE, 0)


def test_an_excess_client_may_be_refused_after_the_handshake() -> None:
    end = MAX_CONNECTIONS + SPARE + MAX_TURNED_AWAY
    assert may_be_told(end, FEW - 1)
    assert not may_be_told(end, FEW) and not may_be_told(end + 1, 0)


@pytest.mark.parametrize(
    ("source", "one"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_addresses_of_one_subscriber_count_as_one(source: str, one: str) -> None:
    assert subscriber(source) == one


@pytest.mark.parametrize(
    ("source", "one"),
    [
        ("192.0.2.7", "192.0.2.0/24"),
        ("::ffff:192.0.2.7", "192.0.2.0/24"),
        ("2001:db8:1:2ff:3:4:5:6", "2001:db8:1:200::/56"),
        ("fe80::1%eth0", "fe80::/56"),
        ("unix", "unix"),
        ("", ""),
    ],
)
def test_the_network_of_a_person(source: str, one: str) -> None:
    assert network(source) == one
