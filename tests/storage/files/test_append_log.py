"""Lines are whole after any crash, come back in both directions, and space for the next is owned."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import DiskFailed, NoSpace
from storage.files.append_log import LineFile, backwards, whole_size

RESERVE = 16 << 10


def log(folder: Path) -> LineFile:
    return LineFile(folder / "log", "a log", RESERVE)


def test_lines_come_back_in_order_and_the_last_alone(tmp_path: Path) -> None:
    assert log(tmp_path).last() is None and list(log(tmp_path).newest_first()) == []
    assert list(log(tmp_path).lines()) == [] and not log(tmp_path).exists
    for line in (b"one\n", b"two\n"):
        log(tmp_path).append(line)
    assert list(log(tmp_path).lines()) == [b"one\n", b"two\n"] and log(tmp_path).last() == b"two\n"
    assert list(log(tmp_path).newest_first()) == [b"two\n", b"one\n"]
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    long = b"x" * 200_000 + b"\n"  # more than a block
    log(tmp_path).append(long)
    assert list(log(tmp_path).newest_first()) == [long, b"two\n", b"one\n"]
    assert log(tmp_path).last(5) == b"xxxxx" and len(log(tmp_path).last() or b"") == 200_001
    assert log(tmp_path).size == 200_009 and LineFile(tmp_path / "none", "a log", 0).size == 0


def test_a_line_without_its_end_does_not_count_and_is_cut_off(tmp_path: Path) -> None:
    log(tmp_path).append(b"one\n")
    (tmp_path / "log").write_bytes(b"one\ntw")
    assert log(tmp_path).last() == b"one\n" and list(log(tmp_path).lines()) == [b"one\n"]
    assert list(log(tmp_path).newest_first()) == [b"one\n"]
    log(tmp_path).append(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
    (tmp_path / "log").write_bytes(b"one\n" + b"torn, and longer than what comes next")
    log(tmp_path).append(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"


def test_a_line_is_taken_back_only_while_it_is_the_last(tmp_path: Path) -> None:
    assert not log(tmp_path).take_back(b"one\n")
    for line in (b"one\n", b"two\n", b"a longer one\n"):
        log(tmp_path).append(line)
    assert not log(tmp_path).take_back(b"two\n")
    assert log(tmp_path).take_back(b"a longer one\n") and log(tmp_path).take_back(b"two\n")
    assert list(log(tmp_path).lines()) == [b"one\n"] and not log(tmp_path).take_back(b"more than one\n")
    assert log(tmp_path).take_back(b"one\n") and log(tmp_path).last() is None
    log(tmp_path).append(b"again\n")
    (tmp_path / "log").write_bytes(b"again\ntorn")
    assert log(tmp_path).take_back(b"again\n") and log(tmp_path).size == 0


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, NoSpace), (errno.EIO, DiskFailed)])
def test_a_line_that_failed_to_sync_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception]
) -> None:
    file = log(tmp_path)
    file.append(b"one\n")
    owned = (tmp_path / "log").stat().st_blocks

    def fails(_: int) -> None:
        raise OSError(number, "")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", fails)
        with pytest.raises(error, match="a log"):
            file.append(b"two\n")
    assert (tmp_path / "log").read_bytes() == b"one\n"
    file.prepare()
    assert (tmp_path / "log").stat().st_blocks >= owned


def test_space_is_reserved_before_every_line(tmp_path: Path) -> None:
    log(tmp_path).prepare()
    status = (tmp_path / "log").stat()
    assert (status.st_size, status.st_mode & 0o777) == (0, 0o600)
    if status.st_blocks:  # a file system that can do it
        one = log(tmp_path)
        for _ in range(20):
            one.append(b"x" * 1000 + b"\n")
            status = (tmp_path / "log").stat()
            assert status.st_blocks * 512 >= status.st_size + RESERVE // 4


@given(st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b".").replace(b"\r", b".")), max_size=30))
def test_backwards_is_forwards_the_other_way_round(pieces: list[bytes]) -> None:
    fd = os.memfd_create("lines")
    try:
        data = b"".join(piece + b"\n" for piece in pieces)
        os.write(fd, data + b"unfinished")
        assert whole_size(fd, len(data) + 10) == len(data)
        found = list(backwards(fd, len(data)))
        assert [line for _, line in reversed(found)] == [piece + b"\n" for piece in pieces]
        assert all(data[at : at + len(line)] == line for at, line in found)
    finally:
        os.close(fd)
