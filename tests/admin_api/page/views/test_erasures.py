"""The erasures view: what waits, who may grant it, the receipt, and the waiver without which nothing goes."""

import json

import pytest

from admin_api.http.permissions import Role
from storage.objects.store import Kept
from tests.admin_api.privacy.test_erasures import UNKNOWN
from tests.admin_api.privacy.test_waiver import put as permit

WAIVER = {
    "document_sha256": "AB" * 32,
    "signed_by": "Example Ltd",
    "signed_at": "2026-01-02",
    "scope": "on request",
    "expires_at": "2099-01-02",
}


@pytest.fixture
def waiting(service):
    """An erasure that Grace asked for and that a second person has to approve."""
    permit(service)
    acme = service.customers["acme"]
    made = service.run(acme.erasures.file(calls=[UNKNOWN], reason="x", by="Grace", approval=True))
    yield made.id
    service.run(acme.erasures.work())


def test_a_second_person_approves_and_downloads_the_receipt(browse, waiting, service):
    grace, place = browse(Role.PRIVACY, Role.APPROVER), f"/erasures/{waiting}"
    assert "a second person has to approve it" in grace.text(place)
    answer = grace.post(f"{place}/approve")
    assert answer.status_code == 403 and "asked for yourself" in answer.text
    assert "Approve this erasure" not in browse(Role.PRIVACY, name="Ada").text(place)
    ada = browse(Role.APPROVER, name="Ada")
    assert "waits for approval" in ada.text("/erasures")
    assert ada.get(f"{place}/receipt").status_code == 303
    seen = ada.text(place)
    assert "Approve this erasure" in seen and "the key of 1 call is destroyed" in seen
    assert ada.post(f"{place}/approve").headers["location"] == place
    service.run(service.customers["acme"].erasures.work())
    assert "Download the receipt" in ada.text(place)
    taken = ada.get(f"{place}/receipt")
    assert taken.headers["content-disposition"] == f'attachment; filename="receipt-{waiting}.json"'
    assert json.loads(taken.text) == service.ask(place).json()["receipt"]
    assert waiting in ada.text("/erasures")
    for unknown in (UNKNOWN, "Qz7", f"{UNKNOWN}/receipt"):
        answer = ada.get(f"/erasures/{unknown}")
        assert answer.status_code == 404 and "you may not see it" in answer.text


def test_what_a_lock_keeps_is_said(browse, waiting, service, monkeypatch):
    ada, place, acme = browse(Role.APPROVER, name="Ada"), f"/erasures/{waiting}", service.customers["acme"]
    monkeypatch.setattr(acme.vault, "kept", lambda recordings: [(UNKNOWN, Kept("acme/4e2000000007/x", None))])
    ada.post(f"{place}/approve")
    service.run(acme.erasures.work())
    assert "1 object stays in the object store" in ada.text(place)
    assert json.loads(ada.get(f"{place}/receipt").text)["locked"] == [
        {"call": UNKNOWN, "object": "acme/4e2000000007/x", "until": None}
    ]


def test_only_an_administrator_puts_a_waiver_on_file(browse, service):
    admin, place = browse(Role.ADMIN), "/erasures/waiver"
    for role in (Role.PRIVACY, Role.APPROVER):
        assert "Put on file" not in browse(role).text(place).replace("Put on file 20", "")
        assert browse(role).post(place, WAIVER).status_code == 405
    answer = admin.post(place, {**WAIVER, "document_sha256": "zz", "signed_by": '">x'})
    assert answer.status_code == 422 and "64 lower-case hexadecimal digits" in answer.text
    assert 'value="&#34;&gt;x"' in answer.text
    assert admin.post(place, WAIVER).headers["location"] == place
    kept = service.ask("/waiver").json()
    assert kept["active"] and kept["document_sha256"] == "ab" * 32
    assert (kept["signed_at"], kept["expires_at"]) == ("2026-01-02T00:00:00.000Z", "2099-01-02T00:00:00.000Z")
    assert "Example Ltd" in admin.text(place) and "A waiver is on file" in admin.text("/erasures")
