"""What people write is sealed for one row of one kind, and a day that ends takes none of it."""

import pytest

from storage.errors import Forgotten, SealBroken
from storage.keys import sealing
from storage.keys.key_store import CustomerKeys
from tests.in_process.key_files import cut_days


def test_a_text_opens_only_in_its_place_until_its_leaf_is_cut(keys: CustomerKeys) -> None:
    leaf = sealing.new_leaf(keys)
    sealed = sealing.seal(keys, leaf, "hold", "1", {"reason": "Straße \ud800"})
    for kind, id in (("hold", "2"), ("waiver", "1")):
        with pytest.raises(SealBroken):
            sealing.unseal(keys, leaf, kind, id, sealed)
    cut_days(keys, *range(20_000, 20_100))  # no recording shares the day of what people write
    assert sealing.unseal(keys, leaf, "hold", "1", sealed) == {"reason": "Straße \ud800"}
    keys.cut(leaf)
    with pytest.raises(Forgotten):
        sealing.unseal(keys, leaf, "hold", "1", sealed)


def test_sealed_bytes_that_are_not_an_object_are_refused(keys: CustomerKeys) -> None:
    leaf = sealing.new_leaf(keys)
    for plain in (b"[]", b"{"):
        sealed = keys.seal(leaf, "details", plain, b"hold\x001")
        with pytest.raises(SealBroken):
            sealing.unseal(keys, leaf, "hold", "1", sealed)
