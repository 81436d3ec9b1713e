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
from recorder.persist.checkpoint_file import _HEAD, SPOOL, STATE, Slot, Slots, read, states

OUTER = b'{"v":2,"call":"c"}'


@pytest.fixture
def slot(tmp_path: Path) -> Iterator[Slot]:
    with closing(Slots(tmp_path / "live")) as here:
        yield here.take()


def test_the_newest_state_counts_and_its_length_may_change(slot: Slot) -> None:
    for sealed in (b"a" * 9_000, b"b" * 20, b"c" * 500, b""):
        slot.write(OUTER, sealed)
        state = read(slot.fd)
        assert state
        assert (state.sealed, state.outer["call"], state.over) == (sealed, "c", False)
    assert read(slot.fd).generation == 4


def test_a_write_cut_at_any_length_leaves_the_state_before(tmp_path: Path) -> None:
    slot = Slots(tmp_path / "live").take()
    slot.write(OUTER, b"old one")
    before = slot.path.read_bytes()
    slot.write(OUTER, b"new one")
    whole = slot.path.read_bytes()
    assert len(before) > STATE > len(whole) - len(before) >= 0
    for cut in range(len(whole[: STATE // 2].rstrip(b"\0"))):
        slot.path.write_bytes(whole[:cut] + bytes(STATE - cut) + before[STATE:])
        state = read(os.open(slot.path, os.O_RDONLY))
        assert state
        assert state.sealed == b"old one"


def test_a_full_disk_keeps_the_one_before(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    slot.write(OUTER, b"old")

    def full(*given: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as away:
        away.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="full"):
            slot.write(OUTER, b"new")
    assert read(slot.fd).sealed == b"old"
    slot.write(OUTER, b"new")
    assert read(slot.fd).sealed == b"new"


def test_a_short_write_goes_on_where_it_stopped(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, data[:7], at))
    slot.write(OUTER, b"x" * 100)
    assert read(slot.fd).sealed == b"x" * 100


def test_a_state_that_is_too_long_is_refused(slot: Slot) -> None:
    slot.write(OUTER, b"before")
    longest = STATE - _HEAD.size - len(OUTER)
    for more in (1, 9, len(OUTER) + _HEAD.size):
        with pytest.raises(OSError, match="too long"):
            slot.write(OUTER, bytes(longest + more))
    for sealed in (b"the other", bytes(longest), b"the last"):
        slot.write(OUTER, sealed)
        state = read(slot.fd)
        assert state and state.sealed == sealed


def test_memory_that_is_had_in_part_is_none(slot: Slot, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: whole(fd, data[:-1], at))
    with pytest.raises(OSError, match="no room"):
        slot.reserve()


def test_the_end_is_noted_and_the_spool_is_gone(slot: Slot) -> None:
    slot.write(OUTER, b"sealed")
    os.pwrite(slot.fd, b"said in the clear", SPOOL)
    slot.end()
    state = read(slot.fd)
    assert state
    assert state.over
    assert state.sealed == b"sealed"
    assert b"clear" not in slot.path.read_bytes()


def test_a_file_is_emptied_and_used_again(tmp_path: Path) -> None:
    here = Slots(tmp_path / "live")
    first, other = here.take(), here.take()
    first.write(OUTER, b"sealed")
    os.pwrite(first.fd, b"said", SPOOL)
    here.give_back(first)
    assert first.path.stat().st_size == 0
    again = here.take()
    assert again is first
    assert again.generation == 0
    assert read(again.fd) is None
    assert {p.name for p in (tmp_path / "live").iterdir()} == {first.path.name, other.path.name}


def test_a_file_that_a_worker_may_still_write_to_is_removed(tmp_path: Path) -> None:
    here = Slots(tmp_path / "live")
    slot = here.take()
    slot.lent = True
    here.give_back(slot)
    assert not slot.path.exists()
    assert here.take() is not slot


def test_a_file_that_cannot_be_emptied_is_not_reused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = Slots(tmp_path / "live")
    slot = here.take()
    slot.write(OUTER, b"of the call before")

    def failing(*given: object) -> None:
        raise OSError(errno.EIO, "cannot")

    monkeypatch.setattr(os, "ftruncate", failing)
    here.give_back(slot)
    assert not slot.path.exists()
    assert here.take() is not slot


def test_only_so_many_empty_files_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_file, "MAX_FREE", 1)
    here = Slots(tmp_path / "live")
    one, two = here.take(), here.take()
    here.give_back(one)
    here.give_back(two)
    assert [p.name for p in (tmp_path / "live").iterdir()] == [one.path.name]


def test_a_successor_restores_calls_and_reuses_other_files(tmp_path: Path) -> None:
    before = Slots(tmp_path / "live")
    live, empty, spoilt = before.take(), before.take(), before.take()
    live.write(OUTER, b"x")
    live.write(OUTER, b"y")
    os.pwrite(spoilt.fd, b"nonsense", 0)
    here = Slots(tmp_path / "live")
    for _ in range(2):  # whoever looks again finds the same
        ((slot, state),) = here.left()
        assert (slot.path, state.sealed, slot.generation) == (live.path, b"y", 2)
    assert {here.take().path, here.take().path} == {empty.path, spoilt.path}
    assert here.take().path.name == "4"
    assert spoilt.path.stat().st_size == 0
    slot.write(OUTER, b"z")
    assert read(live.fd).sealed == b"z"


def test_folders_pipes_and_links_are_skipped(tmp_path: Path) -> None:
    """Somebody's folder, pipe or link must not keep the daemon from its start; reading a pipe would never end."""
    folder = tmp_path / "live"
    former = Slots(folder)
    former.take().write(OUTER, b"sealed")
    (folder / "7").mkdir()
    os.mkfifo(folder / "8")
    (folder / "9").symlink_to("nowhere")
    successor = Slots(folder)
    assert [state.sealed for _, state in successor.left()] == [b"sealed"]
    assert [state.sealed for state in states(tmp_path)] == [b"sealed"]
    assert successor.take().number == 10
    former.close()
    successor.close()


def test_at_the_end_only_files_of_calls_stay(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    here = Slots(tmp_path / "live")
    live, over = here.take(), here.take()
    live.write(OUTER, b"x")
    here.give_back(over)
    here.close()
    assert [path.name for path in (tmp_path / "live").iterdir()] == [live.path.name]
    assert len(os.listdir("/proc/self/fd")) <= before  # fewer: what an earlier test forgot was collected


def test_all_states_are_read_without_a_daemon(tmp_path: Path) -> None:
    assert list(states(tmp_path)) == []
    slot = Slots(tmp_path / "live").take()
    slot.write(OUTER, b"x")
    for stray in ("stray", "٣", "1 "):
        (tmp_path / "live" / stray).write_bytes(slot.path.read_bytes())
    for gone in range(20, 40):
        (tmp_path / "live" / str(gone)).symlink_to("nowhere")
    before = len(os.listdir("/proc/self/fd"))
    assert [state.sealed for state in states(tmp_path)] == [b"x"]
    assert len(os.listdir("/proc/self/fd")) <= before


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
