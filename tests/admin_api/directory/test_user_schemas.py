"""What is described of users is what is shown, and what the examples show."""

from typing import Any

import jsonschema_rs  # comes with schemathesis
import pytest

from admin_api.directory import user_bodies
from admin_api.directory.user_schemas import EXAMPLES, SCHEMAS

RESOLVED = {"components": {"schemas": SCHEMAS}}


def valid(name: str, value: Any) -> bool:
    whole = {**RESOLVED, "$ref": f"#/components/schemas/{name}"}
    return jsonschema_rs.validator_for(whole).is_valid(value)


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_every_user_schema_has_a_valid_example(name: str) -> None:
    assert valid(name, EXAMPLES[name])


@pytest.mark.parametrize(
    ("body", "well"),
    [
        ({"upn": "a"}, True),
        ({"upn": None, "account_name": "a", "numbers": None}, True),
        ({"first_name": "a"}, False),
        ({"upn": None}, False),
        ({"upn": " "}, False),
        ({"upn": "a", "x": 1}, False),
        ({"upn": "a", "numbers": ["1"] * (user_bodies.MAX_SEVERAL + 1)}, False),
    ],
)
def test_a_person_is_described_as_it_is_read(body: Any, well: bool) -> None:
    assert valid("UserRequest", body) is well
