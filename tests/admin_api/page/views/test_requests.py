"""Requests as the desk sees them: the list, a new one, and candidates with why."""

from __future__ import annotations

import pytest

from admin_api.http.permissions import Role
from tests.admin_api.page.conftest import words

LETTER = {
    "kind": ["access", "erasure"],
    "identities": "+49 30 1234000\r\n\r\n<script>Ada</script>\r\n",
    "user": "",
    "received_at": "2026-02-01",
    "reference": "letter 17",
    "reason": "",
}


def file(browser, **changes):
    """File a request; return where it stands."""
    answer = browser.post("/requests/new", {**LETTER, **changes})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


def test_the_form_creates_a_request(browse, service):
    daemon = browse(Role.PRIVACY)
    place = file(daemon)
    case = service.ask(place, Role.PRIVACY).json()
    assert case["identities"] == ["+49 30 1234000", "<script>Ada</script>"]
    assert (case["kind"], case["received_at"], case["user"]) == (
        ["access", "erasure"],
        "2026-02-01T00:00:00.000Z",
        None,
    )
    listed = daemon.text("/requests")
    assert "letter 17" in listed and "overdue" in listed and "access (Art. 15), erasure (Art. 17)" in listed


def test_candidates_stand_there_with_why(browse, service):
    daemon = browse(Role.PRIVACY)
    page = daemon.get(file(daemon)).text
    assert "&lt;script&gt;Ada&lt;/script&gt;" in page and "<script>Ada" not in page
    assert service.ids["acme"][0] in page
    assert "It was the person&#39;s at that time." in page
    assert page.count('name="shown"') == page.count('name="in"') == 1


def test_a_request_without_an_identity_keeps_its_form(browse):
    answer = browse(Role.PRIVACY).post("/requests/new", {**LETTER, "identities": " ", "kind": []})
    assert answer.status_code == 422
    assert "choose at least one" in answer.text and "must name the person" in answer.text
    assert 'value="letter 17"' in answer.text


def test_a_request_fault_names_the_translated_field(browse):
    letter = {**LETTER, "identities": " "}
    english = browse(Role.PRIVACY).post("/requests/new", letter).text
    german = browse(Role.PRIVACY).post("/requests/new", letter, headers={"Accept-Language": "de"}).text
    assert "<li>Who asks: must name the person" in english and "<li>Wer fragt: muss die Person nennen" in german


def test_a_search_or_a_user_fills_the_form(browse):
    page = browse(Role.PRIVACY).get("/requests/new?identities=%22%3E%3Cb%3E&user=u1").text
    assert "&#34;&gt;&lt;b&gt;</textarea>" in page and 'value="u1"' in page


def test_the_list_is_chosen_by_state(browse):
    daemon = browse(Role.PRIVACY)
    file(daemon, reference="only open ones")
    assert "only open ones" in daemon.text("/requests?state=open")
    assert "only open ones" not in daemon.text("/requests?state=done")
    assert daemon.get("/requests?state=lost").status_code == 422


@pytest.mark.parametrize("role", [Role.LISTENER, Role.APPROVER, Role.AUDITOR, Role.OPERATOR])
def test_others_have_no_such_view(browse, role):
    for path in ("/requests", "/requests/new"):
        assert browse(role).get(path).status_code == 404
    assert browse(role).post("/requests/new", LETTER).status_code == 404


@pytest.mark.parametrize("id", ["Qz7", "00000000-0000-4000-8000-000000000000", "%3Cb%3E"])
def test_an_unknown_request_is_404(browse, id):
    answer = browse(Role.PRIVACY).get(f"/requests/{id}")
    assert answer.status_code == 404 and "Qz7" not in words(answer.text)


def test_another_customers_request_is_404(browse):
    place = file(browse(Role.PRIVACY))
    stranger = browse(Role.PRIVACY, customer="beta")
    assert stranger.get(place).status_code == 404
    assert stranger.post(f"{place}/close", {"outcome": "done"}).status_code == 404
