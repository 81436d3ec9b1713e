"""A call on its part: what a tick writes, and why audio is missing."""

import errno
import os
import struct
import time
from dataclasses import replace
from pathlib import Path

import pytest

from media.receive.batch import SLOTS
from media.records import record_format
from media.stream import gap_detection
from recorder.workers import part_writer
from recorder.workers.call_recorder import MAX_ROUNDS
from storage.vault.container import MEDIA_SEGMENT
from tests.in_process.worker_call import TICK, recorded_call


def test_a_call_costs_at_most_one_write_of_its_part_a_tick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of two streams: four segments, one write; the disk holds at most 1.03 times the payload."""
    writes: list[int] = []
    write = os.write

    def counted(descriptor: int, data: bytes) -> int:
        writes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(part_writer.os, "write", counted)
    with recorded_call(tmp_path) as one:
        for _ in range(60):
            one.send(50)
            writes.clear()
            one.tick()
            assert len(writes) <= 1
        size = sum(figures["bytes"] for figures in one.tape.figures())
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
        behind = one.tape.figures()[0]["packets"]
        assert behind == 2 + MAX_ROUNDS * SLOTS
        one.tick()
        assert one.tape.figures()[0]["packets"] == behind + 10


def test_the_last_round_drains_the_whole_backlog(tmp_path: Path) -> None:
    """Half a minute of audio, as after a worker that was killed again and again."""
    count = MAX_ROUNDS * SLOTS + 500
    with recorded_call(tmp_path) as one:
        one.send(count)
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(count))] * 2


def test_a_removed_stream_keeps_everything_received(tmp_path: Path) -> None:
    count = MAX_ROUNDS * SLOTS + 500
    with recorded_call(tmp_path) as one:
        one.send(count)
        one.tape.change(one.region, one.specs[:1], {}, [1], time.time_ns())
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(count))] * 2


def test_lost_packets_are_a_gap_of_their_own_length(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(10)
        for _ in range(3):
            one.senders[0].packet()
        one.send(10)
        one.close()
        figures = one.tape.figures()[0]
        assert (figures["lost"], figures["gap_ms"]) == (3, 60)
        assert [gap[2] for gap in figures["gaps"]] == ["loss"]


class Full:
    """A disk that refuses whatever is written while it is `broken`, and keeps little waiting meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, code: int = errno.ENOSPC) -> None:
        self.broken, self._code, self._write = False, code, os.write
        monkeypatch.setattr(part_writer, "MAX_BACKLOG", 20_000)
        monkeypatch.setattr(part_writer.os, "write", self._refusing)

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
        assert one.tape.trouble == code
        disk.broken = False
        one.send(50)
        one.tick()
        assert not one.tape.trouble
        found = one.close()
        figures = one.tape.figures()[0]
        kept = one.frames(found)
        assert [gap[2] for gap in figures["gaps"]] == ["disk"] and not one.tape.clean
        assert figures["packets"] == len(kept)
        assert figures["gap_ms"] == 20 * (850 - len(kept))  # more than the time in which they came
        assert kept == sorted(set(kept)) and len(kept) < 850 and kept[-50:] == list(range(800, 850))
        mark = next(r for r in found if isinstance(r, record_format.Marked) and r.kind == record_format.Mark.DISK)
        assert mark.value > 0


def test_records_waiting_for_the_disk_are_written_in_silence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Full(monkeypatch)
    with recorded_call(tmp_path, streams=1) as one:
        disk.broken = True
        one.send(100)
        one.tick()
        assert one.tape.trouble
        disk.broken = False
        one.tick()
        assert not one.tape.trouble
        assert one.frames(one.close()) == list(range(100))


def test_an_open_segment_is_padded_in_silence(tmp_path: Path) -> None:
    """Else what was said last is lost to a power cut, however long ago it was."""
    with recorded_call(tmp_path, streams=1) as one:
        one.send(300)
        one.tick()
        written = (tmp_path / "m1").stat().st_size
        for _ in range(3):
            one.tick()
        assert (tmp_path / "m1").stat().st_size == written + MEDIA_SEGMENT
        assert one.frames(one.close()) == list(range(300))


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
        figures = one.tape.figures()[0]
        assert 0 < len(kept) < 500 and not one.tape.clean
        assert (figures["packets"], {gap[2] for gap in figures["gaps"]}) == (len(kept), {"disk"})
        assert figures["gap_ms"] == 20 * (500 - len(kept))


def test_a_successor_knows_what_was_dropped_on_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Full(monkeypatch)
    with recorded_call(tmp_path, streams=1) as one:
        disk.broken = True
        for _ in range(3):
            one.send(200)
            one.tick()
        assert not one.tape.clean
        disk.broken = False
        one.succeed(kept=True)
        one.send(50)
        one.tick()
        kept, figures = one.frames(one.close()), one.tape.figures()[0]
        assert kept[-50:] == list(range(600, 650)) and len(kept) < 650
        assert (figures["packets"], [gap[2] for gap in figures["gaps"]]) == (len(kept), ["disk"])
        assert figures["gap_ms"] == 20 * (650 - len(kept))


def passed(moment: int) -> int:
    """Wait until a moment is over and return it: how long a pause lasts says how many packets fit into it."""
    while time.time_ns() <= moment:
        time.sleep(0.001)
    return moment


def test_a_pause_and_a_hold_keep_nothing_and_miss_nothing(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(10)
        one.tick()
        one.tape.pause(time.time_ns())
        assert one.tape.paused
        one.send(5)
        for _ in range(6):  # and some that a well-behaved client does not even send
            one.senders[0].packet()
        one.tick()
        current = one.tape.lanes[0].track.reception.current
        assert current is not None
        one.tape.unpause(passed(current.arrival + 130_000_000))
        one.send(10)
        one.tick()
        one.tape.change(one.region, [replace(one.specs[0], held=True)], {}, (), held := time.time_ns())
        for _ in range(8):  # an SBC may go on counting while it holds
            one.senders[0].packet()
        one.tape.change(one.region, one.specs, {}, (), passed(held + 170_000_000))
        one.send(10)
        found = one.close()
        figures = one.tape.figures()[0]
        assert one.frames(found) == [*range(10), *range(21, 31), *range(39, 49)]
        assert (figures["lost"], figures["gap_ms"], figures["gaps"]) == (0, 0, [])
        marks = [record.kind for record in found if isinstance(record, record_format.Marked)]
        assert marks[:4] == [
            record_format.Mark.PAUSE,
            record_format.Mark.RESUME,
            record_format.Mark.HOLD,
            record_format.Mark.UNHOLD,
        ]


def test_a_pause_is_kept_while_its_packets_wait_in_a_socket(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(2)
        one.tick()
        one.tick()
        one.tape.pause(time.time_ns())
        one.send(MAX_ROUNDS * SLOTS + 10)
        one.tape.unpause(time.time_ns())
        one.tick()
        one.tick()
        one.send(3)
        assert len(one.frames(one.close())) == 2 + 3


def test_a_full_part_hands_its_records_to_the_next(tmp_path: Path) -> None:
    with recorded_call(tmp_path) as one:
        one.send(20)
        one.tick()
        one.tape._writer.close()
        one.tape._writer._fd = os.open("/dev/full", os.O_WRONLY)
        one.send(50)
        one.tick()
        assert one.tape.trouble == errno.ENOSPC
        part, descriptor = one.part("m2")
        one.tape.next_part(one.region, part, descriptor, one.now)
        assert not one.tape.trouble
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(70))] * 2


def test_the_next_part_says_what_the_one_before_has_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody who plays the call is told why it is silent there."""
    monkeypatch.setattr(part_writer, "MAX_BACKLOG", 0)
    with recorded_call(tmp_path, streams=1) as one:
        one.tape._writer.close()
        one.tape._writer._fd = os.open("/dev/full", os.O_WRONLY)
        for _ in range(2):
            one.send(50)
            one.tick()
        begun = one.now - TICK  # what came in this tick
        part, descriptor = one.part("m2")
        one.tape.next_part(one.region, part, descriptor, one.now + TICK)
        one.send(5)
        found = one.close()
        marks = [r for r in found if isinstance(r, record_format.Marked) and r.kind == record_format.Mark.DISK]
        assert [(mark.at, mark.value) for mark in marks] == [(begun, one.now + TICK - begun)]
        assert one.frames(found) == [*range(50), *range(100, 105)]


def test_a_next_part_continues_where_the_last_one_stopped(tmp_path: Path) -> None:
    with recorded_call(tmp_path) as one:
        one.send(30)
        one.tick()
        before = len(os.listdir("/proc/self/fd"))
        part, descriptor = one.part("m2")
        one.tape.next_part(one.region, part, descriptor, one.now)
        assert len(os.listdir("/proc/self/fd")) <= before
        one.send(30)
        found = one.close()
        assert [name for name, _ in one.tape.parts] == ["m1"] and one.tape.part == "m2"
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(60))] * 2


def test_a_successor_knows_of_an_empty_next_part(tmp_path: Path) -> None:
    with recorded_call(tmp_path) as one:
        for _ in range(4):  # long enough in order that a commit writes only what has moved
            one.send(30)
            one.tick()
        part, descriptor = one.part("m2")
        one.tape.next_part(one.region, part, descriptor, one.now)
        one.succeed(kept=True)
        one.send(30)
        found = one.close()
        assert [name for name, _ in one.tape.parts] == ["m1", "m2"]
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(150))] * 2


def test_packets_lost_after_a_pause_count_as_lost(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(10)
        one.tick()
        one.tape.pause(time.time_ns())
        one.tape.unpause(time.time_ns())
        one.send(10)
        one.tick()
        for _ in range(3):
            one.senders[0].packet()
        one.send(10)
        one.close()
        assert (one.tape.figures()[0]["lost"], one.tape.figures()[0]["gap_ms"]) == (3, 60)


def test_a_report_that_waits_at_the_end_is_still_taken(tmp_path: Path) -> None:
    """It may explain the silence before."""
    with recorded_call(tmp_path, streams=1, srtp=False) as one:
        one.send(5)
        one.tick()
        said = struct.pack("!BBHIQIII", 0x80, 200, 6, one.senders[0].ssrc, 1, 160, 5, 800)
        one.senders[0].socket.sendto(said, ("127.0.0.1", one.pairs[0].port + 1))
        assert [record.packet for record in one.close() if isinstance(record, record_format.Rtcp)] == [said]


def test_a_returning_stream_is_expected_again(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        one.tape.change(one.region, [], {}, [0], time.time_ns())
        assert one.tape.lanes[0].track.gaps.since == gap_detection.NEVER
        again = time.time_ns() + TICK
        one.tape.change(one.region, one.specs, one.descriptors(), [], again)
        assert one.tape.lanes[0].track.gaps.since == again
        one.tape.close(one.region, again + 9_000_000_000)
        assert one.tape.figures()[0]["gaps"] == [[again, again + 9_000_000_000, "no media"]]


def test_a_stream_returning_in_a_pause_is_no_gap_while_it_lasts(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        one.tape.change(one.region, [], {}, [0], time.time_ns())
        one.tape.pause(time.time_ns())
        again = time.time_ns()
        one.tape.change(one.region, one.specs, one.descriptors(), [], again)
        one.tape.close(one.region, again + 9_000_000_000)
        assert one.tape.figures()[0]["gaps"] == []


def test_a_pause_leaves_no_gap_in_a_removed_stream(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        one.tape.change(one.region, [], {}, [0], time.time_ns())
        one.tape.pause(time.time_ns())
        one.tape.unpause(time.time_ns())
        one.tape.close(one.region, time.time_ns() + 9_000_000_000)
        assert one.tape.figures()[0]["gaps"] == []


@pytest.mark.parametrize("heard", [False, True])
def test_a_restart_before_any_speech_lasts_no_time(tmp_path: Path, heard: bool) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        at = time.time_ns() - TICK
        if heard:
            one.send(5)
        one.tick()
        one.succeed(kept=False, at=at)
        marks = [record for record in one.close() if isinstance(record, record_format.Marked)]
        assert [mark.value for mark in marks if mark.kind == record_format.Mark.RESTART] == [0]


def test_the_time_of_a_restart_is_no_silence_besides(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        time.sleep(0.05)
        one.succeed(kept=False)
        back = one.tape.lanes[0].track.gaps.resumed_at
        one.tape.close(one.region, back + 9_000_000_000)
        (figures,) = one.tape.figures()
        assert [(end, why) for _, end, why in figures["gaps"]] == [
            (back, "restart"), (back + 9_000_000_000, "no media"),
        ]  # fmt: skip
        assert figures["gap_ms"] == -(-(back + 9_000_000_000 - figures["gaps"][0][0]) // 1_000_000)
