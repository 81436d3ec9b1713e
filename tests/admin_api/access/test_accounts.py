"""Who may sign in, as the customer's admins see it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_accounts_are_listed_by_name_with_their_roles(service):
    accounts = service.customers["acme"].accounts
    for name, roles in (("zoe", ["listener"]), ("Ämilie", ["admin", "privacy"]), ("bob", ["auditor"])):
        accounts.create(name, roles, NOW)
    later = NOW + timedelta(days=2)
    zoe, bob = accounts.named("zoe"), accounts.named("bob")
    accounts.change(zoe.id, lambda account: replace(account, password="hash", signed_in_at=later))
    accounts.change(bob.id, lambda account: replace(account, disabled=True, totp="SECRET"))
    shown = service.ask("/accounts").json()
    assert shown["next_cursor"] is None
    assert [(one["name"], one["roles"], one["state"], one["second_factor"]) for one in shown["items"]] == [
        ("Ämilie", ["admin", "privacy"], "invited", False),
        ("bob", ["auditor"], "disabled", True),
        ("zoe", ["listener"], "active", False),
    ]
    assert shown["items"][2]["signed_in_at"] == "2026-03-03T12:00:00.000Z"
    assert shown["items"][0]["signed_in_at"] is None
    assert "SECRET" not in str(shown) and "hash" not in str(shown)
    assert service.acts()[-1]["action"] == "accounts.list"
    for role in ("listener", "privacy", "approver", "auditor", "operator"):
        assert service.ask("/accounts", role).status_code == 403
    assert service.ask("/accounts", customer="beta").json()["items"] == []
