"""What the journeys start from: ports of their own, and a daemon that really serves."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.journeys.server import PORTS, free_port, free_span, serves


def said(*events: str) -> list[dict[str, Any]]:
    return [{"text": "no JSON"}, *({"event": event} for event in events)]


@pytest.mark.parametrize(
    ("events", "there"),
    [
        ((), False),
        (("recorder.ready",), False),
        (("recorder.ready", "api.ready"), True),
        (("recorder.ready", "database.late", "api.ready"), False),
        (("recorder.ready", "database.late", "api.ready", "database.back"), True),
        (("recorder.ready", "database.late", "api.ready", "database.away"), True),
        (("database.away",), False),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_it_serves_once_its_api_does_and_its_index_is_open_or_away(events: tuple[str, ...], there: bool) -> None:
    assert serves(said(*events)) is there


def test_no_port_is_given_twice() -> None:
    """Of so many that the kernel chose some would be."""
    assert len({free_port() for _ in range(500)}) == 500


def test_a_span_of_which_somebody_has_a_port_is_passed_over() -> None:
    first = free_span()
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", first + PORTS + 7))
        assert free_span() not in {first, first + PORTS}
