"""A part on a disk that stalls: what it did not take is written later, once and in order."""

import os

import pytest

from media.records import record_format
from recorder.workers import part_writer
from recorder.workers.messages import Part
from recorder.workers.part_writer import MAX_BACKLOG, NOTHING, PartWriter
from storage.vault.container import HEADER, MEDIA_SEGMENT, PartSecret, Reader, new_part

NOW = 10**18


class Disk:
    """A pipe is a disk whose space can be had back."""

    def __init__(self) -> None:
        self.header, self.secret = new_part(bytes(32), b"test", MEDIA_SEGMENT, os.urandom)
        self.end, fd = os.pipe()
        os.set_blocking(fd, False)
        os.set_blocking(self.end, False)
        self.data = b""
        part = Part("m1", self.secret.key, self.secret.prefix, self.secret.segment)
        self.reel = PartWriter(part, fd, bytes(32))

    def take(self) -> None:
        try:
            while chunk := os.read(self.end, 1 << 20):
                self.data += chunk
        except BlockingIOError:
            pass

    def found(self) -> list[int]:
        whole = self.header + self.data
        reader = Reader(
            PartSecret(self.secret.key, self.secret.prefix, MEDIA_SEGMENT), len(whole), lambda a, n: whole[a : a + n]
        )
        return [each.sequence for each in record_format.read(reader.chunks()) if isinstance(each, record_format.Packet)]


@pytest.mark.parametrize("stalled", [30, 60])
def test_a_stall_loses_nothing(stalled: int) -> None:
    disk = Disk()
    for number in range(100 + stalled):
        disk.reel.write(record_format.packet(0, number, NOW, bytes(1000)), NOW)
        assert disk.reel.committed <= HEADER + len(disk.data) + (1 << 16)
    assert disk.reel.trouble
    disk.take()
    disk.reel.write(record_format.packet(0, 100 + stalled, NOW, bytes(1000)), NOW)
    disk.take()
    while not disk.reel.finish(b"", NOW):
        disk.take()
    disk.take()
    assert disk.found() == list(range(101 + stalled))
    assert disk.reel.remainder == b""
    disk.reel.close()
    os.close(disk.end)


def test_half_a_segment_is_not_committed_for_it_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, write = Disk(), os.write
    with monkeypatch.context() as short:
        short.setattr(part_writer.os, "write", lambda fd, data: write(fd, data[:1000]))
        for number in range(3):
            disk.reel.write(record_format.packet(0, number, NOW, bytes(3000)), NOW)
    assert disk.reel.trouble
    assert disk.reel.committed % MEDIA_SEGMENT == 0
    disk.reel.write(b"".join(record_format.packet(0, number, NOW, bytes(3000)) for number in range(3, 10)), NOW)
    assert disk.reel.finish(b"", NOW)
    disk.take()
    assert disk.found() == list(range(10))
    disk.reel.close()
    os.close(disk.end)


def test_records_beyond_the_limit_are_dropped_and_reported() -> None:
    disk = Disk()
    record = record_format.packet(0, 1, NOW, bytes(1000))
    first = 0
    for number in range((MAX_BACKLOG + (1 << 17)) // len(record)):
        disk.reel.write(record, NOW + number)
        first = first or disk.reel.dropping * number
    assert disk.reel.dropping
    assert len(disk.reel.remainder) < MAX_BACKLOG + (1 << 14)
    disk.take()
    missed = disk.reel.missed()
    assert disk.reel.missed() == NOTHING  # it is told once
    assert missed.since == NOW + first - 1  # what the first dropped round brought had arrived since the round before
    assert missed.packets == {0: (MAX_BACKLOG + (1 << 17)) // len(record) - first}
    disk.reel.write(record, NOW + 10**9)
    assert (disk.reel.dropping, disk.reel.missed()) == (False, NOTHING)
    disk.reel.close()
    os.close(disk.end)


def test_a_clock_setback_on_a_full_disk_ends_nothing() -> None:
    disk, record = Disk(), record_format.packet(0, 1, NOW, bytes(1000))
    while not disk.reel.dropping:
        disk.reel.write(record, NOW)
    disk.take()
    disk.reel.write(record, NOW - 10**9)
    assert not disk.reel.dropping
    disk.reel.close()
    os.close(disk.end)


def test_a_slow_codec_is_padded_within_its_budget() -> None:
    disk = Disk()
    payload = 0
    for second in range(200):
        disk.reel.write(record_format.packet(0, second, NOW, bytes(700)), NOW + second * 1_000_000_000)
        payload += 700
        disk.take()
    disk.reel.finish(b"", NOW)
    disk.take()
    assert disk.found() == list(range(200))
    assert 1.08 * payload < len(disk.data) < 1.25 * payload  # a twentieth is heads of records
    disk.reel.close()
    os.close(disk.end)


@pytest.mark.parametrize("kind", ["run", "mixed", "packet"])
def test_unstored_media_begin_with_their_first_packet(kind: str) -> None:
    disk, arrivals = Disk(), (NOW + 5, NOW + 20_000_005)
    record = {
        "run": record_format.run(record_format.Run(0, False, 8, 7, 160, 1, 1, arrivals, (b"a", b"b"))),
        "mixed": record_format.mixed(
            record_format.Mixed(0, 8, 7, 1, (False, False), (1, 161), arrivals, (b"a", b"bb"))
        ),
        "packet": record_format.packet(0, 1, arrivals[0], bytes(20)),
    }[kind]
    disk.reel.write(record, NOW)
    assert disk.reel.untaken(NOW + 10**9) == (NOW + 5, {0: 1 if kind == "packet" else 2})
