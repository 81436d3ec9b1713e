"""A call under real packets whose parts can be read back: in worker processes, or in this process at a given time."""

import asyncio
import os
import random
import signal
import socket
import time
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pylibsrtp import Policy, Session

from media.errors import SocketRefused
from media.receive import sockets
from media.receive.recvmmsg import Region
from media.records import record_format
from media.rtp import header
from media.spec import StreamSpec
from recorder.workers import messages
from recorder.workers.call_recorder import CallRecorder
from recorder.workers.pool import Workers
from recorder.workers.process import Worker
from storage.vault.container import HEADER, MEDIA_SEGMENT, PartSecret, Reader, new_part

T = TypeVar("T")
SPOOL_KEY = bytes(range(32))
SUITE = "AES_CM_128_HMAC_SHA1_80"
CALL = "0a64dd1c-0000-4000-8000-000000000001"
TICK = 1_000_000_000


class Sender:
    """An SBC's side of one stream."""

    def __init__(self, key: bytes | None, ssrc: int, first: int = 100) -> None:
        self.session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND)) if key else None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.ssrc, self.next, self.sent = ssrc, first, 0

    def packet(self) -> bytes:
        payload = self.sent.to_bytes(4, "big") * 40
        packet = header.build(8, self.next, self.next * 160, self.ssrc, payload)
        self.next, self.sent = self.next + 1, self.sent + 1
        return self.session.protect(packet) if self.session else packet

    def send(self, port: int, count: int = 1) -> None:
        for _ in range(count):
            self.socket.sendto(self.packet(), ("127.0.0.1", port))


class PartFiles:
    """The parts of a call in a folder, named m1, m2, …, and the keys to read them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.secrets: dict[str, PartSecret] = {}

    def part(self, name: str = "") -> tuple[messages.Part, int]:
        """Create a part; return what a worker learns of it and its descriptor."""
        name = name or f"m{len(self.secrets) + 1}"
        head, secret = new_part(bytes(32), b"test", MEDIA_SEGMENT, os.urandom)
        descriptor = os.open(self.folder / name, os.O_CREAT | os.O_EXCL | os.O_RDWR)
        os.write(descriptor, head)
        self.secrets[name] = secret
        return messages.Part(name, secret.key, secret.prefix, secret.segment), descriptor

    def read_parts(self, parts: Iterable[tuple[str, int | None]], whole: str) -> list[record_format.Record]:
        """Read each part alone up to its length, as a player would; only the one called `whole` ends properly."""
        out: list[record_format.Record] = []
        for name, length in parts:
            data = (self.folder / name).read_bytes()[:length]
            reader = Reader(self.secrets[name], len(data), lambda at, n, data=data: data[at : at + n])  # type: ignore[misc]  # mypy infers no lambda with a default
            if len(data) > HEADER:
                out += record_format.read(reader.chunks(live=name != whole))
        return out

    def frames(self, found: list[record_format.Record], stream: int = 0) -> list[int]:
        """Return the numbers of the frames of a stream, in the order of their sequence numbers."""
        numbered = []
        for record in found:
            if isinstance(record, record_format.Run | record_format.Mixed) and record.stream == stream:
                numbered += [(ext, int.from_bytes(packet[12:16], "big")) for ext, _, packet in record.packets()]
            elif isinstance(record, record_format.Packet) and record.stream == stream:
                numbered.append((record.sequence, int.from_bytes(record.packet[12:16], "big")))
        return [number for _, number in sorted(numbered)]


def open_pair() -> sockets.Pair:
    """Open a pair of ports that nobody uses."""
    while True:
        try:
            return sockets.open_pair("127.0.0.1", random.randrange(30000, 60000, 2))
        except SocketRefused:
            continue


class WorkerCall(PartFiles):
    """A folder, workers, and one call whose parts can be read back."""

    def __init__(
        self, folder: Path, streams: int = 2, tick: float = 0.01, first: int = 65500, kept: bool = True,
        call: str = CALL,
    ) -> None:  # fmt: skip
        super().__init__(folder)
        self.kept, self.call = kept, call
        self.events: list[object] = []
        self.key = os.urandom(30)
        self.workers = Workers(1, folder / "run", self._heard, tick)
        self.pairs = {n: open_pair() for n in range(streams)}
        self.senders = [Sender(self.key, 0x1000 + n, first) for n in range(streams)]
        self.specs = tuple(
            StreamSpec(n, SUITE, self.key, own_key=os.urandom(30), payloads=((8, "PCMA", 8000),))
            for n in range(streams)
        )
        (folder / "run/spool").mkdir(parents=True)
        self.spool = os.open(folder / "run/spool" / call, os.O_CREAT | os.O_RDWR)

    def new(self, **more: object) -> tuple[messages.NewCall, int]:
        part, descriptor = self.part()
        return messages.NewCall(self.call, part, self.specs, SPOOL_KEY, **more), descriptor  # type: ignore[arg-type]  # test shorthand

    def begin(self) -> None:
        new, fd = self.new()
        self.workers.add(new, self.pairs, fd, self.spool)
        os.close(fd)

    async def recording(self, count: int) -> None:
        """Start the workers and the call, and say so many packets, which are taken when this returns."""
        await self.workers.start()
        self.begin()
        self.send(count)
        await self.workers.snapshot(self.call)

    def _heard(self, event: object) -> None:
        self.events.append(event)
        if isinstance(event, messages.NeedPart) and event.call == self.call:
            new, fd = self.new()
            self.workers.resume(new, self.pairs, fd, self.spool, kept=self.kept)
            os.close(fd)

    async def heard(self, kind: type, count: int = 1) -> None:
        async with asyncio.timeout(30):
            while sum(isinstance(event, kind) for event in self.events) < count:
                await asyncio.sleep(0.005)

    async def resumed(self, count: int = 1) -> None:
        """Wait for the next worker and go on speaking: where it comes late, silence would grow to a gap."""
        async with asyncio.timeout(30):
            while sum(isinstance(event, messages.Resumed) for event in self.events) < count:
                self.send()
                await asyncio.sleep(0.2)

    async def talk_to_one_that_dies(self) -> None:
        """Begin, talk for a moment, and have the worker die while 15 packets of each stream go to nobody."""
        await self.workers.start()
        self.begin()
        for _ in range(10):
            self.send()
            await asyncio.sleep(0.02)
        await self.workers.snapshot(CALL)
        self.kill()
        for sender in self.senders:
            for _ in range(15):
                sender.packet()

    def kill(self) -> None:
        os.kill(self.workers._processes[0].pid, signal.SIGKILL)

    def send(self, count: int = 1) -> None:
        for n, sender in enumerate(self.senders):
            sender.send(self.pairs[n].port, count)

    def read(self, final: messages.Final) -> list[record_format.Record]:
        """Read the parts up to what was committed."""
        return self.read_parts((*final.parts, (final.part, final.committed)), final.part)

    async def end(self) -> None:
        await self.workers.stop()
        for pair in self.pairs.values():
            pair.close()
        for sender in self.senders:
            sender.socket.close()
        os.close(self.spool)


class RecordedCall(PartFiles):
    """The recorder of one call in this process with its senders; `now` moves by a tick with each drain."""

    def __init__(self, folder: Path, streams: int, srtp: bool) -> None:
        super().__init__(folder)
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

    def _tape(self, pauses: tuple[tuple[int, int | None], ...] | None = ()) -> CallRecorder:
        part, fd = self.part()
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
        """Close the call and read all its parts."""
        committed = self.tape.close(self.region, time.time_ns())
        parts = (*self.tape.parts, (self.tape.part, committed))
        return self.read_parts(parts, self.tape.part if self.tape.closed else "")


@contextmanager
def recorded_call(folder: Path, streams: int = 2, srtp: bool = True) -> Iterator[RecordedCall]:
    """Record a call in this process, and let go of everything in the end."""
    one = RecordedCall(folder, streams, srtp)
    try:
        yield one
    finally:
        one.tape.release()
        for pair in one.pairs:
            pair.close()
        for sender in one.senders:
            sender.socket.close()


@contextmanager
def alone(folder: Path) -> Iterator[tuple[Worker, socket.socket]]:
    """Give a worker in this process and main's end of its control socket."""
    control, main = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with control, main:
        yield Worker(control, Region(str(folder / "raw")), 1.0), main


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(story, 100))
