"""The frame of the page in a real browser: the door, the skip link, no script needed."""

from admin_api.http.permissions import Role
from tests.page.conftest import until


def test_the_first_key_leads_past_the_menu(visitor):
    page = visitor(Role.ADMIN)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'main'")
