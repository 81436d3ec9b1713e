"""A real worker process under real packets: killed whenever, every frame is stored exactly once."""

import asyncio
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from media.spec import MAX_CONTEXTS, StreamSpec
from recorder.workers import messages
from recorder.workers.process import NO_MEMORY, STALE
from recorder.workers.worker_handle import activity
from tests.in_process.in_process_worker import in_process_worker
from tests.in_process.worker_call import CALL, SUITE, WorkerCall, recording, started


@pytest.mark.parametrize("seed", range(2))
async def test_kills_at_any_moment_lose_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with recording(tmp_path) as one:
        await one.send_through_kills(chance, 6)
        final = await one.whole()
        assert [figures["rejected"] for figures in final.streams.values()] == [0, 0]


@pytest.mark.system  # the kernel shows root alone what a process that leaves no dump has mapped
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
async def test_a_worker_loads_the_compiled_path_of_its_own_files(tmp_path: Path) -> None:
    """Before any packet comes: until then its files may have been replaced by those of another version."""
    async with started(tmp_path) as one:
        assert "fast_path" in Path(f"/proc/{one.pid}/maps").read_text()


def rekeyed(one: WorkerCall) -> None:
    """Re-offer with a new key, and speak under it as an SBC does right after the answer."""
    key = os.urandom(30)
    one.specs = tuple(replace(spec, key=key) for spec in one.specs)
    one.workers.change(CALL, one.specs, one.pairs)
    for sender in one.senders:
        sender.session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    one.send(5)


async def stopped(one: WorkerCall) -> int:
    """Stop the worker once it has what was sent so far; packets wait in the sockets from now on."""
    await one.workers.snapshot(CALL)
    pid = one.pid
    await stop(pid)
    one.send(5)
    return pid


async def stop(pid: int) -> None:
    """Stop a process; it goes on for a moment where it has a processor. No client follows an answer within that."""
    os.kill(pid, signal.SIGSTOP)
    while activity(pid)[0] != "T":
        await asyncio.sleep(0.001)
    await asyncio.sleep(2 * STALE)


@pytest.mark.parametrize("reader", ["the worker", "its successor", "the worker, after their call"])
async def test_keys_of_several_unread_offers_are_used(tmp_path: Path, reader: str) -> None:
    """Holds and their ends, each with a new key, fit into the seconds in which a stuck worker is noticed."""
    async with started(tmp_path, first=100) as one:
        if reader == "the worker, after their call":
            await stop(pid := one.pid)
            one.begin()
        else:
            one.begin()
            one.send(5)
            pid = await stopped(one)
        for _ in range(MAX_CONTEXTS - 1):
            rekeyed(one)
        if reader == "its successor":
            one.kill()
            await one.heard(messages.Resumed)
        else:
            os.kill(pid, signal.SIGCONT)
        final = await one.whole()
        assert [figures["rejected"] for figures in final.streams.values()] == [0, 0]


def run_process(code: list[str], *arguments: str) -> tuple[int, bytes, bytes]:
    """Run a worker process; return its status, what it wrote to standard error, and what it said to main."""
    control, main = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control, main:
        here = control.fileno()
        done = subprocess.run(
            [sys.executable, *code, *arguments],
            capture_output=True, preexec_fn=lambda: os.dup2(here, 3), pass_fds=(3, here),
        )  # fmt: skip
        control.close()
        return done.returncode, done.stderr, main.recv(100)


PROCESS = ["-m", "recorder.workers.process"]


def test_a_worker_without_receive_memory_takes_no_call(small_disk: Path) -> None:
    """What comes waits in the sockets for one that has room; else the kernel would drop it, and nobody would know."""
    with (small_disk / "full").open("wb", 0) as rest, suppress(OSError):
        while rest.write(bytes(1 << 12)):
            pass
    assert run_process(PROCESS, str(small_disk / "raw"), "1.0", str(os.getpid())) == (NO_MEMORY, b"", b"")


def test_a_worker_whose_main_died_early_touches_nothing(tmp_path: Path) -> None:
    """Its calls are those of a successor, who could not know of its region."""
    assert run_process(PROCESS, str(tmp_path / "worker.raw"), "1.0", str(os.getpid() + 1)) == (0, b"", b"")
    assert list(tmp_path.iterdir()) == []


def test_a_worker_without_memory_makes_room_for_a_successor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it had received lies in its region; a call must not end because this process cannot grow."""

    def grow(step: str) -> None:
        if step == "drain a":
            raise MemoryError

    def end(status: int) -> None:
        raise SystemExit(status)

    monkeypatch.setattr(os, "_exit", end)
    with in_process_worker(tmp_path, monkeypatch) as worker, pytest.raises(SystemExit) as ended:
        worker.on_step = grow
        worker.add("a")
        worker.run()
    assert ended.value.code == NO_MEMORY
    assert worker.order == ["drain a"]  # main learns of no fault of the call


async def test_a_reoffer_with_a_new_key_goes_on_in_the_same_track(tmp_path: Path) -> None:
    """Duty C7."""
    async with recording(tmp_path, 20) as one:
        key = os.urandom(30)
        one.specs = tuple(StreamSpec(n, SUITE, key, payloads=((8, "PCMA", 8000),)) for n in (0, 1))
        one.workers.change(CALL, one.specs, one.pairs)
        await one.workers.snapshot(CALL)  # it knows the key, as before an SBC has our answer
        one.send(5)  # still under the old key
        for sender in one.senders:
            sender.session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        one.send(20)
        assert (await one.whole()).streams[0]["rejected"] == 0
