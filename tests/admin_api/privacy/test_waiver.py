"""The waiver: none, active, replaced by one that permits less."""

import pytest

WAIVER = {
    "document_sha256": "5a" * 32,
    "signed_by": "Example Ltd",
    "signed_at": "2026-01-01T00:00:00Z",
    "scope": "erasure on request",
    "expires_at": "2099-01-01T00:00:00Z",
}


def put(service, **changes):
    return service.ask("/waiver", method="PUT", json={**WAIVER, **changes})


def test_it_is_active_until_it_ends(service):
    none = service.ask("/waiver", "approver", customer="beta").json()
    assert none["active"] is False and set(WAIVER) < set(none)
    shown = put(service, signed_by="Qz7planted", scope="Qz7planted").json()
    assert shown["active"] is True and service.ask("/waiver", "privacy").json() == shown
    assert put(service, expires_at=None).json()["active"] is True
    assert service.acts()[-1]["action"] == "waiver.write" and "Qz7planted" not in str(service.acts())
    ended = put(service, expires_at="2026-01-02T00:00:00Z").json()
    assert ended["active"] is False and service.ask("/waiver").json() == ended


@pytest.mark.parametrize("name", WAIVER)
def test_every_member_must_be_given(service, name):
    answer = service.ask("/waiver", method="PUT", json={k: v for k, v in WAIVER.items() if k != name})
    assert answer.status_code == 422
    assert [error["name"] for error in answer.json()["errors"]] == [name]


@pytest.mark.parametrize(
    "changes",
    [
        {"document_sha256": "5A" * 32},
        {"document_sha256": "5a"},
        {"document_sha256": 5},
        {"signed_at": "yesterday"},
        {"signed_at": "2098-01-01T00:00:00Z"},
        {"signed_by": ""},
        {"scope": None},
        {"expires_at": "never"},
        {"expires_at": WAIVER["signed_at"]},
        {"other": 1},
    ],
)
def test_an_invalid_waiver_is_refused(service, changes):
    assert put(service, **changes).status_code == 422
