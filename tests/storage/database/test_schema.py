"""Nothing personal has a column in the clear."""

from storage.database.schema import metadata

CLEAR_WORDS = {
    "party",
    "parties",
    "number",
    "uri",
    "email",
    "upn",
    "phone",
    "reason",
    "text",
    "signed_by",
    "scope",
    "title",
}


def test_personal_things_have_no_column_in_the_clear_and_sealed_ones_a_leaf() -> None:
    for table in metadata.tables.values():
        assert not CLEAR_WORDS & {column.name for column in table.columns}, table.name
        assert "sealed" not in table.columns or "leaf" in table.columns, table.name
