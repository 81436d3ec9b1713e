"""Users of a customer without a directory, by a plain form."""

import json

import pytest

from admin_api.http.permissions import Role

ADA = {"first_name": "Ada", "last_name": "<Acme>", "email": "ada@acme.example", "numbers": "+49301\r\n \r\n +49302 "}


@pytest.fixture
def ada(service, browse):
    """A user made by the form: her page."""
    for user in service.ask("/users").json()["items"]:
        service.ask(f"/users/{user['id']}/unmap", method="POST", json={})
        service.ask(f"/users/{user['id']}", method="DELETE")
    return browse(Role.PRIVACY).post("/users/new", ADA).headers["location"]


def test_one_is_made_shown_and_changed(service, browse, ada):
    browser, made = browse(Role.PRIVACY), service.ask(ada).json()
    assert (made["source"], made["numbers"], made["upn"]) == ("api", ["+49301", "+49302"], None)
    page = browser.get(ada).text
    assert "Ada &lt;Acme&gt;" in page and f'href="{ada}/edit"' in page
    nobody = browser.post("/users/new", {"first_name": "Eve"})
    assert nobody.status_code == 422 and 'value="Eve"' in nobody.text
    twice = browser.post("/users/new", ADA)
    assert twice.status_code == 409 and "This user already exists" in twice.text
    page = browser.get(f"{ada}/edit").text
    assert 'value="&lt;Acme&gt;"' in page and "+49301\n+49302</textarea>" in page
    done = browser.post(f"{ada}/edit", {**ADA, "numbers": "+49303", "addresses": "sip:ada@acme.example"})
    assert done.headers["location"] == ada
    made = service.ask(ada).json()
    assert (made["numbers"], made["addresses"]) == (["+49303"], ["sip:ada@acme.example"])
    assert [each["value"] for each in made["former"]] == ["+49301", "+49302"]


def test_unknown_ones_and_other_roles_find_nothing(browse):
    browser = browse(Role.PRIVACY)
    assert browser.get("/users/00000000-0000-4000-8000-00000000ffff/edit").status_code == 404
    for path in ("/users/new", "/users/x/edit"):
        assert browse(Role.LISTENER).get(path).status_code == 404


def test_half_a_character_in_a_name_breaks_no_page(service, browse):
    """JSON can carry it and HTML cannot."""
    half = {"first_name": "Ada\ud800", "email": "half@a.example"}
    made = service.ask("/users", "privacy", method="POST", content=json.dumps(half)).json()["id"]
    browser = browse(Role.PRIVACY)
    for path in ("/users", f"/users/{made}", f"/users/{made}/edit"):
        page = browser.get(path)
        assert page.status_code == 200 and "Ada\ufffd" in page.text
