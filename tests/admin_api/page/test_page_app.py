"""The page as a whole: who is let in, what every answer carries, which forms are taken."""

from __future__ import annotations

import asyncio
import re
import socket
import time

import pytest

from admin_api.assembly.page_app import COOKIE
from admin_api.http.permissions import Role
from admin_api.http.rate_limit import Limiter
from storage.token_buckets import Rate


def test_a_visitor_is_redirected_to_the_sign_in_page(browse):
    stranger = browse()
    answer = stranger.get("/calls")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=/calls"
    assert stranger.get("/calls?party=x&state=").headers["location"] == "/sign-in?next=/calls%3Fparty%3Dx%26state%3D"
    assert stranger.get("/sign-in").status_code == 200


def test_every_answer_forbids_scripts_of_others_and_caches(browse):
    for path in ("/", "/sign-in", "/nothing-here", "/static/page.js"):
        headers = browse().get(path).headers
        if path != "/nothing-here":
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
        assert "no-store" in headers["cache-control"]


def test_only_the_static_files_of_a_page_may_be_cached(browse):
    page = browse(Role.ADMIN).get("/account")
    links = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(set(links)) >= 5
    for link in links:
        answer = browse().get(link)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert answer.headers["content-encoding"] == "gzip"
    assert page.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/no-such-page", "/static/..%2f..%2fsite.py", "/static/none.js"])
def test_an_unknown_page_path_gives_404(browse, path):
    assert browse(Role.ADMIN).get(path).status_code == 404


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language": "de"}


def test_a_browser_gets_a_404_page_and_a_program_a_document(browse):
    for visitor in (browse(), browse(Role.LISTENER)):
        lost = visitor.get("/nothing", headers=BROWSER)
        assert (lost.status_code, lost.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert (
            "Hier wurde nichts gefunden" in lost.text
            and "default-src 'none'" in lost.headers["content-security-policy"]
        )
        assert lost.headers["cache-control"] == "no-store"
        assert visitor.client.request("HEAD", "/nothing", headers=BROWSER).status_code == 404
    for path, headers in (("/nothing", {}), ("/apis", {}), ("/api/v1/nothing", BROWSER), ("/metrics/x", {})):
        assert browse().get(path, headers=headers).headers["content-type"] == "application/problem+json"
    wrong = browse().client.post("/healthz", headers=BROWSER)
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")


def test_a_form_from_elsewhere_does_nothing(browse):
    admin = browse(Role.ADMIN)
    admin.client.headers["Sec-Fetch-Site"] = "cross-site"
    assert admin.post("/sign-out").status_code == 403
    del admin.client.headers["Sec-Fetch-Site"]
    assert admin.post("/sign-out").status_code == 303
    assert admin.get("/").headers.get("location", "/sign-in").startswith("/sign-in")


def test_a_cookie_is_worth_nothing_once_its_session_is_closed(browse):
    admin = browse(Role.ADMIN)
    kept = admin.client.cookies.get(COOKIE)
    admin.post("/sign-out")
    admin.client.cookies.set(COOKIE, kept)
    assert admin.get("/calls").status_code == 303


def test_a_session_has_a_rate_like_a_token(browse, service, monkeypatch):
    admin = browse(Role.ADMIN)
    site = service.run(service.lazy_page.site())
    monkeypatch.setattr(site, "_per_session", Limiter(Rate(0.001, 2.0)))
    assert [admin.get("/account").status_code for _ in range(3)] == [200, 200, 429]
    assert admin.get("/account").headers["retry-after"]
    assert browse(Role.ADMIN).get("/account").status_code == 200


def test_a_wrong_method_gets_405_with_allow(browse):
    answer = browse(Role.ADMIN).get("/account/password")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_client_that_aborts_a_form_causes_no_error(service):
    """Strangers could fill the log with faults."""
    head = b"POST /sign-out HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 100\r\n\r\nab"
    with (
        socket.create_connection(("127.0.0.1", service.port)) as plain,
        service.client_context.wrap_socket(plain, server_hostname="127.0.0.1") as stranger,
    ):
        stranger.sendall(head)
        until(lambda: service.run(requests_under_way()))
    assert service.client.get("/healthz").status_code == 200
    until(lambda: not service.run(requests_under_way()))
    assert service.faults == []


async def requests_under_way():
    return [task for task in asyncio.all_tasks() if "run_asgi" in repr(task)]


def until(there):
    for _ in range(1000):
        if there():
            return
        time.sleep(0.05)
    pytest.fail("it took too long")
