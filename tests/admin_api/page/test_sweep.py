"""Every view as every role and as nobody: who may, sees it; for everybody else it is not there."""

import re
from html import unescape

import pytest

from admin_api.assembly import page_routes
from admin_api.http.permissions import Role
from admin_api.page.framework.page_request import View
from tests.admin_api.privacy.test_erasures import UNKNOWN
from tests.admin_api.privacy.test_waiver import WAIVER

READ = [view for view in page_routes.VIEWS if view.method == "GET"]
WRITTEN = [view for view in page_routes.VIEWS if view.method == "POST"]


@pytest.fixture(scope="module")
def known(shared):
    """One object of each kind of both customers, by the first segment of its path."""
    found = {}
    for name in ("acme", "beta"):
        shared.ask("/waiver", method="PUT", customer=name, json=WAIVER)
        call = shared.ids[name][0]
        found[name] = {"calls": call, "users": UNKNOWN}
        for kind, body in (
            ("requests", {"kind": "access", "identities": ["+49301234000"]}),
            ("erasures", {"calls": [UNKNOWN], "reason": "x"}),
            ("exports", {"calls": [call], "format": "csv", "reason": "x"}),
        ):
            made = shared.ask(f"/{kind}", Role.PRIVACY, customer=name, method="POST", json=body)
            found[name][kind] = made.json()["id"]
    return found


def path_of(view: View, ids: dict[str, str]) -> str:
    """Put an id into a path; of a user and an attachment none is known, and the view says so itself."""
    return view.path.replace("{id}", ids.get(view.path.split("/")[1], UNKNOWN)).replace("{part}", UNKNOWN)


def allowed(view: View, role: Role) -> bool:
    return view.needs is None or role in page_routes.ROLES[view.needs]


@pytest.mark.parametrize("role", Role)
def test_each_role_finds_its_views_and_no_other(browse, known, role):
    browser = browse(role)
    wrong = []
    for view in READ:
        answer = browser.get(path_of(view, known["acme"]))
        own = "or your role may not" in answer.text  # the page's own 404, which tells nothing of the path
        if own == allowed(view, role) or (not own and answer.status_code in (403, 500, 503)):
            wrong.append((view.path, answer.status_code))
        assert answer.headers["cache-control"] == "no-store"
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert wrong == []


@pytest.mark.parametrize("role", Role)
def test_the_menu_lists_what_the_role_may_see(browse, role):
    page = browse(role).get("/account").text
    menu = page.split('<ul class="menu">')[1].split("</ul>")[0]
    assert re.findall(r'href="([^"]+)"', menu) == [v.path for v in READ if v.menu and allowed(v, role)]


@pytest.mark.parametrize("role", Role)
def test_a_forbidden_form_cannot_be_posted(browse, known, role):
    browser = browse(role)
    for view in WRITTEN:
        if not allowed(view, role):
            assert browser.post(path_of(view, known["acme"])).status_code in (404, 405), view.path


def test_every_view_refuses_strangers_and_forged_forms(browse, known):
    everybody, stranger = browse(*Role), browse()
    for view in page_routes.VIEWS:
        path = path_of(view, known["acme"])
        answer = stranger.client.request(view.method, path)
        assert answer.status_code == 303 and answer.headers["location"].startswith("/sign-in"), view.path
        if view.method == "POST":
            for token in ("", "x" * 64):
                assert everybody.client.post(path, data={"csrf": token}).status_code == 403, view.path
            foreign = everybody.post(path, headers={"Sec-Fetch-Site": "cross-site"})
            assert foreign.status_code == 403, view.path


def test_another_customers_ids_are_404(browse, known):
    everybody = browse(*Role)
    for view in READ:
        if "{id}" in view.path:
            answer = everybody.get(path_of(view, known["beta"]))
            assert answer.status_code == 404, view.path
    for place in known["beta"].values():
        assert place not in everybody.get("/requests").text + everybody.get("/erasures").text


def test_every_link_and_form_of_a_page_leads_to_a_view(browse, known):
    """A view that was renamed leaves no dead link behind."""
    shapes = "|".join(re.sub(r"\{\w+\}", "[0-9a-f-]{36}", view.path) for view in page_routes.VIEWS)
    leads = re.compile(rf"({shapes}|/sign-out|/appearance|/sign-in|/static/.*|)([?#].*)?", re.S)
    everybody = browse(*Role)
    for view in READ:
        page = everybody.get(path_of(view, known["acme"]))
        links = re.findall(r'(?:href|action|src|hx-get|hx-post)="([^"]*)"', page.text)
        if "html" in page.headers.get("content-type", ""):
            assert [link for link in links if not leads.fullmatch(unescape(link))] == [], view.path
