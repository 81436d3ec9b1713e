"""Checkpoints: old or new after a crash, sealed under the call's own leaf, never half."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder import checkpoint
from recorder.checkpoint import Checkpoints, Mark
from storage.keys import CustomerKeys
from storage.roots import RootSecret

CALL = "11111111-2222-4333-8444-555555555555"


@pytest.fixture
def keys(tmp_path: Path) -> CustomerKeys:
    return CustomerKeys.create(tmp_path / "keys", tmp_path / "customers" / "acme", "acme", RootSecret(bytes(range(32))))


def test_what_was_saved_comes_back_and_nothing_personal_is_readable(tmp_path: Path, keys: CustomerKeys) -> None:
    here = Checkpoints(tmp_path / "live")
    leaf = keys.allocate(20_513)
    here.save(Mark(CALL, "acme", leaf, ((20000, True),)), keys, {"name": "Alice"})
    (outer,) = here.left()
    assert (outer.call, outer.customer, outer.leaf) == (CALL, "acme", leaf)
    assert here.unseal(outer, keys) == {"name": "Alice"}
    assert b"Alice" not in outer.path.read_bytes()
    here.remove(CALL)
    here.remove(CALL)
    assert not list(here.left())


def test_a_full_disk_keeps_the_old_one(tmp_path: Path, keys: CustomerKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    here, leaf = Checkpoints(tmp_path / "live"), keys.allocate(20_513)
    here.save(Mark(CALL, "acme", leaf, ()), keys, {"n": 1})

    def full(fd: int, data: bytes, offset: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(checkpoint, "write_all", full)
    with pytest.raises(OSError, match="full"):
        here.save(Mark(CALL, "acme", leaf, ()), keys, {"n": 2})
    (outer,) = here.left()
    assert here.unseal(outer, keys) == {"n": 1}
    assert [path.name for path in (tmp_path / "live").iterdir()] == [CALL]


def test_another_calls_checkpoint_does_not_open(tmp_path: Path, keys: CustomerKeys) -> None:
    here, leaf = Checkpoints(tmp_path / "live"), keys.allocate(20_513)
    here.save(Mark(CALL, "acme", leaf, ()), keys, {"n": 1})
    (tmp_path / "live" / CALL).rename(tmp_path / "live" / "other")
    (outer,) = here.left()
    assert here.unseal(outer, keys) is None


@given(
    st.binary(max_size=200)
    | st.sampled_from([b"{}", b"[]", b'{"v":1}', b'{"v":1,"customer":1,"leaf":"x","sealed":"?"}'])
)
def test_any_bytes_are_removed_and_never_an_exception(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    here = Checkpoints(tmp_path_factory.mktemp("live"))
    (here._folder / "x").write_bytes(data)
    (here._folder / "y.new").write_bytes(data)
    assert list(here.left()) == []
    assert list(here._folder.iterdir()) == []
