"""Index keys are remembered until something is erased."""

import pytest

from storage.calls.day_keys import DayKeys
from storage.errors import Forgotten
from storage.keys.key_store import CustomerKeys
from storage.keys.row_keys import LABEL_INDEX


def test_a_key_is_that_of_the_leaf_until_it_is_cut(keys: CustomerKeys) -> None:
    leaf, day_keys = keys.allocate(20513), DayKeys(keys)
    day_keys.refresh()
    assert day_keys.key(leaf) == keys.secret(leaf, LABEL_INDEX) == day_keys.key(leaf)
    keys.cut(leaf)
    day_keys.refresh()
    with pytest.raises(Forgotten):
        day_keys.key(leaf)
