"""The examples of the description are as the schemas say, and every schema has one."""

import jsonschema_rs
import pytest

from admin_api.assembly.request_schemas import EXAMPLES, SCHEMAS


def whole(name):
    """Return a schema with the others where its references lead."""
    return {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_as_described(name):
    jsonschema_rs.Draft202012Validator(whole(name)).validate(EXAMPLES[name])


def test_every_schema_has_an_example():
    assert {name for name in SCHEMAS if name.endswith("Request")} - {"Request"} <= set(EXAMPLES)
    assert set(SCHEMAS) - set(EXAMPLES) == set()


def test_request_schemas_allow_no_unknown_member():
    for name in EXAMPLES:
        if name.endswith("Request") and name != "Request":
            validator = jsonschema_rs.Draft202012Validator(whole(name))
            assert not validator.is_valid({**EXAMPLES[name], "more": 1})
