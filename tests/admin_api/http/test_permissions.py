"""The declared roles are those of the contract, and no others."""

from admin_api.assembly.endpoints import endpoints
from admin_api.http.permissions import Action, Role
from storage.ids import is_id

ENDPOINTS = endpoints()

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


def test_the_declarations_are_the_contract():
    rows = [line.split() for line in CONTRACT.strip().splitlines()]
    assert {(m, p): set(roles) for m, p, *roles in rows} == {(e.method, e.path): set(e.roles) for e in ENDPOINTS}


def test_every_action_but_the_unknown_one_has_an_endpoint():
    assert sorted(each.action for each in ENDPOINTS) == sorted(set(Action) - {Action.UNKNOWN})


def test_only_what_has_the_form_of_an_id_is_one():
    assert is_id("6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11")
    for text in ("", "+4930123456", "6F1C7E0A-2F0B-4C57-9D4E-0B6A4B1F7C11", "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11\n"):
        assert not is_id(text)


def test_roles_are_those_that_tokens_can_have():
    from storage.access.api_tokens import ROLES

    assert set(Role) == set(ROLES)
