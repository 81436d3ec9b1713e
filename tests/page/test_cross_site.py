"""Another site open in the same browser can neither act for whoever is signed in nor show the page inside itself."""

import threading
from collections.abc import Callable, Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import Page

from admin_api.http.permissions import Role
from tests.page.conftest import PATIENCE, Town

Site = Callable[[str], str]


@pytest.fixture
def elsewhere() -> Iterator[Site]:
    """Put a page on a site of its own; return its address."""
    shown = [b""]

    class Shows(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(shown[0])

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    # with threads: Chromium opens connections that it may ask nothing on, and waits on none of them
    with ThreadingHTTPServer(("127.0.0.1", 0), Shows) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def elsewhere(html: str) -> str:
            shown[0] = html.encode()
            return f"http://localhost:{server.server_port}/"

        yield elsewhere
        server.shutdown()
        thread.join()


def test_a_form_of_another_site_does_nothing(service: Town, visitor: Callable[..., Page], elsewhere: Site) -> None:
    page = visitor(Role.PRIVACY, watched=False)
    page.goto("/calls")
    call, before = service.ids["acme"][0], len(service.acts())
    action = escape(f"{service.base}/calls/{call}/hold")
    page.goto(elsewhere(f"<form method=post action='{action}'><input name=reason value=x><button>Win</button></form>"))
    page.get_by_role("button").click()
    page.wait_for_url(f"{service.base}/**")
    assert page.locator("h1").inner_text() in ("Sign in", "This form is not from this page")
    assert service.ask(f"/calls/{call}").json()["hold"] is False
    assert [act["action"] for act in service.acts()[before:]] == ["call.view"]


def test_a_link_on_another_site_opens_nothing(service: Town, visitor: Callable[..., Page], elsewhere: Site) -> None:
    page = visitor(Role.PRIVACY, watched=False)
    page.goto("/calls")
    page.goto(elsewhere(f"<a href='{escape(service.base)}/requests'>look</a>"))
    page.get_by_role("link").click()
    page.wait_for_url("**/sign-in**")


def test_another_site_cannot_frame_the_page(service: Town, visitor: Callable[..., Page], elsewhere: Site) -> None:
    page = visitor(Role.PRIVACY, watched=False)
    page.goto("/calls")
    page.goto(elsewhere(f"<iframe src='{escape(service.base)}/sign-in' width=600 height=400></iframe>"))
    frame = page.frames[1]
    for _ in range(PATIENCE // 50):
        if frame.url and frame.url != "about:blank":
            break
        page.wait_for_timeout(50)
    assert frame.url == "chrome-error://chromewebdata/"
