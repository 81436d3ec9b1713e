"""Main's side of the media workers: start them, distribute the calls, detect their death, hand over their calls."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from media.receive.sockets import Pair
from media.spec import StreamSpec
from media.stream.pauses import bounded
from recorder.config.model import Settings
from recorder.errors import NotPossible, OtherVersion
from recorder.runtime.tasks import Tasks, retry, start_awaited
from recorder.workers import codec, messages
from recorder.workers.worker_handle import (
    HANG,
    MAX_CRASHES,
    SAID_BYTES,
    Entry,
    Process,
    after_shortage,
    backoff,
    close_all,
    duplicates,
    find_left_regions,
    fresh_region,
    keep_left_region,
    known_keys,
    listed,
    open_left_region,
    reap_soon,
    spawn,
    unclean,
)

WATCH = 0.25
#: Seconds by which the check itself may be late before it repeats: then main was blocked, not the workers.
LATE = 1.0
START = 10.0
#: Seconds a worker must live for its start not to count as failed.
YOUNG = 1.0
TICK = 1.0
#: Messages of a worker handled in one turn of the loop, and their bytes, which take 0.1 µs each to read.
MESSAGES_AT_ONCE, BYTES_AT_ONCE = 64, 64 * 1024


class Workers:
    """All media workers of the node."""

    def __init__(
        self,
        count: int,
        runtime_dir: Path,
        on_event: Callable[[messages.WorkerEvent], None] | None = None,
        tick: float = TICK,
    ) -> None:
        self._count = max(1, count)
        self._folder = runtime_dir
        self._listener = on_event
        #: Deaths before anybody listened.
        self._missed: list[messages.WorkerDied] = []
        self._starting: asyncio.Task[None] | None = None
        self._tick = tick
        self._processes: dict[int, Process] = {}
        self._entries: dict[str, Entry] = {}
        #: Unanswered requests: token -> call and who waits.
        self._asked: dict[int, tuple[str, asyncio.Future[messages.Figures]]] = {}
        self._token = 0
        self._serial = 0
        self._fails = [0] * self._count
        self._left_regions: dict[str, Path] = {}
        self._tasks = Tasks(_failed)
        self._stopping = False
        #: One buffer for all messages: a new one of this size each time is mapped and unmapped again.
        self._inbox = bytearray(codec.MAX_MESSAGE)

    # ---- start and stop ----
    @classmethod
    def configured(cls, settings: Settings) -> Workers:
        """Make the configured number of workers: by default one per processor core but one, at least one."""
        media = settings.media
        count = media.workers or max(1, len(os.sched_getaffinity(0)) - 1)
        return cls(count, settings.node.runtime_dir, tick=media.tick_ms / 1000)

    def listen(self, on_event: Callable[[messages.WorkerEvent], None]) -> None:
        """Set who receives the workers' events, and report those that died before."""
        self._listener = on_event
        for event in self._missed:
            on_event(event)
        self._missed.clear()

    def _on_event(self, event: messages.WorkerEvent) -> None:
        if self._listener:
            self._listener(event)
        elif isinstance(event, messages.WorkerDied):
            self._missed.append(event)

    async def begin(self) -> None:
        """Start the processes without waiting for them: the rest of the daemon is imported meanwhile."""
        self._starting = start_awaited(self.start(), "workers")
        await asyncio.sleep(0)

    async def ready(self) -> None:
        """Wait until all workers run; raise NotPossible if one does not."""
        try:
            if self._starting:
                await self._starting
        except (OSError, TimeoutError):
            raise NotPossible(
                "The media workers do not start.", "Check that memory is free and that the service may start processes."
            ) from None

    async def start(self) -> None:
        """Start workers and wait until they or successors run; raises TimeoutError or, if one is of another version,
        OtherVersion.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._left_regions = find_left_regions(self._folder)
        for number in range(self._count):
            self._spawn(number)
        for process in list(self._processes.values()):
            await asyncio.wait_for(process.ready.wait(), START)
            if self._processes[process.number].other_version:
                raise OtherVersion
        self._tasks.start(self._watch(), "watch-workers")

    async def stop(self) -> None:
        """End the workers; calls that were not closed stay in their spools for a successor."""
        if self._starting:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        self._stopping = True
        await self._tasks.close()
        processes = list(self._processes.values())
        for process in processes:
            process.disconnect(flush=True)
        for process in processes:
            await asyncio.to_thread(reap_soon, process.pid)
            if not any(entry.process is process for entry in self._entries.values()):
                process.raw.unlink(missing_ok=True)
        self._processes.clear()

    @property
    def load(self) -> dict[int, float]:
        """Return the busy ratio of each worker, 0 to 1."""
        return {number: process.busy for number, process in self._processes.items()}

    @property
    def well(self) -> bool:
        """Tell whether every worker runs and sent a heartbeat lately; if so, the service manager's watchdog is
        notified.
        """
        now = time.monotonic()
        alive = [process for process in self._processes.values() if not process.dead]
        return len(alive) == self._count and all(
            process.ready.is_set() and (process.waiting or now - process.last_beat <= HANG + WATCH) for process in alive
        )

    def __contains__(self, call: str) -> bool:
        return call in self._entries

    # ---- calls ----
    def told(self, new: messages.NewCall, pairs: Mapping[int, Pair]) -> bytes:
        """Encode what `add` sends to a worker, before there are any files; raises WireError if it is too long."""
        return codec.encode(messages.Add(new, listed(pairs)[0]))

    def add(
        self, new: messages.NewCall, pairs: Mapping[int, Pair], part_fd: int, spool_fd: int, told: bytes = b""
    ) -> None:  # fmt: skip
        """Give a call to the least loaded worker; all descriptors stay the caller's, who may close them at any time."""
        entry = self._entries[new.call] = Entry(len(new.streams), self._least(), pauses=new.pauses or ())
        entry.unassigned = entry.process is None
        entry.keys = known_keys((), new.streams)
        self._send(new.call, entry, told or self.told(new, pairs), [part_fd, spool_fd, *listed(pairs)[1]], later=True)

    def keys_of(self, call: str) -> tuple[messages.Key, ...]:
        """Return the keys of the newest offers of a call: a successor of main needs them for waiting packets."""
        return self._entries[call].keys if call in self._entries else ()

    def resume(
        self, new: messages.NewCall, pairs: Mapping[int, Pair], part_fd: int, spool_fd: int, *, kept: bool = True,
        earlier: Iterable[messages.Key] = (),
    ) -> None:  # fmt: skip
        """Let a worker continue a call from its spool; answers NeedPart, and is used after a restart of main.

        `kept`: the sockets are the previous ones; `earlier`: `keys_of` a previous main process. Resumed says which
        parts are whole.
        """
        entry = self._entries.get(new.call)
        if entry is None:
            entry = self._entries[new.call] = Entry(len(new.streams), None, pauses=new.pauses or ())
        elif entry.pauses or new.pauses is None:
            new = replace(new, pauses=entry.pauses)
        entry.keys = known_keys((*earlier, *entry.keys), new.streams)
        entry.lost = entry.lost or not kept
        entry.process = self._least()
        entry.unassigned = entry.process is None
        if entry.unassigned:
            return  # calls that wait for a worker keep waiting
        entry.left_region = entry.left_region or self._left_regions.pop(new.call, None)
        entry.give_up_batch()
        sockets, descriptors = listed(pairs)
        left_region = open_left_region(entry.left_region)
        message = messages.Adopt(new, sockets, bool(left_region), time.time_ns(), not entry.lost, entry.keys)
        self._send(new.call, entry, message, [part_fd, spool_fd, *left_region, *descriptors])
        close_all(left_region)
        for waiting, held in entry.waiting:
            self._send(new.call, entry, waiting, held)
            close_all(held)
        entry.waiting = ()
        for token, (asked, _) in self._asked.items():
            if asked == new.call:
                self._send(new.call, entry, messages.Ask(new.call, token), [])
        if entry.closing:
            self._send(new.call, entry, messages.Close(new.call, time.time_ns()), [])

    def change(
        self, call: str, streams: Sequence[StreamSpec], pairs: Mapping[int, Pair], removed: Iterable[int] = ()
    ) -> None:
        """Report a re-offer: all streams that continue or are new, with their sockets, and those that are removed."""
        sockets, descriptors = listed(pairs)
        if entry := self._entries.get(call):
            entry.keys = known_keys(entry.keys, streams)
        self._ask(call, messages.Change(call, tuple(streams), sockets, tuple(removed), time.time_ns()), descriptors)

    def pause(self, call: str) -> None:
        """Drop what arrives from now on."""
        now, entry = time.time_ns(), self._entries.get(call)
        if entry and not (entry.pauses and entry.pauses[-1][1] is None):
            entry.pauses = tuple(bounded([*entry.pauses, (now, None)]))
            self._ask(call, messages.Pause(call, now))

    def resume_call(self, call: str) -> None:
        """Store again what arrives from now on."""
        now, entry = time.time_ns(), self._entries.get(call)
        if entry and entry.pauses and entry.pauses[-1][1] is None:
            entry.pauses = (*entry.pauses[:-1], (entry.pauses[-1][0], now))
            self._ask(call, messages.Unpause(call, now))

    def reached(self, call: str) -> None:
        """Report that the client has our answer."""
        self._ask(call, messages.Reached(call))

    def next_part(self, call: str, part_fd: int, part: messages.Part, finished: int = 0) -> None:
        """Have a call continue in a new part; a call without a worker gets another one with its next worker anyway.

        `finished`: number up to which its parts are finished.
        """
        if self.has_worker(call):
            self._ask(call, messages.NextPart(call, part, finished), [part_fd])

    def has_worker(self, call: str) -> bool:
        """Tell whether a worker has the call."""
        entry = self._entries.get(call)
        return entry is not None and entry.process is not None

    def drop(self, call: str) -> None:
        """Forget a call; nothing is sealed."""
        self._ask(call, messages.Drop(call))
        self._remove(call)

    async def close(self, call: str) -> messages.Final:
        """Read the sockets, seal and report; a call that no worker has is not clean and has no figures."""
        entry = self._entries.get(call)
        if entry is None:
            return unclean(call)
        if entry.closing is None:
            entry.closing = asyncio.get_running_loop().create_future()
            if entry.process:
                self._send(call, entry, messages.Close(call, time.time_ns()), [], later=True)
        return await asyncio.shield(entry.closing)

    async def snapshot(self, call: str) -> messages.Figures:
        """Read the sockets and report the current figures; none for a call that no worker has."""
        if call not in self._entries:
            return messages.Figures(call, 0, ())
        self._token += 1
        token, future = self._token, asyncio.get_running_loop().create_future()
        self._asked[token] = call, future
        try:
            if self._entries[call].process:
                self._ask(call, messages.Ask(call, token))  # otherwise `resume` asks
            figures: messages.Figures = await future
            return figures
        finally:
            self._asked.pop(token, None)

    # ---- sending ----
    def _ask(self, call: str, message: Any, descriptors: Sequence[int] = ()) -> None:
        entry = self._entries.get(call)
        if entry is None:
            return
        if entry.process is None:
            entry.waiting = (*entry.waiting, (message, duplicates(descriptors)))
        else:
            self._send(call, entry, message, descriptors)

    def _send(self, call: str, entry: Entry, message: Any, descriptors: Sequence[int], *, later: bool = False) -> None:
        """Send a worker a message; `later`: it may wait for others of its kind (GATHER)."""
        process = entry.process
        if process is None:
            return
        process.calls.add(call)
        data = message if isinstance(message, bytes) else codec.encode(message)
        process.send(data, descriptors, later=later)

    def _least(self) -> Process | None:
        alive = [process for process in self._processes.values() if not process.dead]
        return min(alive, key=lambda process: (len(process.calls), process.busy), default=None)

    # ---- receiving ----
    def _readable(self, process: Process) -> None:
        """Handle a worker's messages, at most one turn's worth: a worker that never stops must not block main."""
        taken = size = 0
        while taken < MESSAGES_AT_ONCE and size < BYTES_AT_ONCE:
            try:
                length = process.control.recv_into(self._inbox)
            except BlockingIOError:
                break
            except ConnectionResetError:
                continue  # it died with unread messages of ours: what it sent before waits behind this error
            except OSError:
                length = 0
            if not length:
                self._died(process)
                return
            taken += 1
            size += length
            if not process.ready.is_set():
                if not process.greeted(bytes(self._inbox[:length])):
                    self._take_calls_off(process)
                    self._on_event(messages.OtherVersion(process.number))
                return
            try:
                said = codec.decode_report(memoryview(self._inbox)[:length])
            except codec.WireError:
                self._died(process, crashed=True)
                return
            self._take(process, said)
        if not process.dead and not process.may_say(taken + size // SAID_BYTES, time.monotonic()):
            self._died(process, crashed=True)

    def _take(self, process: Process, event: Any) -> None:
        if isinstance(event, messages.Beat):
            process.beat(event.busy)
        elif isinstance(event, messages.Stats):
            if not event.calls.keys() <= process.calls:  # of a call that was dropped meanwhile
                event = messages.Stats({call: each for call, each in event.calls.items() if call in process.calls})
        elif event.call not in process.calls:
            return  # dropped meanwhile, or never this worker's
        elif isinstance(event, messages.Figures):
            asked, future = self._asked.get(event.token, ("", None))
            if future and asked == event.call and not future.done():
                future.set_result(event)
            return
        elif isinstance(event, messages.Final):
            self._finish(event.call, event)
        elif isinstance(event, messages.Resumed) and event.call in self._entries:
            self._entries[event.call].resumed()
        elif isinstance(event, messages.CallFault):
            self._finish(event.call, unclean(event.call))
        self._on_event(event)

    def _finish(self, call: str, final: messages.Final) -> None:
        entry = self._remove(call)
        if entry and entry.closing and not entry.closing.done():
            entry.closing.set_result(final)

    def _remove(self, call: str) -> Entry | None:
        entry = self._entries.pop(call, None)
        if entry:
            entry.release(call)
            for asked, future in self._asked.values():
                if asked == call and not future.done():
                    future.set_result(messages.Figures(call, 0, ()))
        return entry

    # ---- death ----
    def _died(self, process: Process, *, crashed: bool = False) -> None:
        """Make sure that a worker is gone, start another, request parts for its calls.

        `crashed`: it sent an invalid message, so it is compromised or has a bug.
        """
        if process.dead:
            return
        process.kill(crashed=crashed)
        if not self._stopping:
            self._tasks.start(self._replace(process, self._take_calls_off(process)), "replace-worker")

    def _take_calls_off(self, process: Process) -> list[tuple[str, Entry]]:
        """Return the calls of a dead worker; messages about them wait for its successor from now on."""
        taken = [(call, entry) for call, entry in self._entries.items() if entry.process is process]
        for _, entry in taken:
            entry.process = None
        return taken

    async def _replace(self, process: Process, taken: Sequence[tuple[str, Entry]]) -> None:
        await process.reap()
        keep_left_region(process.raw, self._entries, crashed=process.crashed)
        young = time.monotonic() - process.started < YOUNG
        self._fails[process.number] = self._fails[process.number] + 1 if young else 0
        if young:
            await asyncio.sleep(backoff(self._fails[process.number]))
        await retry(lambda: self._succeed(process), after_shortage())
        why = "hang" if process.hung else "crash" if process.crashed else "exit"
        self._on_event(messages.WorkerDied(process.number, why, len(taken)))
        unassigned = [(call, entry) for call, entry in self._entries.items() if entry.unassigned]
        for call, entry in [*taken, *unassigned]:
            if entry.process is not None or call not in self._entries:
                continue
            if entry.crashes >= MAX_CRASHES:
                self._finish(call, unclean(call))
                self._on_event(messages.CallFault(call, "workers crash over it"))
            else:
                self._on_event(messages.NeedPart(call))

    async def _succeed(self, process: Process) -> None:
        """Replace a worker that is certainly gone: two must never read one socket."""
        # whoever waits for the first message of the old one receives that of the new one
        self._spawn(process.number, None if process.ready.is_set() else process.ready)

    async def _watch(self) -> None:
        """Kill workers that do not answer; their end is then detected like any other."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(WATCH)
            if time.monotonic() - before > WATCH + LATE:
                continue  # main was blocked; their heartbeats wait to be read
            for process in list(self._processes.values()):
                if not process.dead:
                    process.check()

    # ---- processes ----
    def _spawn(self, number: int, ready: asyncio.Event | None = None) -> None:
        raw = fresh_region(self._folder, number, self._serial)
        self._serial += 1
        process = self._processes[number] = spawn(number, raw, self._tick, START, ready)
        asyncio.get_running_loop().add_reader(process.control, self._readable, process)


def _failed(name: str, error: BaseException) -> None:
    """Report a bug of the pool as one of the loop: it starts before there is a log."""
    asyncio.get_running_loop().call_exception_handler({"message": f"task {name} failed", "exception": error})
