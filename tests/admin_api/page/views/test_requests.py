"""Requests as the desk sees them: the list, a new one, and candidates with why."""

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


def test_the_form_creates_a_request_with_candidates(browse, service):
    browser, stranger = browse(Role.PRIVACY), browse(Role.PRIVACY, customer="beta")
    place = file(browser)
    case = service.ask(place, Role.PRIVACY).json()
    assert case["identities"] == ["+49 30 1234000", "<script>Ada</script>"]
    assert (case["kind"], case["user"]) == (["access", "erasure"], None)
    assert case["received_at"] == "2026-02-01T00:00:00.000Z"
    listed = browser.text("/requests?state=open")
    assert "letter 17" in listed and "overdue" in listed and "access (Art. 15), erasure (Art. 17)" in listed
    assert "letter 17" not in browser.text("/requests?state=done")
    assert browser.get("/requests?state=lost").status_code == 422
    page = browser.get(place).text
    assert "&lt;script&gt;Ada&lt;/script&gt;" in page and "<script>Ada" not in page
    assert service.ids["acme"][0] in page and "It was the person&#39;s at that time." in page
    assert page.count('name="shown"') == page.count('name="in"') == 1
    assert stranger.get(place).status_code == stranger.post(f"{place}/close", {"outcome": "done"}).status_code == 404
    for id in ("Qz7", "00000000-0000-4000-8000-000000000000", "%3Cb%3E"):
        answer = browser.get(f"/requests/{id}")
        assert answer.status_code == 404 and "Qz7" not in words(answer.text)


def test_a_request_without_an_identity_keeps_its_form(browse):
    browser, letter = browse(Role.PRIVACY), {**LETTER, "identities": " ", "kind": []}
    answer = browser.post("/requests/new", letter)
    assert answer.status_code == 422 and 'value="letter 17"' in answer.text
    assert "choose at least one" in answer.text and "<li>Who asks: must name the person" in answer.text
    german = browser.post("/requests/new", letter, headers={"Accept-Language": "de"}).text
    assert "<li>Wer fragt: muss die Person nennen" in german
    page = browser.get("/requests/new?identities=%22%3E%3Cb%3E&user=u1").text
    assert "&#34;&gt;&lt;b&gt;</textarea>" in page and 'value="u1"' in page
