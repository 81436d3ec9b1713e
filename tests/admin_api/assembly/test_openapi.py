"""The description is true: schemathesis questions the API by it, as every role and as nobody."""

import json

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from admin_api.assembly.openapi import ANSWERS, SUMMARIES, document, text
from admin_api.http.permissions import RULES, Action, Role

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
MAX_EXAMPLES = 5  # for each of 30 operations and 7 askers


def test_every_row_of_the_table_is_described(service):
    shown = service.client.get("/openapi.json").json()
    for rule in RULES:
        operation = shown["paths"][f"/api/v1/customers/{{customer}}{rule.path}"][rule.method.lower()]
        assert operation["summary"] == SUMMARIES[rule.action]
        assert all(role in operation["description"] for role in rule.roles)


def test_no_token_is_needed_for_it(service):
    assert service.client.get("/openapi.json").status_code == 200


def test_examples_are_there_and_fit_their_schemas():
    shown = document()
    seen = 0
    for path in shown["paths"].values():
        for operation in path.values():
            for answer in operation["responses"].values():
                for media in answer.get("content", {}).values():
                    if "example" in media:
                        schema = {**media["schema"], "components": shown["components"]}
                        jsonschema_rs.validate(schema, media["example"])
                        seen += 1
    assert seen > 100


@pytest.mark.parametrize(
    ("action", "path", "role"),
    [
        (Action.SEARCH, "/calls", Role.PRIVACY),
        (Action.VIEW, "/calls/{id}", Role.LISTENER),
        (Action.AUDIT, "/audit", Role.AUDITOR),
        (Action.INCIDENTS, "/incidents", Role.OPERATOR),
        (Action.SYSTEM, "/system", Role.ADMIN),
        (Action.SYSTEM, "/system", Role.OPERATOR),
    ],
)
def test_real_answers_fit_their_schemas(service, action, path, role):
    service.daemon.happened = [{"kind": "call.refused", "count": 2}]
    service.ask("/calls", Role.OPERATOR)
    answer = service.ask(path.replace("{id}", service.ids["acme"][0]), role).json()
    schema = {"$ref": f"#/components/schemas/{ANSWERS[action]}", "components": document()["components"]}
    jsonschema_rs.validate(schema, answer)
    assert answer.get("items") != []


def test_it_is_made_once():
    assert text() is text()
    assert json.loads(text())["openapi"].startswith("3.1")


def with_one_more(value):
    """Give copies of a body with an undeclared member in one of its objects each."""
    if isinstance(value, dict):
        yield {**value, "undeclared": "Qz7kanarie"}
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for place, part in parts:
        for changed in with_one_more(part):
            copy = value.copy()
            copy[place] = changed
            yield copy


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_an_undeclared_parameter_or_member_gets_422(service, rule):
    path = rule.path.replace("{id}", service.ids["acme"][0]).replace("{part}", service.ids["acme"][1])
    operation = document()["paths"][f"/api/v1/customers/{{customer}}{rule.path}"][rule.method.lower()]
    declared = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    more = {"json": declared["example"]} if declared.get("example") else {}
    answers = [service.ask(f"{path}?undeclared=Qz7kanarie", rule.roles[0], method=rule.method, **more)]
    if declared and rule.action is not Action.ATTACH:  # a chat is taken as it is
        example = declared.get("example") or {}
        assert service.ask(path, rule.roles[0], method=rule.method, json=example).status_code != 422
        answers += [service.ask(path, rule.roles[0], method=rule.method, json=it) for it in with_one_more(example)]
        assert len(answers) > 1
    assert {answer.status_code for answer in answers} == {422}
    assert not any("Qz7" in answer.text or "undeclared" in answer.text for answer in answers)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.method} {rule.path}")
def test_every_problem_says_what_to_do(service, rule):
    path = rule.path.replace("{id}", "nothing").replace("{part}", "nothing")
    askers = [None, rule.roles[0], next(role for role in Role if role not in rule.roles)]
    for answer in (service.ask(path, role, method=rule.method, content=b"{") for role in askers):
        if answer.status_code < 400:
            continue
        problem = answer.json()
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["status"] == answer.status_code
        assert problem["type"].startswith("urn:siprec-recorder:problem:")
        assert len(problem["title"]) > 10 and problem["detail"].endswith(".") and len(problem["detail"]) > 15


@pytest.mark.system  # a minute
@pytest.mark.parametrize("role", [*Role, None])
def test_the_api_is_as_described(service, role):
    schema = schemathesis.openapi.from_dict(document())
    schema.config.update(base_url=service.base)
    token = service.tokens["acme"][role] if role else None
    id = service.ids["acme"][0]
    for found in schema.get_all_operations():
        operation = found.ok()

        @given(case=operation.as_strategy(), data=st.data())
        @settings(
            max_examples=MAX_EXAMPLES,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def questioned(case, data):
            for name in case.path_parameters or {}:
                known = "acme" if name == "customer" else id
                if data.draw(st.integers(0, 9)):
                    case.path_parameters[name] = known
            question(service, case, token)

        questioned()


def question(service, case, token):
    """Send a case; the answer is described, and no 5xx."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with requests.Session() as session:
        session.trust_env = False  # no proxy, no other authorities
        response = case.call(session=session, headers=headers, verify=str(service.certificate), timeout=60)
    assert response.status_code < 500
    if response.status_code != 405:  # the only answer to what is no operation at all
        case.validate_response(response, checks=CHECKS)
