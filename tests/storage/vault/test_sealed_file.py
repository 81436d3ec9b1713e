"""An export, or anything else that is written by and by, is sealed as it is written."""

import os
from pathlib import Path
from zipfile import ZipFile

import pytest

from storage.errors import PartExists, Torn
from storage.keys import sealing
from storage.keys.key_store import CustomerKeys
from storage.vault.sealed_file import BLOCK, PART, Sink
from storage.vault.vault import Vault

ID = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def vault(tmp_path: Path, keys: CustomerKeys) -> Vault:
    return Vault(tmp_path / "exports", "acme", keys)


@pytest.mark.parametrize("size", [0, 1, 4040, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_sealed_file_is_read_as_written(vault: Vault, keys: CustomerKeys, size: int) -> None:
    leaf, data = sealing.new_leaf(keys), os.urandom(size)
    with Sink(vault, ID, leaf) as sink:
        for at in range(0, size, 70_001):
            assert sink.write(data[at : at + 70_001]) == len(data[at : at + 70_001])
        assert sink.finish() == size
    ref = vault.find(ID, leaf, PART)
    assert ref and ref.finished and b"".join(vault.read(ref)) == data


def test_an_unfinished_sealed_file_is_torn(vault: Vault, keys: CustomerKeys) -> None:
    leaf = sealing.new_leaf(keys)
    with Sink(vault, ID, leaf) as sink:
        sink.write(bytes(2 * BLOCK))
        sink.flush()
    sink.close()
    ref = vault.find(ID, leaf, PART)
    assert ref and not ref.finished
    with pytest.raises(Torn):
        list(vault.read(ref))
    with pytest.raises(PartExists):
        Sink(vault, ID, leaf)


def test_a_zip_can_be_written_into_it(vault: Vault, keys: CustomerKeys, tmp_path: Path) -> None:
    leaf = sealing.new_leaf(keys)
    with Sink(vault, ID, leaf) as sink:
        with ZipFile(sink, "w") as zip:
            zip.writestr("a.txt", b"hello" * BLOCK)
        sink.finish()
    ref = vault.find(ID, leaf, PART)
    assert ref
    (tmp_path / "out.zip").write_bytes(b"".join(vault.read(ref)))
    with ZipFile(tmp_path / "out.zip") as zip:
        assert zip.testzip() is None and zip.read("a.txt") == b"hello" * BLOCK
