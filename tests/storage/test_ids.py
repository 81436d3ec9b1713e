"""Ids are random, and a name is never taken for one."""

import pytest

from storage.ids import is_id, new_id


def test_an_id_is_a_uuid_of_the_given_randomness() -> None:
    assert new_id(bytes) == "00000000-0000-4000-8000-000000000000"
    assert is_id(new_id(bytes))


@pytest.mark.parametrize("text", ["", "Mira Okafor", "+4930123456", "00000000-0000-4000-8000-00000000000", "0" * 36])
def test_other_texts_are_no_ids(text: str) -> None:
    assert not is_id(text)
    assert not is_id("00000000-0000-4000-8000-000000000000\n")
