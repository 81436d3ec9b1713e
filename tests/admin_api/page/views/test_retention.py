"""The retention view: who sees the rules, who changes them, what a sweep would take."""

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


def test_an_administrator_keeps_rules(browse, service):
    admin, reader = browse(Role.ADMIN), browse(Role.PRIVACY)
    seen = reader.text("/retention")
    assert "180 days" in seen and "the longest counts" in seen and "Change the rules" not in seen
    assert reader.get("/retention/edit").status_code == 404
    answer = keep(admin, RULE, days="", wins="shortest")
    assert (answer.status_code, answer.headers["location"]) == (303, "/retention")
    kept = service.ask("/retention").json()
    assert (kept["default_days"], kept["wins"]) == (None, "shortest")
    (rule,) = kept["rules"]
    assert (rule["name"], rule["days"], rule["direction"], rule["party"]) == ("Trading", 3650, "inbound", None)
    seen = admin.text("/retention")
    assert "kept for ever" in seen and "Trading" in seen and "3,650 days" in seen


def test_rules_are_added_and_removed_in_the_form(browse, service):
    admin = browse(Role.ADMIN)
    two = admin.post("/retention/edit", form("add", RULE)).text
    assert two.count("<fieldset") == 2 and "Rule 2" in two
    one = admin.post("/retention/edit", form("remove-0", RULE, {**RULE, "name": "Second"})).text
    assert "Second" in one and "Trading" not in one
    for number in ("1", "x", "9" * 5000):  # Python reads 4,300 digits at most
        assert admin.post("/retention/edit", form(f"remove-{number}", RULE)).text.count("<fieldset") == 1
    assert service.ask("/retention").json()["rules"] == []


def test_rules_take_effect_only_after_their_preview(browse, service):
    """The button stands below the preview, and counts for the rules of that preview alone."""
    admin = browse(Role.ADMIN)
    assert "Put these rules into force" not in admin.text("/retention/edit")
    tried = admin.post("/retention/edit", form("try", days="1")).text
    assert "than it may erase without asking" in tried and service.ids["acme"][0] in tried
    unseen = admin.post("/retention/edit", form("save", days="1"))
    other = admin.post("/retention/edit", {**form("save", days="2"), "tried": field(unseen, "tried")})
    for page in (unseen, other):
        assert page.status_code == 200 and "The sweep would erase 3 calls." in page.text
        assert "Put these rules into force" in page.text
    assert service.ask("/retention").json()["default_days"] == 180
    kept = admin.post("/retention/edit", {**form("save", days="2"), "tried": field(other, "tried")})
    assert kept.status_code == 303 and service.ask("/retention").json()["default_days"] == 2


@pytest.mark.parametrize(
    ("change", "said", "german"),
    [
        ({"days": "x"}, "Rule 1, Days: must be a whole number", "Regel 1, Tage: "),
        ({"days": "-1"}, "Rule 1, Days: must be a whole number", "Regel 1, Tage: "),
        ({"days": "1.5"}, "Rule 1, Days: must be a whole number", "Regel 1, Tage: "),
        ({"days": "9" * 12}, "Rule 1, Days: must be a whole number", "Regel 1, Tage: "),
        ({"source": "here"}, "Rule 1, Source: must be an address", "Regel 1, Quelle: muss eine Adresse"),
        ({"party": "x" * 513}, "Rule 1, ", "Regel 1, "),
        ({"name": "x" * 201}, "Rule 1, Name: must be a text", "Regel 1, Name: "),
    ],
)
def test_a_rule_fault_names_the_field_and_keeps_the_form(browse, change, said, german):
    admin, wrong = browse(Role.ADMIN), {**RULE, **change}
    for act in ("try", "save"):
        answer = admin.post("/retention/edit", form(act, wrong))
        assert answer.status_code == 422 and said in words(answer.text)
        assert "rules.0" not in answer.text and f'value="{wrong["name"]}"' in answer.text
    admin.client.headers["Accept-Language"] = "de"
    assert german in words(admin.post("/retention/edit", form("try", wrong)).text)


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
