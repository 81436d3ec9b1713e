"""The schemas name what the contract names."""

from admin_api.assembly.openapi_schemas import EXAMPLES, SCHEMAS

CALL = (
    "id state started_at ended_at duration_ms session_id source direction parties streams size_bytes hold erase_after"
)
PARTY = "role name number uri user_id joined_at left_at"
STREAM = "label party media codec decodable srtp packets lost duplicates rejected gap_ms gaps pauses jitter_ms mos"
AUDIT = "time actor role action object outcome reason"


def test_members_of_the_contract():
    for name, members in (("Call", CALL), ("Party", PARTY), ("Stream", STREAM), ("AuditEntry", AUDIT)):
        assert set(members.split()) <= set(SCHEMAS[name]["properties"])


def test_every_reference_leads_somewhere():
    text = str(SCHEMAS)
    found = {part.split("'")[0] for part in text.split("#/components/schemas/")[1:]}
    assert found <= set(SCHEMAS)


def test_examples_are_of_known_schemas():
    assert set(EXAMPLES) <= set(SCHEMAS)
