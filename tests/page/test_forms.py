"""What people do to forms in a real browser: click twice, load again, leave the desk for too long."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from admin_api.http.permissions import Role
from admin_api.page.framework.sessions import IDLE_SECONDS
from tests.page.conftest import Town, sign_in

TYPED = "It was Mira who spoke, not Jonas"


def correcting(service: Town, visitor: Callable[..., Page], number: int, *, scripts: bool = True) -> Page:
    """Type a correction to a call."""
    page = visitor(Role.ADMIN, name="Grace", scripts=scripts)
    if scripts:
        page.clock.install()
    page.goto(f"/calls/{service.ids['acme'][number]}")
    page.get_by_text("Add a correction").click()
    page.get_by_label("What is right").fill(TYPED)
    return page


def notes(service: Town, number: int) -> list[str]:
    found = service.ask(f"/calls/{service.ids['acme'][number]}").json()
    return [note["text"] for note in found.get("annotations", [])]


def test_the_session_warning_lets_an_active_user_stay(service: Town, visitor: Callable[..., Page]) -> None:
    page = correcting(service, visitor, 3)
    warning = page.get_by_text("You will be signed out in two minutes")
    expect(warning).to_be_hidden()
    service.later = IDLE_SECONDS - 110
    page.clock.fast_forward(1000 * (int(IDLE_SECONDS) - 110))
    expect(warning).to_be_visible()
    page.get_by_role("button", name="Stay signed in").click()
    expect(warning).to_be_hidden()
    service.later += IDLE_SECONDS / 2
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_text(TYPED)).to_be_visible()
    assert notes(service, 3) == [TYPED]


@pytest.mark.parametrize("how", ["left alone", "sent too late", "sent too late without scripts"])
def test_typed_text_survives_the_end_of_the_session(service: Town, visitor: Callable[..., Page], how: str) -> None:
    number = 4 + len(how)
    page = correcting(service, visitor, number, scripts="without" not in how)
    service.later = IDLE_SECONDS + 2
    if how == "left alone":
        page.clock.fast_forward(1000 * (int(IDLE_SECONDS) + 2))
    else:
        page.get_by_role("button", name="Add", exact=True).click()
    page.wait_for_url(re.compile("/sign-in[?]next=(/|%2F)unsent$"))
    expect(page.get_by_text("Your session has ended.")).to_be_visible()
    assert TYPED not in page.content()
    assert TYPED not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])")
    sign_in(service, page.context, Role.ADMIN, name="Grace")
    service.later = 0
    page.goto("/unsent")
    expect(page.get_by_text(TYPED)).to_be_visible()
    page.get_by_role("button", name="Send it now").click()
    page.wait_for_url("**/calls/*")
    expect(page.get_by_text(TYPED)).to_be_visible()
    assert notes(service, number) == [TYPED]


@pytest.mark.parametrize("sent", [True, False])
def test_a_page_says_that_typed_text_was_lost(service: Town, visitor: Callable[..., Page], sent: bool) -> None:
    page = correcting(service, visitor, 8)
    page.context.clear_cookies()  # as unknown to the recorder as a session from before its restart
    if sent:
        page.get_by_role("button", name="Add", exact=True).click()
    else:
        page.clock.fast_forward(1000 * int(IDLE_SECONDS))
    expect(page.get_by_text("what you typed is not kept")).to_be_visible()
    assert re.search("next=(/|%2F)calls(/|%2F).*&lost=1$", page.url)
    assert notes(service, 8) == []
