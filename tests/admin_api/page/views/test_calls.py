"""The list of calls, as somebody without scripts sees it."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace

import pytest

from admin_api.http.permissions import Role
from admin_api.page.views.calls import MOST_LIVE, Question
from storage.calls.call_index import CallState
from storage.database.database import DatabaseAway
from tests.in_process.api_service import row

NUMBERS = itertools.count(77)  # a call that has ended does not begin again
CALLER = {"role": "caller", "name": "Mira <b>Okafor</b>", "number": "+49301", "uri": None}


@pytest.fixture
def live(service):
    """A call under way, known to the index and to the daemon."""
    made, forms = row(next(NUMBERS), "acme", state=CallState.RECORDING, ended_at=None, duration_ms=0)
    service.run(service.customers["acme"].calls.put([made], [forms]))
    shown = {"id": made.id, "state": "recording", "duration_ms": 65_000, "parties": [CALLER], "paused": False}
    service.daemon.live["acme", made.id] = shown
    yield shown
    over = replace(made, state=CallState.COMPLETE, ended_at=made.started_at)
    service.run(service.customers["acme"].calls.put([over], [forms]))


def searches(service):
    return sum(act["action"] == "calls.search" for act in service.acts())


def test_the_newest_call_is_first_and_each_leads_to_its_page(browse):
    page = browse(Role.PRIVACY).get("/calls")
    ids = re.findall(r'href="/calls/([0-9a-f-]{36})"', page.text)
    assert ids[-3:] == [f"00000001-0000-4000-8000-{number:012x}" for number in (2, 1, 0)]
    assert "Ada Acme" in page.text and "Ada Beta" not in page.text


def test_a_search_takes_any_spelling_and_says_if_there_is_none(browse):
    browser = browse(Role.LISTENER)
    found = browser.text("/calls?party=030+1234+001")
    assert "+49301234001" in found and "+49301234002" not in found
    assert "No call matches." in browser.text("/calls?party=Nobody+At+All")


def test_the_search_form_keeps_its_values(browse):
    page = browse(Role.LISTENER).get('/calls?party="><script>&state=complete&since=2026-02-16&zone=Europe/Berlin').text
    assert 'value="&#34;&gt;&lt;script&gt;"' in page and "<script>&" not in page
    assert '<option value="complete" selected>' in page and 'name="since" value="2026-02-16"' in page


def test_days_are_bounds(browse):
    browser = browse(Role.LISTENER)
    assert "+49301234001" in browser.text("/calls?since=2026-02-16&until=2026-02-16")
    assert "No call matches." in browser.text("/calls?until=2026-02-15")


def test_calls_are_filtered_by_hold_direction_and_source(browse, service):
    made, forms = row(next(NUMBERS), "acme")
    details = {**made.details, "direction": "inbound", "source": "192.0.2.77"}
    made = replace(made, details=details)
    service.run(service.customers["acme"].calls.put([made], [forms]))
    service.ask(f"/calls/{made.id}/hold", method="PUT", json={"reason": "case 7"})
    browser = browse(Role.PRIVACY)
    for query, there in (
        ("hold=true", True), ("hold=false", False), ("direction=inbound", True), ("direction=outbound", False),
        ("source=192.0.2.77", True), ("source=192.0.2.78", False), ("hold=true&direction=inbound&party=Ada", True),
    ):  # fmt: skip
        page = browser.get(f"/calls?{query}").text
        assert (made.id in page) is there and "Being recorded now" not in page
        assert '<details class="more" open>' in page and query.partition("&")[0] in page.partition("/exports/new?")[2]
    assert "open" not in browser.get("/calls?hold=perhaps").text.partition('class="more"')[2][:5]
    chosen = browser.get("/exports/new?direction=inbound").text
    assert made.id in chosen and '<input type="hidden" name="direction" value="inbound">' in chosen
    service.run(service.customers["acme"].calls.remove([made.id]))


def test_an_invalid_search_is_explained_above_the_form(browse):
    browser = browse(Role.LISTENER)
    page = browser.get("/calls?since=yesterday")
    assert page.status_code == 422 and "A day is written as 2026-11-25." in page.text
    assert 'value="yesterday"' in page.text
    page = browser.get("/calls?party=" + "x" * 513)
    assert page.status_code == 422 and "at most 512 characters" in page.text


def test_the_call_list_links_to_its_next_page(browse, monkeypatch):
    monkeypatch.setattr("admin_api.page.views.calls.PAGE", 2)
    browser = browse(Role.LISTENER)
    first = browser.get("/calls?party=Ada").text
    older = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    second = browser.get(older).text
    assert "+49301234002" in first and "+49301234000" not in first
    assert "+49301234000" in second and 'href="/calls?party=Ada"' in second
    assert "Being recorded now" in first and "Being recorded now" not in second


def test_live_calls_stand_above_and_only_there(browse, live):
    page = browse(Role.LISTENER).get("/calls").text
    above, _, below = page.partition('id="found"')
    assert live["id"] in above and live["id"] not in below
    assert 'data-elapsed="65000">1:05<' in above
    assert "Mira &lt;b&gt;Okafor&lt;/b&gt;" in above


def test_polling_unchanged_live_calls_returns_204(browse, live):
    browser = browse(Role.LISTENER)
    seen = re.search(r"/calls/live\?seen=([0-9a-f]+)", browser.get("/calls").text)[1]
    again = browser.get(f"/calls/live?seen={seen}", headers={"HX-Request": "true"})
    assert (again.status_code, again.text) == (204, "")
    live["paused"] = True
    moved = browser.get(f"/calls/live?seen={seen}", headers={"HX-Request": "true"})
    assert moved.status_code == 200 and "paused" in moved.text and "<html" not in moved.text
    assert moved.headers["hx-trigger"] == "calls-moved"


def test_looking_again_is_written_down_once_a_minute(service, browse, live):
    browser = browse(Role.LISTENER)
    browser.get("/calls")
    before = searches(service)
    for _ in range(5):
        browser.get("/calls/live?seen=0", headers={"HX-Request": "true"})
    assert searches(service) == before + 1
    browser.get("/calls/live?seen=0")
    assert searches(service) == before + 2  # without htmx somebody asked by hand


def test_the_list_is_renewed_as_a_part(browse):
    part = browse(Role.LISTENER).get("/calls", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="found"') and "Ada Acme" in part


@pytest.mark.parametrize("when", ["always", "for live calls"])
def test_an_index_that_does_not_answer_is_not_taken_for_silence(service, browse, live, monkeypatch, when):
    find = service.customers["acme"].calls.find

    async def away(query, *words):
        if when == "always" or query.state is CallState.RECORDING:
            raise DatabaseAway("the database does not answer")
        return await find(query, *words)

    monkeypatch.setattr(service.customers["acme"].calls, "find", away)
    browser = browse(Role.LISTENER)
    for path in ("/calls", "/calls/live"):
        answer = browser.get(path, headers={"HX-Request": "true"})
        assert (answer.status_code, answer.text) == (503, "")
    page = browser.get("/calls")
    assert page.status_code == 503 and "No call is being recorded" not in page.text and "Not possible now" in page.text
    assert len(service.faults) == 3
    service.faults.clear()


def test_more_live_calls_than_fit_are_a_link_away(service, browse):
    made = [row(200 + n, "acme", state=CallState.RECORDING, ended_at=None) for n in range(MOST_LIVE + 1)]
    service.run(service.customers["acme"].calls.put([r for r, _ in made], [f for _, f in made]))
    page = browse(Role.LISTENER).get("/calls").text
    assert 'href="/calls?state=recording"' in page
    over = [replace(r, state=CallState.COMPLETE, ended_at=r.started_at) for r, _ in made]
    service.run(service.customers["acme"].calls.put(over, [f for _, f in made]))


@pytest.mark.parametrize("role", [Role.APPROVER, Role.AUDITOR, Role.OPERATOR])
def test_others_find_no_list(browse, role):
    assert browse(role).get("/calls").status_code == 404


def test_who_may_not_export_finds_no_way_to(browse):
    assert "/exports/new" not in browse(Role.LISTENER).get("/calls").text
    assert "/exports/new" in browse(Role.PRIVACY).get("/calls").text


def test_a_party_search_links_to_a_request_about_the_person(browse):
    assert 'href="/requests/new?identities=%2B49+30"' in browse(Role.PRIVACY).get("/calls?party=%2B49+30").text
    assert "/requests/new" not in browse(Role.PRIVACY).get("/calls").text
    assert "/requests/new" not in browse(Role.LISTENER).get("/calls?party=%2B49+30").text


def test_a_state_that_is_none_is_not_asked_for():
    assert Question.of({"state": "lost", "party": " Ada "}) == Question(party="Ada")


SAID = "Calls may be missing here: the index is being rebuilt."


@pytest.mark.parametrize("place", ["/calls", "/calls?party=Nobody+At+All", "/exports/new?party=Ada+Acme"])
def test_where_calls_may_be_missing_the_page_says_so(browse, service, monkeypatch, place):
    """Nobody may take a list that is being rebuilt for all that there is."""
    browser = browse(Role.PRIVACY)
    assert SAID not in browser.text(place)
    monkeypatch.setattr(service.daemon, "index_is_there", False)
    assert SAID in browser.text(place)
    browser.client.post("/appearance", data={"language": "de"})
    assert "Hier können Anrufe fehlen: Der Index wird gerade neu aufgefüllt." in browser.text(place)


@pytest.mark.parametrize("place", ["/calls", "/exports/new"])
def test_a_first_day_after_the_last_one_is_said(browse, place):
    answer = browse(Role.PRIVACY).get(f"{place}?since=2026-11-25&until=2026-11-24&party=x")
    assert answer.status_code == 422 and "From comes after To" in answer.text and "Swap the two days" in answer.text
    assert browse(Role.PRIVACY).get(f"{place}?since=2026-11-25&until=2026-11-25").status_code == 200
    assert "No such day" in browse(Role.PRIVACY).get(f"{place}?since=2026-11-25&until=x").text
