"""Exports over the API: what is asked for is read strictly, and another customer's are not there."""

import asyncio
import json
import threading
import time
from datetime import UTC, datetime

import pytest

from admin_api.exports import exports
from admin_api.exports.exports import ExportRequest
from admin_api.http import reading
from admin_api.http.problems import Problem
from storage.calls import stored_query
from storage.exports.columns import COLUMNS, usual
from storage.exports.exports import ExportState
from tests.admin_api.privacy.test_waiver import WAIVER
from tests.in_process.api_service import RESET

NOBODY = "00000000-0000-4000-8000-00000000ffff"


def make(service, export, content=b"id\r\n", customer="acme", admitted=(), **facts):
    """Do what the daemon's job does, with these calls where the request names none."""

    async def work():
        kept = service.customers[customer].exports
        begun = await kept.begin(export)
        await kept.admit(export, list(begun.request.calls or admitted))
        with kept.sink(begun) as sink:
            sink.write(content)
            size = sink.finish()
        await kept.finish(export, size, facts)

    service.run(work())


def ask(service, **body):
    return service.ask("/exports", "privacy", method="POST", json={"reason": "Art. 15", **body})


def test_from_the_request_to_the_file(service):
    answer = ask(service, calls=[service.ids["acme"][0]], format="csv", columns=["id"])
    assert answer.status_code == 202 and answer.json()["state"] == "running"
    id = answer.json()["id"]
    assert service.ask(f"/exports/{id}/file", "privacy").status_code == 409
    content = bytes(range(256)) * 5000
    make(service, id, content)
    shown = service.ask(f"/exports/{id}", "privacy").json()
    assert (shown["state"], shown["size_bytes"], shown["columns"]) == ("done", len(content), ["id"])
    file = service.ask(f"/exports/{id}/file", "privacy")
    assert file.content == content
    assert file.headers["content-disposition"] == f'attachment; filename="export-{id}.csv"'
    assert file.headers["content-type"].startswith("text/csv") and file.headers["cache-control"] == "no-store"
    head = service.ask(f"/exports/{id}/file", "privacy", method="HEAD")
    assert (head.headers["content-length"], head.content) == (str(len(content)), b"")


def test_by_party_all_that_the_index_lacks_is_waited_for(service):
    before = service.ask("/exports", "privacy").json()["items"]
    service.daemon.index_is_there = False
    for who in ({"party": "+49301234999"}, {"query": {"state": "complete"}}):
        assert ask(service, **who, format="csv").status_code == 503
        assert service.acts()[-1]["reason"] == "not in the index yet"
    assert service.ask("/exports", "privacy").json()["items"] == before
    assert ask(service, calls=[service.ids["acme"][0]], format="csv").status_code == 202
    service.daemon.index_is_there = True
    assert ask(service, party="+49301234999", format="csv").status_code == 202


def test_the_list_shows_the_newest_first(service):
    made = [ask(service, calls=[service.ids["acme"][0]]).json()["id"] for _ in range(2)]
    page = service.ask("/exports?limit=1", "privacy").json()
    assert (page["items"][0]["id"], page["items"][0]["created_by"]) == (made[1], "acme-privacy-2")
    rest = service.ask(f"/exports?limit=1&cursor={page['next_cursor']}", "privacy").json()
    assert rest["items"][0]["id"] == made[0]
    assert service.ask("/exports?cursor=1.2", "privacy").status_code == 422


def test_every_export_action_is_audited_without_names(service):
    before = len(service.acts())
    id = ask(service, party="Ada Acme", columns=["id", "other_name"], media="opus").json()["id"]
    make(service, id)
    service.ask(f"/exports/{id}", "privacy")
    file = service.ask(f"/exports/{id}/file", "privacy")
    assert file.headers["content-type"] == "application/zip"
    service.ask(f"/exports/{id}", "privacy", method="DELETE")
    service.ask(f"/exports/{NOBODY}", "privacy")
    acts = [(act["action"], act["outcome"], act["object"]) for act in service.acts()[before:]]
    assert acts == [
        ("export.create", "done", id),
        ("export.view", "done", id),
        ("export.file", "done", id),
        ("export.cancel", "done", id),
        ("export.view", "refused", NOBODY),
    ]
    created = service.acts()[before]
    assert created["reason"] == "xlsx, party, media opus, other parties"
    assert "Ada" not in json.dumps(service.acts()) and "Art. 15" not in json.dumps(created)


def test_a_download_ends_when_a_call_in_it_is_erased(service):
    call = service.ids["acme"][2]
    id = ask(service, calls=[call], format="csv").json()["id"]
    make(service, id, bytes(32 << 20))  # more than the buffers on the way hold
    service.ask("/waiver", method="PUT", json=WAIVER)
    headers = {"Authorization": f"Bearer {service.tokens['acme']['privacy']}"}
    with service.client.stream("GET", f"/api/v1/customers/acme/exports/{id}/file", headers=headers) as answer:
        parts = answer.iter_raw(1 << 16)
        assert answer.status_code == 200 and next(parts)
        service.ask("/erasures", "privacy", method="POST", json={"calls": [call], "reason": "she asked"})
        service.run(service.customers["acme"].erasures.work())
        with pytest.raises(RESET):
            list(parts)
    assert service.ask(f"/exports/{id}/file", "privacy").status_code == 404


@pytest.mark.parametrize("waits", [False, True])
def test_an_abandoned_export_is_closed_outside_the_loop(waits):
    asked, go_on, closed = threading.Event(), threading.Event(), []

    def chunks():
        try:
            yield bytes(exports.CHUNK)
            asked.set()
            assert go_on.wait(30)
            yield bytes(exports.CHUNK)
        finally:
            closed.append(threading.current_thread())

    async def take():
        async for _ in exports.away(chunks()):
            if not waits:
                break

    async def story():
        taking = asyncio.ensure_future(take())
        if waits:  # whoever took it goes while more is read
            assert await asyncio.to_thread(asked.wait, 30)
            taking.cancel()
        await asyncio.wait([taking])
        go_on.set()
        end = time.monotonic() + 30
        while not closed and time.monotonic() < end:
            await asyncio.sleep(0.001)

    asyncio.run(story())
    (thread,) = closed
    assert thread is not threading.main_thread()


def test_cancelling(service):
    id = ask(service, calls=[NOBODY]).json()["id"]
    for _ in range(2):
        answer = service.ask(f"/exports/{id}", "privacy", method="DELETE")
        assert (answer.status_code, answer.json()["state"]) == (200, "cancelled")
    assert service.ask(f"/exports/{id}/file", "privacy").status_code == 404


def test_another_customers_export_is_a_random_one(service):
    theirs = service.ask(
        "/exports", "privacy", method="POST", customer="beta", json={"calls": [NOBODY], "reason": "x"}
    ).json()["id"]
    for method, path in (("GET", ""), ("GET", "/file"), ("DELETE", "")):
        answers = [service.ask(f"/exports/{id}{path}", "privacy", method=method) for id in (theirs, NOBODY, "none")]
        assert {(a.status_code, a.text) for a in answers} == {(404, answers[1].text)}
    assert service.run(service.customers["beta"].exports.get(theirs)).state is ExportState.RUNNING


@pytest.mark.parametrize("role", ["listener", "approver", "auditor", "operator"])
def test_other_roles_may_not_create_exports(service, role):
    answer = service.ask("/exports", role, method="POST", json={"calls": [NOBODY], "reason": "x"})
    assert answer.status_code == 403


def test_too_many_at_once(service, monkeypatch):
    monkeypatch.setattr("storage.exports.exports.MAX_RUNNING", 0)
    answer = ask(service, calls=[NOBODY])
    assert answer.status_code == 503 and answer.headers["retry-after"]


def read(data):
    return reading.read(ExportRequest, data).wanted(())


def test_omitted_export_members_get_defaults():
    found = read(b'{"party": "+49 30 1", "reason": "x"}')
    assert (found.format, found.columns, found.media, found.silence_others) == ("xlsx", usual(True), None, False)
    assert read(b'{"calls": ["a"], "reason": "x"}').columns == usual(False)
    empty = b'"calls": null, "query": null, "columns": null, "column_set": null, "media": null'
    assert read(b'{"party": "+49 30 1", "reason": "x", ' + empty + b"}") == found
    assert read(b'{"calls": ["a"], "reason": "x", "media": true}').media == "wav"
    assert read(b'{"calls": ["a"], "reason": "x", "media": false}').media is None


def test_a_search_takes_the_place_of_ids():
    body = {"query": {"party": "Ada", "hold": True, "since": "2026-01-01T00:00:00Z"}, "media": "wav", "reason": "x"}
    data = json.dumps({**body, "silence_others": True}).encode()
    found = read(data)
    assert (found.calls, found.party, found.columns, found.silence_others) == (None, None, usual(True), True)
    query = stored_query.read(found.query)
    assert (query.party and query.party.reveal(), query.hold, query.since) == (
        "Ada",
        True,
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert read(b'{"query": {"state": "complete"}, "reason": "x"}').columns == usual(False)
    assert "Ada" not in repr(found) and "Ada" not in repr(reading.read(ExportRequest, data))


def test_an_export_of_a_search_is_audited_without_its_text(service):
    answer = ask(service, query={"party": "Ada Acme", "direction": "inbound"}, format="csv", media="opus")
    assert answer.status_code == 202
    act = service.acts()[-1]
    assert (act["action"], act["reason"]) == ("export.create", "csv, query, media opus")


def test_ids_are_taken_once_and_only_if_they_are_ids():
    body = {"calls": [NOBODY, "Ada Example", NOBODY], "reason": "x", "columns": list(COLUMNS)}
    assert read(json.dumps(body).encode()).calls == (NOBODY,)


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b"", None),
        (b"[]", None),
        (b'{"calls": [1], "reason": "x"}', "calls"),
        (b'{"calls": [], "reason": "x"}', "calls"),
        (b'{"reason": "x"}', "calls"),
        (b'{"calls": ["a"], "party": "b", "reason": "x"}', "calls"),
        (b'{"party": "b", "query": {"hold": true}, "reason": "x"}', "calls"),
        (b'{"query": {}, "reason": "x"}', "query"),
        (b'{"query": {"secret": 1}, "reason": "x"}', "query"),
        (b'{"query": {"hold": "secret"}, "reason": "x"}', "query.hold"),
        (b'{"query": {"hold": true}, "media": "wav", "silence_others": true, "reason": "x"}', "silence_others"),
        (b'{"party": " ", "reason": "x"}', "party"),
        (b'{"party": 5, "reason": "x"}', "party"),
        (b'{"party": "b"}', "reason"),
        (b'{"party": "b", "reason": ""}', "reason"),
        (b'{"party": "b", "reason": "x", "format": "exe"}', "format"),
        (b'{"party": "b", "reason": "x", "format": ["csv"]}', "format"),
        (b'{"party": "b", "reason": "x", "format": null}', "format"),
        (b'{"party": "b", "reason": "x", "silence_others": null}', "silence_others"),
        (b'{"party": "b", "reason": "x", "media": "exe"}', "media"),
        (b'{"party": "b", "reason": "x", "media": {"a": 1}}', "media"),
        (b'{"party": "b", "reason": "x", "columns": []}', "columns"),
        (b'{"party": "b", "reason": "x", "columns": ["secret"]}', "columns"),
        (b'{"party": "b", "reason": "x", "columns": ["id", "id"]}', "columns"),
        (b'{"party": "b", "reason": "x", "columns": [["id"]]}', "columns"),
        (b'{"calls": ["b"], "reason": "x", "silence_others": true}', "silence_others"),
        (b'{"party": "b", "reason": "x", "silence_others": 1}', "silence_others"),
        (b'{"party": "b", "reason": "x", "secret": 1}', None),
    ],
)
def test_an_export_request_fault_is_named_without_its_value(body, name):
    with pytest.raises(Problem) as problem:
        read(body)
    assert problem.value.status == 422
    assert [error.get("name") for error in problem.value.errors] == [name]
    assert "secret" not in json.dumps(problem.value.document()).replace("is one of", "")
