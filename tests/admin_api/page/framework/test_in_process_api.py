"""The API as views ask it: the same gate, the same refusals, the same audit log."""

from __future__ import annotations

import pytest
from starlette.requests import Request

from admin_api.calls import calls
from admin_api.http.bearer import Principal
from admin_api.http.permissions import Role
from admin_api.http.types import Page
from admin_api.operations import incidents
from admin_api.page.framework.in_process_api import Answer, Api


@pytest.fixture
def api(service):
    def api(*roles, headers=(), customer="acme", method="GET", path="/"):
        scope = {
            "type": "http",
            "path": path,
            "query_string": b"",
            "method": method,
            "scheme": "https",
            "headers": list(headers),
            "client": ("192.0.2.7", 1),
            "server": None,
        }
        principal = Principal(service.customers[customer], "s", "Grace", tuple(r.value for r in roles), "192.0.2.7")
        return Api(service.authoriser, service.faults.append, Request(scope), principal)

    return api


def test_an_in_process_list_is_audited(service, api):
    answer = service.run(api(Role.LISTENER).get("/calls", {"limit": 2, "party": "", "since": None}))
    assert answer.well
    assert [item["id"] for item in answer.items] == service.ids["acme"][:0:-1]
    assert answer.next_cursor
    act = service.acts()[-1]
    assert (act["actor"], act["action"], act["source"]) == ("Grace", "calls.search", "192.0.2.7")


def test_a_role_that_may_not_gets_the_gates_own_refusal(service, api):
    answer = service.run(api(Role.AUDITOR).get("/calls"))
    assert (answer.status, answer.well) == (403, False)
    assert answer.document["title"]
    assert answer.items == ()
    assert answer.next_cursor is None
    assert service.acts()[-1]["outcome"] == "refused"


def test_an_in_process_body_is_parsed_like_a_network_one(service, api):
    call = service.ids["acme"][0]
    assert service.run(api(Role.PRIVACY).send("PUT", f"/calls/{call}/hold", {"reason": "court"})).well
    assert service.run(api(Role.PRIVACY).get(f"/calls/{call}")).document["hold"]
    wrong = service.run(api(Role.PRIVACY).send("PUT", f"/calls/{call}/hold", {"why": "court"}))
    assert wrong.status == 422
    service.run(api(Role.PRIVACY).send("DELETE", f"/calls/{call}/hold"))


def test_an_id_of_another_customer_is_nothing(service, api):
    answer = service.run(api(Role.ADMIN).get(f"/calls/{service.ids['beta'][0]}"))
    assert answer.status == 404


def test_media_are_handed_on_with_ranges(service, api):
    call = service.ids["acme"][0]
    visitor = api(Role.LISTENER, headers=[(b"range", b"bytes=0-9"), (b"cookie", b"secret")])
    response = service.run(visitor.stream(f"/calls/{call}/media", {"format": "wav"}))
    assert response.status_code == 206
    assert response.headers["content-range"].startswith("bytes 0-9/")


def test_who_asks_for_the_head_alone_has_nothing_decrypted(service, api):
    call = service.ids["acme"][1]
    response = service.run(api(Role.LISTENER, method="HEAD").stream(f"/calls/{call}/media", {"format": "wav"}))

    async def read():
        return [chunk async for chunk in response.body_iterator]

    assert int(response.headers["content-length"]) == len(service.sound)
    assert service.run(read()) == []


def test_an_in_process_failure_is_reported_and_gives_500(service, api, monkeypatch):
    monkeypatch.setattr(service.customers["acme"].calls, "find", broken)
    answer = service.run(api(Role.LISTENER).get("/calls"))
    assert (answer.status, answer.document["title"]) == (500, "The recorder failed")
    assert [str(fault) for fault in service.faults] == ["of the test"]
    service.faults.clear()


async def broken(*_):
    raise RuntimeError("of the test")


def test_a_view_calls_an_endpoint_as_a_function(service, api):
    call = service.ids["acme"][0]
    shown = service.run(calls.view(api(Role.LISTENER).caller(), call))
    act = service.acts()[-1]
    assert shown["id"] == act["object"] == call and (act["actor"], act["action"]) == ("Grace", "call.view")


def test_a_function_that_refreshes_a_view_leaves_one_entry(service, api):
    view = api(Role.OPERATOR, path="/incidents")
    before = len(service.acts())
    for _ in range(3):
        service.run(incidents.list_incidents(view.caller(again="incidents"), query=Page()))
    assert len(service.acts()) == before + 1


def test_an_answer_without_a_body_has_an_empty_document():
    assert Answer(204).well
    assert Answer(204).items == ()
