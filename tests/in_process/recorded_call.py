"""One call recorded in this process: real sockets, a real part and a real spool, with the time set by the test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from media.receive.recvmmsg import Region
from media.records import record_format
from media.spec import StreamSpec
from recorder.workers import messages
from recorder.workers.call_recorder import CallRecorder
from storage.vault.container import MEDIA_SEGMENT, PartSecret, Reader, new_part
from tests.in_process.worker_call import CALL, SPOOL_KEY, SUITE, Sender, WorkerCall, open_pair

TICK = 1_000_000_000


class RecordedCall:
    """A call recorder with its senders; `now` moves by a tick with each drain."""

    def __init__(self, folder: Path, streams: int, srtp: bool) -> None:
        self.folder = folder
        key = os.urandom(30) if srtp else None
        self.pairs = [open_pair() for _ in range(streams)]
        self.senders = [Sender(key, 0x1000 + n) for n in range(streams)]
        self.specs = tuple(
            StreamSpec(
                n, SUITE if srtp else None, key or b"", own_key=os.urandom(30) if srtp else b"",
                payloads=((8, "PCMA", 8000),), source=("127.0.0.1", self.senders[n].socket.getsockname()[1]),
            )
            for n in range(streams)
        )  # fmt: skip
        self.secrets: dict[str, PartSecret] = {}
        #: The pauses that main sends to a successor; None: those of the spool.
        self.pauses: tuple[tuple[int, int | None], ...] | None = None
        self.regions = 0
        self.key = SPOOL_KEY
        self.now = time.time_ns()
        self.region = self.fresh_region()
        self.recorder = self._recorder()
        self.recorder.add_streams(self.specs, self.descriptors(), time.time_ns())

    def fresh_region(self) -> Region:
        self.regions += 1
        return Region(str(self.folder / f"region{self.regions}"))

    def descriptors(self) -> dict[int, list[int]]:
        return {n: [os.dup(fd) for fd in pair.filenos()] for n, pair in enumerate(self.pairs)}

    def part(self, name: str) -> tuple[messages.Part, int]:
        header, secret = new_part(bytes(32), b"test", MEDIA_SEGMENT, os.urandom)
        fd = os.open(self.folder / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        os.write(fd, header)
        self.secrets[name] = secret
        return messages.Part(name, secret.key, secret.prefix, secret.segment), fd

    def _recorder(self, pauses: tuple[tuple[int, int | None], ...] | None = ()) -> CallRecorder:
        part, self.part_fd = self.part(f"m{len(self.secrets) + 1}")
        self.spool_fd = os.open(self.folder / "spool", os.O_CREAT | os.O_RDWR)
        new = messages.NewCall(CALL, part, self.specs, self.key, pauses)
        return CallRecorder(new, self.part_fd, self.spool_fd, os.urandom)

    def next_part(self, finished: int = 0) -> tuple[str, int]:
        """Continue in another part; return name and length of the finished one."""
        part, self.part_fd = self.part(f"m{len(self.secrets) + 1}")
        return self.recorder.next_part(self.region, part, self.part_fd, self.now, finished)

    def change(self, *specs: StreamSpec, removed: Sequence[int] = (), at: int = 0, sockets: bool = False) -> None:
        """Apply a re-offer, now or at `at`; with `sockets`, pass new descriptors for all streams."""
        given = self.descriptors() if sockets else {}
        self.recorder.change(self.region, specs, given, removed, at or time.time_ns())

    def pause(self) -> None:
        self.recorder.pause(time.time_ns())

    def unpause(self, at: int = 0) -> None:
        self.recorder.unpause(at or time.time_ns())

    def figures(self, stream: int = 0) -> dict[str, Any]:
        return next(dict(each) for each in self.recorder.figures() if each["stream"] == stream)

    def reasons(self, stream: int = 0) -> list[str]:
        """Return why audio is missing, gap by gap."""
        return [why for _, _, why in self.figures(stream)["gaps"]]

    def send(self, count: int) -> None:
        for sender, pair in zip(self.senders, self.pairs, strict=True):
            sender.send(pair.port, count)

    def lose(self, count: int) -> None:
        """Lose this many packets of each stream on their way."""
        for sender in self.senders:
            for _ in range(count):
                sender.packet()

    def send_again(self, packets: list[bytes]) -> None:
        """Send one given packet of each stream unchanged."""
        for sender, pair, packet in zip(self.senders, self.pairs, packets, strict=True):
            sender.socket.sendto(packet, ("127.0.0.1", pair.port))

    def tick(self) -> None:
        self.now += TICK
        self.recorder.drain(self.region, self.now)

    def succeed(self, *, kept: bool, raw: bool = True, at: int = 0) -> None:
        """Continue in a successor, at `at` or now, from the spool and, with `raw`, the dead worker's region."""
        dead = str(self.folder / f"region{self.regions}")
        self.recorder.release()
        self.region = self.fresh_region()
        self.recorder = self._recorder(self.pauses)
        self.recorder.add_streams(self.specs, self.descriptors(), time.time_ns())
        self.recorder.resume(self.region, dead if raw else None, kept, at or time.time_ns())

    def close(self) -> list[record_format.Record]:
        """Close the call and read all parts as a player would."""
        committed = self.recorder.close(self.region, time.time_ns())
        out: list[record_format.Record] = []
        for name, length in (*self.recorder.parts, (self.recorder.part, committed)):
            data = (self.folder / name).read_bytes()[:length]
            reader = Reader(self.secrets[name], len(data), lambda at, n, data=data: data[at : at + n])  # type: ignore[misc]  # mypy infers no lambda with a default
            cut = name != self.recorder.part or not self.recorder.closed
            out += record_format.read(reader.chunks(live=cut)) if len(data) > 40 else []
        return out

    def frames(self, found: list[record_format.Record], stream: int = 0) -> list[int]:
        return [number for _, number in sorted(WorkerCall.numbered(found, stream))]


@contextmanager
def no_space(descriptor: int) -> Iterator[None]:
    """Make all writes to a descriptor fail as on a full disk."""
    kept, full = os.dup(descriptor), os.open("/dev/full", os.O_RDWR)
    os.dup2(full, descriptor)
    os.close(full)
    try:
        yield
    finally:
        with suppress(OSError):
            os.dup2(kept, descriptor)
        os.close(kept)


@contextmanager
def recorded_call(folder: Path, streams: int = 2, srtp: bool = True) -> Iterator[RecordedCall]:
    """Yield a call that is being recorded; release everything at the end."""
    one = RecordedCall(folder, streams, srtp)
    try:
        yield one
    finally:
        one.recorder.release()
        for pair in one.pairs:
            pair.close()
        for sender in one.senders:
            sender.socket.close()
