"""Signing in as people do it: link, password, app, passkey, a provider."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from recorder.access.oidc_client import Providers
from tests.in_process.openid_provider import StandIn, provider, sign_in
from tests.in_process.sign_in_service import PASSWORD, SignInService
from tests.page.conftest import PATIENCE, Watch

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]


@pytest.fixture(scope="module")
def there() -> Iterator[StandIn]:
    with provider() as stand_in:
        yield stand_in


@pytest.fixture(scope="module")
def walls(there: StandIn, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignInService]:
    made = SignInService(
        tmp_path_factory.mktemp("door"),
        providers=lambda customers: Providers([sign_in(there.issuer, title="Acme ID")], customers),
    )
    yield made
    made.close()


@pytest.fixture
def house(walls: SignInService) -> Iterator[SignInService]:
    walls.empty()
    yield walls
    assert not walls.faults


@pytest.fixture
def arrive(house: SignInService, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open a browser of somebody who is not signed in; passkeys need a name as address."""
    contexts: list[Any] = []
    base = f"https://localhost:{house.port}"
    watch = Watch(f"localhost:{house.port}")

    def arrive(*, watched: bool = True) -> Page:
        context = chromium.new_context(
            base_url=base,
            ignore_https_errors=True,
            locale="en-GB",
            viewport={"width": 1280, "height": 800},
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        if watched:
            watch.over(page)
        return page

    yield arrive
    for context in contexts:
        context.close()
    assert watch.seen == []


def authenticator(page: Page) -> Any:
    """Give a browser a security key that says yes to everything."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    options = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
               "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip
    return devtools, devtools.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]


def fill(page: Page, name: str = "anna", password: str = PASSWORD) -> None:
    page.get_by_label("Customer").fill("acme")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()


def add_passkey(page: Page, label: str = "laptop") -> None:
    """Sign in with the password and put a passkey on file."""
    page.goto("/sign-in?customer=acme")
    fill(page)
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    page.goto("/account")
    page.get_by_text("Add a passkey").click()
    page.locator("form[action='/account/passkey'] input[name=password]").fill(PASSWORD)
    page.locator("form[action='/account/passkey'] button").click()
    page.get_by_label("A name for it").fill(label)
    clean(page)
    page.get_by_role("button", name="Create the passkey").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")


def clean(page: Page) -> None:
    """Nothing in the way of anybody (axe-core, WCAG 2.2 AA)."""
    found = Axe().run(page, options={"runOnly": RULES}).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []


def test_from_the_link_to_the_page_with_an_app_and_out_again(house: SignInService, arrive: Callable[..., Page]) -> None:
    house.family.second_factor_required = True
    secret = house.invite("anna", "admin", "privacy")
    page = arrive()
    page.goto(f"/invitation?customer=acme&key={secret}")
    clean(page)
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button").filter(has_text="Set the password").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Set up an authenticator app")
    clean(page)
    page.get_by_text("Or type the secret").click()
    app = re.search(r"[A-Z2-7]{32}", page.inner_text("main")).group(0)
    page.get_by_role("textbox", name="Code").fill(house.code(app))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Recovery codes")
    clean(page)
    with page.expect_navigation():
        page.get_by_role("button", name="Go on").click()
    page.goto("/account")
    expect(page.get_by_text("authenticator app", exact=True)).to_be_visible()
    clean(page)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Sign in")


def test_a_passkey_is_made_and_asked_for(house: SignInService, arrive: Callable[..., Page]) -> None:
    house.settle()
    page = arrive()
    devtools, device = authenticator(page)
    add_passkey(page, "laptop <b>")
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_text("Remove the passkey laptop <b>")).to_be_visible()
    page.get_by_role("button", name="Sign out").click()

    fill(page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Second step")
    clean(page)
    page.get_by_role("button", name="Use a passkey").click()
    page.wait_for_url("**/calls")
    assert page.goto("/account").status == 200
    assert house.told()[-1] == ("anna", "session.open", "done", "password and passkey")

    (key,) = devtools.send("WebAuthn.getCredentials", {"authenticatorId": device})["credentials"]
    assert key["rpId"] == "localhost"
    assert key["signCount"] == house.customers["acme"].accounts.all()[0].passkeys[0].count


def test_through_a_provider_and_back_with_the_strict_cookie(house: SignInService, arrive: Callable[..., Page]) -> None:
    """Chromium sends no Strict cookie with the redirect back; the page in between brings it along."""
    page = arrive(watched=False)
    page.goto("/sign-in?customer=acme&next=/account")
    page.get_by_role("button", name="Sign in with Acme ID").click()
    page.locator("#back").click()
    page.wait_for_url("**/account")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your account")
    assert "anna@acme.example" in page.inner_text("header")
