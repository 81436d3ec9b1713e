"""A folder that cannot be written to is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.folders import make_folder, probe


def test_a_missing_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_a_file_in_its_place_is_a_clear_sentence(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(NotPossible) as told:
        make_folder(tmp_path / "a" / "b")
    assert str(tmp_path / "a" / "b") in told.value.sentence()
    assert "cannot be written" in told.value.sentence()


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    probe(tmp_path)
    assert list(tmp_path.iterdir()) == []
