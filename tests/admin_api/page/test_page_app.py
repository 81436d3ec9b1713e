"""The page as a whole: who is let in, what every answer carries, which forms are taken."""

import contextlib
import re

from admin_api.http.permissions import Role
from admin_api.page.framework.sessions import COOKIE
from storage.token_buckets import Rate
from tests.admin_api.page.conftest import Browser
from tests.in_process.api_service import Service


def test_a_visitor_is_redirected_to_the_sign_in_page(browse):
    stranger = browse()
    for path, to in (("/calls", "/calls"), ("/calls?party=x&state=", "/calls%3Fparty%3Dx%26state%3D")):
        answer = stranger.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sign-in?next={to}")
    assert stranger.get("/sign-in").status_code == 200


def test_every_answer_forbids_scripts_of_others_and_caches(browse):
    for path in ("/", "/sign-in", "/static/page.js"):
        headers = browse().get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert "no-store" in headers["cache-control"]
    assert "no-store" in browse().get("/nothing-here").headers["cache-control"]


def test_unknown_paths_and_wrong_methods_are_refused(browse):
    admin = browse(Role.ADMIN)
    for path in ("/no-such-page", "/static/..%2f..%2fsite.py", "/static/none.js"):
        assert admin.get(path).status_code == 404
    answer = admin.get("/account/password")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_only_the_static_files_of_a_page_may_be_cached(browse):
    page = browse(Role.ADMIN).get("/account")
    links = re.findall(r'(?:src|href)="(/static/[^"]+)"', page.text)
    assert len(set(links)) >= 5
    for link in links:
        answer = browse().get(link)
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=31536000, immutable")
        assert answer.headers["content-encoding"] == "gzip"
    assert page.headers["cache-control"] == "no-store"


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "Accept-Language": "de"}


def test_a_browser_gets_a_404_page_and_a_program_a_document(browse):
    for visitor in (browse(), browse(Role.LISTENER)):
        lost = visitor.get("/nothing", headers=BROWSER)
        assert (lost.status_code, lost.headers["content-type"]) == (404, "text/html; charset=utf-8")
        assert (
            "Hier wurde nichts gefunden" in lost.text
            and "default-src 'none'" in lost.headers["content-security-policy"]
        )
        assert 'href="/">Zur Startseite' in lost.text  # without the menu nothing else leads on
        assert lost.headers["cache-control"] == "no-store"
        assert visitor.client.request("HEAD", "/nothing", headers=BROWSER).status_code == 404
    for path, headers in (("/nothing", {}), ("/apis", {}), ("/api/v1/nothing", BROWSER), ("/metrics/x", {})):
        assert browse().get(path, headers=headers).headers["content-type"] == "application/problem+json"
    wrong = browse().client.post("/healthz", headers=BROWSER)
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")


def test_a_form_from_elsewhere_does_not_sign_out(browse):
    admin = browse(Role.ADMIN)
    kept = admin.client.cookies.get(COOKIE)
    assert admin.post("/sign-out", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert admin.post("/sign-out").status_code == 303
    admin.client.cookies.set(COOKIE, kept)
    assert admin.get("/calls").status_code == 303, "the session is closed"


def test_a_session_has_a_rate_like_a_token(tmp_path, monkeypatch):
    monkeypatch.setattr("admin_api.assembly.page_app.PER_TOKEN", Rate(0.001, 2.0))
    with contextlib.ExitStack() as stack:
        service = stack.enter_context(contextlib.closing(Service(tmp_path)))
        admin, other = (Browser(service, Role.ADMIN, name=name) for name in ("Grace", "Ada"))
        for browser in (admin, other):
            stack.enter_context(browser.client)
        answers = [admin.get("/account") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert answers[-1].headers["retry-after"]
        assert other.get("/account").status_code == 200
