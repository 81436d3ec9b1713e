"""A view calls the API with the rights of who is signed in; what it raises is shown where its form is."""

from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request

from admin_api.http.bearer import Principal
from admin_api.http.error_middleware import problem
from admin_api.http.messages import Message
from admin_api.http.permissions import Action, Role
from admin_api.http.problems import Problem, conflict, unavailable
from admin_api.operations import incidents
from admin_api.page.framework.page_request import NO_ID, PageRequest, View, view
from admin_api.page.framework.templating import Templates
from admin_api.page.framework.translations import Translations

OVER = Message("problem.over", "The call is over.")
NOBODY = "00000000-0000-4000-8000-00000000ffff"
PLACE = View("POST", "/calls/{id}/hold", None, lambda: None)  # type: ignore[arg-type,return-value]


@pytest.fixture
def visit(service):
    """Make the request of somebody with these roles."""
    sessions = service.run(service.lazy_page.site()).sessions

    def visit(*roles, customer="acme", method="GET", **headers):
        sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "path": "/", "query_string": b"", "method": method, "scheme": "https"}
        scope |= {"headers": sent, "client": ("192.0.2.7", 1), "server": None}
        names = tuple(role.value for role in roles)
        principal = Principal(service.customers[customer], "s", "Grace", names, "192.0.2.7")
        session, _ = service.run(sessions.open(principal, 0.0))
        return PageRequest(
            Request(scope), session, service.authoriser, Translations("en"), Templates(), "",
            refusal=lambda error: problem(error, service.faults.append),
        )  # fmt: skip

    return visit


def test_a_head_request_decrypts_nothing(service, visit):
    request = visit(Role.LISTENER, method="HEAD")
    media = request.authoriser.endpoints[Action.PLAY]
    response = service.run(media.ask(request.caller(), service.ids["acme"][1], query={"format": "wav"}))

    async def read():
        return [chunk async for chunk in response.body_iterator]

    assert int(response.headers["content-length"]) == len(service.sound)
    assert service.run(read()) == []


def answer(service, request, place, **ids):
    return service.run(place.answer(request, ids))


def raising(problem: Exception) -> Any:
    async def show(request, **ids):
        raise problem

    return show


@pytest.mark.parametrize(("id", "asked"), [(NOBODY, NOBODY), ("..", NO_ID), ("x/../../users", NO_ID), ("", NO_ID)])
def test_only_an_id_ever_reaches_a_view(service, visit, id, asked):
    async def act(request, id):
        return f"/calls/{id}"

    led = answer(service, visit(Role.ADMIN), replace(PLACE, show=act), id=id)
    assert led.headers["location"] == f"/calls/{asked}"


def test_a_refusal_is_shown_on_the_page_of_the_form(service, visit):
    seen = []

    async def form(request, id):
        seen.append(request.problem)
        return request.page("home.html")

    over = unavailable(OVER)
    shown = answer(service, visit(Role.ADMIN), replace(PLACE, show=raising(over), form=form), id="x")
    assert seen == [over] and (shown.status_code, shown.headers["retry-after"]) == (503, "1")
    assert b"Your roles allow no view" in shown.body


def test_a_refusal_has_its_own_page_if_no_form_can_be_shown(service, visit):
    over, gone = conflict(OVER), Problem(410, "gone", OVER, OVER)
    for place, status in (
        (replace(PLACE, show=raising(over)), 409),
        (replace(PLACE, show=raising(over), form=raising(gone)), 410),
    ):
        shown = answer(service, visit(Role.ADMIN), place, id="x")
        assert shown.status_code == status and b"<h1>" in shown.body and b"Sign out" in shown.body


def test_a_failure_of_a_view_is_reported_and_gives_500(service, visit):
    shown = answer(service, visit(Role.ADMIN), replace(PLACE, show=raising(RuntimeError("of the test"))), id="x")
    assert shown.status_code == 500 and b"of the test" not in shown.body
    assert [str(fault) for fault in service.faults] == ["of the test"]
    service.faults.clear()


def test_a_list_that_is_refused_is_empty_and_says_why(service, visit):
    @view("GET", "/incidents")
    async def listed(request):
        found = await request.found(incidents.list_incidents.ask(request.caller(), query={"cursor": "3 May"}))
        assert found == {"items": [], "next_cursor": None}
        return request.page("home.html")

    assert answer(service, visit(Role.ADMIN), listed).status_code == 422
    part = answer(service, visit(Role.ADMIN, hx_request="true"), listed)
    assert (part.status_code, part.body) == (422, b"")
