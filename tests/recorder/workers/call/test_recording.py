"""What a tick of a recorded call writes, and why audio is missing."""

import errno
import os
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from media.receive.batch import SLOTS
from media.records import record_format
from media.records.record_format import Mark
from recorder.workers import part_writer
from recorder.workers.call_recorder import MAX_ROUNDS
from storage.vault.container import MEDIA_SEGMENT
from tests.in_process.recorded_call import TICK, no_space, recorded_call


def test_a_call_costs_at_most_one_write_of_its_part_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of two streams: four segments, one write; the disk holds at most 1.03 times the payload."""
    writes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counted)
    with recorded_call(tmp_path) as one:
        for _ in range(60):
            one.send(50)
            writes.clear()
            one.tick()
            assert len(writes) <= 1
        size = sum(one.figures(stream)["bytes"] for stream in (0, 1))
        assert size == 60 * 2 * 50 * 160
        one.close()
        assert (tmp_path / "m1").stat().st_size <= 1.03 * size


def test_a_socket_that_is_very_full_waits_for_the_next_tick(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(2)
        one.tick()
        one.tick()
        one.send(MAX_ROUNDS * SLOTS + 10)
        one.tick()
        behind = one.figures()["packets"]
        assert behind == 2 + MAX_ROUNDS * SLOTS
        one.tick()
        assert one.figures()["packets"] == behind + 10


@pytest.mark.parametrize("removed", [(), (1,)], ids=["the call ends", "a stream is removed"])
def test_the_last_round_stores_the_whole_backlog(tmp_path: Path, removed: tuple[int, ...]) -> None:
    """Half a minute of audio, as after a worker that was killed again and again."""
    count = MAX_ROUNDS * SLOTS + 500
    with recorded_call(tmp_path) as one:
        one.send(count)
        if removed:
            one.change(one.specs[0], removed=removed)
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(count))] * 2


class Full:
    """A disk that refuses whatever is written while it is `broken`, and keeps little waiting meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> None:
        self.broken, self._code, self._write = False, code, os.write
        monkeypatch.setattr(part_writer, "MAX_BACKLOG", 20_000)
        monkeypatch.setattr(os, "write", self._refusing)

    def _refusing(self, descriptor: int, data: bytes) -> int:
        if self.broken:
            raise OSError(self._code, os.strerror(self._code))
        return self._write(descriptor, data)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_records_a_disk_does_not_take_in_time_are_a_gap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    disk = Full(monkeypatch, code)
    with recorded_call(tmp_path, streams=1) as one:
        disk.broken = True
        for _ in range(4):
            one.send(200)
            one.tick()
        assert one.recorder.trouble == code
        disk.broken = False
        one.send(50)
        one.tick()
        assert not one.recorder.trouble
        found = one.close()
        figures = one.figures()
        kept = one.frames(found)
        assert one.reasons() == ["disk"] and not one.recorder.clean
        assert figures["packets"] == len(kept)
        assert figures["gap_ms"] == 20 * (850 - len(kept))  # more than the time in which they came
        assert kept == sorted(set(kept)) and len(kept) < 850 and kept[-50:] == list(range(800, 850))
        mark = next(r for r in found if isinstance(r, record_format.Marked) and r.kind == Mark.DISK)
        assert mark.value > 0


def test_records_that_wait_are_written_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both those that the disk did not take and an open segment, which a power cut would lose."""
    disk = Full(monkeypatch)
    with recorded_call(tmp_path, streams=1) as one:
        one.send(300)
        one.tick()
        disk.broken = True
        one.send(100)
        one.tick()
        assert one.recorder.trouble
        disk.broken = False
        one.tick()
        assert not one.recorder.trouble
        written = (tmp_path / "m1").stat().st_size
        for _ in range(3):
            one.tick()
        assert (tmp_path / "m1").stat().st_size == written + MEDIA_SEGMENT
        assert one.frames(one.close()) == list(range(400))


@pytest.mark.parametrize("again", [False, True], ids=["never", "just then"])
def test_unstored_packets_are_counted_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    """Also if it takes records again just when the last one is written: what was dropped before is gone."""
    disk, finish = Full(monkeypatch), part_writer.PartWriter.finish

    def finishing(self: part_writer.PartWriter, data: bytes, now: int) -> bool:
        disk.broken = not again
        return finish(self, data, now)

    monkeypatch.setattr(part_writer.PartWriter, "finish", finishing)
    with recorded_call(tmp_path, streams=1) as one:
        one.send(100)
        one.tick()
        disk.broken = True
        one.send(400)
        one.tick()
        kept = one.frames(one.close())
        figures = one.figures()
        assert 0 < len(kept) < 500 and not one.recorder.clean
        assert (figures["packets"], set(one.reasons())) == (len(kept), {"disk"})
        assert figures["gap_ms"] == 20 * (500 - len(kept))


def passed(moment: int) -> int:
    """Wait until a moment is over and return it: how long a pause lasts says how many packets fit into it."""
    while time.time_ns() <= moment:
        time.sleep(0.001)
    return moment


def test_a_pause_and_a_hold_keep_nothing_and_miss_nothing(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(10)
        one.tick()
        one.pause()
        assert one.recorder.paused
        one.send(5)
        one.lose(6)  # some that a well-behaved client does not even send
        one.tick()
        one.unpause(passed(int(one.figures()["last_arrival"]) + 130_000_000))
        one.send(10)
        one.tick()
        one.change(replace(one.specs[0], held=True), at=(held := time.time_ns()))
        one.lose(8)  # an SBC may go on counting while it holds
        one.change(*one.specs, at=passed(held + 170_000_000))
        one.send(10)
        found = one.close()
        assert one.frames(found) == [*range(10), *range(21, 31), *range(39, 49)]
        assert (one.figures()["lost"], one.figures()["gap_ms"], one.reasons()) == (0, 0, [])
        marks = [record.kind for record in found if isinstance(record, record_format.Marked)]
        assert marks[:4] == [Mark.PAUSE, Mark.RESUME, Mark.HOLD, Mark.UNHOLD]


def test_a_pause_is_kept_while_its_packets_wait_in_a_socket(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(2)
        one.tick()
        one.tick()
        one.pause()
        one.send(MAX_ROUNDS * SLOTS + 10)
        one.unpause()
        one.tick()
        one.tick()
        one.send(3)
        assert len(one.frames(one.close())) == 2 + 3


def test_a_full_part_hands_its_records_to_the_next(tmp_path: Path) -> None:
    with recorded_call(tmp_path) as one:
        one.send(20)
        one.tick()
        with no_space(one.part_fd):
            one.send(50)
            one.tick()
            assert one.recorder.trouble == errno.ENOSPC
            one.next_part()
        assert not one.recorder.trouble
        assert [name for name, _ in one.recorder.parts] == ["m1"] and one.recorder.part == "m2"
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(70))] * 2


@pytest.mark.parametrize("killed", [False, True])
def test_a_pause_lasts_over_the_end_of_a_part(tmp_path: Path, killed: bool) -> None:
    with recorded_call(tmp_path) as one:
        one.send(20)
        one.tick()
        one.pause()
        one.send(20)
        one.next_part()
        one.send(20)
        one.tick()
        if killed:
            one.succeed(kept=True)
        one.next_part()
        one.send(20)
        one.tick()
        one.unpause()
        one.send(20)
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [[*range(20), *range(80, 100)]] * 2
        assert one.reasons() == []


def test_a_worker_forgets_the_parts_that_main_has_finished(tmp_path: Path) -> None:
    """A call may last for weeks, and each base names those that are left."""
    with recorded_call(tmp_path) as one:
        for number in range(1, 6):
            one.send(10)
            one.tick()
            assert one.next_part(finished=number - 2)[0] == f"m{number}"
        assert [name for name, _ in one.recorder.parts] == ["m4", "m5"]
        one.succeed(kept=True)
        assert [name for name, _ in one.recorder.parts] == ["m4", "m5", "m6"]
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(30, 50))] * 2


def test_a_successor_continues_an_empty_next_part(tmp_path: Path) -> None:
    with recorded_call(tmp_path) as one:
        for _ in range(4):  # long enough in order that a commit writes only what has moved
            one.send(30)
            one.tick()
        before = len(os.listdir("/proc/self/fd"))
        one.next_part()
        assert len(os.listdir("/proc/self/fd")) <= before
        one.succeed(kept=True)
        one.send(30)
        found = one.close()
        assert [name for name, _ in one.recorder.parts] == ["m1", "m2"]
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(150))] * 2


def test_a_report_that_waits_at_the_end_is_still_stored(tmp_path: Path) -> None:
    """It may explain the silence before."""
    with recorded_call(tmp_path, streams=1, srtp=False) as one:
        one.send(5)
        one.tick()
        report = struct.pack("!BBHIQIII", 0x80, 200, 6, one.senders[0].ssrc, 1, 160, 5, 800)
        one.senders[0].socket.sendto(report, ("127.0.0.1", one.pairs[0].port + 1))
        assert [record.packet for record in one.close() if isinstance(record, record_format.Rtcp)] == [report]


@pytest.mark.parametrize("paused", ["", "until the end", "while it is away"])
def test_a_removed_stream_is_missed_only_after_it_returned(tmp_path: Path, paused: str) -> None:
    """Nothing is missed while recording is paused, or of a stream that does not return."""
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        one.change(removed=[0])
        if paused:
            one.pause()
        again = time.time_ns() + TICK
        if paused == "while it is away":
            one.unpause()
        else:
            one.change(*one.specs, sockets=True, at=again)
        one.recorder.close(one.region, again + 9 * TICK)
        assert one.figures()["gaps"] == ([] if paused else [[again, again + 9 * TICK, "no media"]])
