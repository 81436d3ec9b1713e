"""The control part: genuine whatever the disk does, and whole up to the last flush after a crash."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.records import record_format
from recorder.errors import NotPossible
from recorder.persist import control_part
from recorder.persist.control_part import ControlPart, record
from recorder.runtime.disk_thread import Disk, DiskAway
from storage.vault.container import CONTROL_SEGMENT, HEADER, Reader, new_part
from tests.in_process.recorded_call import no_space


class WrittenPart:
    """A control part and what can be read back of it."""

    def __init__(self, folder: Path, disk: Disk | None = None) -> None:
        self.path = folder / "c1"
        self.fd = os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600)
        header, self.secret = new_part(bytes(32), b"test", CONTROL_SEGMENT, os.urandom)
        os.write(self.fd, header)
        self.part = ControlPart("c1", self.secret, self.fd, disk)

    def kept(self, *, live: bool = False) -> list[tuple[int, bytes]]:
        data = self.path.read_bytes()
        reader = Reader(self.secret, len(data), lambda at, length: data[at : at + length])
        return [(r.kind, r.body) for r in record_format.read(reader.chunks(live)) if isinstance(r, record_format.Other)]


@pytest.fixture
def written(tmp_path: Path) -> Iterator[WrittenPart]:
    made = WrittenPart(tmp_path)
    yield made
    made.part.abandon()


def test_after_a_flush_a_crash_loses_nothing(written: WrittenPart) -> None:
    written.part.keep(16, b"first")
    assert written.path.stat().st_size == HEADER  # a short record waits for it
    for _ in range(2):
        written.part.flush()
        assert written.kept(live=True) == [(16, b"first")]
        assert written.path.stat().st_size == written.part.size


def test_many_records_without_a_flush_do_not_stay_in_memory(written: WrittenPart) -> None:
    written.part.keep(16, bytes(control_part.MAX_HELD))
    assert written.path.stat().st_size > control_part.MAX_HELD
    written.part.flush()
    assert written.kept(live=True) == [(16, bytes(control_part.MAX_HELD))]


def test_control_records_of_a_full_disk_are_written_later(written: WrittenPart) -> None:
    with no_space(written.fd):
        written.part.keep(16, b"first" * 1000)
        for _ in range(2):
            with pytest.raises(NotPossible, match="cannot be written"):
                written.part.flush()
    written.part.keep(17, b"second")
    written.part.finish()
    assert written.kept() == [(16, b"first" * 1000), (17, b"second")]


def test_a_disk_that_takes_nothing_does_not_fill_memory(written: WrittenPart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_part, "MAX_BACKLOG", 10_000)
    monkeypatch.setattr(control_part, "MAX_HELD", 3000)
    refused = 0
    with no_space(written.fd):
        for _ in range(100):
            try:
                written.part.keep(16, bytes(2000))
            except NotPossible:
                refused += 1
    assert refused > 90
    written.part.finish()
    assert {kind for kind, _ in written.kept()} == {16}
    assert written.path.stat().st_size < 20_000


def test_records_kept_during_a_disk_stall_are_written_after_it(tmp_path: Path) -> None:
    go, faults = threading.Event(), list[Exception]()
    disk = Disk(faults.append, 0.5)
    written = WrittenPart(tmp_path, disk)
    written.part.keep(16, b"first")
    written.part.flush()
    disk.begin(lambda: go.wait(30))
    for body in (b"second", b"x" * control_part.MAX_HELD):
        written.part.keep(17, body)
        with pytest.raises(DiskAway):
            written.part.flush()
    assert written.kept(live=True) == [(16, b"first")]
    written.part.seal()
    disk.begin(written.part.finish)
    go.set()
    disk.close()
    assert written.kept() == [(16, b"first"), (17, b"second"), (17, b"x" * control_part.MAX_HELD)]
    assert faults == []


def test_a_part_is_not_closed_under_the_hands_of_the_disk(tmp_path: Path) -> None:
    go = threading.Event()
    disk = Disk(lambda _: None, 0.05)
    written = WrittenPart(tmp_path, disk)
    disk.begin(lambda: go.wait(30))
    written.part.abandon()
    os.fstat(written.fd)
    go.set()
    disk.close()
    written.part.abandon()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(written.fd)


def test_records_sealed_before_the_file_exists_are_written(written: WrittenPart) -> None:
    early = ControlPart("c1", written.secret)
    early.keep(16, b"first")
    early.keep(20, bytes(2 * control_part.MAX_HELD))
    early.flush()
    assert written.path.stat().st_size == HEADER
    early.begin(written.fd)
    early.keep(17, b"second")
    early.flush()
    assert written.kept(live=True) == [(16, b"first"), (20, bytes(2 * control_part.MAX_HELD)), (17, b"second")]


@given(st.lists(st.tuples(st.integers(16, 20), st.binary(max_size=3000), st.booleans()), max_size=12))
def test_any_records_with_any_flushes_come_back(
    tmp_path_factory: pytest.TempPathFactory, kept: list[tuple[int, bytes, bool]]
) -> None:
    written = WrittenPart(tmp_path_factory.mktemp("fuzz"))
    for kind, body, flush in kept:
        written.part.keep(kind, body)
        if flush:
            written.part.flush()
    written.part.finish()
    assert written.kept() == [(kind, body) for kind, body, _ in kept]
    assert written.part.size == written.path.stat().st_size


def test_a_record_beyond_the_format_is_cut() -> None:
    assert len(record(16, bytes(1 << 24))) == control_part.MAX_RECORD + control_part.RECORD_HEAD
