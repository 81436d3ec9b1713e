"""Checkpoints: old or new after a crash, sealed under the call's own leaf, never half."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.records.commit_slots import ROOM, middle
from recorder.persist.checkpoint import Checkpoints, Mark, refused
from recorder.persist.checkpoint_file import Slots
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import RootSecret
from storage.vault.container import MEDIA_SEGMENT

CALL = "11111111-2222-4333-8444-555555555555"
OTHER = "66666666-2222-4333-8444-555555555555"


@pytest.fixture
def keys(tmp_path: Path) -> CustomerKeys:
    return CustomerKeys.create(tmp_path / "keys", tmp_path / "customers" / "acme", "acme", RootSecret(bytes(range(32))))


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Checkpoints]:
    with closing(Checkpoints(tmp_path / "live")) as checkpoints:
        yield checkpoints


@pytest.fixture
def leaf(keys: CustomerKeys) -> int:
    return keys.allocate(20_513)


def test_a_saved_checkpoint_is_sealed_and_restored(here: Checkpoints, keys: CustomerKeys, leaf: int) -> None:
    state = {"name": "Alice", "broken": "Zo\udceb", "uri": "sip:\u00eb@\U0001f4de.example"}
    here.save(Mark(CALL, "acme", leaf, ((20000, True),)), keys, state)
    (outer,) = here.left()
    assert (outer.call, outer.customer, outer.leaf) == (CALL, "acme", leaf)
    assert here.unseal(outer, keys) == state
    assert here.unseal(replace(outer, call=OTHER), keys) is None
    assert here.unseal(replace(outer, sealed=b""), keys) is None
    assert b"Alice" not in outer.path.read_bytes()
    here.remove(CALL)
    here.remove(CALL)
    assert not list(here.left())


def test_a_new_call_reserves_space_for_its_successor(small_disk: Path) -> None:
    """Full afterwards or not: packets that no slot knows of would be lost without a word by a worker's end."""
    with closing(Checkpoints(small_disk / "live")) as here:
        descriptor = here.begin(CALL)
        with (small_disk / "filler").open("wb", 0) as filler, pytest.raises(OSError, match="No space"):
            while True:
                filler.write(bytes(4096))
        for at, length in ROOM:
            assert os.pwrite(descriptor, bytes(length), at) == length
        for generation in (1, 2):  # a record of half a second that is cut, nearly a segment behind it, and the end
            slot = bytes(25 * 160 + MEDIA_SEGMENT + 300)
            assert os.pwrite(descriptor, slot, middle(generation) - len(slot)) == len(slot)
        with pytest.raises(OSError, match="No space"):
            here.begin(OTHER)
        here.remove(OTHER)
        here.remove(CALL)
        here.begin(OTHER)


def test_a_successor_may_remove_finished_calls(
    here: Checkpoints, tmp_path: Path, keys: CustomerKeys, leaf: int
) -> None:
    for call in (CALL, OTHER):
        here.save(Mark(call, "acme", leaf, ()), keys, {"call": call})
    here.mark_over(OTHER)
    here.mark_over("unknown")
    with closing(Checkpoints(tmp_path / "live")) as successor:
        found = {outer.call: outer for outer in successor.left()}
        assert {call: outer.over for call, outer in found.items()} == {CALL: False, OTHER: True}
        assert successor.unseal(found[OTHER], keys) == {"call": OTHER}
        successor.remove(OTHER)
        assert [outer.call for outer in successor.left()] == [CALL]


def test_a_successor_sees_which_calls_were_refused(tmp_path: Path, keys: CustomerKeys, leaf: int) -> None:
    """Whether one was going to be answered or not: what its checkpoint said of it is gone."""
    with closing(Checkpoints(tmp_path / "live")) as before:
        before.save(Mark(CALL, "acme", leaf, ((20000, True),)), keys, {"call": CALL})
        for call in (CALL, OTHER):
            before.mark_refused(Mark(call, "acme", leaf, ()), keys)
    assert refused(tmp_path, "acme", keys) == {CALL, OTHER}
    assert refused(tmp_path, "other", keys) == set()
    with closing(Checkpoints(tmp_path / "live")) as here:
        left = list(here.left())
        assert [(outer.call, outer.customer, outer.leaf, outer.over) for outer in left] == [
            (call, "acme", leaf, True) for call in (CALL, OTHER)
        ]
        assert [here.unseal(outer, keys) for outer in left] == [{"refused": True}] * 2
        for call in (CALL, OTHER):
            here.remove(call)
        assert not list(here.left())


def test_the_next_call_has_the_file_of_one_that_is_over(
    here: Checkpoints, tmp_path: Path, keys: CustomerKeys, leaf: int
) -> None:
    here.begin(CALL)
    here.save(Mark(CALL, "acme", leaf, ()), keys, {"n": 1})
    here.lend(CALL)
    here.returned(CALL)
    here.remove(CALL)
    here.begin(OTHER)
    assert [path.name for path in (tmp_path / "live").iterdir()] == ["1"]
    here.lend(OTHER)
    here.remove(OTHER)  # its worker was dropped and may be writing
    assert not list((tmp_path / "live").iterdir())
    here.returned(OTHER)


def test_files_of_older_versions_go_and_foreign_folders_stay(tmp_path: Path) -> None:
    (tmp_path / "live/mine").mkdir(parents=True)
    (tmp_path / "spool").mkdir()
    (tmp_path / "live" / CALL).write_text("{}")
    (tmp_path / "spool" / CALL).write_bytes(b"said in the clear")
    with closing(Checkpoints(tmp_path / "live")) as here:
        assert list(here.left()) == []
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "live", tmp_path / "live/mine"]


@given(
    st.binary(max_size=200)
    | st.sampled_from([b"{}", b"[]", b'{"v":2}', b'{"v":2,"call":1,"customer":1,"leaf":"x"}', b'{"v":1}'])
)
def test_files_of_any_bytes_are_emptied_without_an_exception(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("live")
    with closing(Slots(folder)) as before, closing(Checkpoints(folder)) as here:
        before.take().write(data, b"sealed")
        (folder / "2").write_bytes(data)
        assert list(here.left()) == []
        assert [path.stat().st_size for path in folder.iterdir()] == [0, 0]
