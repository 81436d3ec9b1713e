"""The table of roles says what the contract says, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from admin_api.http.permissions import PREFIX, RULES, Action, Role, is_id, wanted

CONTRACT = """
GET /calls                  listener privacy admin
GET /calls/{id}             listener privacy admin
GET /calls/{id}/media       listener admin
GET /calls/{id}/waveform    listener admin
POST /calls/{id}/pause      admin
POST /calls/{id}/resume     admin
PUT /calls/{id}/hold        privacy admin
DELETE /calls/{id}/hold     privacy admin
POST /calls/{id}/annotations privacy admin
POST /calls/{id}/attachments privacy admin
GET /calls/{id}/attachments/{part} listener admin
POST /exports               privacy admin
GET /exports                privacy admin
GET /exports/{id}           privacy admin
GET /exports/{id}/file      privacy admin
DELETE /exports/{id} privacy admin
GET /column-sets            privacy admin
PUT /column-sets/{id}       privacy admin
DELETE /column-sets/{id}    privacy admin
POST /requests              privacy admin
GET /requests               privacy admin
GET /requests/{id}          privacy admin
GET /requests/{id}/candidates privacy admin
PUT /requests/{id}/selection privacy admin
PUT /requests/{id}/extension privacy admin
POST /requests/{id}/report  privacy admin
GET /requests/{id}/report   privacy admin
GET /requests/{id}/report/file privacy admin
POST /requests/{id}/erasure privacy admin
POST /requests/{id}/close   privacy admin
GET /retention              privacy admin
PUT /retention              admin
POST /retention/preview     privacy admin
POST /erasures              privacy admin
GET /erasures               privacy approver admin
GET /erasures/{id}          privacy approver admin
POST /erasures/{id}/approve approver
GET /waiver                 privacy approver admin
PUT /waiver                 admin
GET /users                  privacy admin
POST /users                 privacy admin
PUT /users                  privacy admin
GET /users/{id}             privacy admin
PUT /users/{id}             privacy admin
GET /users/{id}/export      privacy admin
POST /users/{id}/unmap      privacy admin
DELETE /users/{id}          privacy admin
GET /audit                  auditor
GET /audit/file             auditor
GET /accounts               admin
GET /incidents              operator admin
GET /system                 operator admin
"""


def test_the_table_is_the_contract():
    rows = [line.split() for line in CONTRACT.strip().splitlines()]
    assert {(m, p): set(roles) for m, p, *roles in rows} == {(r.method, r.path): set(r.roles) for r in RULES}


def test_every_action_but_the_unknown_one_has_a_row():
    assert sorted(rule.action for rule in RULES) == sorted(set(Action) - {Action.UNKNOWN})


def test_a_path_leads_to_its_row():
    for rule in RULES:
        place = wanted(PREFIX + "acme" + rule.path.replace("{id}", "7"))
        assert place.rule(rule.method) == rule
        assert (place.customer, place.object) == ("acme", "7" if "{id}" in rule.path else "")


def test_head_counts_as_get_and_is_allowed_where_get_is():
    place = wanted(PREFIX + "acme/calls/7")
    assert place.rule("HEAD") == place.rule("GET")
    assert place.methods == ("GET", "HEAD")
    assert wanted(PREFIX + "acme/calls/7/hold").methods == ("PUT", "DELETE")


def test_a_fixed_name_is_no_id():
    assert wanted(PREFIX + "acme/retention/preview").object == ""


def test_paths_that_are_none_of_ours():
    for path in ("/api", "/api/v1", PREFIX, PREFIX + "acme", PREFIX + "acme/", PREFIX + "acme/calls/", "/api/v2/calls"):
        assert not wanted(path).rules
    assert not wanted(PREFIX + "acme/calls/7/media/8").rules
    assert not wanted(PREFIX + "acme/calls//media").rules


@given(st.text())
def test_any_path_is_read(text):
    place = wanted(PREFIX + text)
    assert place.customer == text.partition("/")[0]
    assert set(place.rules) <= {"GET", "POST", "PUT", "DELETE"}


def test_only_what_has_the_form_of_an_id_is_one():
    assert is_id("6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11")
    for text in ("", "+4930123456", "6F1C7E0A-2F0B-4C57-9D4E-0B6A4B1F7C11", "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11\n"):
        assert not is_id(text)


def test_roles_are_those_that_tokens_can_have():
    from storage.access.api_tokens import ROLES

    assert set(Role) == set(ROLES)
