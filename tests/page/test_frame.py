"""The frame of the page in a real browser: the door, the skip link, no script needed."""

from __future__ import annotations

from playwright.sync_api import expect

from admin_api.http.permissions import Role
from tests.page.conftest import until


def test_a_visitor_sees_the_sign_in_page(visitor):
    page = visitor()
    page.goto("/calls")
    assert page.url.endswith("/sign-in?next=/calls")
    assert page.locator("h1").inner_text() == "Sign in"


def test_the_first_key_leads_past_the_menu(visitor):
    page = visitor(Role.ADMIN)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'main'")


def test_the_language_is_kept(visitor):
    page = visitor(Role.ADMIN, language="de", scripts=False)
    page.goto("/")
    assert page.locator("html").get_attribute("lang") == "de"
    page.locator("select[name=language]").select_option("en")
    page.locator("form.appearance button").click()
    expect(page.locator("html")).to_have_attribute("lang", "en")
