"""A new export by a plain form that is its own memory."""

import re

import pytest

from admin_api.http.permissions import Role
from admin_api.page.views.calls import Question
from admin_api.page.views.export_new import Draft
from storage.calls import stored_query
from storage.exports.columns import COLUMNS, usual

DRAFT = Draft(Question(party="Ada"), True, (), ("id", "state", "duration"))


def chosen(page):
    return re.findall(r'name="column" value="([a-z_]+)"', page)


@pytest.mark.parametrize(
    ("act", "columns"),
    [
        ("up 1", ("state", "id", "duration")),
        ("up 0", ("id", "state", "duration")),
        ("down 1", ("id", "duration", "state")),
        ("down 2", ("id", "state", "duration")),
        ("out 1", ("id", "duration")),
        ("out 3", ("id", "state", "duration")),
        ("sideways 1", ("id", "state", "duration")),
        (f"up {'9' * 5000}", ("id", "state", "duration")),  # no number to Python, which reads 4,300 digits at most
        ("up", ("id", "state", "duration")),
        ("", ("id", "state", "duration")),
    ],
)
def test_a_column_is_moved_or_left_out(act, columns):
    assert DRAFT.moved(act).columns == columns


def test_a_search_leads_to_the_calls_of_a_person(browse):
    browser, hint = browse(Role.PRIVACY), "A file with media lets you hear the calls"
    page = browser.get("/exports/new?party=Ada+Acme").text
    assert chosen(page) == list(usual(True)) and not any(name.startswith("other") for name in chosen(page))
    assert 'value="whole" checked' in page and page.count('name="call"') >= 3
    assert "whoever gets this file" not in page
    assert set(COLUMNS) <= {*re.findall(r'<option value="([a-z_]+)">', page), *chosen(page)}
    assert hint in page and hint not in browse(Role.ADMIN).get("/exports/new?party=Ada+Acme").text
    page = browser.get("/exports/new").text
    assert 'name="call"' not in page and "Search for somebody or for days first." in page
    assert browse(Role.LISTENER).get("/exports/new").status_code == 404


def test_arranging_columns_keeps_the_form_values(service, browse):
    browser, call = browse(Role.PRIVACY), service.ids["acme"][0]
    form = {"party": "Ada", "which": "ticked", "call": [call], "column": ["id", "state"], "act": "down 0"}
    more = {"format": "csv", "media": "opus", "reason": 'a "reason"', "silence": "on"}
    page = browser.post("/exports/arrange", {**form, **more}).text
    assert chosen(page) == ["state", "id"]
    assert f'value="{call}" aria-labelledby="pick-{call}" checked' in page and page.count("checked") == 3
    assert "<option selected>csv" in page and "<option selected>opus" in page
    assert 'name="reason" value="a &#34;reason&#34;"' in page
    page = browser.post("/exports/arrange", {**form, "column": ["id"], "act": "add", "more": "other_name"}).text
    assert chosen(page) == ["id", "other_name"] and "whoever gets this file" in page
    page = browser.post("/exports/arrange", {"column": ["mos"], "act": "usual"}).text
    assert chosen(page) == list(usual(False))


def test_columns_are_saved_taken_and_deleted_as_a_set(service, browse):
    browser = browse(Role.PRIVACY)
    form = {"party": "Ada", "which": "whole", "column": ["id", "state"], "name": "Works council / 2"}
    refused = browser.post("/exports/arrange", {**form, "act": "save"})
    assert refused.status_code == 422  # a name has no slash
    form["name"] = "Works council"
    page = browser.post("/exports/arrange", {**form, "act": "save"}).text
    kept = service.ask("/column-sets").json()["items"]
    assert [(each["name"], each["columns"]) for each in kept] == [("Works council", ["id", "state"])]
    assert "Works council (2)" in page
    for set, columns in ((kept[0]["id"], ["id", "state"]), ("x", [])):
        taken = browser.post("/exports/arrange", {"party": "Ada", "act": "take", "set": set}).text
        assert chosen(taken) == columns
    browser.post("/exports/arrange", {**form, "act": "drop", "set": kept[0]["id"]})
    assert service.ask("/column-sets").json()["items"] == []


def exported(service, browser, form):
    answer = browser.post("/exports/new", form)
    assert answer.status_code == 303, answer.text
    return service.run(service.customers["acme"].exports.get(answer.headers["location"].removeprefix("/exports/")))


def test_all_calls_of_a_person_or_the_ticked_ones_are_exported(service, browse):
    browser, calls = browse(Role.PRIVACY), service.ids["acme"][:2]
    form = {"party": "Ada Acme", "which": "whole", "reason": "Art. 15"}
    more = {"column": ["state", "id"], "media": "wav", "silence": "on"}
    request = exported(service, browser, {**form, **more}).request
    assert (request.party, request.calls, request.columns) == ("Ada Acme", None, ("state", "id"))
    assert (request.media, request.silence_others, request.reason) == ("wav", True, "Art. 15")
    export = exported(service, browser, {**form, "which": "ticked", "call": [*calls, "x"], "format": "json"})
    assert (export.request.party, export.request.calls, export.format) == (None, tuple(calls), "json")
    assert export.request.columns == usual(False)


def test_everything_that_a_search_finds_can_be_exported(service, browse):
    browser = browse(Role.PRIVACY)
    assert "Every call that this search finds" in browser.text("/exports/new?state=complete&hold=false")
    form = {"state": "complete", "hold": "false", "since": "2026-02-16", "zone": "Europe/Berlin", "which": "whole"}
    form |= {"column": "id", "reason": "audit"}
    request = exported(service, browser, form).request
    asked = stored_query.read(request.query)
    assert (request.party, request.calls, asked.state, asked.hold) == (None, None, "complete", False)
    assert asked.since.isoformat() == "2026-02-15T23:00:00+00:00"
    for wrong, said in (
        ({**form, "since": "yesterday"}, "A day is written as"),
        ({"reason": "Art. 15"}, "No call was chosen"),
        ({"party": "Ada", "which": "whole", "reason": " "}, "reason"),
    ):
        answer = browser.post("/exports/new", wrong)
        assert answer.status_code == 422 and said in answer.text
