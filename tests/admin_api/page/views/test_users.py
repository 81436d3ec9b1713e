"""Directory users on the page."""

import re
from html import unescape

import pytest

from admin_api.http.permissions import Role
from storage.directory.user import Person

ADA = Person(first_name="Ada", last_name="Acme", upn="ada@acme.example", numbers=("+49301234000",))
EVE = Person(first_name="<b>Eve</b>", last_name="Gone", email="eve@acme.example")
NOBODY = "00000000-0000-4000-8000-00000000ffff"


@pytest.fixture(scope="module")
def people(shared):
    """Ada, whom a recording knows, and Eve, whom none does: their ids."""

    async def work():
        customer = shared.customers["acme"]
        await customer.users.carry_out(await customer.users.plan((ADA, EVE), "csv", whole=True))
        found, _ = await customer.users.listed(100)
        return {user.person.last_name: user.id for user in found}

    return shared.run(work())


def test_users_are_listed_found_and_paged(browse, people, monkeypatch):
    browser = browse(Role.PRIVACY)
    page = browser.get("/users").text
    assert f'<a href="/users/{people["Acme"]}"><bdi>Ada Acme</bdi></a>' in page
    assert "&lt;b&gt;Eve&lt;/b&gt; Gone" in page and "CSV file" in page and "in the directory" in page
    for question in ("q=acme", "q=+49+30+1234+000"):
        found = browser.text(f"/users?{question}")
        assert "Ada Acme" in found and "Gone" not in found
    for question in ("q=Nemo", "state=inactive"):
        assert "Nobody matches." in browser.text(f"/users?{question}")
    monkeypatch.setattr("admin_api.page.views.users.PAGE", 1)
    page = browser.get("/users").text
    (rest,) = re.findall(r'rel="next" href="([^"]+)"', page)
    pages = page, browser.get(unescape(rest)).text
    assert sorted(("Ada Acme" in each, "Gone" in each) for each in pages) == [(False, True), (True, False)]
    assert browse(Role.LISTENER).get("/users").status_code == 404


def test_one_is_shown_with_what_it_is_known_by(browse, people, service, monkeypatch):
    browser, place = browse(Role.PRIVACY), f"/users/{people['Acme']}"
    page, warned = browser.text(place), "Calls may be missing here: the index is being rebuilt."
    for text in ("Ada Acme", "ada@acme.example", "user principal name", "+49301234000", "the beginning", "today"):
        assert text in page, text
    assert "/edit" not in browser.get(place).text, "the directory has this user"
    changed = browser.post(f"{place}/edit", {"first_name": "Eva", "upn": ADA.upn})
    assert changed.status_code == 409 and "change it there" in changed.text
    answer = browser.get(f"{place}/export")
    assert answer.headers["content-disposition"].startswith("attachment") and answer.json()["user"]["upn"] == ADA.upn
    monkeypatch.setattr(service.daemon, "index_is_there", False)
    assert warned not in page and warned in browser.text(place)


def test_a_user_is_unmapped_before_it_is_deleted(browse, people):
    browser = browse(Role.PRIVACY)
    place = f"/users/{people['Gone']}"
    refused = browser.post(f"{place}/delete")
    assert refused.status_code == 409 and "The user is still in the directory." in refused.text
    assert browser.post(f"{place}/unmap").headers["location"] == place
    page = browser.text(place)
    assert "inactive" in page and "Left the directory" in page and "Unmap" not in page
    assert browser.post(f"{place}/delete").headers["location"] == "/users"
    assert browser.get(place).status_code == 404
