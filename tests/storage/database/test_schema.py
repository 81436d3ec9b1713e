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


def test_no_column_in_the_clear_is_named_for_something_personal() -> None:
    for table in metadata.tables.values():
        assert not CLEAR_WORDS & {column.name for column in table.columns}, table.name


def test_a_sealed_column_names_its_leaf() -> None:
    for table in metadata.tables.values():
        if "sealed" in table.columns:
            assert "leaf" in table.columns, table.name


def test_tokens_of_a_day_lie_together() -> None:
    assert [c.name for c in metadata.tables["call_tokens"].primary_key.columns] == ["day", "token", "leaf"]
