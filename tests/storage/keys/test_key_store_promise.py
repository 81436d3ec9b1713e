"""What keys promise: no copy of before opens what was cut, and older keys are told from newer ones."""

import shutil
from pathlib import Path

import pytest

from storage.errors import Forgotten, KeysExist, KeysOutdated, KeysWrong
from storage.keys.key_store import CustomerKeys, RootSecret
from storage.keys.key_tree import leaf_of
from tests.in_process.key_files import DAY, ROOT, Data, read_part, write_part


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    return data.create()


@pytest.mark.parametrize("cut", ["call", "day"])
def test_an_old_backup_with_new_keys_lacks_only_erased_calls(
    data: Data, keys: CustomerKeys, tmp_path: Path, cut: str
) -> None:
    """The test that decides: backup = everything but keys/; today's secrets = keys/ and the root secret."""
    erased, kept, other_day = keys.allocate(DAY), keys.allocate(DAY + 1), keys.allocate(DAY + 2)
    for leaf in (erased, kept, other_day):
        write_part(data, keys, leaf, "m1", b"audio of %x" % leaf)
    keys.cut(keys.allocate(DAY + 3))  # an earlier erasure, so that the first state is not special
    backup = data.copy(tmp_path / "backup")
    shutil.rmtree(backup.keys_dir)

    keys.cut(erased) if cut == "call" else keys.cut_days(DAY)
    keys.cut(keys.allocate(DAY + 3))

    shutil.copytree(data.keys_dir, backup.keys_dir)
    restored = backup.open()
    restored.settle()
    assert read_part(backup, restored, kept) == b"audio of %x" % kept
    assert read_part(backup, restored, other_day) == b"audio of %x" % other_day
    with pytest.raises(Forgotten):
        read_part(backup, restored, erased)
    assert restored.copy_current


def test_older_keys_beside_newer_data_are_refused(data: Data, keys: CustomerKeys, tmp_path: Path) -> None:
    """They would open again what was erased since; that they are older shows without opening anything."""
    erased = keys.allocate(DAY)
    older = data.copy(tmp_path / "older")
    keys.cut(erased)
    for name in ("keys", "again"):
        shutil.copytree(data.keys_dir, tmp_path / name)
    shutil.rmtree(data.keys_dir)
    shutil.copytree(older.keys_dir, data.keys_dir)
    with pytest.raises(KeysOutdated, match="older than its data") as caught:
        data.open()
    assert "newest" in caught.value.hint
    with pytest.raises(KeysExist):
        data.create()
    shutil.rmtree(data.keys_dir)
    shutil.copytree(tmp_path / "keys", data.keys_dir)
    assert not data.open().keeps(erased)


def test_older_keys_are_noticed_while_running(data: Data, keys: CustomerKeys, tmp_path: Path) -> None:
    older = data.copy(tmp_path / "older")
    keys.cut(keys.allocate(DAY))
    for path in older.keys_dir.iterdir():
        shutil.copy(path, data.keys_dir / path.name)
    with pytest.raises(KeysOutdated):
        keys.cut(7)


def test_no_byte_of_todays_keys_opens_an_older_tree(data: Data, keys: CustomerKeys) -> None:
    """Try, as a script would, every 32 bytes of today's keys as forget secret on every tree that ever lay there."""
    from storage.keys.key_files import ForgetSecret, open_tree

    erased = keys.allocate(DAY)
    old = [path.read_bytes() for path in (*keys.files(), data.customer_dir / "tree.state")]
    keys.cut(erased)
    today = [path.read_bytes() for path in data.folder.rglob("*") if path.is_file()]
    for text in (*today, *old):
        for secret in {blob[i : i + 32] for blob in today for i in range(min(len(blob) - 31, 500))}:
            for generation in (1, 2):
                tree = open_tree(ROOT.secret, "acme", ForgetSecret(generation, secret), text)
                assert tree is None or not tree.keeps(erased)


def test_without_the_root_secret_nothing_of_the_disk_opens_it(data: Data, keys: CustomerKeys) -> None:
    secret = keys.secret(leaf_of(DAY, 1), "media")
    with pytest.raises(KeysWrong, match="root secret"):
        data.open(RootSecret(bytes(32)))
    stored = b"".join(path.read_bytes() for path in data.folder.rglob("*") if path.is_file())
    assert secret not in stored
    assert ROOT.secret not in stored
