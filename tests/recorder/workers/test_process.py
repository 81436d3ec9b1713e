"""A real worker process under real packets: killed whenever, every frame is stored exactly once."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from media.receive.recvmmsg import Region
from media.spec import MAX_CONTEXTS, StreamSpec
from media.stream import fast_path_library
from recorder.workers import messages
from recorder.workers.process import NO_MEMORY, STALE, Worker
from recorder.workers.worker_handle import activity
from tests.in_process.worker_call import CALL, SUITE, Sender, WorkerCall, run


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_moment_lose_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        for kill in range(1, 7):
            for _ in range(chance.randrange(5, 40)):
                worker_call.send(chance.randrange(1, 5))
                await asyncio.sleep(chance.random() / 250)
            worker_call.kill()
            worker_call.send(3)
            await worker_call.resumed(kill)
        worker_call.send(20)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        for stream, sender in enumerate(worker_call.senders):
            assert worker_call.frames(found, stream) == list(range(sender.sent))
            assert final.streams[stream]["packets"] == sender.sent
            assert (
                final.streams[stream]["lost"]
                == final.streams[stream]["gap_ms"]
                == final.streams[stream]["rejected"]
                == 0
            )
        assert final.clean
        await worker_call.end()

    run(story())


def test_a_worker_loads_the_compiled_path_of_its_own_files(tmp_path: Path) -> None:
    """Before any packet comes: until then its files may have been replaced by those of another version."""
    if (road := fast_path_library.library()) is None:
        pytest.skip("no C compiler")

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        assert road._name in Path(f"/proc/{worker_call.workers._processes[0].pid}/maps").read_text()
        await worker_call.end()

    run(story())


def rekeyed(worker_call: WorkerCall) -> None:
    """Re-offer with a new key, and speak under it as an SBC does right after the answer."""
    key = os.urandom(30)
    worker_call.specs = tuple(replace(spec, key=key) for spec in worker_call.specs)
    worker_call.workers.change(CALL, worker_call.specs, worker_call.pairs)
    for sender in worker_call.senders:
        sender.session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    worker_call.send(5)


async def stopped(worker_call: WorkerCall) -> int:
    """Stop the worker once it has what was sent so far; packets wait in the sockets from now on."""
    await worker_call.workers.snapshot(CALL)
    pid = worker_call.workers._processes[0].pid
    await stop(pid)
    worker_call.send(5)
    return pid


async def stop(pid: int) -> None:
    """Stop a process; it goes on for a moment where it has a processor. No client follows an answer within that."""
    os.kill(pid, signal.SIGSTOP)
    while activity(pid)[0] != "T":
        await asyncio.sleep(0.001)
    await asyncio.sleep(2 * STALE)


async def complete(worker_call: WorkerCall) -> None:
    final = await worker_call.workers.close(CALL)
    found = worker_call.read(final)
    for stream, sender in enumerate(worker_call.senders):
        assert worker_call.frames(found, stream) == list(range(sender.sent))
        assert (final.streams[stream]["packets"], final.streams[stream]["rejected"]) == (sender.sent, 0)
    await worker_call.end()


def test_keys_of_offers_a_dead_worker_never_read_are_used(tmp_path: Path) -> None:
    """Holds and their ends, each with a new key, fit into the seconds in which a stuck worker is noticed."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, first=100)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(5)
        await stopped(worker_call)
        for _ in range(MAX_CONTEXTS - 1):
            rekeyed(worker_call)
        worker_call.kill()
        await worker_call.heard(messages.Resumed)
        await complete(worker_call)

    run(story())


def test_keys_of_several_queued_offers_are_used(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, first=100)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(5)
        pid = await stopped(worker_call)
        for _ in range(MAX_CONTEXTS - 1):
            rekeyed(worker_call)
        os.kill(pid, signal.SIGCONT)
        await complete(worker_call)

    run(story())


def test_keys_of_offers_queued_behind_their_call_are_used(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, first=100)
        await worker_call.workers.start()
        pid = worker_call.workers._processes[0].pid
        await stop(pid)
        worker_call.begin()
        worker_call.send(5)
        rekeyed(worker_call)
        rekeyed(worker_call)
        os.kill(pid, signal.SIGCONT)
        await complete(worker_call)

    run(story())


def test_a_worker_without_receive_memory_takes_no_call(small_disk: Path) -> None:
    """What comes waits in the sockets for one that has room; else the kernel would drop it, and nobody would know."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, (small_disk / "full").open("wb", 0) as rest:
        with suppress(OSError):
            while rest.write(bytes(1 << 12)):
                pass
        here = theirs.fileno()
        done = subprocess.run(
            [sys.executable, "-m", "recorder.workers.process", str(small_disk / "raw"), "1.0", str(os.getpid())],
            capture_output=True, preexec_fn=lambda: os.dup2(here, 3), pass_fds=(3, here),
        )  # fmt: skip
        theirs.close()
        assert (done.returncode, done.stderr) == (NO_MEMORY, b"")
        assert ours.recv(100) == b""  # it never said that it was ready


def test_a_worker_whose_main_died_early_touches_nothing(tmp_path: Path) -> None:
    """Its calls are those of a successor, who could not know of its region."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        region, nobody = tmp_path / "worker.raw", str(os.getpid() + 1)
        line = [sys.executable, "-m", "recorder.workers.process", str(region), "1.0", nobody]
        action = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)]
        pid = os.posix_spawn(sys.executable, line, os.environ, file_actions=action)
        theirs.close()
        assert os.waitpid(pid, 0)[1] == 0
        assert ours.recv(100) == b""  # it never said that it was ready
        assert not region.exists()


def test_pause_keeps_nothing_of_what_arrives_in_between(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, tick=5.0)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(10)
        worker_call.workers.pause(CALL)
        worker_call.send(7)
        worker_call.workers.resume_call(CALL)
        worker_call.send(5)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        kept = [*range(10), *range(17, 22)]
        for stream in (0, 1):
            assert worker_call.frames(found, stream) == kept
            assert final.streams[stream]["lost"] == final.streams[stream]["gap_ms"] == 0
        await worker_call.end()

    run(story())


def test_a_full_disk_keeps_what_comes_until_there_is_space(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        new, fd = worker_call.new()
        os.close(fd)
        full = os.open("/dev/full", os.O_WRONLY)
        worker_call.workers.add(new, worker_call.pairs, full, worker_call.spool)
        os.close(full)
        worker_call.send(60)
        await worker_call.heard(messages.DiskTrouble)
        worker_call.send(60)
        second, fd = worker_call.new()
        worker_call.workers.next_part(CALL, fd, second.part)
        os.close(fd)
        worker_call.send(60)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(messages.Final(CALL, final.part, final.committed, (), (), True))
        assert worker_call.frames(found, 0) == worker_call.frames(found, 1) == list(range(180))
        await worker_call.end()

    run(story())


def test_a_call_closed_on_a_full_disk_marks_all_that_is_missing(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        new, fd = worker_call.new()
        os.close(fd)
        full = os.open("/dev/full", os.O_WRONLY)
        worker_call.workers.add(new, worker_call.pairs, full, worker_call.spool)
        os.close(full)
        worker_call.send(3)  # fills no segment, so the disk is not asked yet
        while {figures["packets"] for figures in (await worker_call.workers.snapshot(CALL)).streams.values()} != {3}:
            continue
        arrived = time.monotonic()
        await asyncio.sleep(0.3)
        worker_call.send(60)
        await worker_call.heard(messages.DiskTrouble)
        least = (time.monotonic() - arrived) * 1000
        final = await worker_call.workers.close(CALL)
        assert not final.clean
        assert [figures["gap_ms"] >= least for figures in final.streams.values()] == [True, True]
        await worker_call.end()

    run(story())


def test_a_reoffer_with_a_new_key_goes_on_in_the_same_track(tmp_path: Path) -> None:
    """Duty C7."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.recording(20)
        key = os.urandom(30)
        worker_call.specs = tuple(StreamSpec(n, SUITE, key, payloads=((8, "PCMA", 8000),)) for n in (0, 1))
        worker_call.workers.change(CALL, worker_call.specs, worker_call.pairs)
        await worker_call.workers.snapshot(CALL)  # it knows the key, as before an SBC has our answer
        worker_call.send(5)  # still under the old key
        for sender in worker_call.senders:
            sender.session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        worker_call.send(20)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        assert worker_call.frames(found, 0) == worker_call.frames(found, 1) == list(range(45))
        assert final.streams[0]["rejected"] == 0
        await worker_call.end()

    run(story())


def test_a_hold_a_removed_and_an_added_stream_leave_no_gap(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(10)
        first, second = worker_call.specs
        worker_call.workers.change(CALL, (replace(first, held=True),), {0: worker_call.pairs[0]}, removed=(1,))
        await worker_call.workers.snapshot(CALL)
        third, pair, sender = replace(second, stream=2), worker_call._pair(), Sender(worker_call.key, 0x1002, 500)
        worker_call.workers.change(CALL, (first, third), {0: worker_call.pairs[0], 2: pair})
        await worker_call.workers.snapshot(CALL)
        worker_call.senders[0].send(worker_call.pairs[0].port, 10)
        sender.send(pair.port, 10)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        assert [worker_call.frames(found, n) for n in (0, 1, 2)] == [list(range(20)), list(range(10)), list(range(10))]
        assert [final.streams[n]["gap_ms"] for n in (0, 1, 2)] == [0, 0, 0]
        pair.close()
        sender.socket.close()
        await worker_call.end()

    run(story())


def test_a_worker_without_memory_makes_room_for_a_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had received lies in its region; a call must not end because this process cannot grow."""
    ended: list[int] = []
    monkeypatch.setattr(os, "_exit", ended.append)

    def grow() -> None:
        raise MemoryError

    control, main = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control, main:
        Worker(control, Region(str(tmp_path / "raw")), 1.0)._guard(CALL, grow)
        main.setblocking(False)
        with pytest.raises(BlockingIOError):
            main.recv(100)  # nothing is told of the call
    assert ended == [NO_MEMORY]


def test_a_worker_out_of_memory_between_calls_ends_quietly(tmp_path: Path) -> None:
    story = """
import os, sys
from recorder.workers import process

def grow(self):
    raise MemoryError

process.Worker.run = grow
sys.argv[1:] = [sys.argv[1], "1.0", str(os.getppid())]
process.main()
"""
    control, main = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control, main:
        words = [sys.executable, "-c", story, str(tmp_path / "raw")]
        here = control.fileno()
        done = subprocess.run(words, capture_output=True, preexec_fn=lambda: os.dup2(here, 3), pass_fds=(3, here))
    assert (done.returncode, done.stderr) == (NO_MEMORY, b"")
