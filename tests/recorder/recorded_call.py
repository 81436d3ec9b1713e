"""One call on a tape in this process: real sockets, a real part and a real spool, time given by the test."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from media.receive.recvmmsg import Region
from media.records import record_format
from media.spec import StreamSpec
from recorder.workers import messages
from recorder.workers.call_recorder import CallRecorder
from storage.vault.container import MEDIA_SEGMENT, PartSecret, Reader, new_part
from tests.recorder.worker_call import CALL, SPOOL_KEY, SUITE, Sender, WorkerCall

TICK = 1_000_000_000


class RecordedCall:
    """A tape with its senders; `now` moves by a tick with each drain."""

    def __init__(self, folder: Path, streams: int, srtp: bool) -> None:
        self.folder = folder
        key = os.urandom(30) if srtp else None
        self.pairs = [WorkerCall._pair() for _ in range(streams)]
        self.senders = [Sender(key, 0x1000 + n) for n in range(streams)]
        self.specs = tuple(
            StreamSpec(
                n, SUITE if srtp else None, key or b"", own_key=os.urandom(30) if srtp else b"",
                payloads=((8, "PCMA", 8000),), source=("127.0.0.1", self.senders[n].socket.getsockname()[1]),
            )
            for n in range(streams)
        )  # fmt: skip
        self.secrets: dict[str, PartSecret] = {}
        #: What main tells a successor of pauses; None: what the spool says.
        self.pauses: tuple[tuple[int, int | None], ...] | None = None
        self.regions = 0
        self.key = SPOOL_KEY
        self.now = time.time_ns()
        self.region = self.fresh_region()
        self.tape = self._tape()
        self.tape.add_streams(self.specs, self.descriptors(), time.time_ns())

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

    def _tape(self, pauses: tuple[tuple[int, int | None], ...] | None = ()) -> CallRecorder:
        part, fd = self.part(f"m{len(self.secrets) + 1}")
        spool = os.open(self.folder / "spool", os.O_CREAT | os.O_RDWR)
        return CallRecorder(messages.NewCall(CALL, part, self.specs, self.key, pauses), fd, spool, os.urandom)

    def send(self, count: int) -> None:
        for sender, pair in zip(self.senders, self.pairs, strict=True):
            sender.send(pair.port, count)

    def send_again(self, packets: list[bytes]) -> None:
        """Send one packet of each stream as it is."""
        for sender, pair, packet in zip(self.senders, self.pairs, packets, strict=True):
            sender.socket.sendto(packet, ("127.0.0.1", pair.port))

    def tick(self) -> None:
        self.now += TICK
        self.tape.drain(self.region, self.now)

    def succeed(self, *, kept: bool, raw: bool = True, at: int = 0) -> None:
        """Let a successor take over at `at` (else now) from the spool and, with `raw`, the dead worker's region."""
        dead = str(self.folder / f"region{self.regions}")
        self.tape.release()
        self.region = self.fresh_region()
        self.tape = self._tape(self.pauses)
        self.tape.add_streams(self.specs, self.descriptors(), time.time_ns())
        self.tape.resume(self.region, dead if raw else None, kept, at or time.time_ns())

    def close(self) -> list[record_format.Record]:
        """Close the tape and read all parts as a player would."""
        committed = self.tape.close(self.region, time.time_ns())
        out: list[record_format.Record] = []
        for name, length in (*self.tape.parts, (self.tape.part, committed)):
            data = (self.folder / name).read_bytes()[:length]
            reader = Reader(self.secrets[name], len(data), lambda at, n, data=data: data[at : at + n])  # type: ignore[misc]  # mypy infers no lambda with a default
            cut = name != self.tape.part or not self.tape.closed
            out += record_format.read(reader.chunks(live=cut)) if len(data) > 40 else []
        return out

    def frames(self, found: list[record_format.Record], stream: int = 0) -> list[int]:
        return [number for _, number in sorted(WorkerCall.numbered(found, stream))]


@contextmanager
def recorded_call(folder: Path, streams: int = 2, srtp: bool = True) -> Iterator[RecordedCall]:
    """Have a tape and let go of everything in the end."""
    one = RecordedCall(folder, streams, srtp)
    try:
        yield one
    finally:
        one.tape.release()
        for pair in one.pairs:
            pair.close()
        for sender in one.senders:
            sender.socket.close()
