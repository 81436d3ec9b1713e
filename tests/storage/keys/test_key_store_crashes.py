"""A cut, a creation, another root secret: stopped at any step they leave the old state or the new one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.errors import KeysExist, KeysWrong, NoSpace
from storage.files.durable_files import Disk
from storage.keys.key_store import CustomerKeys, RootSecret
from storage.keys.key_tree import leaf_of
from tests.in_process.key_files import DAY, ROOT, Data, FallibleDisk, PowerCut


@pytest.fixture
def keys(data: Data) -> CustomerKeys:
    return data.create()


def crashes() -> Iterator[tuple[int, float, bool]]:
    for stop_at in range(12):
        for kept in (0.0, 0.5, 1.0):
            for lose in (False, True):
                yield stop_at, kept, lose


def test_an_interrupted_cut_is_completed(data: Data, tmp_path: Path) -> None:
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


def test_the_new_tree_is_durable_before_the_old_secret_goes(data: Data) -> None:
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
