"""A part on a disk that stalls: what it did not take is written later, once and in order."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from media.records import record_format
from recorder.workers.messages import Part
from recorder.workers.part_writer import MAX_BACKLOG, NOTHING, PartWriter
from storage.vault.container import HEADER, MEDIA_SEGMENT, PartSecret, Reader, new_part

NOW = 10**18


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.close()


class Disk:
    """A pipe is a disk whose space can be had back."""

    def __init__(self) -> None:
        self.header, self.secret = new_part(bytes(32), b"test", MEDIA_SEGMENT, os.urandom)
        self.end, fd = os.pipe()
        os.set_blocking(fd, False)
        os.set_blocking(self.end, False)
        self.data = b""
        part = Part("m1", self.secret.key, self.secret.prefix, self.secret.segment)
        self.writer = PartWriter(part, fd, bytes(32))

    def take(self) -> None:
        try:
            while chunk := os.read(self.end, 1 << 20):
                self.data += chunk
        except BlockingIOError:
            pass

    def close(self) -> None:
        self.writer.close()
        os.close(self.end)

    def found(self) -> list[int]:
        whole = self.header + self.data
        reader = Reader(
            PartSecret(self.secret.key, self.secret.prefix, MEDIA_SEGMENT), len(whole), lambda a, n: whole[a : a + n]
        )
        return [each.sequence for each in record_format.read(reader.chunks()) if isinstance(each, record_format.Packet)]


@pytest.mark.parametrize("stalled", [30, 60])
def test_a_stall_loses_nothing(disk: Disk, stalled: int) -> None:
    for number in range(100 + stalled):
        disk.writer.write(record_format.packet(0, number, NOW, bytes(1000)), NOW)
        assert disk.writer.committed <= HEADER + len(disk.data) + (1 << 16)
    assert disk.writer.trouble
    disk.take()
    disk.writer.write(record_format.packet(0, 100 + stalled, NOW, bytes(1000)), NOW)
    disk.take()
    while not disk.writer.finish(b"", NOW):
        disk.take()
    disk.take()
    assert disk.found() == list(range(101 + stalled))
    assert disk.writer.remainder == b""


def test_half_a_segment_is_not_committed_for_it_opens_nothing(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    with monkeypatch.context() as short:
        short.setattr(os, "write", lambda fd, data: write(fd, data[:1000]))
        for number in range(3):
            disk.writer.write(record_format.packet(0, number, NOW, bytes(3000)), NOW)
    assert disk.writer.trouble
    assert disk.writer.committed % MEDIA_SEGMENT == 0
    disk.writer.write(b"".join(record_format.packet(0, number, NOW, bytes(3000)) for number in range(3, 10)), NOW)
    assert disk.writer.finish(b"", NOW)
    disk.take()
    assert disk.found() == list(range(10))


def test_records_beyond_the_limit_are_dropped_and_reported(disk: Disk) -> None:
    record = record_format.packet(0, 1, NOW, bytes(1000))
    first = 0
    for number in range((MAX_BACKLOG + (1 << 17)) // len(record)):
        disk.writer.write(record, NOW + number)
        first = first or disk.writer.dropping * number
    assert disk.writer.dropping
    assert len(disk.writer.remainder) < MAX_BACKLOG + (1 << 14)
    disk.take()
    missed = disk.writer.missed()
    assert disk.writer.missed() == NOTHING  # it is told once
    assert missed.since == NOW + first - 1  # what the first dropped round brought had arrived since the round before
    assert missed.packets == {0: (MAX_BACKLOG + (1 << 17)) // len(record) - first}
    disk.writer.write(record, NOW + 10**9)
    assert (disk.writer.dropping, disk.writer.missed()) == (False, NOTHING)


def test_a_clock_setback_on_a_full_disk_ends_nothing(disk: Disk) -> None:
    record = record_format.packet(0, 1, NOW, bytes(1000))
    while not disk.writer.dropping:
        disk.writer.write(record, NOW)
    disk.take()
    disk.writer.write(record, NOW - 10**9)
    assert not disk.writer.dropping


def test_a_slow_codec_is_padded_within_its_budget(disk: Disk) -> None:
    payload = 0
    for second in range(200):
        disk.writer.write(record_format.packet(0, second, NOW, bytes(700)), NOW + second * 1_000_000_000)
        payload += 700
        disk.take()
    disk.writer.finish(b"", NOW)
    disk.take()
    assert disk.found() == list(range(200))
    assert 1.08 * payload < len(disk.data) < 1.25 * payload  # a twentieth is heads of records


@pytest.mark.parametrize("kind", ["run", "mixed", "packet"])
def test_unstored_media_begin_with_their_first_packet(disk: Disk, kind: str) -> None:
    arrivals = (NOW + 5, NOW + 20_000_005)
    record = {
        "run": record_format.run(record_format.Run(0, False, 8, 7, 160, 1, 1, arrivals, (b"a", b"b"))),
        "mixed": record_format.mixed(
            record_format.Mixed(0, 8, 7, 1, (False, False), (1, 161), arrivals, (b"a", b"bb"))
        ),
        "packet": record_format.packet(0, 1, arrivals[0], bytes(20)),
    }[kind]
    disk.writer.write(record, NOW)
    assert disk.writer.untaken(NOW + 10**9) == (NOW + 5, {0: 1 if kind == "packet" else 2})
