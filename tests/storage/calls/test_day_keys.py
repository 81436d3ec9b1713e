"""Index keys are remembered until something is erased."""

import pytest

from storage.calls.day_keys import DayKeys
from storage.errors import Forgotten
from storage.keys.key_store import CustomerKeys
from storage.keys.row_keys import LABEL_INDEX


def test_a_key_is_the_index_secret_of_the_leaf(keys: CustomerKeys) -> None:
    leaf = keys.allocate(20513)
    day_keys = DayKeys(keys)
    day_keys.refresh()
    assert day_keys.key(leaf) == keys.secret(leaf, LABEL_INDEX) == day_keys.key(leaf)


def test_a_cut_makes_it_forget(keys: CustomerKeys) -> None:
    leaf = keys.allocate(20513)
    day_keys = DayKeys(keys)
    day_keys.refresh()
    day_keys.key(leaf)
    keys.cut(leaf)
    day_keys.refresh()
    with pytest.raises(Forgotten):
        day_keys.key(leaf)
