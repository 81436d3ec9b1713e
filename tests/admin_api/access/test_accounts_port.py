"""What the doors work with says nothing by accident."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from admin_api.access.accounts_port import App, Challenge, Device, Factors, Person, ProviderLogin

ACME: Any = SimpleNamespace(name="acme")


def test_the_repr_of_port_types_hides_secrets_and_names() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    things = (
        Person(ACME, "planted", ("admin",), "id", 1),
        Device("planted", "planted", at),
        App("planted", "planted"),
        Challenge({"planted": 1}, "planted"),
        ProviderLogin("planted", "planted"),
    )
    assert "planted" not in repr(things)


def test_an_app_or_passkey_counts_as_second_factor() -> None:
    device = Device("a", "b", datetime(2026, 1, 1, tzinfo=UTC))
    assert Factors(app=True).any
    assert Factors(devices=(device,)).any
    assert not Factors(recovery=10).any
