"""A new export by a plain form that is its own memory."""

from __future__ import annotations

import re

import pytest

from admin_api.exports.columns import COLUMNS, usual
from admin_api.http.permissions import Role
from admin_api.page.views.calls import Question
from admin_api.page.views.export_new import Draft
from storage.calls import stored_query

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
    page = browse(Role.PRIVACY).get("/exports/new?party=Ada+Acme").text
    assert chosen(page) == list(usual(True)) and not any(name.startswith("other") for name in chosen(page))
    assert 'value="whole" checked' in page and page.count('name="call"') >= 3
    assert "whoever gets this file" not in page


def test_other_peoples_columns_are_off_by_default(browse):
    form = {"party": "Ada", "which": "whole", "column": ["id"], "act": "add", "more": "other_name"}
    page = browse(Role.PRIVACY).post("/exports/arrange", form).text
    assert chosen(page) == ["id", "other_name"] and "whoever gets this file" in page


def test_moving_a_column_keeps_the_form_values(service, browse):
    call = service.ids["acme"][0]
    form = {"party": "Ada", "which": "ticked", "call": [call], "column": ["id", "state"], "act": "down 0"}
    more = {"format": "csv", "media": "opus", "reason": 'a "reason"', "silence": "on"}
    page = browse(Role.PRIVACY).post("/exports/arrange", {**form, **more}).text
    assert chosen(page) == ["state", "id"]
    assert f'value="{call}" aria-labelledby="pick-{call}" checked' in page and page.count("checked") == 3
    assert "<option selected>csv" in page and "<option selected>opus" in page
    assert 'name="reason" value="a &#34;reason&#34;"' in page


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
    taken = browser.post("/exports/arrange", {"party": "Ada", "act": "take", "set": kept[0]["id"]}).text
    assert chosen(taken) == ["id", "state"]
    assert chosen(browser.post("/exports/arrange", {"act": "take", "set": "x"}).text) == []
    browser.post("/exports/arrange", {**form, "act": "drop", "set": kept[0]["id"]})
    assert service.ask("/column-sets").json()["items"] == []


def test_the_usual_columns_come_back(browse):
    page = browse(Role.PRIVACY).post("/exports/arrange", {"column": ["mos"], "act": "usual"}).text
    assert chosen(page) == list(usual(False))


def test_every_call_of_a_person_is_asked_for(service, browse):
    form = {"party": "Ada Acme", "which": "whole", "column": ["state", "id"], "reason": "Art. 15"}
    answer = browse(Role.PRIVACY).post("/exports/new", {**form, "media": "wav", "silence": "on"})
    assert answer.status_code == 303
    export = service.run(service.customers["acme"].exports.get(answer.headers["location"].removeprefix("/exports/")))
    request = export.request
    assert (request.party, request.calls, request.columns) == ("Ada Acme", None, ("state", "id"))
    assert (request.media, request.silence_others, request.reason) == ("wav", True, "Art. 15")


def test_everything_that_a_search_finds_is_asked_for(service, browse):
    browser = browse(Role.PRIVACY)
    assert "Every call that this search finds" in browser.text("/exports/new?state=complete&hold=false")
    form = {"state": "complete", "hold": "false", "since": "2026-02-16", "zone": "Europe/Berlin", "which": "whole"}
    answer = browser.post("/exports/new", {**form, "column": "id", "reason": "audit"})
    export = service.run(service.customers["acme"].exports.get(answer.headers["location"].removeprefix("/exports/")))
    asked = stored_query.read(export.request.query)
    assert (export.request.party, export.request.calls, asked.state, asked.hold) == (None, None, "complete", False)
    assert asked.since.isoformat() == "2026-02-15T23:00:00+00:00"
    wrong = browser.post("/exports/new", {**form, "since": "yesterday", "column": "id", "reason": "audit"})
    assert wrong.status_code == 422 and "A day is written as" in wrong.text


def test_only_ticked_calls_are_exported(service, browse):
    calls = service.ids["acme"][:2]
    form = {"party": "Ada Acme", "which": "ticked", "call": [*calls, "x"], "reason": "Art. 15", "format": "json"}
    answer = browse(Role.PRIVACY).post("/exports/new", form)
    export = service.run(service.customers["acme"].exports.get(answer.headers["location"].removeprefix("/exports/")))
    assert (export.request.party, export.request.calls, export.format) == (None, tuple(calls), "json")
    assert export.request.columns == usual(False)


def test_nothing_chosen_and_nothing_typed_is_said(service, browse):
    browser = browse(Role.PRIVACY)
    answer = browser.post("/exports/new", {"reason": "Art. 15"})
    assert answer.status_code == 422 and "No call was chosen" in answer.text
    answer = browser.post("/exports/new", {"party": "Ada", "which": "whole", "reason": " "})
    assert answer.status_code == 422 and "reason" in answer.text
    assert browser.get("/exports/new?since=yesterday").status_code == 422


def test_without_a_search_there_is_nothing_to_tick(browse):
    page = browse(Role.PRIVACY).get("/exports/new").text
    assert 'name="call"' not in page and "Search for somebody or for days first." in page


def test_every_column_can_be_added(browse):
    page = browse(Role.PRIVACY).get("/exports/new?party=Ada").text
    offered = re.findall(r'<option value="([a-z_]+)">', page)
    assert set(COLUMNS) <= set(offered) | set(chosen(page))


def test_a_listener_finds_no_form(browse):
    assert browse(Role.LISTENER).get("/exports/new").status_code == 404


def test_a_role_without_playback_learns_the_file_has_media(browse):
    hint = "A file with media lets you hear the calls"
    for role, told in ((Role.PRIVACY, True), (Role.ADMIN, False)):
        assert (hint in browse(role).get("/exports/new?party=Ada+Acme").text) is told
