"""The erasures view: what waits, who may grant it, the receipt, and the waiver without which nothing goes."""

from __future__ import annotations

import json

import pytest

from admin_api.http.permissions import Role
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


def test_the_page_refuses_approval_by_the_requester(browse, waiting):
    grace = browse(Role.PRIVACY, Role.APPROVER)
    assert "a second person has to approve it" in grace.text(f"/erasures/{waiting}")
    answer = grace.post(f"/erasures/{waiting}/approve")
    assert answer.status_code == 403 and "asked for yourself" in answer.text
    assert "Approve this erasure" not in browse(Role.PRIVACY, name="Ada").text(f"/erasures/{waiting}")


def test_a_second_person_sees_of_how_many_calls_it_is(browse, waiting, service):
    acme = service.customers["acme"]
    second = service.run(acme.erasures.file(calls=[UNKNOWN, UNKNOWN[:-1] + "1"], reason="x", by="Grace", approval=True))
    ada = browse(Role.APPROVER, name="Ada")
    assert "the key of 1 call is destroyed" in ada.text(f"/erasures/{waiting}")
    assert "the keys of 2 calls are destroyed" in ada.text(f"/erasures/{second.id}")
    shown = {each["id"]: each["calls"] for each in service.ask("/erasures?state=approval", "approver").json()["items"]}
    assert (shown[waiting], shown[second.id]) == (1, 2)
    listed = ada.get("/erasures").text
    assert 'data-label="Calls">1<' in listed and 'data-label="Calls">2<' in listed
    service.run(acme.erasures.approve(second.id, by="Ada"))


def test_a_second_person_approves_and_downloads_the_receipt(browse, waiting, service):
    ada = browse(Role.APPROVER, name="Ada")
    assert "waits for approval" in ada.text("/erasures")
    assert ada.get(f"/erasures/{waiting}/receipt").status_code == 303
    assert "Approve this erasure" in ada.text(f"/erasures/{waiting}")
    assert ada.post(f"/erasures/{waiting}/approve").headers["location"] == f"/erasures/{waiting}"
    service.run(service.customers["acme"].erasures.work())
    assert "Download the receipt" in ada.text(f"/erasures/{waiting}")
    taken = ada.get(f"/erasures/{waiting}/receipt")
    assert taken.headers["content-disposition"] == f'attachment; filename="receipt-{waiting}.json"'
    assert json.loads(taken.text) == service.ask(f"/erasures/{waiting}").json()["receipt"]
    assert waiting in ada.text("/erasures")


@pytest.mark.parametrize("path", [f"/erasures/{UNKNOWN}", "/erasures/Qz7", f"/erasures/{UNKNOWN}/receipt"])
def test_an_unknown_erasure_gives_404(browse, path):
    answer = browse(Role.ADMIN).get(path)
    assert answer.status_code == 404 and "you may not see it" in answer.text


def test_a_waiver_is_put_on_file(browse, service):
    admin = browse(Role.ADMIN)
    assert admin.post("/erasures/waiver", WAIVER).headers["location"] == "/erasures/waiver"
    kept = service.ask("/waiver").json()
    assert kept["active"] and kept["document_sha256"] == "ab" * 32
    assert (kept["signed_at"], kept["expires_at"]) == ("2026-01-02T00:00:00.000Z", "2099-01-02T00:00:00.000Z")
    assert "Example Ltd" in admin.text("/erasures/waiver")
    assert "A waiver is on file" in admin.text("/erasures")


def test_a_waiver_that_is_wrong_is_asked_for_again(browse):
    answer = browse(Role.ADMIN).post("/erasures/waiver", {**WAIVER, "document_sha256": "zz", "signed_by": '">x'})
    assert answer.status_code == 422 and "64 lower-case hexadecimal digits" in answer.text
    assert 'value="&#34;&gt;x"' in answer.text


def test_only_an_administrator_puts_one_on_file(browse):
    for role in (Role.PRIVACY, Role.APPROVER):
        assert "Put on file" not in browse(role).text("/erasures/waiver").replace("Put on file 20", "")
        assert browse(role).post("/erasures/waiver", WAIVER).status_code == 405
