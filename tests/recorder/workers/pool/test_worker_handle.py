"""Workers and calls as main sees them: what the kernel says of a process, and what a dead one left."""

import asyncio
import faulthandler
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path

import pytest

from media.receive.receive_region import SPARE_AT, holder, journal_of
from media.receive.recvmmsg import Region
from media.spec import Dtls, StreamSpec
from recorder.persist.checkpoint_file import Slots
from recorder.runtime.tasks import retry
from recorder.workers import codec, messages, worker_handle
from recorder.workers.version_check import GREETING
from recorder.workers.worker_handle import (
    CALL_KEYS,
    KEYS,
    MAX_BACKOFF,
    Entry,
    Process,
    activity,
    after_shortage,
    backoff,
    find_left_regions,
    fresh_region,
    keep_left_region,
    known_keys,
    reap,
    reap_soon,
    wait_for_end,
)

CALL = "0a64dd1c-0000-4000-8000-000000000001"
GATHER = 1.0
"""Seconds in which the test of it sends several messages."""


def child(work: Callable[[], object]) -> int:
    """Start a process that nobody waits for but the code under test; it does this and ends."""
    if pid := os.fork():
        return pid
    try:
        work()
    finally:
        os._exit(0)


def sleep() -> None:
    time.sleep(60)


def loop() -> None:
    while True:
        pass


def region(path: Path, call: str = CALL, generation: int = 1, lanes: Sequence[int] = (0,)) -> Path:
    """Leave the region of a worker that died over a call; without lanes it was only being told of it."""

    def work() -> None:
        left = Region(str(path))
        if call:
            left.begin(call.encode().ljust(36, b"\0"), generation, lanes, [False] * len(lanes))

    reap(child(work))
    return path


def is_excused(pid: int, used: float = 0.0) -> bool:
    with socket.socket() as control:
        return Process(0, pid, control, Path("raw"), 0.0, 0.0, used).excused()


def until_in(state: str, pid: int) -> None:
    while activity(pid)[0] != state:
        time.sleep(0.005)


def test_a_process_is_known_by_its_state_and_its_time() -> None:
    state, used = activity(os.getpid())
    assert state == "R" and used > 0
    until_in("S", pid := child(sleep))
    os.kill(pid, signal.SIGSTOP)
    until_in("T", pid)
    assert not is_excused(pid)  # stopped: killing it helps
    os.kill(pid, signal.SIGKILL)
    reap(pid)
    assert activity(pid) == ("X", 0.0)
    reap(pid)  # a second time does nothing


def test_messages_that_may_wait_are_sent_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_handle, "GATHER", GATHER)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)

    def arrived() -> list[bytes]:
        found = []
        with suppress(BlockingIOError):
            while data := theirs.recv(100):
                found.append(data)
        return found

    async def story() -> None:
        process = Process(0, 1, ours, Path("raw"), 0.0, 0.0)
        process.send(b"early", [], later=True)
        assert arrived() == []  # it has not said that it listens
        process.greeted(GREETING)
        assert arrived() == [b"early"]
        process.send(b"first", [], later=True)  # after a quiet time, so it goes at once
        process.send(b"second", [], later=True)
        assert arrived() == [b"first"]
        began = time.monotonic()
        process.send(b"urgent", [])
        assert arrived() == [b"second", b"urgent"]
        process.send(b"third", [], later=True)
        await asyncio.sleep(0.01)
        assert arrived() == []
        while not (late := arrived()):
            await asyncio.sleep(0.01)
        assert late == [b"third"] and time.monotonic() - began >= GATHER
        process.send(b"last", [], later=True)
        process.disconnect(flush=True)
        assert arrived()[0] == b"last"

    asyncio.run(story())
    theirs.close()


HIDDEN = """
import ctypes, os, pathlib, sys
from recorder.workers.worker_handle import activity
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0 and libc.mount(b"none", b"/", None, 0x44000, None) == 0
assert libc.mount(b"proc", b"/proc", b"proc", 0, b"hidepid=invisible") == 0
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
heard, tell = os.pipe()
prctl = "ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)"
line = ["python3", "-c", f"import ctypes, sys; sys.stdin.read(1); {prctl}; print(flush=True); sys.stdin.read()"]
waiting, wake = os.pipe()
actions = [(os.POSIX_SPAWN_DUP2, waiting, 0), (os.POSIX_SPAWN_DUP2, tell, 1), (os.POSIX_SPAWN_CLOSE, wake)]
pid = os.posix_spawn("/usr/bin/python3", line, {}, file_actions=actions)
while True:  # for some microseconds it is hidden as we are
    try:
        stat = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
        break
    except FileNotFoundError:
        pass
os.write(wake, b"x")
os.read(heard, 1)  # it may not be dumped from here on
print(activity(pid)[0], activity(pid, stat)[0] != "X")
os.close(wake); os.close(waiting)
os.waitpid(pid, 0)
print(activity(pid, stat)[0])
"""


@pytest.mark.skipif(
    os.geteuid() != 0 or not Path("/usr/bin/python3").exists(), reason="only root can hide processes from others"
)
def test_a_hung_worker_is_seen_despite_a_hidden_proc() -> None:
    """ProtectProc=invisible: excused() would take a worker that waits for its disk for one that hangs."""
    done = subprocess.run([sys.executable, "-c", HIDDEN], capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.returncode) == (["X", "True", "X"], 0), done.stderr


def test_a_starved_worker_is_excused_and_a_looping_one_not() -> None:
    used = activity(pid := child(loop))[1]
    assert is_excused(pid, used + 3600)  # it goes on meanwhile, while we may be held up
    assert not is_excused(pid, used - worker_handle.STARVED - 1)
    os.kill(pid, signal.SIGKILL)
    reap(pid)


def test_an_ending_worker_is_killed_after_the_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So is one of an earlier main that still holds its region."""
    monkeypatch.setattr(worker_handle, "END_WAIT", 0.05)
    reap_soon(ending := child(lambda: None))
    with pytest.raises(ChildProcessError):
        os.waitpid(ending, os.WNOHANG)
    reap_soon(stuck := child(sleep))
    assert activity(stuck)[0] == "X"
    path = str(tmp_path / "raw")
    holding = child(lambda: (Region(path), sleep()))
    while not os.path.exists(path) or holder(path) is None:
        time.sleep(0.005)
    wait_for_end(path)
    assert os.WTERMSIG(os.waitpid(holding, 0)[1]) == signal.SIGKILL
    wait_for_end(path)


def test_each_region_gets_an_unused_name(tmp_path: Path) -> None:
    first = fresh_region(tmp_path, 0, 0)
    first.touch()
    second = fresh_region(tmp_path, 0, 0)
    assert first != second and not second.exists()
    assert fresh_region(tmp_path, 1, 0) not in (first, second)


def test_leftover_batches_of_live_calls_are_kept(tmp_path: Path) -> None:
    with closing(Slots(tmp_path / "live")) as slots:
        for call in ("over", CALL):
            slot = slots.take()
            slot.write(json.dumps({"v": 2, "call": call, "ports": []}).encode(), b"x")
            if call == "over":
                slot.end()  # it is not gone on with: nobody would ever take its packets away
    for number, call in enumerate((CALL, "gone", "", "over")):
        region(tmp_path / f"worker-{number}.1.0.raw", call)
    assert find_left_regions(tmp_path) == {CALL: tmp_path / "worker-0.1.0.raw"}
    assert [path.name for path in tmp_path.glob("*.raw")] == ["worker-0.1.0.raw"]
    assert (tmp_path / "worker-0.1.0.raw").stat().st_size == SPARE_AT
    journal = journal_of(str(tmp_path / "worker-0.1.0.raw"))
    assert journal is not None and journal.call == CALL
    assert worker_handle.last_batch(tmp_path / "missing") is None


def test_a_dead_workers_region_is_kept_once_for_a_live_call(tmp_path: Path) -> None:
    entries = {CALL: Entry(1, None)}
    for name, call in (("a", CALL), ("b", CALL), ("c", "gone"), ("d", "")):
        region(tmp_path / name, call)
        keep_left_region(tmp_path / name, entries, crashed=name != "a")
    assert entries[CALL].left_region == tmp_path / "a"
    assert entries[CALL].crashes == 1
    assert (tmp_path / "a").stat().st_size == SPARE_AT  # what is behind that was held for the successor
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("names", [("a", "b", "c"), ("c", "b", "a")])
def test_the_newest_of_several_leftover_batches_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, str, str]
) -> None:
    """Main and its workers were killed while one of them took the batch of another, and received the next."""
    monkeypatch.setattr(worker_handle, "left_calls", lambda folder: {CALL})
    old, new, told = (tmp_path / f"worker-0.1.{name}.raw" for name in names)
    for path, generation, lanes in ((old, 7, [0]), (new, 8, [0, 1]), (told, 0, [])):
        region(path, CALL, generation, lanes)
    assert find_left_regions(tmp_path) == {CALL: new}
    assert list(tmp_path.glob("*.raw")) == [new]


def test_a_worker_that_was_killed_did_not_crash() -> None:
    for name in ("SEGV", "BUS", "ABRT", "ILL", "FPE", "KILL", "TERM"):
        number = signal.Signals[f"SIG{name}"]

        def die(number: signal.Signals = number) -> None:
            faulthandler.disable()
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            os.kill(os.getpid(), number)

        assert reap(child(die)) == (name not in ("KILL", "TERM")), name


def test_old_crashes_no_longer_count() -> None:
    """It was the one that a worker had listened to last when it died of something else."""
    entry, now = Entry(1, None), 0.0
    for _ in range(worker_handle.MAX_CRASHES):
        entry.count_crash(now := now + worker_handle.FORGIVEN)
    assert entry.crashes == 1
    for _ in range(worker_handle.MAX_CRASHES):
        entry.count_crash(now := now + worker_handle.FORGIVEN - 1)
    assert entry.crashes == worker_handle.MAX_CRASHES + 1


@pytest.mark.parametrize(("used", "loops"), [(3600.0, False), (-3600.0, True)])
def test_a_worker_starved_too_long_counts_as_hung_not_crashed(tmp_path: Path, used: float, loops: bool) -> None:
    """What it was at is no fault of its call on a machine that starves."""
    pid = child(loop)
    with socket.socket() as control:
        silent = time.monotonic() - worker_handle.MAX_WAIT - 1
        process = Process(0, pid, control, tmp_path, 0.0, silent, used)
        process.check()
        reap(pid)
        assert (process.hung, process.crashed) == (True, loops)


def test_the_region_of_a_dead_worker_goes_once_another_goes_on(tmp_path: Path) -> None:
    left_region = tmp_path / "a"
    left_region.touch()
    entry = Entry(1, None, lost=True, left_region=left_region)
    for _ in range(2):
        entry.resumed()
        assert (entry.lost, entry.left_region, left_region.exists()) == (False, None, False)


def test_of_each_stream_the_newest_keys_are_known() -> None:
    suite = "AES_CM_128_HMAC_SHA1_80"
    known: tuple[messages.Key, ...] = ()
    for number in range(KEYS + 2):
        offer = [StreamSpec(0, suite, bytes([number])), StreamSpec(1, suite, b"same"), StreamSpec(2)]
        known = known_keys(known, offer)
    again = known_keys(known, [StreamSpec(0, suite, bytes([KEYS + 1])), StreamSpec(3, suite, b"dtls", dtls=Dtls())])
    assert sorted(again) == sorted(known)
    assert {(stream, key) for stream, _, key, _ in known} == {
        (1, b"same"),
        *((0, bytes([n])) for n in range(2, KEYS + 2)),
    }
    several = known_keys((), [StreamSpec(0, "AEAD_AES_128_GCM", b"one", mki=4, others=(b"two", b"three"))])
    assert several == tuple((0, "AEAD_AES_128_GCM", key, 4) for key in (b"one", b"two", b"three"))


def test_the_keys_of_an_offer_fit_into_a_successors_message() -> None:
    """Sixty-four streams of nine keys each, offered anew again and again."""
    known: tuple[messages.Key, ...] = ()
    for again in range(4):
        keys = [bytes([again, stream, n]) * 15 for stream in range(64) for n in range(9)]
        offer = [
            StreamSpec(
                stream,
                "AES_CM_128_HMAC_SHA1_80",
                keys[9 * stream],
                alternates=tuple(("AEAD_AES_256_GCM", key, 4) for key in keys[9 * stream + 1 : 9 * stream + 9]),
            )
            for stream in range(64)
        ]
        few = known_keys((), offer[:2])
        assert [key for _, _, key, _ in few] == keys[:18] and few[1][1:] == ("AEAD_AES_256_GCM", keys[1], 4)
        known = known_keys(known, offer)
    new = messages.NewCall(CALL, messages.Part("m1", bytes(32)), (), bytes(32))
    told = codec.encode(messages.Adopt(new, (), False, 0, True, known))
    assert len(known) == CALL_KEYS and len(told) < codec.MAX_MESSAGE - codec.MAX_OFFERED
    assert len(codec.encode(messages.Change(CALL, tuple(offer), (), (), 0))) < codec.MAX_OFFERED


def test_a_worker_that_dies_for_hours_is_started_once_a_second() -> None:
    assert [backoff(fails) for fails in (1, 2, 1024, 100_000)] == [0.04, 0.08, MAX_BACKOFF, MAX_BACKOFF]


def test_a_step_is_repeated_until_a_thread_is_available() -> None:
    tries: list[int] = []

    async def step() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise RuntimeError("can't start new thread")

    asyncio.run(retry(step, after_shortage()))
    assert len(tries) == 3
