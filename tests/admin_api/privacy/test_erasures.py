"""Erasure as a client sees it: refused without a waiver, stopped by a hold, ended with a receipt."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.admin_api.privacy.test_waiver import put as permit
from tests.in_process.api_service import row
from tests.in_process.sign_in_service import unwritable_audit

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def erase(service, role="privacy", **wanted):
    return service.ask("/erasures", role, method="POST", json={"reason": "Art. 17", **wanted})


def filed(service, by="somebody", **wanted):
    """File an erasure that a second person has to approve; returns its path."""
    made = service.customers["acme"].erasures.file(**{"calls": [UNKNOWN], **wanted}, reason="x", by=by, approval=True)
    return f"/erasures/{service.run(made).id}"


def approve(service, path, role="approver", **more):
    return service.ask(f"{path}/approve", role, method="POST", **more)


def erased(service, answer):
    """Return the calls of a filed erasure once it is done."""
    assert answer.status_code == 202, answer.text
    work(service)
    done = service.ask(f"/erasures/{answer.json()['id']}").json()
    assert done["state"] == "done" and done["receipt"]["signature"]
    return done["receipt"]["calls"]


def work(service):
    assert service.run(service.customers["acme"].erasures.work())


def test_the_api_refuses_an_erasure_without_active_waiver(service):
    permit(service, expires_at="2026-01-02T00:00:00Z")
    answer = erase(service, calls=[service.ids["acme"][0]])
    assert answer.status_code == 409 and "waiver" in answer.json()["detail"]
    assert service.acts()[-1]["reason"] == "no active waiver"
    assert service.ask("/erasures").json()["items"] == []


def test_a_held_call_stops_the_whole_request(service):
    permit(service)
    held, other, _ = service.ids["acme"]
    service.ask(f"/calls/{held}/hold", method="PUT", json={"reason": "x"})
    answer = erase(service, calls=[held, other])
    assert answer.status_code == 409 and "1 of these calls" in answer.json()["detail"]
    assert held not in answer.text and service.ask("/erasures").json()["items"] == []
    service.ask(f"/calls/{held}/hold", method="DELETE")


def test_finished_erasures_are_listed_in_pages(service):
    permit(service)
    made = [erase(service, calls=[UNKNOWN]).json()["id"] for _ in range(3)]
    assert [each["id"] for each in service.ask("/erasures?state=running").json()["items"]] == made
    assert service.ask("/erasures?state=approval").json()["items"] == []
    work(service)
    first = service.ask("/erasures?state=done&limit=2", "approver").json()
    rest = service.ask(f"/erasures?state=done&cursor={first['next_cursor']}", "approver").json()
    assert {each["id"] for each in first["items"] + rest["items"]} >= set(made) and rest["next_cursor"] is None
    assert {each["receipt"] for each in first["items"]} == {None}


@pytest.mark.parametrize("query", ["state=gone", "state=done&cursor=1.2", "state=done&cursor=x." + UNKNOWN])
def test_a_wrong_question_for_erasures_is_422(service, query):
    assert service.ask(f"/erasures?{query}").status_code == 422


def test_unknown_and_foreign_ids_are_simply_done(service):
    permit(service)
    for id in (UNKNOWN, service.ids["beta"][0], "Qz7"):
        erased(service, erase(service, calls=[id]))
    assert service.ask(f"/calls/{service.ids['beta'][0]}", customer="beta").status_code == 200
    assert "Qz7" not in str(service.acts())
    for id in (UNKNOWN, "x"):
        assert service.ask(f"/erasures/{id}").status_code == 404
        assert approve(service, f"/erasures/{id}").status_code == 404


def test_by_party_with_one_held_it_waits_and_says_so(service):
    permit(service)
    call = service.ids["acme"][2]
    service.ask(f"/calls/{call}/hold", method="PUT", json={"reason": "x"})
    made = erase(service, party="+49301234002")
    assert made.status_code == 202
    work(service)
    (waiting,) = service.ask("/erasures", "approver").json()["items"]
    assert (waiting["id"], waiting["state"]) == (made.json()["id"], "waiting")
    service.ask(f"/calls/{call}/hold", method="DELETE")
    work(service)
    done = service.ask(f"/erasures/{made.json()['id']}").json()
    assert (done["state"], done["receipt"]["calls"]) == ("done", [call])
    assert service.ask(f"/calls/{call}").status_code == 404
    assert "49301234002" not in str(service.acts()) + str(done)


def test_the_requester_cannot_approve_by_another_token(service):
    permit(service)
    token = service.token(["privacy", "approver"], name="both")
    asked = service.ask("/erasures", token=token, method="POST", json={"reason": "x", "calls": [UNKNOWN]}).json()
    own = approve(service, f"/erasures/{asked['id']}", token=token)
    assert own.status_code == 403 and own.json()["type"].endswith("own-request")
    assert service.acts()[-1]["reason"] == "own request"
    work(service)

    script = service.customers["acme"].credentials.create(
        "anna.script", ["privacy", "approver"], datetime.now(UTC), account="a1"
    )
    path = filed(service, "anna", identity="account:a1")
    assert service.ask(path, token=script.token).json()["own"] is True
    assert approve(service, path, token=script.token).status_code == 403
    act = service.acts()[-1]
    assert (act["actor"], act["actor_kind"], act["actor_id"]) == ("anna.script", "token", script.credential.id)
    assert service.ask(path, "approver").json()["own"] is False
    assert approve(service, path).status_code == 200
    work(service)
    entries = [act for act in service.acts() if act["actor"] == "recorder"]
    assert {(act["actor_kind"], act["actor_id"]) for act in entries} == {("system", "recorder")}


def test_an_approval_needs_the_waiver_still(service):
    permit(service)
    path = filed(service)
    permit(service, expires_at="2026-01-02T00:00:00Z")
    assert approve(service, path).status_code == 409
    permit(service)
    granted = approve(service, path).json()
    assert (granted["state"], granted["calls"]) == ("running", 1) and granted["approved_by"]
    work(service)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"calls": [UNKNOWN]},
        {"reason": "x"},
        {"reason": "x", "calls": []},
        {"reason": "x", "calls": [1]},
        {"reason": "x", "calls": UNKNOWN},
        {"reason": "x", "calls": [UNKNOWN], "party": "Ada"},
        {"reason": "x", "party": " "},
        {"reason": "x", "party": "x" * 513},
        {"reason": "x", "party": "Ada", "all": True},
    ],
)
def test_an_invalid_erasure_request_is_refused(service, body):
    assert service.ask("/erasures", method="POST", json=body).status_code == 422
    assert service.acts()[-1]["outcome"] == "refused"


def fresh(service, number, **details):
    """One more call in the index; returns its id."""
    made, forms = row(number, "acme")
    changed: Any = {**made.details, **details}
    made = replace(made, details=changed)
    service.run(service.customers["acme"].calls.put([made], [forms]))
    return made.id


def test_an_erasure_that_cannot_be_audited_is_not_filed(service):
    permit(service)
    call = fresh(service, 50)
    with unwritable_audit(service.customers["acme"]):
        assert erase(service, calls=[call]).status_code == 503
    assert service.ask("/erasures").json()["items"] == []
    path = filed(service)
    with unwritable_audit(service.customers["acme"]):
        assert approve(service, path).status_code == 503
    assert service.ask(path).json()["state"] == "approval"
    assert approve(service, path).json()["state"] == "running"
    assert service.acts()[-1]["object"] == path.removeprefix("/erasures/")
    work(service)
    assert service.ask(f"/calls/{call}").status_code == 200


def test_by_query_exactly_what_the_search_finds_goes(service):
    permit(service)
    stays, goes = fresh(service, 60), fresh(service, 61)
    found = service.ask("/calls?since=2020-01-01T00:00:00Z&state=complete").json()["items"]
    last = max((one["started_at"], one["id"]) for one in found)
    assert erased(service, erase(service, query={"since": last[0], "state": "complete"})) == [last[1]] == [goes]
    assert service.ask(f"/calls/{stays}").status_code == 200 and service.ask(f"/calls/{goes}").status_code == 404
    assert service.acts()[-1]["action"] and "query" in {act["reason"] for act in service.acts()}


@pytest.mark.parametrize(
    "query",
    [
        {},
        [],
        "x",
        None,
        {"since": "yesterday"},
        {"state": "gone"},
        {"state": ["complete"]},
        {"party": " "},
        {"limit": 1},
        {"hold": "true"},
        {"hold": None},
        {"direction": "in"},
        {"direction": None},
        {"source": ""},
        {"source": 7},
    ],
)
def test_a_query_without_a_valid_condition_erases_nothing(service, query):
    permit(service)
    assert erase(service, query=query).status_code == 422
    assert erase(service, query={"state": "complete"}, party="x").status_code == 422
    assert service.ask("/erasures").json()["items"] == []


def test_by_party_the_calls_that_just_began_are_indexed_first(service):
    permit(service)
    service.daemon.index_is_there = False
    assert erase(service, party="+49301234999").status_code == 503
    assert erase(service, query={"state": "recording"}).status_code == 503
    assert service.acts()[-1]["reason"] == "not in the index yet"
    assert service.ask("/erasures").json()["items"] == []
    service.daemon.index_is_there = True
    assert erase(service, party="+49301234999").status_code == 202
    assert ("settle all", "acme", "") in service.daemon.asked
    work(service)


def test_a_call_is_erased_by_id_despite_an_incomplete_index(service):
    """What keeps a recording from the index may be that it cannot be read: then only this gets it out of the way."""
    permit(service)
    by_id, by_party = filed(service, calls=[fresh(service, 70)]), filed(service, calls=None, party="+49301234999")
    service.daemon.index_is_there = False
    assert approve(service, by_party).status_code == 503
    assert approve(service, by_id).json()["state"] == "running"
    service.daemon.index_is_there = True
    assert approve(service, by_party).json()["state"] == "running"
    work(service)
