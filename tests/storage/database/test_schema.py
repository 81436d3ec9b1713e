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


def test_personal_columns_are_sealed_under_a_leaf() -> None:
    for table in metadata.tables.values():
        assert not CLEAR_WORDS & {column.name for column in table.columns}, table.name
        assert "sealed" not in table.columns or "leaf" in table.columns, table.name
