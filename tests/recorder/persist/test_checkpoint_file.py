"""Files of live calls: the state before or the new one after a crash, emptied at the end, used again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recorder.persist import checkpoint_file
from recorder.persist.checkpoint_file import SPOOL, STATE, Slot, Slots, read, states

OUTER = b'{"v":2,"call":"c"}'
HEAD = 4 + 4 + 1 + 4 + 4 + 8
"""Bytes of a state before its JSON (docs/formats/records.md)."""


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Slots]:
    with closing(Slots(tmp_path / "live")) as slots:
        yield slots


@pytest.fixture
def slot(here: Slots) -> Slot:
    return here.take()


def sealed_in(slot: Slot) -> bytes | None:
    state = read(slot.fd)
    return state.sealed if state else None


def test_the_newest_state_counts_and_its_length_may_change(slot: Slot) -> None:
    for sealed in (b"a" * 9_000, b"b" * 20, b"c" * 500, b""):
        slot.write(OUTER, sealed)
        state = read(slot.fd)
        assert state
        assert (state.sealed, state.outer["call"], state.over) == (sealed, "c", False)
    assert state.generation == 4


def test_a_write_cut_at_any_length_leaves_the_state_before(slot: Slot) -> None:
    slot.write(OUTER, b"old one")
    before = slot.path.read_bytes()
    slot.write(OUTER, b"new one")
    whole = slot.path.read_bytes()
    assert len(before) > STATE > len(whole) - len(before) >= 0
    for cut in range(len(whole[: STATE // 2].rstrip(b"\0"))):
        os.pwrite(slot.fd, whole[:cut] + bytes(200), 0)
        assert sealed_in(slot) == b"old one"


def test_a_write_that_fails_keeps_the_state_before(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    slot.write(OUTER, b"old")
    with monkeypatch.context() as away:
        away.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="full"):
            slot.write(OUTER, b"new")
    assert sealed_in(slot) == b"old"
    longest = STATE - HEAD - len(OUTER)
    for more in (1, 9, len(OUTER) + HEAD):
        with pytest.raises(OSError, match="too long"):
            slot.write(OUTER, bytes(longest + more))
    for sealed in (b"the other", bytes(longest), b"the last"):
        slot.write(OUTER, sealed)
        assert sealed_in(slot) == sealed


def test_a_short_write_goes_on_where_it_stopped(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))
    slot.write(OUTER, b"x" * 100)
    assert sealed_in(slot) == b"x" * 100
    with pytest.raises(OSError, match="no room"):
        slot.reserve()


def test_the_end_is_noted_and_the_spool_is_gone(slot: Slot) -> None:
    slot.write(OUTER, b"sealed")
    os.pwrite(slot.fd, b"said in the clear", SPOOL)
    slot.end()
    state = read(slot.fd)
    assert state and state.over and state.sealed == b"sealed"
    assert b"clear" not in slot.path.read_bytes()


def test_a_file_is_emptied_and_used_again(here: Slots, slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_file, "MAX_FREE", 1)
    other = here.take()
    slot.write(OUTER, b"sealed")
    os.pwrite(slot.fd, b"said", SPOOL)
    here.give_back(slot)
    here.give_back(other)
    assert [path.stat().st_size for path in slot.path.parent.iterdir()] == [0], "only so many are kept"
    assert here.take() is slot
    assert (slot.generation, read(slot.fd)) == (0, None)


@pytest.mark.parametrize("lent", [True, False])
def test_a_file_that_may_not_stay_empty_is_removed(
    here: Slots, slot: Slot, monkeypatch: pytest.MonkeyPatch, lent: bool
) -> None:
    """A worker may still write to it, or it could not be emptied."""

    def failing(*given: object) -> None:
        raise OSError(errno.EIO, "cannot")

    slot.write(OUTER, b"of the call before")
    slot.lent = lent
    if not lent:
        monkeypatch.setattr(os, "ftruncate", failing)
    here.give_back(slot)
    assert not slot.path.exists()
    assert here.take() is not slot


def test_a_successor_restores_calls_and_reuses_other_files(here: Slots, tmp_path: Path) -> None:
    live, empty, spoilt = here.take(), here.take(), here.take()
    live.write(OUTER, b"x")
    live.write(OUTER, b"y")
    os.pwrite(spoilt.fd, b"nonsense", 0)
    with closing(Slots(tmp_path / "live")) as successor:
        for _ in range(2):  # whoever looks again finds the same
            ((slot, state),) = successor.left()
            assert (slot.path, state.sealed, slot.generation) == (live.path, b"y", 2)
        assert {successor.take().path, successor.take().path} == {empty.path, spoilt.path}
        assert successor.take().path.name == "4"
        assert spoilt.path.stat().st_size == 0
        slot.write(OUTER, b"z")
        assert sealed_in(live) == b"z"


def test_what_is_no_file_of_ours_is_skipped(slot: Slot, tmp_path: Path) -> None:
    """Somebody's folder, pipe or link must not keep the daemon from its start; reading a pipe would never end."""
    slot.write(OUTER, b"x")
    (slot.path.parent / "7").mkdir()
    os.mkfifo(slot.path.parent / "8")
    for gone in range(9, 40):
        (slot.path.parent / str(gone)).symlink_to("nowhere")
    for stray in ("stray", "٣", "1 "):
        (slot.path.parent / stray).write_bytes(slot.path.read_bytes())
    before = len(os.listdir("/proc/self/fd"))
    assert [state.sealed for state in states(tmp_path)] == [b"x"]
    assert len(os.listdir("/proc/self/fd")) <= before  # fewer: what an earlier test forgot was collected
    with closing(Slots(slot.path.parent)) as successor:
        assert [state.sealed for _, state in successor.left()] == [b"x"]
        assert successor.take().number == 40
    assert list(states(tmp_path / "nowhere")) == []


@given(st.binary(max_size=60), st.integers(0, 60), st.booleans())
def test_any_bytes_are_a_state_or_none(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int, second: bool
) -> None:
    with closing(Slots(tmp_path_factory.mktemp("live"))) as here:
        slot = here.take()
        slot.write(OUTER, b"x")
        os.pwrite(slot.fd, data, at + STATE * second)
        state = read(slot.fd)
    assert state is None or state.sealed == b"x"
