"""What another customer has cannot be told from what does not exist: by no answer, list, counter or work done."""

import collections
import inspect
import sys
import uuid
from pathlib import Path

import pytest

import admin_api
import storage
from admin_api.http.permissions import Role
from admin_api.http.rate_limit import PER_TOKEN

OURS = [Path(str(each.__file__)).parent for each in (admin_api, storage)]
PACKETS = ("http_connection", "uvicorn_server")
"""Files whose calls depend on how the packets came."""


def unpaced(service):
    """Let the rate limit forget what was asked."""
    service.later += PER_TOKEN.burst / PER_TOKEN.per_second


QUESTIONS = {
    "a call of another customer": ("/calls/{}", "GET", "acme", {}),
    "its media": ("/calls/{}/media?format=wav", "GET", "acme", {}),
    "its hold": ("/calls/{}/hold", "PUT", "acme", {"json": {"reason": "r"}}),
    "the other customer": ("/calls/{}", "GET", None, {}),
}


def steps(service, path, **more):
    """Ask, and count what our own code did for it: every call of a function, and which coroutines ran."""
    done = collections.Counter()

    def step(frame, event, _):
        code = frame.f_code
        file = Path(code.co_filename)
        if event == "call" and any(file.is_relative_to(each) for each in OURS) and file.stem not in PACKETS:
            name = f"{file.stem} {code.co_qualname}"
            resumed = code.co_flags & (inspect.CO_COROUTINE | inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR)
            done[name] = 1 if resumed else done[name] + 1

    service.run(profiled(step))
    try:
        answer = service.ask(path, **more)
    finally:
        service.run(profiled(None))
    assert answer.status_code == 404
    return done


async def profiled(step):
    sys.setprofile(step)


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_foreign_id_costs_the_same_work_as_a_random_one(service, question):
    path, method, to, more = QUESTIONS[question]
    unpaced(service)
    service.ask(path.format(uuid.uuid4()), method=method, **more)  # what is read once and remembered
    theirs = steps(service, path.format(service.ids["beta"][0]), method=method, to=to or "beta", **more)
    nobodys = steps(service, path.format(uuid.uuid4()), method=method, to=to or "nobody", **more)
    assert theirs == nobodys
    assert theirs["authorise Authoriser.answer"] == 1 and len(theirs) > 20


FILTERS = [
    "/calls",
    "/calls?limit=1000",
    "/calls?party=Ada",
    "/calls?party=Beta",
    "/calls?party=%2B49301234001",
    "/calls?party=01234001",
    "/calls?state=complete",
    "/calls?since=2020-01-01T00:00:00Z",
    "/erasures",
    "/requests",
    "/column-sets",
    "/exports",
    "/users",
    "/retention",
    "/incidents",
    "/waiver",
]


@pytest.mark.parametrize("path", FILTERS)
def test_no_list_and_no_filter_shows_anything_of_the_other(service, path):
    body = service.ask(path, Role.ADMIN).text.lower()
    assert "beta" not in body
    assert not any(id in body for id in service.ids["beta"])


def test_a_cursor_of_the_other_customer_leads_nowhere_else(service):
    theirs = service.ask("/calls?limit=1", customer="beta").json()["next_cursor"]
    found = service.ask("/calls", params={"cursor": theirs, "limit": 1000}).json()["items"]
    assert {call["id"] for call in found} <= set(service.ids["acme"])


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_of_the_other_can_be_changed(service, method):
    call = service.ids["beta"][0]
    before = service.ask(f"/calls/{call}", customer="beta").json()
    for path in (f"/calls/{call}/hold", f"/calls/{call}/annotations", f"/calls/{call}/pause"):
        service.ask(path, method=method, json={"reason": "r", "text": "t"})
    assert service.ask(f"/calls/{call}", customer="beta").json() == before


def test_foreign_calls_are_neither_erased_nor_exported(service):
    waiver = {"document_sha256": "00" * 32, "signed_by": "x", "signed_at": "2026-01-01T00:00:00Z", "scope": "all"}
    assert service.ask("/waiver", method="PUT", json={**waiver, "expires_at": None}).status_code == 200
    theirs, unknown = service.ids["beta"][1], str(uuid.uuid4())
    for kind in ("erasures", "exports"):
        answers = []
        for id in (theirs, unknown):
            answer = service.ask(f"/{kind}", method="POST", json={"calls": [id], "reason": "r"})
            document = answer.json()
            answers.append((answer.status_code, sorted(document), document["state"]))
        assert answers[0] == answers[1]
    assert service.ask(f"/calls/{theirs}", customer="beta").status_code == 200


def test_metrics_and_health_name_no_customer_that_did_nothing(service):
    for path in ("/metrics", "/healthz", "/readyz", "/openapi.json"):
        text = service.client.get(path).text
        assert not any(id in text for ids in service.ids.values() for id in ids)
        assert "Ada Beta" not in text


def test_a_request_finds_nobody_of_another_customer(service):
    letter = {"kind": "access", "identities": ["Ada Beta", "+49301234001", "sip:+49301234001@beta.example"]}
    ours = service.ask("/requests", method="POST", json=letter).json()["id"]
    theirs = service.ask("/requests", method="POST", json=letter, customer="beta").json()["id"]
    found = {each["call"] for each in service.ask(f"/requests/{ours}/candidates").json()["items"]}
    assert found == {service.ids["acme"][1]}
    answer = service.ask(f"/requests/{ours}/selection", method="PUT", json={"in": service.ids["beta"][1:2]})
    assert answer.status_code == 422
    unpaced(service)
    service.ask(f"/requests/{uuid.uuid4()}")
    for path in ("/requests/{}", "/requests/{}/candidates", "/requests/{}/report", "/requests/{}/report/file"):
        service.ask(path.format(uuid.uuid4()))
        assert steps(service, path.format(theirs)) == steps(service, path.format(uuid.uuid4()))
    assert service.ask("/requests", customer="beta").json()["items"][0]["id"] == theirs
    assert theirs not in service.ask("/requests").text
