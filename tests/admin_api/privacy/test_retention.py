"""Rules of retention as a client sees them: stored whole, tried without storing, braked."""

import pytest

RULE = {"days": 30, "direction": "inbound", "source": "192.0.2.0/24", "party": "+4930999", "name": "Desk"}


def put(service, **body):
    return service.ask("/retention", method="PUT", json=body)


def preview_retention(service, **body):
    return service.ask("/retention/preview", "privacy", method="POST", json=body).json()


@pytest.fixture(autouse=True)
def as_configured(service):
    put(service, rules=[], default_days=180, wins="longest")


def test_rules_are_stored_whole_and_shown(service):
    stored = put(service, rules=[{**RULE, "name": "Qz7planted"}, {"days": None}], wins="shortest").json()
    assert (service.acts()[-1]["action"], service.acts()[-1]["reason"]) == ("retention.write", "2 rules")
    assert "Qz7planted" not in str(service.acts())
    assert stored == service.ask("/retention", "privacy").json()
    assert (stored["default_days"], stored["wins"]) == (180, "shortest")
    first, second = stored["rules"]
    assert {**first, **RULE, "name": "Qz7planted"} == first
    assert second["days"] is None and second["party"] is None
    again = put(service, rules=stored["rules"]).json()
    assert again["rules"][0]["id"] == first["id"], "an answer can be sent back as it is"
    assert put(service, rules=[], default_days=None).json()["default_days"] is None


def test_a_preview_shows_the_brake_and_changes_nothing(service):
    found = preview_retention(service)
    assert service.ask("/retention/preview", method="POST").json() == found, "without a body it is what holds"
    assert (found["calls"], found["brake"], found["items"]) == (3, True, [])
    assert [item["id"] for item in found["asks"]] == service.ids["acme"]
    assert found["asks"][0]["erase_after"] == "2026-08-15T09:00:30.000Z"
    wished = {"rules": [{"days": 10, "party": "+49301234001"}], "default_days": None}
    found = preview_retention(service, **wished)
    assert [(item["id"], item["rule"]) for item in found["items"]] == [(service.ids["acme"][1], "1")]
    assert preview_retention(service, default_days=None)["asks"] == []
    assert service.ask("/retention").json()["rules"] == []


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rules": None},
        {"rules": {}},
        {"rules": [1]},
        {"rules": [{}]},
        {"rules": [{"days": -1}]},
        {"rules": [{"days": 1, "direction": "up"}]},
        {"rules": [{"days": 1, "direction": ["inbound"]}]},
        {"rules": [{"days": 1, "source": "not/a/network"}]},
        {"rules": [{"days": 1, "party": ""}]},
        {"rules": [{"days": 1, "Qz7": 1}]},
        {"rules": [{"days": 1}] * 201},
        {"rules": [], "default_days": "x"},
        {"rules": [], "wins": "loudest"},
        {"rules": [], "wins": None},
        {"rules": [], "Qz7": 1},
    ],
)
def test_an_invalid_rule_is_refused(service, body):
    answer = put(service, **body)
    assert answer.status_code == 422
    assert "Qz7" not in answer.text
    assert all(
        error.get("name", "rules").split(".")[0] in ("rules", "default_days", "wins")
        for error in answer.json()["errors"]
    )
    assert service.acts()[-1]["outcome"] == "refused"
