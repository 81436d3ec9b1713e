"""When connections are short: one address may have all, and the others still get some."""

from __future__ import annotations

import pytest

from admin_api.server.connection_limits import (
    FEW,
    MAX_CONNECTIONS,
    MAX_TURNED_AWAY,
    SPARE,
    has_place,
    may_be_told,
    network,
    subscriber,
)

FULL = ["proxy"] * MAX_CONNECTIONS
MANY = [f"192.0.2.{number}" for number in range(MAX_CONNECTIONS + SPARE)]


@pytest.mark.parametrize(
    ("connected", "source", "room"),
    [
        (FULL, "proxy", True),  # one address alone has all that there are
        ([*FULL, "proxy"], "proxy", False),
        ([*FULL, *["other"] * FEW], "other", True),
        ([*FULL, *["other"] * (FEW + 1)], "other", False),
        (MANY, MANY[-1], True),  # the spare ones are for new addresses, and end too
        ([*MANY, "last"], "last", False),
    ],
)
def test_a_full_server_has_room_for_addresses_with_few(connected: list[str], source: str, room: bool) -> None:
    assert has_place(len(connected), connected.count(source)) is room


def test_a_handshake_has_the_place_of_a_connection() -> None:
    assert has_place(MAX_CONNECTIONS, MAX_CONNECTIONS)
    assert has_place(MAX_CONNECTIONS + 1, FEW) and not has_place(MAX_CONNECTIONS + 1, FEW + 1)
    assert has_place(MAX_CONNECTIONS + SPARE, 1) and not has_place(MAX_CONNECTIONS + SPARE + 1, 1)
    end = MAX_CONNECTIONS + SPARE + MAX_TURNED_AWAY  # beyond it clients are refused without an answer
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
