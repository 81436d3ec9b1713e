"""Paths that need no session: signing in where nobody can, and how the page looks."""

from admin_api.http.permissions import Role
from tests.admin_api.page.conftest import words


def test_without_accounts_nobody_can_sign_in(browse) -> None:
    stranger = browse()
    assert stranger.get("/sign-in").status_code == stranger.client.head("/sign-in").status_code == 200
    form = {"customer": "acme", "name": "anna", "password": "x"}
    assert stranger.client.post("/sign-in", data=form).status_code == 403
    assert [stranger.get(path).status_code for path in ("/invitation", "/openid/back")] == [404, 403]


def test_cookies_hold_only_language_and_theme(browse) -> None:
    stranger = browse()
    for odd in ({"language": "xx"}, {"theme": "<script>"}, {}):
        assert "set-cookie" not in stranger.client.post("/appearance", data=odd).headers
    assert stranger.client.post("/appearance", data={"language": "de", "theme": "dark"}).status_code == 303
    page = stranger.get("/sign-in").text
    assert '<html lang="de" data-theme="dark">' in page
    assert "Anmelden" in words(page)


def test_after_choosing_one_is_where_one_was_and_nowhere_else(browse) -> None:
    admin = browse(Role.ADMIN)
    assert 'name="back" value="/calls"' in admin.get("/calls").text
    sent = {"language": "de"}
    assert admin.client.post("/appearance", data={**sent, "back": "/calls"}).headers["location"] == "/calls"
    assert admin.client.post("/appearance", data={**sent, "back": "//evil.example"}).headers["location"] == "/"
