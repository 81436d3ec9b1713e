"""Debian's Chromium in front of the page: HTTPS on loopback, a customer worth looking at, somebody signed in by role.

    def test_calls(visitor):
        page = visitor(Role.PRIVACY)          a Playwright page, signed in; language, theme, width may be chosen
        page.goto("/calls")

After each test nothing may have been written to a console, no rule of the content security policy broken, and nothing
asked of another host.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from admin_api.http.bearer import Principal
from admin_api.http.permissions import Role
from admin_api.page.framework.sessions import COOKIE
from tests.in_process import sample_customer
from tests.in_process.api_service import FakeDaemon, Service

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")  # where Debian puts it
ARGUMENTS = (
    "--no-sandbox",  # tests run as root in containers, where Chromium's own sandbox cannot
    "--disable-dev-shm-usage",  # /dev/shm of a container is small
    "--autoplay-policy=no-user-gesture-required",
)
PATIENCE = 30_000  # milliseconds until something must have appeared, on a busy machine too
expect.set_options(timeout=PATIENCE)  # by itself it waits 5 s


class Town(Service):
    """The server of the API's tests, with the calls of `sample_customer` for the first customer."""

    async def fill(self, customer: str) -> list[str]:
        if customer != "acme":
            return await super().fill(customer)
        made = list(sample_customer.calls())
        await self.customers[customer].calls.put([row for row, _ in made], [forms for _, forms in made])
        return [row.id for row, _ in made]


@dataclass
class Watch:
    """What a page did that it must not do."""

    host: str
    seen: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        """Look at everything that a page says and asks for."""
        page.on("console", lambda said: self._said(said))
        page.on("pageerror", lambda error: self.seen.append(f"script failed: {error}"))
        page.on("request", lambda request: self._asked(request.url))

    def _said(self, said: Any) -> None:
        # Chromium writes every answer of 400 and more to the console; those are asked for by tests that mean it
        if said.type in ("error", "warning") and "Failed to load resource" not in said.text:
            self.seen.append(f"console: {said.text}")

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob") and parts.netloc != self.host:
            self.seen.append(f"asked another host: {url}")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for the tests of a file."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS), timeout=2 * PATIENCE)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """One server for the tests of a file."""
    made = Town(tmp_path_factory.mktemp("page"))
    yield made
    made.close()


@pytest.fixture
def service(shared: Town) -> Iterator[Town]:
    """The server with a desk that knows nothing yet; nothing may have failed unseen."""
    shared.daemon.__dict__.update(FakeDaemon().__dict__)
    shared.daemon.sound = sample_customer.sound()
    shared.daemon.figures = sample_customer.figures()
    shared.faults.clear()
    shared.later = 0.0
    yield shared
    assert not shared.faults


@pytest.fixture
def visitor(service: Town, chromium: Browser) -> Iterator[Callable[..., Page]]:
    """Open pages as somebody with these roles; without roles nobody is signed in."""
    contexts = []
    watch = Watch(urlsplit(service.base).netloc)

    def visitor(
        *roles: Role,
        customer: str = "acme",
        name: str = "Grace",
        language: str = "en",
        theme: str = "light",
        width: int = 1280,
        height: int = 800,
        scripts: bool = True,
        watched: bool = True,
    ) -> Page:
        context = chromium.new_context(
            base_url=service.base,
            ignore_https_errors=True,
            locale={"en": "en-GB", "de": "de-DE"}[language],
            timezone_id="Europe/Berlin",
            color_scheme="dark" if theme == "dark" else "light",
            viewport={"width": width, "height": height},
            java_script_enabled=scripts,
            reduced_motion="reduce",
        )
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        if roles:
            sign_in(service, context, *roles, customer=customer, name=name)
        page = context.new_page()
        if watched:
            watch.over(page)
        return page

    yield visitor
    for context in contexts:
        context.close()
    assert watch.seen == []


def sign_in(service: Service, context: Any, *roles: Role, customer: str = "acme", name: str = "Grace") -> None:
    """Give a browser the cookie of a new session."""
    site = service.run(service.lazy_page.site())
    principal = Principal(service.customers[customer], "", name, tuple(role.value for role in roles), "127.0.0.1")
    _, cookie = service.run(site.sessions.open(principal, service.monotonic()))
    kept = {"name": COOKIE, "value": cookie, "url": f"{service.base}/", "secure": True, "httpOnly": True}
    context.add_cookies([{**kept, "sameSite": "Strict"}])


def until(page: Page, true: str) -> None:
    """Wait for something; Playwright's own way needs `eval`, which the page's policy forbids."""
    for _ in range(PATIENCE // 50):
        if page.evaluate(true):
            return
        page.wait_for_timeout(50)
    raise AssertionError(true)
