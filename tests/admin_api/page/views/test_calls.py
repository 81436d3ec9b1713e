"""The list of calls, as somebody without scripts sees it."""

import itertools
import re
from html import unescape

import pytest

from admin_api.http.permissions import Role
from admin_api.page.views.calls import MOST_LIVE
from storage.calls.call_index import CallState
from storage.database.database import DatabaseAway
from tests.admin_api.page.conftest import words
from tests.in_process.api_service import row

NUMBERS = itertools.count(77)  # a call that has ended does not begin again
CALLER = {"role": "caller", "name": "Mira <b>Okafor</b>", "number": "+49301", "uri": None}


@pytest.fixture
def put(service):
    """Put calls into the index; when the test is over they have ended, and those that had are gone."""
    calls, made = service.customers["acme"].calls, []

    def put(number=None, found=(), **changes):
        call, forms = row(next(NUMBERS) if number is None else number, "acme", **changes)
        made.append(call)
        service.run(calls.put([call], [found or forms]))
        return call

    yield put
    service.run(calls.remove([call.id for call in made]))


@pytest.fixture
def live(service, put):
    """A call under way, known to the index and to the daemon."""
    made = put(state=CallState.RECORDING, ended_at=None, duration_ms=0)
    shown = {"id": made.id, "state": "recording", "duration_ms": 65_000, "parties": [CALLER], "paused": False}
    service.daemon.live["acme", made.id] = shown
    return shown


def test_the_newest_call_is_first_and_each_leads_to_its_page(browse):
    browser = browse(Role.PRIVACY)
    page = browser.get("/calls?state=lost").text  # a state that is none is not asked for
    ids = re.findall(r'href="/calls/([0-9a-f-]{36})"', page)
    assert ids[-3:] == [f"00000001-0000-4000-8000-{number:012x}" for number in (2, 1, 0)]
    assert "Ada Acme" in page and "Ada Beta" not in page
    part = browser.get("/calls", headers={"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="found"') and "Ada Acme" in part
    page = browser.get('/calls?party="><script>&state=complete&since=2026-02-16&zone=Europe/Berlin').text
    assert 'value="&#34;&gt;&lt;script&gt;"' in page and "<script>&" not in page
    assert '<option value="complete" selected>' in page and 'name="since" value="2026-02-16"' in page


@pytest.mark.parametrize(
    ("query", "found", "not_found"),
    [
        ("party=030+1234+001", "+49301234001", "+49301234002"),
        ("party=Nobody+At+All", "No call matches.", "+49301234001"),
        ("since=2026-02-16&until=2026-02-16", "+49301234001", "No call matches."),
        ("until=2026-02-15", "No call matches.", "+49301234001"),
    ],
)
def test_a_search_takes_any_spelling_and_days(browse, query, found, not_found):
    page = browse(Role.LISTENER).text(f"/calls?{query}")
    assert found in page and not_found not in page


def test_calls_are_filtered_by_hold_direction_and_source(browse, service, put):
    details = row(0, "acme")[0].details
    made = put(details={**details, "direction": "inbound", "source": "192.0.2.77"})
    service.ask(f"/calls/{made.id}/hold", method="PUT", json={"reason": "case 7"})
    browser = browse(Role.PRIVACY)
    assert "the hold is released" in browser.text("/calls?hold=true")  # and no day
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


@pytest.mark.parametrize("place", ["/calls", "/exports/new"])
def test_an_invalid_search_is_explained_above_the_form(browse, place):
    browser = browse(Role.PRIVACY)
    for query, explained in (
        ("since=yesterday", "A day is written as 2026-11-25."),
        ("since=yesterday", 'value="yesterday"'),
        ("party=" + "x" * 513, "at most 512 characters"),
        ("since=2026-11-25&until=2026-11-24&party=x", "From comes after To"),
        ("since=2026-11-25&until=2026-11-24&party=x", "Swap the two days"),
        ("since=2026-11-25&until=x", "No such day"),
    ):
        page = browser.get(f"{place}?{query}")
        assert page.status_code == 422 and explained in page.text, query
    assert browser.get(f"{place}?since=2026-11-25&until=2026-11-25").status_code == 200


def test_the_call_list_links_to_its_next_page(browse, monkeypatch):
    monkeypatch.setattr("admin_api.page.views.calls.PAGE", 2)
    browser = browse(Role.LISTENER)
    first = browser.get("/calls?party=Ada").text
    (older,) = re.findall(r'rel="next" href="([^"]+)"', first)
    second = browser.get(unescape(older)).text
    assert "+49301234002" in first and "+49301234000" not in first
    assert "+49301234000" in second and 'href="/calls?party=Ada"' in second
    assert "Being recorded now" in first and "Being recorded now" not in second


def test_live_calls_stand_above_and_only_there(browse, live):
    page = browse(Role.LISTENER).get("/calls").text
    above, _, below = page.partition('id="found"')
    assert live["id"] in above and live["id"] not in below
    assert 'data-elapsed="65000">1:05<' in above
    assert "Mira &lt;b&gt;Okafor&lt;/b&gt;" in above


def test_polling_unchanged_live_calls_returns_204(browse, live, service):
    browser, polls = browse(Role.LISTENER), {"HX-Request": "true"}
    (seen,) = set(re.findall(r"/calls/live\?seen=([0-9a-f]+)", browser.get("/calls").text))
    again = browser.get(f"/calls/live?seen={seen}", headers=polls)
    assert (again.status_code, again.text) == (204, "")
    live["paused"] = True
    moved = browser.get(f"/calls/live?seen={seen}", headers=polls)
    assert moved.status_code == 200 and "paused" in moved.text and "<html" not in moved.text
    assert moved.headers["hx-trigger"] == "calls-moved"

    another = browse(Role.LISTENER)
    another.get("/calls")
    before = len(service.acts())
    for _ in range(5):
        another.get("/calls/live?seen=0", headers=polls)
    assert len(service.acts()) == before + 1, "audited once a minute"
    another.get("/calls/live?seen=0")
    assert len(service.acts()) == before + 2  # without htmx somebody asked by hand


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


def test_more_live_calls_than_fit_are_a_link_away(put, browse):
    for number in range(MOST_LIVE + 1):
        put(200 + number, state=CallState.RECORDING, ended_at=None)
    assert 'href="/calls?state=recording"' in browse(Role.LISTENER).get("/calls").text


def test_a_person_is_shown_by_name_and_number_or_uri(put, browse):
    parties = [
        {"role": "redirected_by", "name": "Ada", "number": "+4930", "uri": "sip:x@y"},
        {"role": "caller", "name": None, "number": None, "uri": "sip:z@y"},
        {},
    ]
    made = put(details={"parties": parties})
    page = browse(Role.PRIVACY).get("/calls").text.partition(f'id="{made.id}"')[2].partition("</tr>")[0]
    assert "redirected by Ada +4930 caller sip:z@y participant unknown" in words(page)


def test_only_some_of_a_conference_are_named(put, browse):
    browser = browse(Role.PRIVACY)
    for parties, said in (([{"name": str(n)} for n in range(7)], "and 3 more"), ([], "nobody is named")):
        made = put(details={"parties": parties})
        page = browser.get("/calls").text.partition(f'id="{made.id}"')[2].partition("</tr>")[0]
        assert said in page and page.count("participant") == len(parties[:4])


@pytest.mark.parametrize(("role", "may"), [(Role.PRIVACY, True), (Role.LISTENER, False)])
def test_only_who_may_gets_links_to_exports_and_requests(browse, role, may):
    browser = browse(role)
    whole, of_one = browser.get("/calls").text, browser.get("/calls?party=%2B49+30").text
    assert ("/exports/new" in whole) is may and "/requests/new" not in whole
    assert ('href="/requests/new?identities=%2B49+30"' in of_one) is ("/requests/new" in of_one) is may


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
