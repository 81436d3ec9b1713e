"""Doors that need no account: the one that stays shut, and how the page looks."""

from __future__ import annotations

import pytest

from admin_api.http.permissions import Role
from tests.admin_api.page.conftest import words


def test_without_accounts_nobody_can_sign_in(browse) -> None:
    stranger = browse()
    assert stranger.get("/sign-in").status_code == 200
    form = {"name": "anna", "password": "x"}
    assert stranger.client.post("/sign-in", data=form).status_code == 303  # back to the form
    assert stranger.get("/invitation").status_code == 303
    assert stranger.get("/openid/back").status_code == 303


def test_cookies_hold_only_language_and_theme(browse) -> None:
    stranger = browse()
    answer = stranger.client.post("/appearance", data={"language": "de", "theme": "dark"})
    assert answer.status_code == 303
    page = stranger.get("/sign-in").text
    assert '<html lang="de" data-theme="dark">' in page
    assert "Anmelden" in words(page)


@pytest.mark.parametrize("form", [{"language": "xx"}, {"theme": "<script>"}, {}])
def test_nothing_else_is_kept(browse, form: dict[str, str]) -> None:
    answer = browse().client.post("/appearance", data=form)
    assert "set-cookie" not in answer.headers


def test_after_choosing_one_is_where_one_was_and_nowhere_else(browse) -> None:
    admin = browse(Role.ADMIN)
    assert 'name="back" value="/calls"' in admin.get("/calls").text
    sent = {"language": "de"}
    assert admin.client.post("/appearance", data={**sent, "back": "/calls"}).headers["location"] == "/calls"
    assert admin.client.post("/appearance", data={**sent, "back": "//evil.example"}).headers["location"] == "/"


def test_head_of_the_sign_in_page_does_not_redirect(browse) -> None:
    assert browse().client.head("/sign-in").status_code == 200
