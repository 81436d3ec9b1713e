"""Erasure as a client sees it: refused without a waiver, stopped by a hold, ended with a receipt."""

import contextlib
from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from storage.errors import NoSpace
from tests.admin_api.privacy.test_waiver import put as permit
from tests.in_process.api_service import row

UNKNOWN = "00000000-0000-4000-8000-000000000000"


def erase(service, role="privacy", **wanted):
    return service.ask("/erasures", role, method="POST", json={"reason": "Art. 17", **wanted})


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
    assert {each["id"] for each in first["items"] + rest["items"]} >= set(made)
    times = [each["done_at"] for each in first["items"] + rest["items"]]
    assert times == sorted(times, reverse=True) and rest["next_cursor"] is None
    assert {each["receipt"] for each in first["items"]} == {None}
    assert service.ask("/erasures?state=running").json()["items"] == []


@pytest.mark.parametrize("query", ["state=gone", "state=done&cursor=1.2", "state=done&cursor=x." + UNKNOWN])
def test_a_wrong_question_for_erasures_is_422(service, query):
    assert service.ask(f"/erasures?{query}").status_code == 422


def test_unknown_and_foreign_ids_are_simply_done(service):
    permit(service)
    for id in (UNKNOWN, service.ids["beta"][0], "Qz7"):
        made = erase(service, calls=[id])
        assert made.status_code == 202
        work(service)
        done = service.ask(f"/erasures/{made.json()['id']}").json()
        assert done["state"] == "done" and done["receipt"]["signature"]
    assert service.ask(f"/calls/{service.ids['beta'][0]}", customer="beta").status_code == 200
    assert "Qz7" not in str(service.acts())


def test_by_party_with_one_held_it_waits_and_says_so(service):
    permit(service)
    call = service.ids["acme"][2]
    service.ask(f"/calls/{call}/hold", method="PUT", json={"reason": "x"})
    made = erase(service, party="+49301234002")
    assert made.status_code == 202
    work(service)
    assert service.ask(f"/erasures/{made.json()['id']}", "approver").json()["state"] == "waiting"
    (open_one,) = service.ask("/erasures", "approver").json()["items"]
    assert open_one["id"] == made.json()["id"]
    service.ask(f"/calls/{call}/hold", method="DELETE")
    work(service)
    done = service.ask(f"/erasures/{made.json()['id']}").json()
    assert (done["state"], done["receipt"]["calls"]) == ("done", [call])
    assert service.ask(f"/calls/{call}").status_code == 404
    assert service.ask(f"/calls/{call}/hold", method="PUT", json={"reason": "x"}).status_code == 404
    assert "49301234002" not in str(service.acts()) + str(done)


def test_no_state_of_no_erasure(service):
    for id in (UNKNOWN, "x"):
        assert service.ask(f"/erasures/{id}").status_code == 404
        assert service.ask(f"/erasures/{id}/approve", "approver", method="POST").status_code == 404


def test_the_api_refuses_approval_by_the_requester(service):
    permit(service)
    token = service.token(["privacy", "approver"], name="both")
    asked = service.ask("/erasures", token=token, method="POST", json={"reason": "x", "calls": [UNKNOWN]}).json()
    own = service.ask(f"/erasures/{asked['id']}/approve", token=token, method="POST")
    assert own.status_code == 403 and own.json()["type"].endswith("own-request")
    assert service.acts()[-1]["reason"] == "own request"
    again = service.ask(f"/erasures/{asked['id']}/approve", "approver", method="POST")
    assert again.status_code == 200, "what needs no approval stays as it is"
    work(service)


def test_the_audit_log_and_four_eyes_go_by_who_it_is(service):
    permit(service)
    acme = service.customers["acme"]
    made = acme.credentials.create("anna.script", ["privacy", "approver"], datetime.now(UTC), account="a1")
    asked = acme.erasures.file(calls=[UNKNOWN], reason="x", by="anna", identity="account:a1", approval=True)
    path = f"/erasures/{service.run(asked).id}"
    assert service.ask(path, token=made.token).json()["own"] is True
    assert service.ask(f"{path}/approve", token=made.token, method="POST").status_code == 403
    act = service.acts()[-1]
    assert (act["actor"], act["actor_kind"], act["actor_id"]) == ("anna.script", "token", made.credential.id)
    assert service.ask(path, "approver").json()["own"] is False
    assert service.ask(f"{path}/approve", "approver", method="POST").status_code == 200
    work(service)
    entries = [act for act in service.acts() if act["actor"] == "recorder"]
    assert {(act["actor_kind"], act["actor_id"]) for act in entries} == {("system", "recorder")}


def test_an_approval_needs_the_waiver_still(service):
    permit(service)
    acme = service.customers["acme"]
    filed = service.run(acme.erasures.file(calls=[UNKNOWN], reason="x", by="somebody", approval=True))
    permit(service, expires_at="2026-01-02T00:00:00Z")
    assert service.ask(f"/erasures/{filed.id}/approve", "approver", method="POST").status_code == 409
    permit(service)
    granted = service.ask(f"/erasures/{filed.id}/approve", "approver", method="POST").json()
    assert granted["state"] == "running" and granted["approved_by"]
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


def fresh(service, number):
    """One more call in the index; returns its id."""
    made, forms = row(number, "acme")
    service.run(service.customers["acme"].calls.put([made], [forms]))
    return made.id


@contextlib.contextmanager
def unwritable(service):
    """The audit log of acme cannot be written, as on a disk that fails."""
    audit = service.customers["acme"].audit
    broken: Future[int] = Future()
    broken.set_exception(NoSpace("could not write the audit log: the disk is full"))
    audit.append = lambda act: broken
    try:
        yield
    finally:
        del audit.append
    service.faults.clear()


def test_an_erasure_that_cannot_be_audited_is_not_filed(service):
    permit(service)
    call = fresh(service, 50)
    with unwritable(service):
        assert erase(service, calls=[call]).status_code == 503
    assert service.ask("/erasures").json()["items"] == []
    filed = service.run(
        service.customers["acme"].erasures.file(calls=[UNKNOWN], reason="x", by="somebody", approval=True)
    )
    with unwritable(service):
        assert service.ask(f"/erasures/{filed.id}/approve", "approver", method="POST").status_code == 503
    assert service.ask(f"/erasures/{filed.id}").json()["state"] == "approval"
    assert service.ask(f"/erasures/{filed.id}/approve", "approver", method="POST").json()["state"] == "running"
    assert service.acts()[-1]["object"] == filed.id
    work(service)
    assert service.ask(f"/calls/{call}").status_code == 200


def test_by_query_exactly_what_the_search_finds_goes(service):
    permit(service)
    stays, _ = fresh(service, 60), fresh(service, 61)
    found = service.ask("/calls?since=2020-01-01T00:00:00Z&state=complete").json()["items"]
    times = sorted((one["started_at"], one["id"]) for one in found)
    last = times[-1]
    made = erase(service, query={"since": last[0], "state": "complete"})
    assert made.status_code == 202, made.text
    work(service)
    done = service.ask(f"/erasures/{made.json()['id']}").json()
    assert done["receipt"]["calls"] == [last[1]]
    assert service.ask(f"/calls/{stays}").status_code == 200 and service.ask(f"/calls/{last[1]}").status_code == 404
    assert service.acts()[-1]["action"] and "query" in {act["reason"] for act in service.acts()}


def test_a_query_takes_hold_direction_and_source(service):
    permit(service)
    made, forms = row(62, "acme")
    made = replace(made, details={**made.details, "direction": "outbound", "source": "192.0.2.7"})
    service.run(service.customers["acme"].calls.put([made], [forms]))
    filed = erase(service, query={"hold": False, "direction": "outbound", "source": "192.0.2.7"})
    work(service)
    assert service.ask(f"/erasures/{filed.json()['id']}").json()["receipt"]["calls"] == [made.id]


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
    erasures, asked = service.customers["acme"].erasures, {"reason": "x", "by": "somebody", "approval": True}
    by_id = service.run(erasures.file(calls=[fresh(service, 70)], **asked))
    by_party = service.run(erasures.file(party="+49301234999", **asked))
    service.daemon.index_is_there = False
    assert service.ask(f"/erasures/{by_party.id}/approve", "approver", method="POST").status_code == 503
    assert service.ask(f"/erasures/{by_id.id}/approve", "approver", method="POST").json()["state"] == "running"
    service.daemon.index_is_there = True
    assert service.ask(f"/erasures/{by_party.id}/approve", "approver", method="POST").json()["state"] == "running"
    work(service)
