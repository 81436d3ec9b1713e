"""What the doors work with says nothing by accident."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from admin_api.access.accounts_port import App, Challenge, Device, Person, ProviderLogin

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
