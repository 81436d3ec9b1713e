"""The keys of one customer: found again, forgotten for good, never half cut, never silently new."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.container import Sealer
from storage.durable import Disk
from storage.errors import Forgotten, KeysError, KeysExist, KeysMissing, KeysOutdated, KeysWrong, NoSpace, SealBroken
from storage.keys import CustomerKeys, RootSecret
from storage.keytree import day_of, label, leaf_of
from storage.vault import Vault

ROOT = RootSecret(bytes(range(32)))
DAY = 20_000
CALL = "01234567-89ab-4cde-8f01-23456789abcd"


class Data:
    """A data directory with the keys of one customer."""

    def __init__(self, folder: Path, customer: str = "acme") -> None:
        self.folder, self.customer = folder, customer
        self.keys_dir, self.customer_dir = folder / "keys", folder / "customers" / customer

    def open(self, root: RootSecret = ROOT, disk: Disk | None = None) -> CustomerKeys:
        return CustomerKeys.open(self.keys_dir, self.customer_dir, self.customer, root, disk=disk)

    def create(self, root: RootSecret = ROOT, disk: Disk | None = None) -> CustomerKeys:
        return CustomerKeys.create(self.keys_dir, self.customer_dir, self.customer, root, disk=disk)

    def copy(self, to: Path) -> "Data":
        shutil.copytree(self.folder, to)
        return Data(to, self.customer)


class PowerCut(BaseException):
    """The machine stops."""


class FallibleDisk(Disk):
    """Stop at the n-th step, having done a part of it; what was not synced is lost if so wished."""

    def __init__(self, stop_at: int, kept: float = 0.0, lose: bool = False) -> None:
        self.left, self.kept, self.lose = stop_at, kept, lose
        self.unsynced: list[tuple[Path, bytes]] = []

    def write(self, fd: int, data: bytes, offset: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{fd}"))
        self.unsynced.append((path, path.read_bytes()))
        if self._stops():
            super().write(fd, data[: int(len(data) * self.kept)], offset)
            self._cut()
        super().write(fd, data, offset)

    def sync(self, fd: int) -> None:
        if self._stops():
            self._cut()
        super().sync(fd)
        self.unsynced.clear()

    def rename(self, old: Path, new: Path) -> None:
        if self._stops():
            self._cut()
        super().rename(old, new)

    def _stops(self) -> bool:
        self.left -= 1
        return self.left < 0

    def _cut(self) -> None:
        for path, before in reversed(self.unsynced if self.lose else []):
            path.write_bytes(before)
        raise PowerCut


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return Data(tmp_path / "data")


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    return data.create()


def write_part(data: Data, keys: CustomerKeys, leaf: int, part: str, plain: bytes) -> None:
    vault = Vault(data.customer_dir / "vault", data.customer, keys)
    new = vault.create(CALL, leaf, part)
    os.write(new.fd, Sealer(new.secret).finish(plain))
    os.close(new.fd)
    vault.finish(CALL, leaf, part)


def read_part(data: Data, keys: CustomerKeys, leaf: int) -> bytes:
    vault = Vault(data.customer_dir / "vault", data.customer, keys)
    return b"".join(piece for ref in vault.parts(CALL, leaf) for piece in vault.read(ref))


# --- use -------------------------------------------------------------------------------------------------------------


def test_keys_are_the_same_after_opening_again(data: Data, keys: CustomerKeys) -> None:
    leaf = keys.allocate(DAY)
    again = data.open()
    assert again.secret(leaf, "media") == keys.secret(leaf, "media")
    assert again.secret(leaf, "media") != again.secret(leaf, "details")
    assert again.secret(leaf, "media") != again.secret(leaf + 1, "media")


def test_opening_writes_nothing(data: Data, keys: CustomerKeys) -> None:
    before = {path: path.read_bytes() for path in data.folder.rglob("*") if path.is_file()}
    times = {path: path.stat().st_mtime_ns for path in before}
    data.open(disk=FallibleDisk(0)).secret(leaf_of(DAY, 1), "media")
    assert {path: path.read_bytes() for path in data.folder.rglob("*") if path.is_file()} == before
    assert {path: path.stat().st_mtime_ns for path in before} == times


def test_a_sealed_value_opens_in_its_place_only(keys: CustomerKeys) -> None:
    leaf = leaf_of(DAY, 1)
    sealed = keys.seal(leaf, "details", b"plain", b"row 1")
    assert keys.unseal(leaf, "details", sealed, b"row 1") == b"plain"
    assert keys.seal(leaf, "details", b"plain", b"row 1") != sealed
    wrong = [(leaf + 1, "details", b"row 1"), (leaf, "media", b"row 1"), (leaf, "details", b"row 2")]
    for other, name, context in wrong:
        with pytest.raises(SealBroken):
            keys.unseal(other, name, sealed, context)
    for size in range(len(sealed)):
        with pytest.raises(SealBroken):
            keys.unseal(leaf, "details", sealed[:size], b"row 1")
    for bit in range(len(sealed) * 8):
        bad = bytearray(sealed)
        bad[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            keys.unseal(leaf, "details", bytes(bad), b"row 1")


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
    assert keys.cut_days(DAY, DAY + 1)
    assert keys.cut_range(leaf_of(DAY + 5, 3), leaf_of(DAY + 5, 9))
    assert keys.cut(leaf_of(DAY + 7, 1), leaf_of(DAY + 7, 99), leaf_of(DAY + 8, 5))
    assert keys.generation == generation + 3
    assert not keys.keeps(leaf_of(DAY + 1, 77))
    assert keys.keeps(leaf_of(DAY + 5, 10))
    assert not keys.keeps(leaf_of(DAY + 5, 9))


def test_the_cut_of_another_process_is_noticed(data: Data, keys: CustomerKeys) -> None:
    other = data.open()
    for number in range(30):
        assert keys.keeps(leaf_of(DAY, number))
        other.cut(leaf_of(DAY, number))
        with pytest.raises(Forgotten):
            keys.secret(leaf_of(DAY, number), "media")
    keys.cut(leaf_of(DAY, 100))
    assert not other.keeps(leaf_of(DAY, 100))
    assert other.generation == keys.generation == 32


def test_cuts_at_the_same_time_all_count(data: Data, keys: CustomerKeys) -> None:
    del keys
    workers = [threading.Thread(target=data.open().cut, args=(leaf_of(DAY, number),)) for number in range(12)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    now = data.open()
    assert not any(now.keeps(leaf_of(DAY, number)) for number in range(12))
    assert now.generation == 13


def test_readers_meet_a_whole_state_during_cuts(data: Data, keys: CustomerKeys) -> None:
    stop = threading.Event()
    kept = leaf_of(DAY, 5000)
    secret = keys.secret(kept, "media")
    seen: list[bool] = []

    def read() -> None:
        while not stop.is_set():
            seen.append(data.open().secret(kept, "media") == secret)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(60):
        keys.cut(leaf_of(DAY, number))
    stop.set()
    reader.join()
    assert seen
    assert all(seen)


# --- numbers ---------------------------------------------------------------------------------------------------------


def test_numbers_are_never_given_twice_between_processes_and_restarts(data: Data, keys: CustomerKeys) -> None:
    other = data.open()
    given = [source.allocate(DAY) for _ in range(2000) for source in (keys, other)]
    given += [data.open().allocate(DAY) for _ in range(20)]
    assert len(set(given)) == len(given)
    assert {day_of(leaf) for leaf in given} == {DAY}


def test_an_erased_number_is_never_given(keys: CustomerKeys) -> None:
    first = keys.allocate(DAY)
    keys.cut_range(first + 1, first + 1500)
    assert keys.allocate(DAY) == first + 1501


def test_a_clock_set_back_into_an_erased_day_takes_the_next_one_left(keys: CustomerKeys) -> None:
    keys.cut_days(DAY, DAY + 1)
    assert day_of(keys.allocate(DAY)) == DAY + 2


def test_refilling_ahead_spares_the_caller_the_disk(data: Data, keys: CustomerKeys) -> None:
    assert keys.low(DAY)
    keys.refill(DAY)
    assert not keys.low(DAY)
    for _ in range(1000):
        keys.allocate(DAY)
    assert keys.low(DAY)


def test_numbers_found_in_use_are_skipped_after_a_restore(keys: CustomerKeys) -> None:
    keys.skip([leaf_of(DAY, 50_000), leaf_of(DAY, 10)])
    assert keys.allocate(DAY) > leaf_of(DAY, 50_000)


# --- the promise -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["call", "day"])
def test_an_old_backup_beside_todays_keys_opens_everything_but_the_erased(
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


def test_no_byte_of_todays_keys_opens_an_older_tree(data: Data, keys: CustomerKeys, tmp_path: Path) -> None:
    """Try, as a script would, every 32 bytes of today's keys as forget secret on every tree that ever lay there."""
    from storage.keystate import ForgetSecret, open_tree

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


# --- crashes ---------------------------------------------------------------------------------------------------------


def crashes() -> Iterator[tuple[int, float, bool]]:
    for stop_at in range(12):
        for kept in (0.0, 0.5, 1.0):
            for lose in (False, True):
                yield stop_at, kept, lose


def test_a_cut_stopped_anywhere_leaves_the_old_or_the_new_state_and_is_completed(data: Data, tmp_path: Path) -> None:
    first = data.create()
    kept, cut, earlier = leaf_of(DAY, 1), leaf_of(DAY, 2), leaf_of(DAY, 3)
    first.cut(earlier)
    secrets = {leaf: first.secret(leaf, "media") for leaf in (kept, cut)}
    outcomes, stopped = set(), 0
    for number, (stop_at, share, lose) in enumerate(crashes()):
        trial = data.copy(tmp_path / str(number))
        try:
            trial.open(disk=FallibleDisk(stop_at, share, lose)).cut(cut)
        except PowerCut:
            stopped += 1
        after = trial.open()
        assert after.secret(kept, "media") == secrets[kept]
        assert not after.keeps(earlier)
        outcomes.add(after.keeps(cut))
        if after.keeps(cut):
            assert after.secret(cut, "media") == secrets[cut]
        after.cut(cut)  # the erasure is resumed
        done = trial.open()
        assert not done.keeps(cut)
        assert done.secret(kept, "media") == secrets[kept]
        assert done.copy_current
        files = done.files()
        assert files[0].read_bytes() == files[1].read_bytes()  # no other forget secret is left
        shutil.rmtree(trial.folder)
    assert outcomes == {True, False}
    assert stopped > 50


def test_a_cut_stopped_on_a_full_disk_does_not_need_the_copy(data: Data, tmp_path: Path) -> None:
    class FullDisk(FallibleDisk):
        def replace(self, path: Path, data: bytes) -> None:
            raise NoSpace("full")

    first = data.create()
    secret = first.secret(leaf_of(DAY, 1), "media")
    (data.customer_dir / "tree.state").unlink()
    for number, (stop_at, share, lose) in enumerate(crashes()):
        trial = data.copy(tmp_path / str(number))
        try:
            trial.open(disk=FullDisk(stop_at, share, lose)).cut(leaf_of(DAY, 2))
        except PowerCut:
            pass
        assert trial.open().secret(leaf_of(DAY, 1), "media") == secret
        shutil.rmtree(trial.folder)


def test_the_new_tree_is_durable_before_settling_destroys_the_old_secret(data: Data) -> None:
    class Recorded(Disk):
        steps: list[str] = []

        def sync(self, fd: int) -> None:
            self.steps.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)
            super().sync(fd)

    data.create()
    with pytest.raises(PowerCut):
        data.open(disk=FallibleDisk(4, 0.5)).cut(1)
    data.open(disk=Recorded()).settle()
    assert Recorded.steps[:2] == ["acme.tree.1", "acme.forget"]


def test_settling_is_itself_interruptible(data: Data, tmp_path: Path) -> None:
    first = data.create()
    cut, kept = leaf_of(DAY, 2), first.secret(leaf_of(DAY, 1), "media")
    with pytest.raises(PowerCut):
        data.open(disk=FallibleDisk(4, 0.5)).cut(cut)  # the new tree is there, the old secret too
    assert not data.open().keeps(cut)
    for number, (stop_at, share, lose) in enumerate(crashes()):
        trial = data.copy(tmp_path / str(number))
        try:
            trial.open(disk=FallibleDisk(stop_at, share, lose)).settle()
        except PowerCut:
            pass
        after = trial.open()
        assert not after.keeps(cut)
        assert after.secret(leaf_of(DAY, 1), "media") == kept
        after.settle()
        assert not after.settle()
        shutil.rmtree(trial.folder)


def test_creation_stopped_anywhere_begins_again_or_is_complete(tmp_path: Path) -> None:
    complete = again = 0
    trials = ((stop_at, share, lose) for stop_at in range(24) for share in (0.0, 0.5) for lose in (False, True))
    for number, (stop_at, share, lose) in enumerate(trials):
        data = Data(tmp_path / str(number))
        try:
            data.create(disk=FallibleDisk(stop_at, share, lose))
        except PowerCut:
            pass
        try:
            data.create()
            again += 1
        except KeysExist:
            data.open().settle()
            complete += 1
        assert data.open().keeps(leaf_of(DAY, 1))
        assert data.open().allocate(DAY) >= leaf_of(DAY, 0)
    assert complete
    assert again


def test_cutting_needs_no_free_space(data: Data, keys: CustomerKeys) -> None:
    class FullDisk(Disk):
        def reserve(self, path: Path, size: int) -> None:
            if not path.exists() or path.stat().st_size < size:
                raise NoSpace("full")

        def replace(self, path: Path, data: bytes) -> None:
            raise NoSpace("full")

    full = data.open(disk=FullDisk())
    for number in range(0, 40 * 4096, 4096):
        full.cut(leaf_of(DAY, number))
    assert not data.open().keeps(leaf_of(DAY, 39 * 4096))
    assert not full.copy_current
    assert keys.settle()
    assert keys.copy_current


def test_a_tree_that_outgrows_a_full_disk_keeps_the_old_state(data: Data, keys: CustomerKeys) -> None:
    class FullDisk(Disk):
        def reserve(self, path: Path, size: int) -> None:
            if path.stat().st_size < size:
                raise NoSpace("full")

    with pytest.raises(NoSpace):
        data.open(disk=FullDisk()).cut(*(leaf_of(day, 5) for day in range(0, 60_000, 600)))
    assert keys.keeps(leaf_of(600, 5))
    assert keys.generation == 1


# --- wrong and missing keys ------------------------------------------------------------------------------------------


def test_a_new_customer_is_told_from_lost_keys(data: Data) -> None:
    with pytest.raises(KeysMissing) as caught:
        data.open()
    assert "recorder init" in caught.value.hint
    data.create()
    shutil.rmtree(data.keys_dir)
    with pytest.raises(KeysMissing) as caught:
        data.open()
    assert "bring back" in caught.value.hint
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


def test_the_root_secret_can_be_changed_at_any_crash(data: Data, tmp_path: Path) -> None:
    first = data.create()
    secret, new = first.secret(1, "media"), RootSecret(os.urandom(32))
    outcomes = set()
    for number, (stop_at, share, lose) in enumerate(crashes()):
        trial = data.copy(tmp_path / str(number))
        try:
            trial.open(disk=FallibleDisk(stop_at, share, lose)).rotate(new)
        except PowerCut:
            pass
        opened = []
        for root in (new, ROOT):
            try:
                opened.append(trial.open(root).secret(1, "media"))
                outcomes.add(root is new)
            except KeysWrong:
                pass
        assert opened
        assert set(opened) == {secret}
        shutil.rmtree(trial.folder)
    first.rotate(new)
    assert first.secret(1, "media") == secret
    assert data.open(new).secret(1, "media") == secret
    with pytest.raises(KeysWrong):
        data.open()
    assert outcomes == {True, False}


def test_files_are_private(data: Data, keys: CustomerKeys) -> None:
    keys.cut(1)
    for path in data.folder.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_label_is_that_of_the_format(keys: CustomerKeys) -> None:
    assert keys.secret(5, "media") == label(keys._now().tree.derive(5), "media")
