"""The keys of a customer go to a new node once, over a file that nobody else opens, and never again."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from recorder.errors import Negative, NotPossible
from recorder.maintenance import key_backup, node_admission
from storage.keys.cut_log import Entry
from storage.keys.key_tree import leaf_of
from tests.in_process.command_line import Place

LEAF, GONE = leaf_of(20_000, 7), leaf_of(20_000, 8)


@pytest.fixture
def old(tmp_path: Path) -> Place:
    """A node with keys, some of them cut."""
    (tmp_path / "old").mkdir()
    place = Place(tmp_path / "old")
    place.open().forget(Entry((), datetime(2026, 3, 1, tzinfo=UTC), (GONE,)))
    return place


@pytest.fixture
def new(tmp_path: Path) -> Place:
    """A node without keys, with a root secret of its own."""
    (tmp_path / "new").mkdir()
    place = Place(tmp_path / "new")
    shutil.rmtree(place.data)
    place.data.mkdir()
    (place.folder / "root.key").write_bytes(bytes(range(50, 82)))
    return place


def identity(new: Place) -> str:
    return (new.keys / node_admission.IDENTITY).read_text()


def test_the_new_node_opens_and_cuts_what_the_old_one_does(old: Place, new: Place, tmp_path: Path) -> None:
    recipient = node_admission.prepare(new.settings())
    assert node_admission.prepare(new.settings()) == recipient  # asked again, it says the same
    file = tmp_path / "keys.age"
    assert node_admission.hand_over(old.settings(), recipient, file) == ["acme"]
    assert node_admission.take(new.settings(), file) == ["acme"]
    assert new.open().secret(LEAF, "media") == old.open().secret(LEAF, "media")
    assert new.open().state() == old.open().state() and not new.open().keeps(GONE)
    assert (new.keys / "acme.erasures").read_bytes() == (old.keys / "acme.erasures").read_bytes()


def test_the_file_holds_no_root_secret_and_can_be_taken_once(old: Place, new: Place, tmp_path: Path) -> None:
    recipient, file = node_admission.prepare(new.settings()), tmp_path / "keys.age"
    node_admission.hand_over(old.settings(), recipient, file)
    content = key_backup.decrypt(file.read_bytes(), identity(new))
    for place in (old, new):
        assert (place.folder / "root.key").read_bytes() not in content
    assert not list(old.keys.glob(".admission-*"))
    node_admission.take(new.settings(), file)
    assert not (new.keys / node_admission.IDENTITY).exists()
    with pytest.raises(NotPossible, match="not asked"):
        node_admission.take(new.settings(), file)


def test_another_node_cannot_take_it(old: Place, new: Place, tmp_path: Path) -> None:
    (tmp_path / "third").mkdir()
    third = Place(tmp_path / "third")
    shutil.rmtree(third.data)
    third.data.mkdir()
    node_admission.prepare(third.settings())
    file = tmp_path / "keys.age"
    node_admission.hand_over(old.settings(), node_admission.prepare(new.settings()), file)
    with pytest.raises(Negative):
        node_admission.take(third.settings(), file)


def test_a_node_with_keys_does_not_ask(old: Place) -> None:
    with pytest.raises(NotPossible, match="already"):
        node_admission.prepare(old.settings())


def test_keys_are_taken_again_if_a_crash_left_the_identity(old: Place, new: Place, tmp_path: Path) -> None:
    recipient, file = node_admission.prepare(new.settings()), tmp_path / "keys.age"
    kept = identity(new)
    node_admission.hand_over(old.settings(), recipient, file)
    node_admission.take(new.settings(), file)
    (new.keys / node_admission.IDENTITY).write_text(kept)
    assert node_admission.take(new.settings(), file) == ["acme"]
    assert not (new.keys / node_admission.IDENTITY).exists()
