"""Wrong, missing and damaged keys are refused, each with its reason; never are new ones made in silence."""

import os
import shutil

import pytest

from storage.errors import KeysError, KeysExist, KeysMissing, KeysWrong
from storage.keys.key_store import CustomerKeys
from tests.in_process.key_files import Data


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    return data.create()


def test_a_new_customer_is_distinguished_from_lost_keys(data: Data) -> None:
    with pytest.raises(KeysMissing) as caught:
        data.open()
    assert "recorder init" in caught.value.hint
    data.create()
    shutil.rmtree(data.keys_dir)
    with pytest.raises(KeysMissing) as caught:
        data.open()
    assert "restore" in caught.value.hint
    with pytest.raises(KeysExist):
        data.create()


def test_keys_are_not_made_over_existing_ones(data: Data, keys: CustomerKeys) -> None:
    secret = keys.secret(1, "media")
    (data.customer_dir / "tree.state").unlink()
    with pytest.raises(KeysExist):
        data.create()
    assert data.open().secret(1, "media") == secret


@pytest.mark.parametrize("name", ["acme.forget", "acme.leaves"])
def test_a_missing_file_is_named(data: Data, keys: CustomerKeys, name: str) -> None:
    del keys
    (data.keys_dir / name).unlink()
    with pytest.raises(KeysMissing) as caught:
        data.open()
    assert caught.value.hint


def test_the_copy_serves_where_both_trees_are_lost(data: Data, keys: CustomerKeys) -> None:
    keys.cut(2)
    secret = keys.secret(1, "media")
    for slot in data.keys_dir.glob("acme.tree.*"):
        slot.unlink()
    assert data.open().secret(1, "media") == secret
    data.open().cut(3)
    (data.customer_dir / "tree.state").unlink()
    assert data.open().secret(1, "media") == secret


def test_lost_and_damaged_files_are_refused(data: Data, keys: CustomerKeys) -> None:
    keys.cut(1)
    files = keys.files()
    whole = {path: path.read_bytes() for path in files}
    for path in files[:2]:
        path.write_bytes(bytes(112))
    with pytest.raises(KeysWrong, match="damaged"):
        data.open()
    for path in files[:2]:
        path.write_bytes(whole[path])
    for path in (*files[2:4], data.customer_dir / "tree.state"):
        path.write_bytes(bytes(len(whole.get(path, b""))))
    with pytest.raises(KeysWrong):
        data.open()


def test_one_damaged_forget_file_is_survived_and_mended(data: Data, keys: CustomerKeys) -> None:
    for number, path in enumerate(keys.files()[:2]):
        path.write_bytes(os.urandom(112))
        assert data.open().settle()
        data.open().cut(number)
        assert not data.open().settle()


def test_keys_lost_while_running_stop_everything(data: Data, keys: CustomerKeys) -> None:
    shutil.rmtree(data.keys_dir)
    with pytest.raises(KeysMissing):
        keys.secret(1, "media")


def test_files_of_two_customers_cannot_be_swapped(data: Data, keys: CustomerKeys) -> None:
    del keys
    other = Data(data.folder, "beta")
    other.create()
    for name in ("forget", "forget.new", "tree.0", "tree.1"):
        one, two = data.keys_dir / f"acme.{name}", data.keys_dir / f"beta.{name}"
        first = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(first)
    for customer in (data, other):
        with pytest.raises(KeysError):
            customer.open()
