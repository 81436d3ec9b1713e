"""What a call leaves for its successor at each commit, and what the successor makes of it."""

import errno
import json
import os
import struct
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from media.records import commit_slots
from media.stream.pauses import GRACE
from recorder.workers.stream_sockets import newest_slot
from tests.in_process.recorded_call import recorded_call


def write_unsealed(descriptor: int, slot: commit_slots.Slot) -> None:
    """Write a slot and its base as the version before sealed slots did."""
    body = struct.pack("!III", slot.base, len(slot.head), len(slot.state)) + slot.head + slot.state
    base = struct.pack("!II", 0x42415331, zlib.crc32(body)) + body
    os.pwrite(descriptor, base, commit_slots.middle(slot.base))
    numbers = (slot.generation, slot.committed, slot.base, slot.part, int(slot.closed))
    end = slot.moving + struct.pack("!QQIIIIII", *numbers, len(slot.moving), len(slot.remainder), 0x53504F32)
    data = slot.remainder + end + struct.pack("!I", zlib.crc32(end))
    os.pwrite(descriptor, data, commit_slots.middle(slot.generation) - len(data))


def spoken(path: Path, count: int) -> list[int]:
    """Return the frames whose payload lies in a file as it was sent."""
    content = path.read_bytes().replace(bytes(4096), b"")
    return [number for number in range(1, count) if number.to_bytes(4, "big") * 10 in content]


def is_base(at: int) -> bool:
    """Return whether what is written to the spool there is a base, which begins where a slot ends."""
    return at in (commit_slots.middle(0), commit_slots.middle(1))


@pytest.mark.parametrize("full", ["at the base", "at the slot", "before both"])
def test_a_full_spool_is_reported_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full: str) -> None:
    """Neither half a slot counts, nor one whose base was cut."""
    pwrite = os.pwrite

    def refuse(descriptor: int, data: bytes, at: int) -> int:
        if full == "before both":
            raise OSError(errno.ENOSPC, "no space")
        return pwrite(descriptor, data[:100] if is_base(at) == (full == "at the base") else data, at)

    with recorded_call(tmp_path, streams=1) as one:
        one.send(10)
        one.tick()
        generation = one.recorder.generation
        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", refuse)
            one.lose(1)  # a gap, which is in the base
            one.send(10)
            one.tick()
        assert (one.recorder.trouble, one.recorder.generation) == (errno.ENOSPC, generation)
        one.send(10)
        one.tick()
        assert not one.recorder.trouble
        assert one.frames(one.close()) == [*range(10), *range(11, 31)]


def test_a_base_is_written_only_after_an_irregular_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bases: list[int] = []
    pwrite = os.pwrite

    def counted(descriptor: int, data: bytes, at: int) -> int:
        if is_base(at):
            bases.append(at)
        return pwrite(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", counted)
    with recorded_call(tmp_path) as one:
        for _ in range(3):
            one.send(20)
            one.tick()
        bases.clear()
        for _ in range(30):
            one.send(50)
            one.tick()
        assert not bases
        one.senders[1].packet()
        one.send(50)
        one.tick()
        assert len(bases) == 1
        one.succeed(kept=True)
        one.send(5)
        found = one.close()
        assert one.frames(found, 0) == list(range(1615))
        assert [(each["packets"], each["lost"]) for each in one.recorder.figures()] == [(1615, 0), (1615, 1)]


def test_a_successor_of_a_long_call_stores_nothing_twice(tmp_path: Path) -> None:
    """All that its slot says of the streams is what has moved since a base of the first seconds."""
    with recorded_call(tmp_path) as one:
        for _ in range(60):
            one.send(49)
            last = [sender.packet() for sender in one.senders]
            one.send_again(last)
            one.tick()
        said = [(each["packets"], each["bytes"], each["jitter_ms"]) for each in one.recorder.figures()]
        one.succeed(kept=True)
        assert [(each["packets"], each["bytes"], each["jitter_ms"]) for each in one.recorder.figures()] == said
        one.send_again(last)
        one.send(50)
        found = one.close()
        assert [one.frames(found, n) for n in (0, 1)] == [list(range(61 * 50))] * 2
        assert [each["rejected"] for each in one.recorder.figures()] == [1, 1]


@pytest.mark.parametrize("named", [True, False], ids=["named", "connected"])
@pytest.mark.parametrize("srtp", [True, False])
def test_a_successor_repeats_only_the_uncommitted_batch(tmp_path: Path, srtp: bool, named: bool) -> None:
    """Also of a socket that was connected to its source, so that nobody asked the kernel for the sender."""
    with recorded_call(tmp_path, srtp=srtp) as one:
        one.send(30)
        one.tick()
        one.succeed(kept=True)  # its region holds a batch that was committed
        one.send(10)
        one.region.begin(one.recorder.id.encode(), one.recorder.generation + 1, [0, 1], [named, named])
        for lane in (0, 1):
            assert one.region.receive(lane, one.recorder.sockets[lane].rtp) == 10  # killed before it was committed
        one.succeed(kept=True)
        one.send(5)
        found = one.close()
        for stream in (0, 1):
            figures = one.figures(stream)
            assert one.frames(found, stream) == list(range(45))
            assert (figures["packets"], figures["foreign"], figures["rejected"]) == (45, 0, 0)
            assert figures["gaps"] == []


def test_successors_tell_of_which_parts_before_nothing_is_known(tmp_path: Path) -> None:
    """Nobody can say which bytes of those count: all that are genuine are kept, whoever dies next."""
    with recorded_call(tmp_path, streams=1) as one:
        one.send(300)
        one.tick()
        os.truncate(one.folder / "spool", 0)
        for _ in range(2):
            one.succeed(kept=True, raw=False)
            one.send(5)
            one.tick()
        assert [name for name, length in one.recorder.parts if length is None] == ["m1"]
        kept = one.frames(one.close())
        assert kept[:100] == list(range(100)) and kept[-10:] == list(range(300, 310))


@pytest.mark.parametrize("successors", [0, 2])
def test_packets_lost_before_the_first_commit_are_a_restart_gap(tmp_path: Path, successors: int) -> None:
    """Main and worker died within the first tick: only the answer tells since when media were expected.

    Later successors know it too.
    """
    with recorded_call(tmp_path) as one:
        one.lose(20)
        one.specs = tuple(replace(spec, since=time.time_ns() - 20 * 20_000_000) for spec in one.specs)
        one.succeed(kept=False)
        for _ in range(successors):
            one.succeed(kept=True)
        one.senders[0].send(one.pairs[0].port, 5)
        assert one.frames(one.close(), 0) == list(range(20, 25))
        assert one.reasons(0) == ["restart"] and one.figures(0)["gap_ms"] >= 20 * 20
        assert one.reasons(1) == []


def test_a_silent_call_lacks_only_the_time_nobody_listened(tmp_path: Path) -> None:
    with recorded_call(tmp_path, streams=1) as one:
        answer = time.time_ns() - 60_000_000_000
        one.specs = tuple(replace(spec, since=answer) for spec in one.specs)
        one.recorder.add_streams(one.specs, one.descriptors(), answer)
        for before in (30, 29, 4, 3):
            one.recorder.drain(one.region, time.time_ns() - before * 1_000_000_000)
        assert one.recorder.generation == 2  # not at each tick
        one.succeed(kept=False)
        one.send(5)
        one.close()
        (silent, gap) = one.figures()["gaps"]
        assert (silent[0], silent[2], gap[2]) == (answer, "no media", "restart")
        assert silent[1] == gap[0]
        assert 6 <= (gap[1] - gap[0]) / 1_000_000_000 < 7


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_a_successor_keeps_a_pause_as_main_knows_it(tmp_path: Path, known: bool) -> None:
    """Whether its predecessor had learnt of it or not."""
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        begin = time.time_ns()
        if known:
            one.recorder.pause(begin)
        one.pauses = ((begin, None),)
        one.succeed(kept=True)
        one.send(5)
        one.tick()
        assert one.recorder.paused
        one.pauses = ()  # its end was answered, and the worker died before the message came
        one.specs = tuple(replace(spec, since=time.time_ns()) for spec in one.specs)
        one.succeed(kept=True)
        one.send(5)
        found = one.close()
        assert one.frames(found) == [*range(5), *range(10, 15)]
        assert one.figures()["gaps"] == []


def test_a_pause_that_is_long_over_is_not_left_to_a_successor(tmp_path: Path) -> None:
    """It changes nothing of a stream."""
    with recorded_call(tmp_path, streams=1) as one:
        one.send(5)
        one.tick()
        one.pause()
        one.unpause()
        known = []
        for later in (0, 2 * GRACE, 2 * GRACE):  # forgotten after the second
            one.send(5)
            one.recorder.drain(one.region, time.time_ns() + later)
            slot = newest_slot(one.spool_fd, one.key)
            assert slot is not None
            known.append(len(json.loads(slot.head)["pauses"]))
        assert known == [1, 1, 0]


@pytest.mark.parametrize("srtp", [True, False], ids=["SRTP", "RTP"])
def test_no_speech_lies_in_the_clear_in_files_of_a_live_call(tmp_path: Path, srtp: bool) -> None:
    with recorded_call(tmp_path, srtp=srtp) as one:
        for tick in range(1, 6):
            one.send(37)  # leaves a part of a segment open
            one.tick()
            for path in one.folder.iterdir():
                assert spoken(path, tick * 37) == []
        one.succeed(kept=True)
        assert one.frames(one.close()) == list(range(5 * 37))


@pytest.mark.parametrize("later", [1, 1001])
def test_a_slot_that_is_not_sealed_counts_beside_none_that_is(tmp_path: Path, later: int) -> None:
    with recorded_call(tmp_path) as one:
        one.send(20)
        one.tick()
        kept = newest_slot(one.spool_fd, one.key)
        assert kept is not None
        other = replace(kept, generation=kept.generation + later, base=kept.base + 1, committed=0)
        write_unsealed(one.spool_fd, other)
        assert newest_slot(one.spool_fd, one.key) == kept


def test_slots_of_the_previous_version_are_read_and_overwritten(tmp_path: Path) -> None:
    """An upgrade with live calls: what it left in the clear is kept, and lies there no more once it is sealed."""
    with recorded_call(tmp_path, streams=1) as one:
        for count in (37, 20):
            one.send(count)
            one.tick()
        kept = newest_slot(one.spool_fd, one.key)
        assert kept is not None and len(kept.remainder) > 1000
        os.ftruncate(one.spool_fd, 0)
        for generation, rest in ((kept.generation - 1, b"older speech" * 100), (kept.generation, kept.remainder)):
            write_unsealed(one.spool_fd, replace(kept, generation=generation, remainder=rest))
        one.succeed(kept=True)
        assert b"older speech" not in (tmp_path / "spool").read_bytes()
        assert spoken(tmp_path / "spool", 57) == []
        one.send(5)
        assert one.frames(one.close()) == list(range(62))
