"""Names of parts, their order, and what their bytes are bound to."""

import os
from pathlib import Path

import pytest

from storage.errors import DiskFailed
from storage.vault.container import Sealer, new_part
from storage.vault.parts import OpenPart, PartRef, associated_data, file_name, names, read_at, refs

CALL = "01234567-89ab-4cde-8f01-23456789abcd"


def test_a_name_goes_there_and_back(tmp_path: Path) -> None:
    name = file_name(CALL, 20_000 << 32 | 7, "m12")
    assert name == f"{CALL}.4e2000000007.m12"
    (tmp_path / name).touch()
    (tmp_path / "stray").touch()
    assert list(refs(tmp_path)) == [PartRef(CALL, 20_000 << 32 | 7, "m12", tmp_path / name)]


@pytest.mark.parametrize("name", ["{}.sealed", "{}~", "{}\n", " {}", "x{}", "{}234567890"])
def test_a_file_with_a_longer_name_is_not_a_part(name: str, tmp_path: Path) -> None:
    stray = name.format(file_name(CALL, 7, "m1"))
    (tmp_path / stray).touch()
    assert list(refs(tmp_path)) == []


WRONG = ["m0", "m01", "m1234567890", "M1", "m1 ", "m1\n", "m٣", "b1", "m-1"]


@pytest.mark.parametrize(("leaf", "part"), [*((7, part) for part in WRONG), (-1, "m1"), (1 << 48, "m1")])
def test_a_part_has_one_spelling_and_a_leaf_48_bits(leaf: int, part: str) -> None:
    with pytest.raises(ValueError):
        file_name(CALL, leaf, part)


def test_associated_data_is_that_of_the_format() -> None:
    assert associated_data("acme", CALL, 7, "c1") == (
        b"siprec-recorder/1\0acme\0" + CALL.encode() + b"\0" + b"000000000007\0c1"
    )


def test_a_missing_folder_is_empty_and_a_file_is_none(tmp_path: Path) -> None:
    assert names(tmp_path / "none") == []
    (tmp_path / "file").touch()
    with pytest.raises(DiskFailed):
        names(tmp_path / "file")


def test_a_disk_that_gives_little_at_a_time_is_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "part").write_bytes(bytes(range(100)))
    whole = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: whole(fd, min(length, 7), offset))
    fd = os.open(tmp_path / "part", os.O_RDONLY)
    try:
        assert read_at(fd, 10, 50) == bytes(range(10, 60))
        assert read_at(fd, 90, 50) == bytes(range(90, 100))
    finally:
        os.close(fd)


def test_an_open_part_reads_what_was_there_when_it_was_opened(tmp_path: Path) -> None:
    header, secret = new_part(bytes(32), b"", 4096, os.urandom)
    data = header + Sealer(secret).finish(b"hello")
    (tmp_path / "part").write_bytes(data)
    fd = os.open(tmp_path / "part", os.O_RDONLY)
    with OpenPart(fd, secret, len(data), True) as part:
        (tmp_path / "part").write_bytes(data + b"later")
        assert b"".join(part.reader().chunks()) == b"hello"
        assert read_at(fd, len(data), 100) == b"later"
    with pytest.raises(OSError):
        os.fstat(fd)
    with pytest.raises(DiskFailed):
        read_at(fd, 0, 1)
