"""A folder that cannot be written to is named."""

from __future__ import annotations

import errno
import os
from contextlib import nullcontext
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


@pytest.mark.parametrize(
    ("number", "full", "starts"),
    [(errno.ENOSPC, True, True), (errno.EDQUOT, True, True), (errno.ENOSPC, False, False), (errno.EIO, True, False)],
)
def test_a_full_disk_is_borne_where_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, full: bool, starts: bool
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with nullcontext() if starts else pytest.raises(NotPossible):
        make_folder(tmp_path, full=full)
    assert list(tmp_path.iterdir()) == []


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    probe(tmp_path)
    assert list(tmp_path.iterdir()) == []
