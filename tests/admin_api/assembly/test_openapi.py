"""The description is true: schemathesis questions the API by it, as every role and as nobody."""

import json
from pathlib import Path

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi import checks

from admin_api.assembly import openapi
from admin_api.assembly.endpoints import endpoints
from admin_api.assembly.openapi import document
from admin_api.http.permissions import Action, Role

ENDPOINTS = endpoints()
SCHEMAS = document()["components"]["schemas"]
EXAMPLES = json.loads(Path(openapi.__file__).with_name("examples.json").read_text())

CHECKS = [
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
MAX_EXAMPLES = 5  # for each of 30 operations and 7 askers


def test_every_endpoint_is_described(service):
    shown = service.client.get("/openapi.json").json()
    for each in ENDPOINTS:
        operation = shown["paths"][f"/api/v1/customers/{{customer}}{each.path}"][each.method.lower()]
        assert operation["summary"] and "\n" not in operation["summary"] and operation["summary"][-1] != "."
        assert all(role in operation["description"] for role in each.roles)


def whole(name):
    """Return a schema with the others where its references lead."""
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_as_described(name):
    jsonschema_rs.Draft202012Validator(whole(name)).validate(EXAMPLES[name])


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


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_an_undeclared_parameter_or_member_gets_422(service, endpoint):
    path = endpoint.path.replace("{id}", service.ids["acme"][0]).replace("{part}", service.ids["acme"][1])
    operation = document()["paths"][f"/api/v1/customers/{{customer}}{endpoint.path}"][endpoint.method.lower()]
    declared = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    more = {"json": declared["example"]} if declared.get("example") else {}
    answers = [service.ask(f"{path}?undeclared=Qz7kanarie", endpoint.roles[0], method=endpoint.method, **more)]
    if declared and endpoint.action is not Action.ATTACH:  # a chat is taken as it is
        example = declared.get("example") or {}
        assert service.ask(path, endpoint.roles[0], method=endpoint.method, json=example).status_code != 422
        answers += [
            service.ask(path, endpoint.roles[0], method=endpoint.method, json=it) for it in with_one_more(example)
        ]
        assert len(answers) > 1
    assert {answer.status_code for answer in answers} == {422}
    assert not any("Qz7" in answer.text or "undeclared" in answer.text for answer in answers)


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
            max_examples=MAX_EXAMPLES, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
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
