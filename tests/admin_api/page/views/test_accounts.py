"""The view of accounts: for the customer's admins, read only."""

from datetime import UTC, datetime

from admin_api.http.permissions import Role


def test_an_admin_sees_accounts_with_roles_and_last_sign_in(browse, service):
    service.customers["acme"].accounts.create("<b>anna</b>", ["admin", "privacy"], datetime(2026, 3, 1, tzinfo=UTC))
    admin = browse(Role.ADMIN)
    page = admin.get("/accounts").text
    assert "&lt;b&gt;anna&lt;/b&gt;" in page and "<b>anna" not in page
    seen = admin.text("/accounts")
    assert "admin" in seen and "privacy" in seen
    assert "never" in seen and "has a one-time link" in seen
    assert 'href="/accounts"' in page
    assert "<form" not in page.split("<main")[1].split("</main>")[0]
    assert browse(Role.PRIVACY).get("/accounts").status_code == 404
