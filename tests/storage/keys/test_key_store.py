"""The keys of one customer: found again, sealed under, forgotten, numbered; refused when they are wrong or old."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from storage.errors import Forgotten, KeysError, KeysExist, KeysMissing, KeysOutdated, KeysWrong, NoSpace, SealBroken
from storage.keys.cut_log import Entry, Ledger, Request
from storage.keys.key_store import CustomerKeys, RootSecret
from storage.keys.key_tree import day_of, leaf_of
from tests.in_process.key_files import DAY, ROOT, Data, FallibleDisk, cut_days, read_part, write_part
from tests.storage.flipped_bits import flips

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    return data.create()


def contents(data: Data) -> dict[Path, tuple[bytes, int]]:
    files = [path for path in data.folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_opening_again_gives_the_same_keys_and_writes_nothing(data: Data, keys: CustomerKeys) -> None:
    leaf = keys.allocate(DAY)
    before = contents(data)
    again = data.open(disk=FallibleDisk(0))
    assert again.secret(leaf, "media") == keys.secret(leaf, "media")
    assert again.secret(leaf, "media") not in (again.secret(leaf, "details"), again.secret(leaf + 1, "media"))
    assert contents(data) == before
    assert not any(path.stat().st_mode & 0o077 for path in data.folder.rglob("*"))


def test_a_sealed_value_opens_in_its_place_only(keys: CustomerKeys) -> None:
    leaf = leaf_of(DAY, 1)
    sealed = keys.seal(leaf, "details", b"plain", b"row 1")
    assert keys.unseal(leaf, "details", sealed, b"row 1") == b"plain"
    assert keys.seal(leaf, "details", b"plain", b"row 1") != sealed
    wrong = [(leaf + 1, "details", b"row 1"), (leaf, "media", b"row 1"), (leaf, "details", b"row 2")]
    for other, name, context in wrong:
        with pytest.raises(SealBroken):
            keys.unseal(other, name, sealed, context)
    for bad in (*(sealed[:size] for size in range(len(sealed))), *flips(sealed)):
        with pytest.raises(SealBroken):
            keys.unseal(leaf, "details", bad, b"row 1")


def test_a_cut_leaf_is_forgotten_and_its_neighbour_is_not(data: Data, keys: CustomerKeys) -> None:
    one, two = keys.allocate(DAY), keys.allocate(DAY)
    sealed = keys.seal(two, "details", b"kept", b"")
    assert keys.cut(one)
    assert not keys.cut(one)
    for state in (keys, data.open()):
        with pytest.raises(Forgotten):
            state.secret(one, "media")
        assert not state.keeps(one)
        assert state.unseal(two, "details", sealed, b"") == b"kept"


def test_days_and_ranges_are_one_cut(keys: CustomerKeys) -> None:
    generation = keys.generation
    assert cut_days(keys, DAY, DAY + 1)
    assert keys.cut_range(leaf_of(DAY + 5, 3), leaf_of(DAY + 5, 9))
    assert keys.cut(leaf_of(DAY + 7, 1), leaf_of(DAY + 7, 99), leaf_of(DAY + 8, 5))
    assert keys.generation == generation + 3
    assert not keys.keeps(leaf_of(DAY + 1, 77))
    assert keys.keeps(leaf_of(DAY + 5, 10))
    assert not keys.keeps(leaf_of(DAY + 5, 9))


def test_the_cut_log_has_a_durable_line_before_every_cut(
    data: Data, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Request("e1", "request", "paula", NOON)
    append, ahead = Ledger.append, list[bool]()

    def noted(ledger: Ledger, entry: Entry) -> None:
        append(ledger, entry)
        ahead.append(not entry.leaves or keys.keeps(entry.leaves[0]))

    monkeypatch.setattr(Ledger, "append", noted)
    for _ in range(2):  # what is forgotten already needs no second line
        keys.cut(leaf_of(DAY, 1), leaf_of(DAY, 2))
        cut_days(keys, DAY + 1)
    entries = list(Ledger(data.keys_dir, "acme").entries())
    assert [(e.erasures, e.leaves, e.days) for e in entries] == [
        ((), (leaf_of(DAY, 1), leaf_of(DAY, 2)), ()),
        ((), (), (DAY + 1,)),
    ]
    assert all(ahead)
    for _ in range(2):  # an erasure whose cut is there gets its line nevertheless, because a receipt may come from it
        keys.forget(Entry((asked,), NOON, (leaf_of(DAY, 1),)))
    assert [e.ids for e in Ledger(data.keys_dir, "acme").entries()] == [(), (), ("e1",), ("e1",)]


def test_without_its_line_nothing_is_cut(keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: Ledger, entry: Entry) -> None:
        raise NoSpace("full")

    monkeypatch.setattr(Ledger, "append", full)
    with pytest.raises(NoSpace):
        keys.cut(leaf_of(DAY, 1))
    assert keys.keeps(leaf_of(DAY, 1)) and keys.generation == 1


def test_many_lines_are_repeated_in_one_cut_without_new_lines(data: Data, keys: CustomerKeys, tmp_path: Path) -> None:
    older = data.copy(tmp_path / "older")
    for number in range(5):
        keys.cut(leaf_of(DAY, number))
    cut_days(keys, DAY + 1)
    entries = list(Ledger(data.keys_dir, "acme").entries())
    again = older.open()
    assert again.repeat(entries) and not again.repeat(entries)
    assert again.generation == 2
    assert not any(again.keeps(leaf) for leaf in (leaf_of(DAY, 0), leaf_of(DAY, 4), leaf_of(DAY + 1, 9)))
    assert again.keeps(leaf_of(DAY, 5)) and not list(Ledger(older.keys_dir, "acme").entries())


def test_the_cut_of_another_process_is_noticed(data: Data, keys: CustomerKeys) -> None:
    other = data.open()
    for number in range(3):
        assert keys.keeps(leaf_of(DAY, number))
        other.cut(leaf_of(DAY, number))
        with pytest.raises(Forgotten):
            keys.secret(leaf_of(DAY, number), "media")
    keys.cut(leaf_of(DAY, 100))
    assert not other.keeps(leaf_of(DAY, 100))
    assert other.generation == keys.generation == 5


def test_cuts_at_the_same_time_all_count(data: Data, keys: CustomerKeys) -> None:
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: data.open().cut(leaf_of(DAY, number)), range(12)))
    assert not any(keys.keeps(leaf_of(DAY, number)) for number in range(12))
    assert keys.generation == 13


def test_no_number_is_given_twice_or_after_an_erasure(data: Data, keys: CustomerKeys) -> None:
    assert keys.low(DAY)
    keys.refill(DAY)
    assert not keys.low(DAY)
    first = keys.allocate(DAY)
    keys.cut(*range(first + 1, first + 1501))
    assert keys.allocate(DAY) == first + 1501
    keys.skip([leaf_of(DAY, 50_000), leaf_of(DAY, 10)])
    assert data.open().allocate(DAY) != keys.allocate(DAY) > leaf_of(DAY, 50_000)


def test_a_clock_set_back_to_an_erased_day_uses_the_next_one(keys: CustomerKeys) -> None:
    cut_days(keys, DAY, DAY + 1)
    assert day_of(keys.allocate(DAY)) == DAY + 2


# --- wrong, missing and damaged keys are refused, each with its reason -----------------------------------------------


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


def test_files_of_two_customers_cannot_be_swapped(data: Data, keys: CustomerKeys) -> None:
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


# --- no copy of before opens what was cut, and older keys are told from newer ones ------------------------------------


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

    keys.cut(erased) if cut == "call" else cut_days(keys, DAY)
    keys.cut(keys.allocate(DAY + 3))

    shutil.copytree(data.keys_dir, backup.keys_dir)
    restored = backup.open()
    restored.settle()
    assert read_part(backup, restored, kept) == b"audio of %x" % kept
    assert read_part(backup, restored, other_day) == b"audio of %x" % other_day
    with pytest.raises(Forgotten):
        read_part(backup, restored, erased)
    assert not restored.settle()


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


def test_without_the_root_secret_nothing_of_the_disk_opens_it(data: Data, keys: CustomerKeys) -> None:
    secret = keys.secret(leaf_of(DAY, 1), "media")
    with pytest.raises(KeysWrong, match="root secret"):
        data.open(RootSecret(bytes(32)))
    stored = b"".join(path.read_bytes() for path in data.folder.rglob("*") if path.is_file())
    assert secret not in stored
    assert ROOT.secret not in stored
