"""One worker, and one call, as recorder.workers.pool sees them."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from media.receive.receive_region import SPARE_AT, Journal, holder, journal_of
from media.receive.sockets import Pair
from media.spec import MAX_CONTEXTS, StreamSpec
from recorder.persist.checkpoint_file import left_calls
from recorder.runtime import python_command
from recorder.runtime.tasks import retry
from recorder.workers import messages
from recorder.workers.version_check import GREETING

CONTROL_BUFFER = 1 << 20
#: Keys kept of a stream: as many as a worker tries.
KEYS = MAX_CONTEXTS
#: Keys kept of all streams of a call: with 70 bytes each, they fit into what codec.MAX_OFFERED leaves.
CALL_KEYS = 384
TICKS = os.sysconf("SC_CLK_TCK")
#: How often /proc/PID/stat of a new worker is tried, and the seconds in between: 10 ms in all, less than an interpreter
#: needs to start.
TRIES, BETWEEN_TRIES = 50, 0.000_2
#: Size of /proc/PID/stat at most: 52 numbers of 20 digits.
STAT = 2_048
#: Environment variables that say where the keys are and how to reach the service manager.
FOR_MAIN = frozenset(("CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
#: Seconds without a heartbeat after which a worker is stuck, unless it only waits for a disk or a processor.
HANG = 4.5
#: Seconds after which it is replaced whatever it waits for, while the kernel still holds the packets since then (20 s).
MAX_WAIT = 15.0
#: Seconds of processor time below which a silent worker counts as not scheduled.
STARVED = 1.0
#: Seconds a worker has to end after its main, and between two checks.
END_WAIT = 1.0
LOOK = 0.005
#: Signals that end a worker which crashed on its own work.
CRASHES = frozenset((signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE))
#: Crashes on one call after which its received batch is not used again, and after which the call ends: one client's
#: packets must not harm the other calls of its worker.
MAX_REPLAYS = 2
MAX_CRASHES = 5
#: Seconds after which a crash no longer counts against a call, which may last for weeks: the cause was another.
FORGIVEN = 600.0
#: Limits on a worker's messages: how many at once (more than it buffers for a blocked main), how many a second, and how
#: many more a second for each call. An offer may bring 64 streams, and for each of them the worker reports refused
#: strangers at most once a second.
SAID_AT_ONCE, SAID, SAID_OF_CALL = 20_000, 1_000, 80
#: Bytes that count as one more message: figures take some hundred a stream, seldom some thousand.
SAID_BYTES = 1_024
#: Seconds between two messages to a worker about calls that begin and end: waking one costs main and the worker ten
#: times as long as the message. The first such message after a quiet time goes at once, and nothing urgent, such as a
#: pause, waits behind others. Until then the kernel buffers what the client sends.
GATHER = 0.1
#: Seconds between two starts of a worker that keeps dying.
MAX_BACKOFF = 1.0
FIRST_BACKOFF = 0.02


@dataclass(slots=True)
class Process:
    """One worker as main sees it."""

    number: int
    pid: int
    control: socket.socket
    raw: Path
    started: float
    last_beat: float
    # seconds of processor time it had used at its last heartbeat
    used: float = 0.0
    busy: float = 0.0
    calls: set[str] = field(default_factory=set)
    outbox: deque[tuple[bytes, list[int]]] = field(default_factory=deque)
    # its messages wait for others until then, by the loop's clock
    gathered: float = 0.0
    alarm: asyncio.TimerHandle | None = None
    # its first message has arrived; nothing is sent to it before
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    # silent because it waits for the disk or the processor
    waiting: bool = False
    hung: bool = False
    # it crashed on its own work
    crashed: bool = False
    dead: bool = False
    # its first message was not from our files
    other_version: bool = False
    # its /proc/PID/stat, -1: to be opened by name
    stat: int = -1
    # how many more messages it may send, and as of when
    left: float = SAID_AT_ONCE
    left_at: float = 0.0

    def may_say(self, count: int, now: float) -> bool:
        """Count messages; False if there are more than a healthy worker sends."""
        rate = SAID + SAID_OF_CALL * len(self.calls)
        self.left = min(SAID_AT_ONCE, self.left + rate * (now - self.left_at)) - count
        self.left_at = now
        return self.left >= 0

    # ---- sending ----
    def send(self, data: bytes, descriptors: Sequence[int], *, later: bool = False) -> None:
        """Send it a message, in order; `later`: it may wait for other messages (GATHER)."""
        at_once = self.ready.is_set() and not self.outbox and not self.dead
        if at_once and not (later and self._gathers()) and self._sent(data, descriptors):
            return
        self.outbox.append((data, duplicates(descriptors)))
        if self.alarm is not None and not later:
            self.flush()  # waiting messages go first

    def flush(self) -> None:
        """Send what waits, as far as the socket has room."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm, self.gathered = None, asyncio.get_running_loop().time() + GATHER
        while self.outbox and not self.dead:
            data, descriptors = self.outbox[0]
            if not self._sent(data, descriptors):
                return
            self.outbox.popleft()
            close_all(descriptors)
        if not self.dead:
            asyncio.get_running_loop().remove_writer(self.control)

    def _gathers(self) -> bool:
        """Tell whether a message waits for others; the first after a quiet time does not."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now >= self.gathered:
            self.gathered = now + GATHER
            return False
        self.alarm = loop.call_at(self.gathered, self.flush)
        return True

    def _sent(self, data: bytes, descriptors: Sequence[int]) -> bool:
        """Try to send; a full socket is retried when it has room, and the reader detects a dead worker."""
        try:
            if descriptors:
                socket.send_fds(self.control, [data], descriptors)
            else:
                self.control.send(data)
        except BlockingIOError:
            asyncio.get_running_loop().add_writer(self.control, self.flush)
            return False
        except OSError:
            return False
        return True

    # ---- its messages ----
    def greeted(self, first: bytes) -> bool:
        """Check its first message; False if it is of another version, which gets no messages and ends."""
        self.ready.set()
        if first == GREETING:
            self.flush()
            return True
        self.other_version = True
        self.kill()
        return False

    def beat(self, busy: float) -> None:
        """Note that it lives, and the fraction of the last second it worked."""
        self.last_beat, self.busy = time.monotonic(), busy
        self.used, self.waiting = activity(self.pid, self.stat)[1], False

    # ---- its end ----
    def disconnect(self, *, flush: bool = False) -> None:
        """Close the control socket: a healthy worker then ends, after a last round.

        `flush`: first send what only waits for other messages.
        """
        if flush and self.alarm is not None:
            self.flush()
        if self.dead:
            return  # and waits for its successor
        self.dead = True
        loop = asyncio.get_running_loop()
        loop.remove_reader(self.control)
        loop.remove_writer(self.control)
        self.control.close()
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
        if self.stat >= 0:
            os.close(self.stat)
            self.stat = -1
        for _, descriptors in self.outbox:
            close_all(descriptors)
        self.outbox.clear()

    def kill(self, *, crashed: bool = False) -> None:
        """Make sure that it ends."""
        self.crashed |= crashed
        self.disconnect()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    async def reap(self) -> None:
        """Wait for its end, and note whether it crashed."""
        self.crashed |= await retry(lambda: asyncio.to_thread(reap, self.pid), after_shortage())

    def excused(self) -> bool:
        """Tell whether it is silent because it waits for a disk or a processor, where killing it would not help.

        A worker in a loop uses its processor; one that sleeps or is stopped is stuck.
        """
        state, used = activity(self.pid, self.stat)
        return state == "D" or (state == "R" and used - self.used < STARVED)

    def check(self) -> None:
        """Kill it if it has been silent for too long; its end is then detected like any other."""
        silent = time.monotonic() - self.last_beat
        if silent <= HANG:
            return
        self.waiting = silent <= MAX_WAIT and self.excused()
        if not self.waiting:
            self.crashed = activity(self.pid, self.stat)[0] == "R" and not self.excused()  # it is in an endless loop
            self.hung = True
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)


@dataclass(slots=True)
class Entry:
    """One call."""

    streams: int
    process: Process | None
    # no worker lived when the call needed one: the next one that starts gets it
    unassigned: bool = False
    # its previous sockets were lost, and no worker has recorded that yet
    lost: bool = False
    # receive region of the worker that died with a batch of this call in it
    left_region: Path | None = None
    # how many workers crashed lately on this call, and when the last one did
    crashes: int = 0
    crashed_at: float = 0.0
    # for a successor: when nothing may be stored of what waits in the sockets
    pauses: tuple[tuple[int, int | None], ...] = ()
    # for each stream, the newest last: packets under the earlier ones may wait for a successor
    keys: tuple[messages.Key, ...] = field(default=(), repr=False)
    # requests while no worker had the call
    waiting: tuple[tuple[Any, list[int]], ...] = ()
    closing: asyncio.Future[messages.Final] | None = None

    def resumed(self) -> None:
        """Note that a worker continues: it has the batch of the dead one, and recorded what was lost."""
        self.lost = False
        if self.left_region:
            self.left_region.unlink(missing_ok=True)
            self.left_region = None

    def count_crash(self, now: float) -> None:
        """Count a worker that crashed on it."""
        self.crashes = 1 + (self.crashes if now - self.crashed_at < FORGIVEN else 0)
        self.crashed_at = now

    def give_up_batch(self) -> None:
        """Give up the batch on which several workers crashed: it is lost."""
        if self.left_region and self.crashes >= MAX_REPLAYS:
            self.lost = True
            self.left_region.unlink(missing_ok=True)
            self.left_region = None

    def release(self, call: str) -> None:
        """Release everything that is held for a call that is over."""
        if self.process:
            self.process.calls.discard(call)
        if self.left_region:
            self.left_region.unlink(missing_ok=True)
        for _, held in self.waiting:
            close_all(held)


def spawn(number: int, raw: Path, tick: float, start: float, ready: asyncio.Event | None = None) -> Process:
    """Start a worker that has `start` seconds until its first heartbeat; raises OSError.

    `ready` is set by its first message; by default it belongs to this worker alone.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    for end in (ours, theirs):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, CONTROL_BUFFER)
    line = python_command.command("recorder.workers.process", str(raw), str(tick), str(os.getpid()))
    environment = python_command.environment(
        {name: value for name, value in os.environ.items() if name not in FOR_MAIN}
    )
    try:
        told = [(os.POSIX_SPAWN_DUP2, theirs.fileno(), 3)]
        pid = os.posix_spawn(sys.executable, line, environment, file_actions=told)
    except OSError:
        ours.close()
        raise
    finally:
        theirs.close()
    now = time.monotonic()
    return Process(number, pid, ours, raw, now, now + start, stat=_stat_of(pid), ready=ready or asyncio.Event())


def _stat_of(pid: int) -> int:
    """Open a worker's proc(5) file now. Where processes are hidden (ProtectProc=), a process that is not dumpable is
    hidden even from its own user; an open file stays readable.

    For some microseconds after posix_spawn it is hidden as well, because it inherits that from us until execve(2) has
    finished.
    """
    for _ in range(TRIES):
        try:
            return os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            time.sleep(BETWEEN_TRIES)
    return -1


def backoff(fails: int) -> float:
    """Return the seconds to wait before the next start of a worker that died young so many times in a row."""
    return min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** min(fails, 16))  # a float cannot hold 2^1024


def after_shortage() -> Callable[[Exception], float]:
    """Return what recorder.runtime.tasks.retry asks for the next pause; it gives up unless the machine may be out of
    processes, threads or memory for the moment.
    """
    fails = itertools.count()

    def failed(problem: Exception) -> float:
        if not isinstance(problem, OSError | RuntimeError | MemoryError):
            raise problem
        return backoff(next(fails))

    return failed


def last_batch(raw: Path) -> Journal | None:
    """Read whose batch a dead worker's region holds, or whose packets it was reading when it died (no lanes: none)."""
    try:
        return journal_of(str(raw))
    except OSError:
        return None


def keep_left_region(raw: Path, entries: Mapping[str, Entry], *, crashed: bool) -> None:
    """Keep a dead worker's region while a call needs its last batch; count the crash on that call."""
    journal = last_batch(raw)
    entry = entries.get(journal.call) if journal else None
    if entry is not None and crashed:
        entry.count_crash(time.monotonic())
    if not journal or not journal.lanes or entry is None or entry.left_region:
        raw.unlink(missing_ok=True)
    else:
        entry.left_region = _cut(raw)


def _cut(raw: Path) -> Path:
    """Release the memory that a dead worker held for its successor."""
    os.truncate(raw, SPARE_AT)
    return raw


def open_left_region(raw: Path | None) -> list[int]:
    """Open a dead worker's region for its successor, which may open nothing itself; none if it is gone."""
    try:
        return [os.open(raw, os.O_RDONLY | os.O_CLOEXEC)] if raw else []
    except FileNotFoundError:
        return []


def duplicates(descriptors: Iterable[int]) -> list[int]:
    """Return duplicates of these descriptors; raises OSError, and then nothing stays open."""
    made: list[int] = []
    try:
        for each in descriptors:
            made.append(os.dup(each))
    except OSError:
        close_all(made)
        raise
    return made


def listed(pairs: Mapping[int, Pair]) -> tuple[messages.Sockets, list[int]]:
    """Return the descriptors of all streams as one sequence."""
    rows = [(stream, pair.filenos()) for stream, pair in pairs.items()]
    return tuple((stream, len(fds)) for stream, fds in rows), [fd for _, fds in rows for fd in fds]


def known_keys(before: Iterable[messages.Key], streams: Iterable[StreamSpec]) -> tuple[messages.Key, ...]:
    """Add the keys of an offer to those of earlier offers; the newest few of each stream are kept."""
    fresh = [
        (spec.stream, *key)
        for spec in streams
        if spec.suite and spec.dtls is None
        for key in (*((spec.suite, key, spec.mki) for key in (spec.key, *spec.others)), *spec.alternates)
    ]
    out: list[messages.Key] = []
    for key in reversed([*(key for key in before if key not in fresh), *fresh]):
        if len(out) < CALL_KEYS and sum(each[0] == key[0] for each in out) < KEYS:
            out.insert(0, key)
    return tuple(out)


def unclean(call: str) -> messages.Final:
    return messages.Final(call, "", -1, (), (), False)


def activity(pid: int, stat: int = -1) -> tuple[str, float]:
    """Return the state of a process (proc(5): R, S, D, T, …; X = gone) and the seconds of processor time it has used.

    `stat`: its /proc/PID/stat, if that is open.
    """
    try:
        told = os.pread(stat, STAT, 0) if stat >= 0 else Path(f"/proc/{pid}/stat").read_bytes()
        fields = told.rpartition(b")")[2].decode("ascii", "replace").split()
    except OSError:
        return "X", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / TICKS


def wait_for_end(raw: str) -> None:
    """Wait until no process reads into a region any more; one that still does long after its main's end is killed."""
    for _ in range(int(END_WAIT / LOOK)):
        if holder(raw) is None:
            return
        time.sleep(LOOK)
    while pid := holder(raw):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        time.sleep(LOOK)


def fresh_region(folder: Path, number: int, serial: int) -> Path:
    """Return the name of a region that does not exist: a previous main may have had our process id, as in every
    container.
    """
    while (raw := folder / f"worker-{number}.{os.getpid()}.{serial}.raw").exists():
        serial += 1
    return raw


def find_left_regions(folder: Path) -> dict[str, Path]:
    """Return the regions of a previous main's workers, by the call whose batch they hold; delete the others."""
    found: dict[Path, Journal] = {}
    known = left_calls(folder)
    for raw in folder.glob("worker-*.raw"):
        with contextlib.suppress(FileNotFoundError):  # one that started after its main's end removes its region
            wait_for_end(str(raw))  # it was told to end with its main, but may still be running
        journal = last_batch(raw)
        if journal and journal.call in known:
            found[raw] = journal
        else:
            raw.unlink(missing_ok=True)
    left_regions: dict[str, Path] = {}
    for raw, journal in sorted(found.items(), key=lambda each: each[1].generation):
        if older := left_regions.get(journal.call):  # its batch is committed: a successor had taken it, and more
            older.unlink(missing_ok=True)
        left_regions[journal.call] = _cut(raw)
    return left_regions


def reap_soon(pid: int) -> None:
    """Wait for a worker that was told to end; kill it if it does not."""
    for _ in range(int(END_WAIT / LOOK)):
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return
        except ChildProcessError:
            return
        time.sleep(LOOK)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    reap(pid)


def reap(pid: int) -> bool:
    """Wait for the end of a worker; tell whether it crashed."""
    with contextlib.suppress(ChildProcessError):
        status = os.waitpid(pid, 0)[1]
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) in CRASHES
    return False


def close_all(descriptors: Iterable[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
