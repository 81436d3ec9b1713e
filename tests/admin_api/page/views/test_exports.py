"""Exports on the page: the list, one of them, its file, its end."""

import re
from html import unescape

import pytest

from admin_api.http.permissions import Role
from recorder.exports.export_job import LACKING, NO_ROOM
from tests.admin_api.exports.test_exports import NOBODY, make
from tests.admin_api.page.conftest import words


def ask(service, **body):
    made = service.ask("/exports", "privacy", method="POST", json={"reason": "Art. 15", "calls": [NOBODY], **body})
    return made.json()["id"]


def test_a_running_export_shows_its_progress(service, browse):
    id = ask(service)
    service.customers["acme"].exports.progress[id] = (3, 7)
    browser = browse(Role.PRIVACY)
    assert "3 of 7 calls" in browser.text("/exports") and "3 of 7 calls" in browser.text(f"/exports/{id}")
    assert '<progress value="3" max="7">' in browser.get(f"/exports/{id}").text
    before = len(service.acts())
    for _ in range(3):
        part = browser.get("/exports", headers={"HX-Request": "true"}).text
        assert part.lstrip().startswith('<div id="list"') and 'hx-trigger="every 2s"' in part
        part = browser.get(f"/exports/{id}", headers={"HX-Request": "true"}).text
        assert part.lstrip().startswith('<div id="state"')
    assert len(service.acts()) == before + 2
    browser.post(f"/exports/{id}/cancel")


def test_a_finished_export_is_downloaded_and_deleted(service, browse):
    id = ask(service, format="csv", columns=["id"])
    make(service, id, b"id\r\n")
    browser = browse(Role.PRIVACY)
    page = browser.get(f"/exports/{id}").text
    assert f'href="/exports/{id}/file"' in page and "1 column" in page and "hx-get" not in page
    file = browser.get(f"/exports/{id}/file")
    assert file.content == b"id\r\n" and file.headers["content-disposition"].startswith("attachment")
    assert browser.post(f"/exports/{id}/cancel").headers["location"] == "/exports"
    gone = browser.get(f"/exports/{id}/file")
    assert gone.status_code == 404 and "holds a call that was erased" in gone.text


def test_a_file_that_lacks_media_or_failed_says_so(service, browse):
    id, browser, lacking = ask(service, media="wav"), browse(Role.PRIVACY), LACKING.of(n=2, of=3)
    early = browser.get(f"/exports/{id}/file")
    assert early.status_code == 409 and "not finished yet" in early.text and "<html" in early.text
    make(service, id, b"PK", problem=str(lacking), said=lacking.stored)
    assert service.ask(f"/exports/{id}", "privacy").json()["problem"] == lacking
    page = browser.get(f"/exports/{id}").text
    assert f'href="/exports/{id}/file"' in page and lacking in page
    assert "2 von 3 Anrufen" in browser.get(f"/exports/{id}", headers={"Accept-Language": "de"}).text
    for problem, said, german in (
        (NO_ROOM, NO_ROOM.stored, "Dafür ist kein Platz auf der Platte."),
        ("The disk is full.", None, "The disk is full."),  # of a version that stored the sentence alone
    ):
        failed = ask(service)
        service.run(service.customers["acme"].exports.fail(failed, str(problem), said))
        assert service.ask(f"/exports/{failed}", "privacy").json()["problem"] == problem
        assert problem in browser.text(f"/exports/{failed}")
        assert german in browser.get(f"/exports/{failed}", headers={"Accept-Language": "de"}).text


def test_the_export_list_links_to_its_next_page(service, browse, monkeypatch):
    monkeypatch.setattr("admin_api.page.views.exports.PAGE", 1)
    first, second, browser = ask(service), ask(service), browse(Role.PRIVACY)
    page = browser.get("/exports").text
    assert second in page and first not in page
    (rest,) = re.findall(r'rel="next" href="([^"]+)"', page)
    assert first in browser.get(unescape(rest)).text
    assert browser.get("/exports?cursor=3+May").status_code == 422
    for id in (NOBODY, "x"):
        assert browser.get(f"/exports/{id}").status_code == browser.post(f"/exports/{id}/cancel").status_code == 404
    assert browse(Role.LISTENER).get("/exports").status_code == 404


@pytest.mark.parametrize(
    ("wanted", "said", "german"),
    [
        ({"party": "+49 30 1234000"}, "+49 30 1234000", "+49 30 1234000"),
        ({"calls": ["one", "two"]}, "chosen calls", "ausgewählte Anrufe"),
        (
            {"query": {"since": "2026-02-01T00:00:00Z", "state": "complete", "hold": True}},
            "all that a search finds · since: 2026-02-01 · State: complete · legal hold: yes",
            "alle, die eine Suche findet · seit: 2026-02-01",
        ),
        ({"query": {"party": "Ada", "direction": "inbound"}}, "Ada · Direction: inbound", "Ada · Richtung: "),
    ],
)
def test_whose_calls_how_many_and_why_stand_in_list_and_view(service, browse, wanted, said, german):
    ids = service.ids["acme"][:2]
    wanted = {"calls": ids} if "calls" in wanted else wanted
    body = {"reason": "Audit <2026>", "format": "csv", **wanted}
    id = service.ask("/exports", "privacy", method="POST", json=body).json()["id"]
    make(service, id, admitted=ids)
    shown = service.ask(f"/exports/{id}", "privacy").json()
    assert (shown["calls"], shown["reason"]) == (2, "Audit <2026>")
    browser = browse(Role.PRIVACY)
    for path in ("/exports", f"/exports/{id}"):
        seen = browser.text(path)
        assert said in seen and "Audit &lt;2026&gt;" in browser.get(path).text
        assert german in words(browser.get(path, headers={"Accept-Language": "de"}).text)
    browser.post(f"/exports/{id}/cancel")
