"""Directory users on the page."""

from __future__ import annotations

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


def test_all_are_listed_and_lead_to_their_pages(browse, people):
    page = browse(Role.PRIVACY).get("/users").text
    assert f'<a href="/users/{people["Acme"]}"><bdi>Ada Acme</bdi></a>' in page
    assert "&lt;b&gt;Eve&lt;/b&gt; Gone" in page and "CSV file" in page and "in the directory" in page


def test_one_is_found_by_name_and_number(browse, people):
    browser = browse(Role.PRIVACY)
    for question in ("acme", "+49+30+1234+000"):
        found = browser.text(f"/users?q={question}")
        assert "Ada Acme" in found and "Gone" not in found
    assert "Nobody matches." in browser.text("/users?q=Nemo")
    assert "Nobody matches." in browser.text("/users?state=inactive")


def test_the_user_list_links_to_its_next_page(browse, people, monkeypatch):
    monkeypatch.setattr("admin_api.page.views.users.PAGE", 1)
    browser = browse(Role.PRIVACY)
    page = browser.get("/users").text
    rest = page.partition('rel="next" href="')[2].partition('"')[0].replace("&amp;", "&")
    both = page + browser.get(rest).text
    assert "Ada Acme" in both and "Gone" in both and "Ada Acme" not in page * ("Gone" in page)


def test_one_is_shown_with_what_it_is_known_by(browse, people):
    page = browse(Role.PRIVACY).text(f"/users/{people['Acme']}")
    for text in ("Ada Acme", "ada@acme.example", "user principal name", "+49301234000", "ever", "today"):
        assert text in page, text


def test_a_users_data_is_downloaded_as_a_file(browse, people):
    answer = browse(Role.PRIVACY).get(f"/users/{people['Acme']}/export")
    assert answer.headers["content-disposition"].startswith("attachment") and answer.json()["user"]["upn"] == ADA.upn


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


@pytest.mark.parametrize("id", [NOBODY, "x"])
def test_an_unknown_user_gives_404(browse, id):
    browser = browse(Role.PRIVACY)
    assert browser.get(f"/users/{id}").status_code == 404
    for act in ("unmap", "delete"):
        assert browser.post(f"/users/{id}/{act}").status_code == 404


def test_a_listener_has_no_user_page(browse):
    assert browse(Role.LISTENER).get("/users").status_code == 404


def test_a_user_page_warns_while_the_index_is_incomplete(browse, people, service, monkeypatch):
    browser, said = browse(Role.PRIVACY), "Calls may be missing here: the index is being rebuilt."
    assert said not in browser.text(f"/users/{people['Acme']}")
    monkeypatch.setattr(service.daemon, "index_is_there", False)
    assert said in browser.text(f"/users/{people['Acme']}")
