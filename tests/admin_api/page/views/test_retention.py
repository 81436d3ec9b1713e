"""The retention view: who sees the rules, who changes them, what a sweep would take."""

from __future__ import annotations

import pytest

from admin_api.http.permissions import Role
from tests.admin_api.page.conftest import words
from tests.in_process.sign_in_service import field

RULE = {"name": "Trading", "days": "3650", "direction": "inbound", "source": "", "party": ""}


@pytest.fixture(autouse=True)
def _as_before(service):
    yield
    service.ask("/retention", method="PUT", json={"rules": [], "default_days": 180, "wins": "longest"})


def form(act, *rules, days="180", wins="longest"):
    columns = {name: [rule[name] for rule in rules] for name in RULE}
    return {"act": act, "default_days": days, "wins": wins, **columns}


def keep(admin, *rules, **more):
    """Look at what rules would erase, then put them into force."""
    seen = admin.post("/retention/edit", form("try", *rules, **more))
    return admin.post("/retention/edit", {**form("save", *rules, **more), "tried": field(seen, "tried")})


def test_a_reader_of_the_rules_cannot_edit_them(browse):
    seen = browse(Role.PRIVACY).text("/retention")
    assert "180 days" in seen and "the longest counts" in seen
    assert "Change the rules" not in seen
    assert browse(Role.PRIVACY).get("/retention/edit").status_code == 404


def test_an_administrator_keeps_rules(browse, service):
    admin = browse(Role.ADMIN)
    answer = keep(admin, RULE, days="", wins="shortest")
    assert (answer.status_code, answer.headers["location"]) == (303, "/retention")
    kept = service.ask("/retention").json()
    assert (kept["default_days"], kept["wins"]) == (None, "shortest")
    assert [(rule["name"], rule["days"], rule["direction"], rule["party"]) for rule in kept["rules"]] == [
        ("Trading", 3650, "inbound", None)
    ]
    seen = admin.text("/retention")
    assert "kept for ever" in seen and "Trading" in seen and "3650 days" in seen


def test_rules_are_added_and_removed_in_the_form(browse, service):
    admin = browse(Role.ADMIN)
    two = admin.post("/retention/edit", form("add", RULE)).text
    assert two.count("<fieldset") == 2 and "Rule 2" in two
    one = admin.post("/retention/edit", form("remove-0", RULE, {**RULE, "name": "Second"})).text
    assert "Second" in one and "Trading" not in one
    for number in ("1", "x", "9" * 5000):  # Python reads 4,300 digits at most
        assert admin.post("/retention/edit", form(f"remove-{number}", RULE)).text.count("<fieldset") == 1
    assert service.ask("/retention").json()["rules"] == []


def test_a_preview_shows_what_rules_would_erase(browse, service):
    tried = browse(Role.ADMIN).post("/retention/edit", form("try", days="1")).text
    assert "The sweep would erase 3 calls." in tried and "than it may erase without asking" in tried
    assert service.ids["acme"][0] in tried
    assert service.ask("/retention").json()["default_days"] == 180


def test_rules_take_effect_only_after_their_preview(browse, service):
    """The button stands below the preview, and counts for the rules of that preview alone."""
    admin = browse(Role.ADMIN)
    assert "Put these rules into force" not in admin.text("/retention/edit")
    unseen = admin.post("/retention/edit", form("save", days="1"))
    assert unseen.status_code == 200 and "The sweep would erase 3 calls." in unseen.text
    assert "Put these rules into force" in unseen.text
    other = admin.post("/retention/edit", {**form("save", days="2"), "tried": field(unseen, "tried")})
    assert other.status_code == 200 and "The sweep would erase 3 calls." in other.text
    assert service.ask("/retention").json()["default_days"] == 180
    kept = admin.post("/retention/edit", {**form("save", days="2"), "tried": field(other, "tried")})
    assert kept.status_code == 303 and service.ask("/retention").json()["default_days"] == 2


@pytest.mark.parametrize(
    ("change", "said", "german"),
    [
        ({"days": "x"}, "Rule 1, Days: must be a whole number", "Regel 1, Tage: "),
        ({"source": "here"}, "Rule 1, Source: must be an address", "Regel 1, Quelle: muss eine Adresse"),
        ({"name": "x" * 201}, "Rule 1, Name: must be a text", "Regel 1, Name: "),
    ],
)
def test_a_rule_fault_names_the_translated_field(browse, change, said, german):
    admin = browse(Role.ADMIN)
    answer = admin.post("/retention/edit", form("try", {**RULE, **change}))
    assert answer.status_code == 422 and said in words(answer.text)
    admin.client.post("/appearance", data={"language": "de"})
    assert german in words(admin.post("/retention/edit", form("try", {**RULE, **change})).text)


@pytest.mark.parametrize("days", ["x", "-1", "1.5", "9" * 12])
def test_a_refused_rule_form_keeps_its_values(browse, days):
    answer = browse(Role.ADMIN).post("/retention/edit", form("save", {**RULE, "days": days}))
    assert answer.status_code == 422
    assert "rules.0.days" not in answer.text and "must be a whole number" in answer.text
    assert 'value="Trading"' in answer.text


def test_the_next_sweep_is_shown(browse, service):
    service.ask("/retention", method="PUT", json={"rules": [{"days": 1, "name": "<b>short</b>"}], "wins": "shortest"})
    page = browse(Role.PRIVACY).get("/retention/preview").text
    assert "&lt;b&gt;short&lt;/b&gt;" in page and "<b>short" not in page


def test_half_a_form_is_no_rule(browse, service):
    sent = {"act": "save", "default_days": "180", "wins": "longest", "name": ["Trading"], "days": []}
    admin = browse(Role.ADMIN)
    seen = admin.post("/retention/edit", {**sent, "act": "try"})
    assert admin.post("/retention/edit", {**sent, "tried": field(seen, "tried")}).status_code == 303
    assert service.ask("/retention").json()["rules"] == []
