"""Space is owned behind the end of a file without changing it."""

import os
from pathlib import Path

import pytest

from storage.files.reserved_space import FILE_NAME, ReservedSpace


def test_space_is_owned_by_an_empty_file_and_given_up_once(tmp_path: Path) -> None:
    room = ReservedSpace(tmp_path)
    assert not room.release()
    if not room.keep():
        pytest.skip("this file system cannot reserve space")
    status = os.stat(tmp_path / FILE_NAME)
    assert status.st_size == 0 and status.st_blocks > 0
    assert room.keep() and ReservedSpace(tmp_path).keep()
    assert room.release() and not room.release()
    assert not (tmp_path / FILE_NAME).exists()
    (tmp_path / FILE_NAME).touch()
    assert not room.release()


def test_without_a_folder_nothing_is_owned(tmp_path: Path) -> None:
    assert not ReservedSpace(tmp_path / "none").keep()
