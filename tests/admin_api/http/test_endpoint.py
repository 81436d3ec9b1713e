"""Endpoints: what a declaration says, what a path leads to, and the call of one as a function."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from admin_api.assembly.endpoints import endpoints
from admin_api.calls import calls, holds
from admin_api.http.authorised_request import Caller
from admin_api.http.bearer import Principal
from admin_api.http.endpoint import PREFIX, Router
from admin_api.http.permissions import Role
from admin_api.http.problems import Problem

ENDPOINTS = endpoints()
ROUTER = Router(ENDPOINTS)


def test_a_path_leads_to_its_endpoint():
    for each in ENDPOINTS:
        place = ROUTER.find(PREFIX + "acme" + each.path.replace("{id}", "7").replace("{part}", "8"))
        assert place.endpoint(each.method) == each
        assert place.customer == "acme" and place.ids == ("7", "8")[: len(each.names)]


def test_head_counts_as_get_and_is_allowed_where_get_is():
    place = ROUTER.find(PREFIX + "acme/calls/7")
    assert place.endpoint("HEAD") == place.endpoint("GET")
    assert place.allowed == ("GET", "HEAD")
    assert ROUTER.find(PREFIX + "acme/calls/7/hold").allowed == ("PUT", "DELETE")


def test_a_fixed_name_is_no_id():
    assert ROUTER.find(PREFIX + "acme/retention/preview").object == ""
    assert ROUTER.find(PREFIX + "acme/audit/file").object == ""


def test_paths_that_are_none_of_ours():
    for path in ("/api", "/api/v1", PREFIX, PREFIX + "acme", PREFIX + "acme/", PREFIX + "acme/calls/", "/api/v2/calls"):
        assert not ROUTER.find(path).methods
    for path in ("calls/7/", "calls/7/media/8", "calls//media", "/calls", "calls//7", "calls/7/attachments/"):
        assert not ROUTER.find(f"{PREFIX}acme/{path}").methods


@given(st.text())
def test_any_path_is_read(text):
    place = ROUTER.find(PREFIX + text)
    assert place.customer == text.partition("/")[0]
    assert set(place.methods) <= {"GET", "POST", "PUT", "DELETE"}


def test_a_method_of_a_path_is_declared_once():
    with pytest.raises(TypeError, match=r"declared twice: PUT /calls/\{id\}/hold"):
        Router([*ENDPOINTS, replace(holds.put, action=calls.view.action)])


def caller(service, *roles):
    scope = {"type": "http", "method": "GET", "headers": []}
    principal = Principal(service.customers["acme"], "s", "Grace", tuple(roles), "192.0.2.7")
    return Caller(Request(scope), principal, service.daemon, service.faults.append)


def test_an_endpoint_is_a_function_with_role_and_audit_log(service):
    call, privacy = service.ids["acme"][0], caller(service, Role.PRIVACY)
    before = len(service.acts())

    async def work():
        held = await holds.put(privacy, call, body=holds.HoldRequest("court"))
        shown = await calls.view(privacy, call)
        await holds.remove(privacy, call)
        return held, shown

    held, shown = service.run(work())
    assert (held["hold"], held["held_by"], held["hold_reason"]) == (True, "Grace", "court")
    assert (shown["hold"], shown["hold_reason"]) == (True, "court")
    acts = [(act["actor"], act["action"], act["outcome"], act["object"]) for act in service.acts()[before:]]
    assert acts == [("Grace", action, "done", call) for action in ("call.hold", "call.view", "call.release")]


def test_a_call_without_the_role_is_refused_and_audited(service):
    with pytest.raises(Problem) as refused:
        service.run(holds.put(caller(service, Role.LISTENER), service.ids["acme"][0], body=holds.HoldRequest("x")))
    assert refused.value.status == 403
    act = service.acts()[-1]
    assert (act["action"], act["outcome"], act["object"]) == ("call.hold", "refused", service.ids["acme"][0])


def test_a_form_is_checked_and_what_is_wrong_is_audited(service):
    call, privacy = service.ids["acme"][0], caller(service, Role.PRIVACY)
    held = service.run(holds.put.ask(privacy, call, body={"reason": "court"}))
    assert held["hold_reason"] == "court"
    for body in ({"reason": " "}, {"reason": 1}, {"reason": "x", "more": 1}):
        with pytest.raises(Problem) as refused:
            service.run(holds.put.ask(privacy, call, body=body))
        act = service.acts()[-1]
        assert (refused.value.status, act["outcome"], act["reason"]) == (422, "refused", "not as described")
    service.run(holds.remove.ask(privacy, call))
    found = service.run(calls.search.ask(privacy, query={"limit": 1, "hold": "false", "party": ""}))
    assert len(found["items"]) == 1
    with pytest.raises(Problem):
        service.run(calls.search.ask(privacy, query={"limit": "many"}))
