"""A media worker inside the test's process, in simulated time: its calls define how long their work takes."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from media.receive.recvmmsg import Region
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from recorder.workers import codec, messages, process
from recorder.workers.messages import NewCall, Part
from recorder.workers.rtcp_sender import counts
from recorder.workers.version_check import GREETING


class SimulatedCall:
    """A stand-in for CallRecorder, which receives and writes nothing and records everything that it is asked."""

    paused, trouble, clean, part, parts = False, None, True, "m1", ()

    def __init__(self, worker: InProcessWorker, new: NewCall) -> None:
        self.worker, self.id, self.heard = worker, new.call, worker.heard.get(new.call, 0)
        self.sockets = {track.spec.stream: SimpleNamespace(stream=track, rtp=-1) for track in worker.tracks}

    @property
    def handshaking(self) -> bool:
        return self.worker.handshaking

    def drain(self, *_: object) -> None:
        self.worker.note(f"drain {self.id}")

    def advance_handshakes(self, *_: object) -> None:
        self.worker.note(f"handshake {self.id}")

    def pause(self, at: int) -> None:
        self.worker.note(f"pause {self.id}")

    def add_streams(self, *_: object) -> None: ...
    def resume(self, *_: object) -> None: ...
    def release(self) -> None: ...
    def close(self, *_: object) -> int:
        return 5

    def figures(self, gaps: int) -> tuple[Any, ...]:
        return tuple(figures(lanes.stream, gaps) for lanes in self.sockets.values())

    def counts(self) -> tuple[messages.Counts, ...]:
        return tuple(counts(lanes.stream) for lanes in self.sockets.values())


class InProcessWorker:
    """The main process's end of a worker, which runs until `main` is closed."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, tracks: list[ReceivedStream]) -> None:
        self.now, self.tracks = 100.0, tracks
        self.region = Region(str(folder / "raw"))
        self.control, self.main = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.main.setblocking(False)
        self.calls: dict[str, SimulatedCall] = {}
        #: When the last packet of each call arrived, and whether the calls have handshakes in progress.
        self.heard: dict[str, int] = {}
        self.handshaking = False
        #: What the calls were asked, and what the worker reported meanwhile, in order.
        self.order: list[Any] = []
        #: Called with each step of a call, so that a test can let time pass or send a command.
        self.on_step: Callable[[str], None] = lambda step: None
        monkeypatch.setattr(process, "CallRecorder", self._call)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(select, "poll", lambda: self)

    def _call(self, new: NewCall, part: int, spool: int, *_: object) -> SimulatedCall:
        os.close(part)
        os.close(spool)
        self.calls[new.call] = SimulatedCall(self, new)
        return self.calls[new.call]

    def note(self, step: str) -> None:
        self.hear()
        self.order.append(step)
        self.on_step(step)

    def hear(self) -> list[Any]:
        """Record what the worker has reported so far, without its greeting; return all records."""
        with suppress(OSError):
            while data := self.main.recv(2 * codec.MAX_MESSAGE):
                if data != GREETING:
                    self.order.append(codec.decode_report(data))
        return self.order

    def say(self, *commands: Any) -> None:
        for command in commands:
            descriptors = [0, 0] if isinstance(command, messages.Add | messages.Adopt) else []
            socket.send_fds(self.main, [codec.encode(command)], descriptors)

    def add(self, *calls: str, adopt: bool = False) -> None:
        for call in calls:
            new = NewCall(call, Part("m1", bytes(32)), (), bytes(32))
            self.say(messages.Adopt(new, (), False, 0, True) if adopt else messages.Add(new, ()))

    def run(self, tick: float = 0.0) -> list[Any]:
        """Run the worker until `main` is closed; return what its calls were asked and what it reported."""
        process.Worker(self.control, self.region, tick).run()
        return self.order

    # ---- select.poll ----
    def register(self, *_: object) -> None: ...
    def modify(self, *_: object) -> None: ...
    def poll(self, milliseconds: float) -> list[int]:
        self.now += milliseconds / 1000
        self.hear()
        self.on_step("poll")
        return [1]


@contextmanager
def in_process_worker(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tracks: list[ReceivedStream] | None = None
) -> Iterator[InProcessWorker]:
    """Yield a worker in this process whose calls have these streams."""
    with monkeypatch.context() as patch:
        made = InProcessWorker(folder, patch, tracks or [])
        with made.control, made.main:
            yield made
