"""The example fits its schema, and the schema what it must."""

from __future__ import annotations

import copy

import jsonschema_rs
import pytest

from admin_api.assembly.system_schemas import EXAMPLES, SCHEMAS


def test_the_example_fits():
    jsonschema_rs.validate(SCHEMAS["System"], EXAMPLES["System"])


def test_members_hidden_from_a_role_are_null():
    jsonschema_rs.validate(SCHEMAS["System"], {**EXAMPLES["System"], "customer": None, "node": None})


@pytest.mark.parametrize("member", ["ready", "disks", "workers", "certificates", "history"])
def test_the_node_has_all_members(member):
    broken = copy.deepcopy(EXAMPLES["System"])
    del broken["node"][member]
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validate(SCHEMAS["System"], broken)
