"""Nothing lies in the clear on a disk, and nothing is left on tmpfs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from recorder.errors import NotPossible
from recorder.folders import SHARED_MEMORY, in_memory
from recorder.scratch import Scratch


def test_tmpfs_is_told_from_a_disk(tmp_path: Path) -> None:
    assert in_memory(SHARED_MEMORY)
    assert not in_memory(Path("/proc")) and not in_memory(tmp_path / "nowhere")


def test_a_folder_is_private_and_goes_with_everything_in_it(tmp_path: Path) -> None:
    with Scratch(tmp_path).folder() as folder:
        assert in_memory(folder) and os.stat(folder).st_mode & 0o777 == 0o700
        (folder / "rows").write_text("Mira Okafor")
    assert not folder.exists()


def test_also_after_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), Scratch(tmp_path).folder() as folder:
        (folder / "rows").write_text("Mira Okafor")
        raise RuntimeError
    assert not folder.exists()


def test_without_tmpfs_nothing_is_written() -> None:
    with pytest.raises(NotPossible, match="tmpfs"), Scratch(Path("/proc"), ()).folder():
        pass


def test_what_a_killed_process_left_is_swept_and_only_that(tmp_path: Path) -> None:
    other = Scratch(tmp_path / "other")
    mine = Scratch(tmp_path)
    with other.folder() as theirs:
        generator = mine.folder()
        left = generator.__enter__()  # and the process ends
        Scratch(tmp_path).sweep()
        assert not left.exists() and theirs.exists()
