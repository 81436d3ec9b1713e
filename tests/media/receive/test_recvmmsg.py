"""Sockets emptied into memory that a successor can read; real sockets, real files."""

import errno
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from media.errors import Damaged
from media.receive import sockets
from media.receive.batch import FAR, NEAR, SLOTS, UNUSED, BatchBuffer
from media.receive.receive_region import JOURNAL, LANES, MAGIC, RTCP, Journal, holder, journal_of
from media.receive.recvmmsg import PAGE, SIZE, OrphanedRegion, Region

CALL = "0a64dd1c-0000-4000-8000-000000000001"


@pytest.fixture
def ear() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as opened:
        opened.bind(("127.0.0.1", 0))
        sockets.stamp_arrivals(opened)
        yield opened


def say(ear: socket.socket, *packets: bytes) -> tuple[str, int]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
        mouth.bind(("127.0.0.1", 0))
        for packet in packets:
            mouth.sendto(packet, ear.getsockname())
        return mouth.getsockname()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "region"


@pytest.fixture
def region(path: Path) -> Region:
    return Region(str(path))


def received(region: Region, ear: socket.socket, generation: int = 1, named: bool = True) -> list[bytes | None]:
    """Receive one round of one stream."""
    region.begin(CALL.encode(), generation, [0], [named])
    count = region.receive(0, ear.fileno())
    assert region.lanes[0].count() == count  # nothing of the round before is left
    return [region.lanes[0].packet(slot) for slot in range(count)]


def orphaned(path: Path) -> OrphanedRegion:
    return OrphanedRegion(str(path), BatchBuffer())


def test_a_lane_says_whether_senders_were_asked_for(path: Path, region: Region, ear: socket.socket) -> None:
    for asked in ([True, False], [False, True]):
        region.begin(CALL.encode(), 1, [0, 1], asked)
        say(ear, b"one")
        assert region.receive(0, ear.fileno()) == 1
        assert [lane.named for lane in (*region.lanes[:2], *orphaned(path).lanes[:2])] == asked * 2


def test_recvmmsg_returns_packets_with_time_and_sender(region: Region, ear: socket.socket) -> None:
    before = time.time_ns()
    name = say(ear, b"one", b"t" * 1000)
    assert received(region, ear, 7) == [b"one", b"t" * 1000]
    lane = region.lanes[0]
    assert lane.address(0) == (socket.inet_aton("127.0.0.1"), name[1])
    assert before <= lane.arrival(0) <= lane.arrival(1) <= time.time_ns()
    assert received(region, ear) == []


def test_a_datagram_longer_than_a_slot_is_no_packet(region: Region, ear: socket.socket) -> None:
    say(ear, bytes(NEAR + FAR), bytes(NEAR + FAR + 1))
    assert received(region, ear) == [bytes(NEAR + FAR), None]


def test_a_socket_that_is_fuller_than_a_lane_takes_two_rounds(region: Region, ear: socket.socket) -> None:
    packets = [n.to_bytes(2, "big") for n in range(SLOTS + 5)]
    say(ear, *packets)
    assert received(region, ear, named=False) + received(region, ear, 2, named=False) == packets


def test_an_error_that_came_by_icmp_is_passed_over(region: Region, ear: socket.socket) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        place = gone.getsockname()
    ear.connect(place)
    ear.send(b"nobody listens")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as back:
        back.bind(place)
        back.sendto(b"now somebody does", ear.getsockname())
    assert received(region, ear) == [b"now somebody does"]


def test_a_successor_reads_the_batch_of_a_dead_worker(path: Path, region: Region, ear: socket.socket) -> None:
    region.begin(CALL.encode(), 41, [0, 1 | RTCP], [True, True])
    say(ear, b"a", b"bb", b"ccc")
    region.receive(1, ear.fileno())
    left = orphaned(path)
    assert left.journal == journal_of(str(path)) == Journal(CALL, 41, ((0, False), (1, True)))
    assert [lane.count() for lane in left.lanes[:2]] == [0, 3]
    assert [left.lanes[1].packet(slot) for slot in range(3)] == [b"a", b"bb", b"ccc"]


def test_lanes_are_reset_before_the_journal_names_the_next_call(path: Path, region: Region, ear: socket.socket) -> None:
    """A kill between two rounds must not give one call the packets of another."""
    region.begin(CALL.encode(), 1, list(range(LANES)), [False] * LANES)
    say(ear, b"of the first call")
    region.receive(2, ear.fileno())
    region.begin(b"another".ljust(36, b"\0"), 1, list(range(LANES)), [False] * LANES)
    left = orphaned(path)
    assert left.journal is not None and left.journal.call == "another"
    assert [lane.count() for lane in left.lanes] == [0] * LANES
    assert left.lanes[0].headers[56:60] == UNUSED.to_bytes(4, "little")


def test_received_packets_are_wiped_before_the_next_round(path: Path, region: Region, ear: socket.socket) -> None:
    for words in (b"of the first call", b"of the second"):
        say(ear, words, words * 40)
        assert received(region, ear) == [words, words * 40]
        region.forget()
        left = path.read_bytes()
        assert [left.find(each) for each in (CALL.encode(), words)] == [-1, -1]
        assert journal_of(str(path)) is None and holder(str(path)) is not None


def test_all_is_forgotten_that_was_received_since_the_last_time(path: Path, region: Region, ear: socket.socket) -> None:
    """A batch of few packets leaves the rest of the one before."""
    for turn in range(2):
        for lane, count in ((0, SLOTS), (LANES - 1, 5), (0, 2), (LANES - 1, 0)):
            region.begin(CALL.encode(), 1, list(range(LANES)), [True] * LANES)
            say(ear, *[b"heard %d" % turn + bytes([slot]) * NEAR * 2 for slot in range(1, count + 1)])
            assert region.receive(lane, ear.fileno()) == count
        assert b"heard" in path.read_bytes()
        region.forget()
        assert not any(path.read_bytes()[PAGE:])


def test_a_file_that_is_not_a_region_is_refused(path: Path) -> None:
    path.write_bytes(b"")
    assert journal_of(str(path)) is None
    with pytest.raises(Damaged):
        orphaned(path)
    path.write_bytes(bytes(SIZE))
    assert journal_of(str(path)) is None and orphaned(path).journal is None
    path.write_bytes(JOURNAL.pack(MAGIC, LANES + 1, 1, CALL.encode(), bytes(4)).ljust(SIZE, b"\0"))
    assert journal_of(str(path)) is None
    with pytest.raises(OSError):
        Region(str(path))  # a name is never used twice


def test_without_room_for_all_of_it_there_is_no_region(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later the kernel would drop what it has no page for, and nobody would be told."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(MemoryError):
        Region(str(tmp_path / "region"))
    assert len(os.listdir("/proc/self/fd")) <= before


def test_only_a_living_worker_holds_its_region(path: Path) -> None:
    code = (
        "import sys; from media.receive.recvmmsg import Region; r = Region(sys.argv[1]); "
        "print(flush=True); sys.stdin.read()"
    )
    told = struct.Struct("=I")
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert holder(str(path)) == other.pid
        for forged in (0, 1, os.getpid(), (1 << 32) - 1):  # one that was broken into writes what it likes
            with path.open("r+b") as file:
                file.seek(64)
                file.write(told.pack(forged))
            assert holder(str(path)) == other.pid
        other.kill()
    assert holder(str(path)) is None
