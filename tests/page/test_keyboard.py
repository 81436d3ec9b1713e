"""The main journey by keyboard alone: every step can be reached, and one always sees where one is."""

from collections.abc import Callable

from playwright.sync_api import Page, expect

from admin_api.http.permissions import Role
from tests.admin_api.privacy.test_waiver import put as permit
from tests.page.conftest import Town, until

MOST_STEPS = 80
FOCUSED = """() => {
  const here = document.activeElement, style = getComputedStyle(here), label = here.labels && here.labels[0];
  const name = here.getAttribute("aria-label") || (label || here).innerText || here.value || "";
  const ringed = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== "none";
  const box = here.getBoundingClientRect();
  const fits = box.height > innerHeight || (box.top >= -1 && box.bottom <= innerHeight + 1);
  return [name.trim(), ringed, box.width > 0 && box.top < innerHeight && fits];
}"""


def reach(page: Page, name: str) -> None:
    """Press the tab key until something has the focus, and see that it is seen."""
    for _ in range(MOST_STEPS):
        page.keyboard.press("Tab")
        found, ringed, visible = page.evaluate(FOCUSED)
        if found.startswith(name):
            assert ringed, f"nobody sees that {name!r} has the focus"
            assert visible, f"{name!r} is not on the screen"
            return
    raise AssertionError(f"{name!r} cannot be reached")


def do(page: Page, name: str, key: str = "Enter") -> None:
    """Reach something and press a key on it."""
    reach(page, name)
    page.keyboard.press(key)


def follow(page: Page, name: str) -> None:
    """Reach something that leads to another page, and go there."""
    reach(page, name)
    with page.expect_navigation():
        page.keyboard.press("Enter")


def test_from_the_search_to_the_erasure(service: Town, visitor: Callable[..., Page]) -> None:
    permit(service)
    page = visitor(Role.PRIVACY, Role.LISTENER)
    page.goto("/calls")
    reach(page, "Name, number")
    page.keyboard.type("030 555 0000")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    follow(page, "2026-11-20")
    expect(page.locator("h1")).to_contain_text("Call of")

    follow(page, "Requests")
    follow(page, "New request")
    do(page, "erasure (Art. 17)", "Space")
    reach(page, "Who asks")
    page.keyboard.type("+49 30 555 0000")
    follow(page, "File the request")
    do(page, "Call of", "Space")
    assert page.locator("input[name=in]:checked").count() == 1
    follow(page, "Confirm what is ticked")
    expect(page.locator("dl.facts .mark").first).to_have_text("calls chosen")

    do(page, "Media")
    page.keyboard.press("Escape")
    do(page, "Silence the other people", "Space")
    reach(page, "with a passphrase")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("input[name=seal]:checked").get_attribute("value") == "none"

    do(page, "Continue with the erasure")
    reach(page, "Reason")
    page.keyboard.type("Art. 17")
    do(page, "The person has the report", "Space")
    follow(page, "Ask for the erasure")
    expect(page.locator("#erasure")).to_contain_text("running")


def test_the_first_key_leads_past_the_menu(visitor: Callable[..., Page]) -> None:
    page = visitor(Role.ADMIN)
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.locator(":focus").inner_text() == "Skip to the content"
    page.keyboard.press("Enter")
    until(page, "document.activeElement.id === 'main'")


def test_a_wide_table_scrolls_by_keyboard(service: Town, visitor: Callable[..., Page]) -> None:
    page = visitor(Role.AUDITOR, width=700)  # wider than a telephone, where rows become blocks
    page.goto("/audit")
    reach(page, "Entries, newest first")
    page.keyboard.press("ArrowRight")
    until(page, "document.querySelector('.wide').scrollLeft > 0")
