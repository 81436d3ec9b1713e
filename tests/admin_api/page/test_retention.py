"""The retention view: who sees the rules, who changes them, what a sweep would take."""

from __future__ import annotations

import pytest

from admin_api.roles import Role

RULE = {"name": "Trading", "days": "3650", "direction": "inbound", "source": "", "party": ""}


@pytest.fixture(autouse=True)
def _as_before(service):
    yield
    service.ask("/retention", method="PUT", json={"rules": [], "default_days": 180, "wins": "longest"})


def form(act, *rules, days="180", wins="longest"):
    columns = {name: [rule[name] for rule in rules] for name in RULE}
    return {"act": act, "default_days": days, "wins": wins, **columns}


def test_the_rules_are_shown_to_whoever_may_read_them(browse):
    seen = browse(Role.PRIVACY).text("/retention")
    assert "180 days" in seen and "the longest counts" in seen
    assert "Change the rules" not in seen
    assert browse(Role.PRIVACY).get("/retention/edit").status_code == 404


def test_an_administrator_keeps_rules(browse, service):
    admin = browse(Role.ADMIN)
    answer = admin.post("/retention/edit", form("save", RULE, days="", wins="shortest"))
    assert (answer.status_code, answer.headers["location"]) == (303, "/retention")
    kept = service.ask("/retention").json()
    assert (kept["default_days"], kept["wins"]) == (None, "shortest")
    assert [(rule["name"], rule["days"], rule["direction"], rule["party"]) for rule in kept["rules"]] == [
        ("Trading", 3650, "inbound", None)
    ]
    seen = admin.text("/retention")
    assert "kept for ever" in seen and "Trading" in seen and "3650 days" in seen


def test_rules_are_added_and_removed_in_the_form_before_they_count(browse, service):
    admin = browse(Role.ADMIN)
    two = admin.post("/retention/edit", form("add", RULE)).text
    assert two.count("<fieldset") == 2 and "Rule 2" in two
    one = admin.post("/retention/edit", form("remove-0", RULE, {**RULE, "name": "Second"})).text
    assert "Second" in one and "Trading" not in one
    for number in ("1", "x", "9" * 5000):  # Python reads 4,300 digits at most
        assert admin.post("/retention/edit", form(f"remove-{number}", RULE)).text.count("<fieldset") == 1
    assert service.ask("/retention").json()["rules"] == []


def test_what_rules_would_erase_is_seen_before_they_are_kept(browse, service):
    tried = browse(Role.ADMIN).post("/retention/edit", form("try", days="1")).text
    assert "The sweep would take 3 calls." in tried and "asks first" in tried
    assert service.ids["acme"][0] in tried
    assert service.ask("/retention").json()["default_days"] == 180


@pytest.mark.parametrize("days", ["x", "-1", "1.5", "9" * 12])
def test_what_is_wrong_is_said_and_nothing_of_the_form_is_lost(browse, days):
    answer = browse(Role.ADMIN).post("/retention/edit", form("save", {**RULE, "days": days}))
    assert answer.status_code == 422
    assert "rules.0.days" in answer.text and "must be a whole number" in answer.text
    assert 'value="Trading"' in answer.text


def test_the_next_sweep_is_shown(browse, service):
    service.ask("/retention", method="PUT", json={"rules": [{"days": 1, "name": "<b>short</b>"}], "wins": "shortest"})
    page = browse(Role.PRIVACY).get("/retention/preview").text
    assert "&lt;b&gt;short&lt;/b&gt;" in page and "<b>short" not in page


def test_half_a_form_is_no_rule(browse, service):
    sent = {"act": "save", "default_days": "180", "wins": "longest", "name": ["Trading"], "days": []}
    assert browse(Role.ADMIN).post("/retention/edit", sent).status_code == 303
    assert service.ask("/retention").json()["rules"] == []
