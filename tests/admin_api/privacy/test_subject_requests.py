"""A request over the API, from the letter to what stays of it; strictly in turn, and never another customer's."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from admin_api.privacy import subject_requests
from storage.calls.call_document import wrapped
from storage.search_forms import stored_of
from tests.admin_api.exports.test_exports import make as make_export
from tests.in_process.api_service import RESET, row

NOBODY = "00000000-0000-4000-8000-00000000ffff"
SHA = "00" * 32
SECRET = "correct horse battery"


def ask(service, path="", method="GET", role="privacy", customer="acme", **body):
    more = {"json": body} if method in ("POST", "PUT") else {}
    return service.ask(f"/requests{path}", role, method=method, customer=customer, **more)


def filed(service, *identities, customer="acme", **more):
    body = {"kind": ["access", "erasure"], "identities": list(identities) or ["Ada Acme"], **more}
    answer = ask(service, method="POST", customer=customer, **body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def chosen(service, number, *calls, **more):
    """File a request about a number, and select these calls; returns its id."""
    id = filed(service, f"+4930123{number}", **more)["id"]
    assert ask(service, f"/{id}/selection", "PUT", **{"in": list(calls)}).status_code == 200
    return id


def close(service, id, outcome="done", **more):
    return ask(service, f"/{id}/close", "POST", outcome=outcome, **more)


def state(service, id):
    return ask(service, f"/{id}").json()["state"]


def shows(document, **members):
    """Compare some members of a document."""
    assert {name: document[name] for name in members} == members


def make(service, case, content=b"PK zip"):
    """Do what the daemon's job does."""
    found = service.run(service.customers["acme"].requests.get(case))
    calls = list(found.selection.inside)
    facts = {"sha256": SHA, "calls": calls, "not_separable": [], "without_media": []}
    make_export(service, found.export, content, admitted=calls, **facts)


def permit(service):
    service.run(
        service.customers["acme"].waivers.put(
            document_sha256=SHA, signed_by="V", signed_at=datetime.now(UTC), scope="all", expires_at=None, by="admin"
        )
    )


def test_lists_are_pages(service):
    ids = [filed(service)["id"] for _ in range(3)]
    for path, known in (("?", ids[::-1]), (f"/{ids[1]}/candidates?", service.ids["acme"][::-1])):
        first = ask(service, f"{path}limit=2").json()
        second = ask(service, f"{path}cursor={first['next_cursor']}").json()
        found = [each.get("id", each.get("call")) for each in first["items"] + second["items"]]
        assert found[:3] == known and len(first["items"]) == 2 and len(set(found)) == len(found)
    assert close(service, ids[0], "closed").json()["state"] == "closed"
    assert [case["id"] for case in ask(service, "?state=closed").json()["items"]] == [ids[0]]
    for odd in ("?cursor=1.2", "?state=over", "?limit=0", f"/{ids[1]}/candidates?cursor=x"):
        assert ask(service, odd).status_code == 422


def test_only_candidates_are_selected(service):
    id = filed(service, "+49301234000")["id"]
    theirs, other = service.ids["beta"][0], service.ids["acme"][1]
    answers = [ask(service, f"/{id}/selection", "PUT", **{"in": [odd]}) for odd in (theirs, other, NOBODY, "Ada")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(422, answers[0].text)}
    assert answers[0].json()["errors"][0]["name"] == "in"
    out = ask(service, f"/{id}/selection", "PUT", out=[service.ids["acme"][0]]).json()
    assert out["selection"] == {"in": 0, "out": 1, "undecided": 0} and out["state"] == "confirmed"


def test_nothing_is_taken_while_two_parties_may_be_the_person(service):
    made, _ = row(55, "acme")
    twins = [{"role": "caller", "name": "Eva Lang", "number": "+4940111"}, {"role": "callee", "name": "Eva Lang"}]
    details: Any = {**made.details, "parties": twins}
    made = replace(made, details=wrapped(details))
    service.run(service.customers["acme"].calls.put([made], [stored_of(twins, "DE")]))
    id = filed(service, "Eva Lang")["id"]
    (found,) = ask(service, f"/{id}/candidates").json()["items"]
    assert found["choose"] and not found["sure"] and len(found["parties"]) == 2
    for chosen, undecided in (([made.id], 1), ([{"call": made.id, "parties": [1]}], 0), ([made.id], 0)):
        shown = ask(service, f"/{id}/selection", "PUT", **{"in": chosen}).json()
        assert shown["selection"] == {"in": 1, "out": 0, "undecided": undecided}
    wrong = ask(service, f"/{id}/selection", "PUT", **{"in": [{"call": made.id, "parties": [2]}]})
    assert wrong.status_code == 422
    service.run(service.customers["acme"].calls.remove([made.id]))


LONGER: dict[str, Any] = {"months": 2, "ground": "number", "reason": "312 calls of Ada have to be looked through"}


def test_the_day_of_the_answer_is_moved_with_a_reason(service):
    case = filed(service, received_at="2026-01-31T09:00:00Z")
    path, told = f"/{case['id']}/extension", {**LONGER, "told_at": "2026-02-28T23:00:00+00:00"}
    shows(case, due_at="2026-02-28T09:00:00.000Z", extension=None)
    longer = ask(service, path, "PUT", **told).json()
    shows(longer, due_at="2026-04-30T09:00:00.000Z", state="open")
    assert longer["extension"].pop("at")
    assert longer["extension"] == {**LONGER, "told_at": "2026-02-28T23:00:00.000Z", "by": case["created_by"]}
    assert [(act["action"], act["reason"]) for act in service.acts()][-1] == ("request.extend", "2 months, number")
    over = close(service, case["id"], "closed").json()
    assert LONGER["reason"] not in json.dumps([over, service.acts()])
    assert ask(service, path, "PUT", **told).status_code == 409
    assert ask(service, f"/{NOBODY}/extension", "PUT", **told).status_code == 404


ODD = (
    {"months": 3}, {"months": 0}, {"months": True}, {"months": "2"}, {"ground": "busy"}, {"reason": " "},
    {"told_at": "2026-03-01T09:00:00Z"}, {"told_at": "2026-01-30T09:00:00Z"}, {"told_at": "soon"}, {"until": 1},
)  # fmt: skip


def test_an_invalid_extension_is_refused(service):
    case = filed(service, received_at="2026-01-31T09:00:00Z")
    for odd in ODD:
        answer = ask(service, f"/{case['id']}/extension", "PUT", **{**LONGER, "told_at": "2026-02-10T09:00:00Z", **odd})
        named = {each.get("name") for each in answer.json()["errors"]}
        assert answer.status_code == 422 and named == ({None} if "until" in odd else {*odd}), odd
    shown = ask(service, f"/{case['id']}").json()
    assert (shown["due_at"], shown["extension"]) == (case["due_at"], None)
    id, later = filed(service)["id"], (datetime.now(UTC) + timedelta(days=3)).isoformat()
    assert ask(service, f"/{id}/extension", "PUT", **LONGER).json()["extension"]["months"] == 2
    assert ask(service, f"/{id}/extension", "PUT", **{**LONGER, "told_at": later}).status_code == 422


@pytest.mark.parametrize(
    ("received", "now", "well"),
    [("2026-05-27T00:00", "2026-05-26T20:00", True),  # in Tokyo the letter came this morning, by the day
     ("2026-05-27T00:00", "2026-05-26T09:00", False),  # nowhere is it that day yet
     ("2026-05-27T00:00", "2026-06-28T04:00", True),  # in Los Angeles the last day is not over
     ("2026-05-27T00:00", "2026-06-28T14:00", False)],
)  # fmt: skip
def test_the_current_day_is_accepted_in_any_time_zone(received, now, well):
    came, at = (datetime.fromisoformat(f"{text}+00:00") for text in (received, now))
    assert subject_requests.in_time(at, came, at) is well
    assert not subject_requests.in_time(at, came, at + timedelta(seconds=1)), (
        "a moment that is given counts as it stands"
    )


def test_steps_out_of_turn_say_what_comes_first(service):
    id = filed(service, "+49301234000")["id"]
    assert ask(service, f"/{id}/report").status_code == 404

    def refused(path, method="POST", **body):
        answer = ask(service, f"/{id}/{path}", method, **body)
        assert answer.status_code == 409
        return answer.json()["detail"]

    assert "selection" in refused("report") and "selection" in refused("erasure", reason="r")
    ask(service, f"/{id}/selection", "PUT")
    assert "nothing to erase" in refused("erasure", reason="r")
    ask(service, f"/{id}/report", "POST")
    assert "cancel" in refused("selection", "PUT") and "cancel" in refused("close", outcome="closed")
    service.ask(f"/exports/{ask(service, f'/{id}/report').json()['id']}", "privacy", method="DELETE")
    assert (state(service, id), ask(service, f"/{id}/report").json()["state"]) == ("confirmed", "cancelled")
    assert close(service, id, "refused").status_code == 422
    over = close(service, id, "refused", ground="not_identified").json()
    assert (over["state"], over["ground"], over["record"]["ground"]) == ("refused", "not_identified", "not_identified")
    assert close(service, id).status_code == 409


def test_a_request_from_the_future_or_unknown_user_gets_422(service):
    later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
    for body in ({"received_at": later}, {"user": NOBODY}):
        answer = ask(service, method="POST", kind="access", identities=["Ada"], **body)
        assert answer.status_code == 422 and answer.json()["errors"][0]["name"] in body
    assert filed(service)["due_at"] > datetime.now(UTC).isoformat()


def test_a_request_waits_for_the_index_and_for_room(service, monkeypatch):
    id = filed(service, "Ada")["id"]
    monkeypatch.setattr(service.daemon, "index_is_there", False)
    assert ask(service, f"/{id}/candidates").status_code == 503
    assert ask(service, f"/{id}/selection", "PUT").status_code == 503
    monkeypatch.setattr(service.daemon, "index_is_there", True)
    monkeypatch.setattr("storage.subject_requests.candidates.MAX_CALLS", 1)
    answer = ask(service, f"/{id}/candidates")
    assert answer.status_code == 409 and "more closely" in answer.json()["detail"]
    monkeypatch.setattr("storage.exports.exports.MAX_RUNNING", 0)
    answer = ask(service, f"/{chosen(service, 4001)}/report", "POST")
    assert answer.status_code == 503 and answer.headers["retry-after"]


PATHS = [
    ("GET", ""), ("GET", "/candidates"), ("PUT", "/selection"), ("POST", "/report"), ("GET", "/report"),
    ("GET", "/report/file"), ("POST", "/erasure"), ("POST", "/close"),
]  # fmt: skip
BODIES = {"/erasure": {"reason": "r"}, "/close": {"outcome": "done"}}


@pytest.mark.parametrize(("method", "path"), PATHS)
def test_another_customers_request_is_a_random_one(service, method, path):
    theirs = filed(service, customer="beta")["id"]
    answers = [ask(service, f"/{id}{path}", method, **BODIES.get(path, {})) for id in (theirs, NOBODY, "none")]
    assert {(answer.status_code, answer.text) for answer in answers} == {(404, answers[1].text)}


@pytest.mark.parametrize("role", ["listener", "approver", "auditor", "operator"])
def test_other_roles_may_not_handle_subject_requests(service, role):
    id = filed(service)["id"]
    assert ask(service, role=role).status_code == ask(service, method="POST", role=role).status_code == 403
    for method, path in PATHS:
        assert ask(service, f"/{id}{path}", method, role).status_code == 403


def test_closing_the_case_cuts_off_a_report_download(service):
    id = chosen(service, 4001)
    ask(service, f"/{id}/report", "POST")
    make(service, id, bytes(32 << 20))  # more than the buffers on the way hold
    head = ask(service, f"/{id}/report/file", "HEAD")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(32 << 20), b"")
    assert head.headers["content-disposition"].endswith('.zip"') and head.headers["content-type"] == "application/zip"
    assert ask(service, f"/{id}/report").json()["fetched"] == [], "a HEAD hands nothing over"
    headers = {"Authorization": f"Bearer {service.tokens['acme']['privacy']}"}
    with service.client.stream("GET", f"/api/v1/customers/acme/requests/{id}/report/file", headers=headers) as answer:
        parts = answer.iter_raw(1 << 16)
        assert answer.status_code == 200 and next(parts)
        assert close(service, id, "refused", ground="not_identified").status_code == 200
        with pytest.raises(RESET):
            list(parts)


def test_a_request_is_done_only_after_review_and_erasure(service):
    made, forms = row(7, "acme")
    service.run(service.customers["acme"].calls.put([made], [forms]))
    id = filed(service, "+49301234007")["id"]
    assert "Confirm first" in close(service, id).json()["detail"]
    ask(service, f"/{id}/selection", "PUT", **{"in": [made.id]})
    refusal = close(service, id)
    assert refusal.status_code == 409 and "still there" in refusal.json()["detail"]
    assert ask(service, f"/{id}").json()["identities"] == ["+49301234007"]
    ask(service, f"/{id}/selection", "PUT", **{"in": [], "out": [made.id]})
    assert close(service, id).json()["state"] == "done"
    assert close(service, chosen(service, 4007, made.id, kind=["access"])).json()["state"] == "done"
    erased_elsewhere = chosen(service, 4007, made.id)
    service.run(service.customers["acme"].calls.remove([made.id]))
    assert close(service, erased_elsewhere).json()["state"] == "done"


def test_a_request_is_handled_from_filing_to_closing(service):
    own, forms = row(77, "acme")
    acme = service.customers["acme"]
    service.run(acme.calls.put([own], [forms]))
    before, letter = len(service.acts()), {"reference": "letter 7", "reason": "Art. 15 and 17"}
    case = filed(service, "+49301234077", **letter, received_at="2026-01-31T09:00:00Z")
    id, none = case["id"], {"in": 0, "out": 0, "undecided": 0}
    shows(case, state="open", kind=["access", "erasure"], due_at="2026-02-28T09:00:00.000Z", overdue=True)
    shows(case, selection=none, report=None, erasure=None, record=None)

    page = ask(service, f"/{id}/candidates").json()
    (found,) = page["items"]
    shows(found, call=own.id, sure=True, selected=None, others=0, separable=True)
    assert page["next_cursor"] is None and found["parties"][0] == {
        "index": 0, "role": "caller", "name": "Ada Acme", "number": "+49301234077",
        "uri": "sip:+49301234077@acme.example", "user_id": None, "known_as": None,
    }  # fmt: skip
    (why,) = found["matches"]
    shows(why, identity="+49301234077", kind="number", sure=True, **{"from": "letter"})

    case = ask(service, f"/{id}/selection", "PUT", **{"in": [own.id]}).json()
    shows(case, state="confirmed", selection={**none, "in": 1})

    answer = ask(service, f"/{id}/report", "POST", media="wav", silence_others=True, passphrase=SECRET)
    assert answer.status_code == 202 and answer.json()["state"] == "running"
    assert ask(service, f"/{id}/report/file").status_code == 409
    assert state(service, id) == "reporting"
    make(service, id)
    report = ask(service, f"/{id}/report").json()
    shows(report, state="done", calls=1, sha256=SHA, encrypted="passphrase")
    file = ask(service, f"/{id}/report/file")
    assert file.content == b"PK zip"
    assert file.headers["content-disposition"] == f'attachment; filename="report-{id}.zip.age"'
    assert len(ask(service, f"/{id}/report").json()["fetched"]) == 1
    assert service.ask(f"/exports/{report['id']}/file").status_code == 409

    permit(service)
    erasure = ask(service, f"/{id}/erasure", "POST", reason="Art. 17")
    assert (erasure.status_code, close(service, id).status_code) == (202, 409)
    service.run(acme.erasures.work())
    shows(ask(service, f"/{id}").json(), state="erasing", erasure={"id": erasure.json()["id"], "state": "done"})
    over = close(service, id).json()
    shows(over, state="done", selection={**none, "in": 1}, identities=None, user=None, reference=None, reason=None)
    assert over["record"]["reports"][0]["sha256"] == SHA
    assert ask(service, f"/{id}/report").json()["state"] == "gone"
    assert [ask(service, f"/{id}{path}").status_code for path in ("/report/file", "/candidates")] == [404, 409]

    acts = [(act["action"], act["outcome"]) for act in service.acts()[before:] if act["action"].startswith("request")]
    assert acts[:3] == [("request.create", "done"), ("request.candidates", "done"), ("request.select", "done")]
    assert [outcome for action, outcome in acts if action == "request.report_file"] == ["failed", "done", "refused"]
    assert [outcome for action, outcome in acts if action == "request.close"] == ["failed", "done"]
    told = json.dumps(service.acts())
    assert not [word for word in ("Ada", "301234077", "letter 7", "Art. 1", SECRET) if word in told]
