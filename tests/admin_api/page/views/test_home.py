"""The first page after signing in."""

import pytest

from admin_api.http.permissions import Role


@pytest.mark.parametrize(
    ("role", "first"), [(Role.LISTENER, "/calls"), (Role.AUDITOR, "/audit"), (Role.OPERATOR, "/incidents")]
)
def test_the_first_view_of_the_menu_is_home(browse, role, first):
    assert browse(role).get("/").headers["location"] == first


def test_without_any_view_the_home_page_says_so(browse, monkeypatch):
    admin = browse(Role.ADMIN)
    monkeypatch.setattr("admin_api.assembly.page_app.menu", lambda views, session: ())
    page = admin.get("/")
    assert page.status_code == 200 and "<h1>" in page.text


def test_people_see_the_title_of_their_customer(browse, service, monkeypatch):
    monkeypatch.setattr(service.customers["acme"], "title", "Acme & Söhne")
    admin = browse(Role.ADMIN)
    assert "<bdi>Acme &amp; Söhne</bdi>" in admin.get("/calls").text
    account = admin.get("/account").text
    assert "<dd>acme" in account and "(<bdi>Acme &amp; Söhne</bdi>)" in account
