"""Column sets over the API: by name or id, in exports, and never another customer's."""

import json

import pytest

from admin_api.exports.column_sets import ColumnSetRequest
from admin_api.http import reading
from admin_api.http.problems import Problem

NOBODY = "00000000-0000-4000-8000-00000000ffff"
COUNCIL = "/column-sets/Betriebsrat%20M%C3%BCller"


def put(service, path=COUNCIL, customer="acme", **body):
    return service.ask(path, "privacy", method="PUT", customer=customer, json={"columns": ["id", "state"], **body})


def test_a_set_from_the_beginning_to_the_end(service):
    before = len(service.acts())
    made = put(service)
    assert made.status_code == 200
    kept = made.json()
    assert (kept["name"], kept["columns"], kept["other_parties"]) == ("Betriebsrat Müller", ["id", "state"], False)
    assert kept["changed_by"].startswith("acme") and kept["changed_at"].endswith("Z")
    changed = put(service, columns=["other_name"])
    assert changed.status_code == 200 and changed.json()["other_parties"] and changed.json()["id"] == kept["id"]
    renamed = put(service, f"/column-sets/{kept['id']}", name="Rat")
    assert renamed.status_code == 200 and renamed.json()["name"] == "Rat"
    listed = service.ask("/column-sets", "privacy").json()
    assert listed == {"items": [renamed.json()], "next_cursor": None}
    assert service.ask("/column-sets/rat", "admin", method="DELETE").status_code == 204
    assert service.ask("/column-sets/rat", "admin", method="DELETE").status_code == 404
    acts = [(act["action"], act["outcome"], act["object"], act["reason"]) for act in service.acts()[before:]]
    assert acts == [
        ("columns.write", "done", kept["id"], "2 columns"),
        ("columns.write", "done", kept["id"], "1 columns, other parties"),
        ("columns.write", "done", kept["id"], "2 columns"),
        ("columns.list", "done", "", ""),
        ("columns.delete", "done", kept["id"], ""),
        ("columns.delete", "refused", "", "not found"),
    ]
    assert "Betriebsrat" not in json.dumps(service.acts())


def test_an_export_takes_a_set_in_the_place_of_columns(service):
    id = put(service, columns=["state", "other_name", "id"]).json()["id"]
    for named in ("betriebsrat müller", id):
        body = {"party": "Ada", "column_set": named, "reason": "x"}
        answer = service.ask("/exports", "privacy", method="POST", json=body)
        assert answer.status_code == 202 and answer.json()["columns"] == ["state", "other_name", "id"]
    assert service.acts()[-1]["reason"] == "xlsx, party, other parties"
    put(service, columns=["id"])
    assert service.ask(f"/exports/{answer.json()['id']}").json()["columns"] == ["state", "other_name", "id"]
    for odd in ({"column_set": "nobody's"}, {"column_set": 7}, {"column_set": id, "columns": ["id"]}):
        answer = service.ask("/exports", "privacy", method="POST", json={"party": "Ada", "reason": "x", **odd})
        assert answer.status_code == 422 and answer.json()["errors"][0]["name"] == "column_set"
    service.ask(COUNCIL, method="DELETE")


def test_a_name_is_one_persons(service):
    one, other = put(service, "/column-sets/one").json(), put(service, "/column-sets/other").json()
    assert put(service, "/column-sets/other", name="ONE").status_code == 409
    for id in (one["id"], other["id"]):
        service.ask(f"/column-sets/{id}", method="DELETE")


def test_another_customers_set_is_not_there(service):
    theirs = put(service, "/column-sets/theirs", customer="beta").json()["id"]
    for named in (theirs, "theirs", NOBODY):
        assert service.ask(f"/column-sets/{named}", method="DELETE").status_code == 404
    assert service.ask("/column-sets").json()["items"] == []
    body = {"calls": [NOBODY], "column_set": theirs, "reason": "x"}
    assert service.ask("/exports", "privacy", method="POST", json=body).status_code == 422
    assert service.ask("/column-sets", customer="beta").json()["items"][0]["id"] == theirs


@pytest.mark.parametrize("role", ["listener", "approver", "auditor", "operator"])
def test_other_roles_may_not_use_column_sets(service, role):
    assert service.ask("/column-sets", role).status_code == 403
    assert service.ask(COUNCIL, role, method="PUT", json={"columns": ["id"]}).status_code == 403


@pytest.mark.parametrize("name", ["%20", "a" * 81, "a%00b", "%E2%80%AE"])
def test_an_invalid_column_set_name_is_refused(service, name):
    assert put(service, f"/column-sets/{name}").status_code == 422


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", '{"columns": []}', '{"columns": ["x"]}', '{"columns": ["id", "id"]}', '{"columns": [["id"]]}',
     '{"columns": ["id"], "name": ""}', '{"columns": ["id"], "name": "a/b"}', '{"columns": ["id"], "more": 1}'],
)  # fmt: skip
def test_an_invalid_column_set_body_is_refused(body):
    with pytest.raises(Problem) as refused:
        reading.read(ColumnSetRequest, body.encode())
    assert refused.value.status == 422
