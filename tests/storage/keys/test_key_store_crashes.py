"""A cut, a creation, another root secret: stopped at any step they leave the old state or the new one."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import product
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


def stopped(
    data: Data, folder: Path, do: Callable[[Data, Disk], object], disk: type[FallibleDisk] = FallibleDisk
) -> Iterator[tuple[Data, bool]]:
    """Do something on copies of the data, stopped at every step; yield each, and whether it was stopped."""
    for number, (stop_at, share, lose) in enumerate(product(range(12), (0.0, 0.5, 1.0), (False, True))):
        trial, cut = data.copy(folder / str(number)), False
        try:
            do(trial, disk(stop_at, share, lose))
        except PowerCut:
            cut = True
        yield trial, cut
        shutil.rmtree(trial.folder)


def test_an_interrupted_cut_is_completed(data: Data, tmp_path: Path) -> None:
    first = data.create()
    kept, cut, earlier = leaf_of(DAY, 1), leaf_of(DAY, 2), leaf_of(DAY, 3)
    first.cut(earlier)
    secrets = {leaf: first.secret(leaf, "media") for leaf in (kept, cut)}
    outcomes, stops = set(), 0
    for trial, was_stopped in stopped(data, tmp_path, lambda trial, disk: trial.open(disk=disk).cut(cut)):
        stops += was_stopped
        after = trial.open()
        assert after.secret(kept, "media") == secrets[kept]
        assert not after.keeps(earlier)
        outcomes.add(after.keeps(cut))
        assert not after.keeps(cut) or after.secret(cut, "media") == secrets[cut]
        after.cut(cut)  # the erasure is resumed
        done = trial.open()
        assert not done.keeps(cut)
        assert done.secret(kept, "media") == secrets[kept]
        assert not done.settle()
        files = done.files()
        assert files[0].read_bytes() == files[1].read_bytes()  # no other forget secret is left
    assert outcomes == {True, False}
    assert stops > 50


def test_a_cut_stopped_on_a_full_disk_does_not_need_the_copy(data: Data, tmp_path: Path) -> None:
    class NoCopies(FallibleDisk):
        def replace(self, path: Path, data: bytes) -> None:
            raise NoSpace("full")

    secret = data.create().secret(leaf_of(DAY, 1), "media")
    (data.customer_dir / "tree.state").unlink()
    for trial, _ in stopped(data, tmp_path, lambda trial, disk: trial.open(disk=disk).cut(leaf_of(DAY, 2)), NoCopies):
        assert trial.open().secret(leaf_of(DAY, 1), "media") == secret


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
    for trial, _ in stopped(data, tmp_path, lambda trial, disk: trial.open(disk=disk).settle()):
        after = trial.open()
        assert not after.keeps(cut)
        assert after.secret(leaf_of(DAY, 1), "media") == kept
        after.settle()
        assert not after.settle()


def test_creation_stopped_anywhere_begins_again_or_is_complete(tmp_path: Path) -> None:
    complete = again = 0
    trials = product(range(24), (0.0, 0.5), (False, True))
    for number, (stop_at, share, lose) in enumerate(trials):
        data = Data(tmp_path / str(number))
        with contextlib.suppress(PowerCut):
            data.create(disk=FallibleDisk(stop_at, share, lose))
        try:
            data.create()
            again += 1
        except KeysExist:
            data.open().settle()
            complete += 1
        assert data.open().keeps(leaf_of(DAY, 1))
        assert data.open().allocate(DAY) >= leaf_of(DAY, 0)
    assert complete and again


class FullDisk(Disk):
    """A disk on which no file grows and none is made."""

    def reserve(self, path: Path, size: int) -> None:
        if not path.exists() or path.stat().st_size < size:
            raise NoSpace("full")

    def replace(self, path: Path, data: bytes) -> None:
        raise NoSpace("full")


def test_cutting_needs_no_free_space(data: Data, keys: CustomerKeys) -> None:
    full = data.open(disk=FullDisk())
    for number in range(0, 40 * 4096, 4096):
        full.cut(leaf_of(DAY, number))
    assert not data.open().keeps(leaf_of(DAY, 39 * 4096))
    assert keys.settle(), "its copy beside the vault was renewed only now"
    assert not keys.settle()


def test_a_tree_that_outgrows_a_full_disk_keeps_the_old_state(data: Data, keys: CustomerKeys) -> None:
    with pytest.raises(NoSpace):
        data.open(disk=FullDisk()).cut(*(leaf_of(day, 5) for day in range(0, 60_000, 600)))
    assert keys.keeps(leaf_of(600, 5))
    assert keys.generation == 1


def test_the_root_secret_can_be_changed_at_any_crash(data: Data, tmp_path: Path) -> None:
    first = data.create()
    secret, new = first.secret(1, "media"), RootSecret(os.urandom(32))
    outcomes = set()
    for trial, _ in stopped(data, tmp_path, lambda trial, disk: trial.open(disk=disk).rotate(new)):
        opened = []
        for root in (new, ROOT):
            with contextlib.suppress(KeysWrong):
                opened.append(trial.open(root).secret(1, "media"))
                outcomes.add(root is new)
        assert set(opened) == {secret}
    first.rotate(new)
    assert first.secret(1, "media") == data.open(new).secret(1, "media") == secret
    with pytest.raises(KeysWrong):
        data.open()
    assert outcomes == {True, False}
