"""A call in real workers with real packets, whose parts can be read back; for the tests of the media plane."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from pylibsrtp import Policy, Session

from media.errors import SocketRefused
from media.receive import sockets
from media.records import record_format
from media.rtp import header
from media.spec import StreamSpec
from recorder.workers import messages
from recorder.workers.pool import Workers
from storage.vault.container import HEADER, MEDIA_SEGMENT, PartSecret, Reader, new_part
from tests.in_process.waiting import until

T = TypeVar("T")
SPOOL_KEY = bytes(range(32))
SUITE = "AES_CM_128_HMAC_SHA1_80"
CALL = "0a64dd1c-0000-4000-8000-000000000001"


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


def open_pair() -> sockets.Pair:
    """Open a free pair of ports."""
    while True:
        try:
            return sockets.open_pair("127.0.0.1", random.randrange(30000, 60000, 2))
        except SocketRefused:
            continue


def worker_pid(folder: Path, number: int = 0) -> int | None:
    """Find in /proc the running worker with this number and a receive region in a folder; return its process id."""
    region = f"{folder}/worker-{number}.".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"recorder.workers.process" in line and region in line:
            return int(entry.name)
    return None


class WorkerCall:
    """A folder, its workers, and one call whose parts can be read back."""

    def __init__(
        self, folder: Path, streams: int = 2, tick: float = 0.01, first: int = 65500, kept: bool = True,
        call: str = CALL,
    ) -> None:  # fmt: skip
        self.folder, self.kept, self.call = folder, kept, call
        self.events: list[object] = []
        self.key = os.urandom(30)
        self.workers = Workers(1, folder / "run", self.on_event, tick)
        self.pairs = {n: open_pair() for n in range(streams)}
        self.senders = [Sender(self.key, 0x1000 + n, first) for n in range(streams)]
        self.specs = tuple(
            StreamSpec(n, SUITE, self.key, own_key=os.urandom(30), payloads=((8, "PCMA", 8000),))
            for n in range(streams)
        )
        self.parts: list[tuple[str, PartSecret]] = []
        (folder / "run/spool").mkdir(parents=True)
        self.spool = os.open(folder / "run/spool" / call, os.O_CREAT | os.O_RDWR)

    def new(self, **more: object) -> tuple[messages.NewCall, int]:
        name = f"m{len(self.parts) + 1}"
        header, secret = new_part(bytes(32), b"test", MEDIA_SEGMENT, os.urandom)
        fd = os.open(self.folder / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
        os.write(fd, header)
        self.parts.append((name, secret))
        part = messages.Part(name, secret.key, secret.prefix, secret.segment)
        return messages.NewCall(self.call, part, self.specs, SPOOL_KEY, **more), fd  # type: ignore[arg-type]  # test shorthand

    def begin(self) -> None:
        new, fd = self.new()
        self.workers.add(new, self.pairs, fd, self.spool)
        os.close(fd)

    def on_event(self, event: object) -> None:
        """Keep an event of the workers, and resume the call in the next worker if the event asks for a part."""
        self.events.append(event)
        if isinstance(event, messages.NeedPart) and event.call == self.call:
            self.resume()

    def resume(self) -> None:
        """Resume the call in a worker from its spool."""
        new, fd = self.new()
        self.workers.resume(new, self.pairs, fd, self.spool, kept=self.kept)
        os.close(fd)

    async def restart(self) -> None:
        """Stop all workers, and resume the call in those of a new main process."""
        await self.workers.stop()
        self.workers = Workers(1, self.folder / "run", self.on_event, 0.01)
        await self.workers.start()
        self.resume()

    def seen(self, kind: type[T]) -> list[T]:
        """Return the events of one kind so far."""
        return [event for event in self.events if isinstance(event, kind)]

    async def heard(self, kind: type, count: int = 1, seconds: float = 30.0) -> None:
        await until(lambda: len(self.seen(kind)) >= count, seconds)

    async def send_through_kills(self, chance: random.Random, kills: int) -> None:
        """Send at random, kill the worker meanwhile and wait for the next one, `kills` times."""
        for kill in range(1, kills + 1):
            for _ in range(chance.randrange(3, 40)):
                self.send(chance.randrange(1, 5))
                await asyncio.sleep(chance.random() / 250)
            self.kill()
            self.send(3)
            await self.resumed(kill)
        self.send(20)

    async def resumed(self, count: int = 1) -> None:
        """Wait for the next worker and keep sending: silence would become a gap if the worker is late."""
        async with asyncio.timeout(30):
            while len(self.seen(messages.Resumed)) < count:
                self.send()
                await asyncio.sleep(0.2)

    @property
    def pid(self) -> int:
        """Return the process id of the worker."""
        pid = worker_pid(self.folder / "run")
        assert pid is not None
        return pid

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def send(self, count: int = 1) -> None:
        for n, sender in enumerate(self.senders):
            sender.send(self.pairs[n].port, count)

    def read(self, final: messages.Final) -> list[record_format.Record]:
        """Read the parts as a player would: each one by itself, up to its committed length."""
        out: list[record_format.Record] = []
        secrets = dict(self.parts)
        for name, length in (*final.parts, (final.part, final.committed)):
            data = (self.folder / name).read_bytes()[:length]
            reader = Reader(secrets[name], len(data), lambda at, n, data=data: data[at : at + n])  # type: ignore[misc]  # mypy infers no lambda with a default
            if len(data) > HEADER:
                out += record_format.read(reader.chunks(live=name != final.part))
        return out

    def frames(self, found: list[record_format.Record], stream: int) -> list[int]:
        """Return the frame numbers of a stream in the order of their sequence numbers."""
        return [number for _, number in sorted(self.numbered(found, stream))]

    @staticmethod
    def numbered(found: list[record_format.Record], stream: int) -> list[tuple[int, int]]:
        out = []
        for record in found:
            if isinstance(record, record_format.Run | record_format.Mixed) and record.stream == stream:
                out += [(ext, int.from_bytes(packet[12:16], "big")) for ext, _, packet in record.packets()]
            elif isinstance(record, record_format.Packet) and record.stream == stream:
                out.append((record.sequence, int.from_bytes(record.packet[12:16], "big")))
        return out

    async def close(self) -> Any:
        """Close the call and return its messages.Final, whose figures hold numbers of many kinds."""
        return await self.workers.close(self.call)

    async def arrived(self) -> None:
        """Wait until the worker has counted everything that was sent: a busy kernel delivers packets late."""
        async with asyncio.timeout(30):
            while self.call in self.workers:
                streams: dict[int, Any] = (await self.workers.snapshot(self.call)).streams
                if all(figures["packets"] >= self.senders[stream].sent for stream, figures in streams.items()):
                    return
                await asyncio.sleep(0.01)

    async def complete(self, *, at_once: bool = False) -> Any:
        """Close the call, after everything has arrived or at once; check that each sent frame is stored once."""
        if not at_once:
            await self.arrived()
        final = await self.close()
        found = self.read(final)
        assert final.clean
        for stream, sender in enumerate(self.senders):
            assert self.frames(found, stream) == list(range(sender.sent))
        return final

    async def whole(self, *, at_once: bool = False) -> Any:
        """Close the call as `complete` does; check also that nothing counts as missing."""
        final = await self.complete(at_once=at_once)
        for stream, sender in enumerate(self.senders):
            figures = final.streams[stream]
            assert (figures["packets"], figures["lost"], figures["gap_ms"]) == (sender.sent, 0, 0)
        return final

    async def end(self) -> None:
        await self.workers.stop()
        for pair in self.pairs.values():
            pair.close()
        for sender in self.senders:
            sender.socket.close()
        os.close(self.spool)


@asynccontextmanager
async def recording(folder: Path, packets: int = 0, **more: Any) -> AsyncIterator[WorkerCall]:
    """Start a worker with a call that has received this many packets of each stream."""
    async with started(folder, **more) as one:
        one.begin()
        one.send(packets)
        await one.arrived()
        yield one


@asynccontextmanager
async def started(folder: Path, **more: Any) -> AsyncIterator[WorkerCall]:
    """Start a worker for a call that has not begun."""
    one = WorkerCall(folder, **more)
    await one.workers.start()
    try:
        yield one
    finally:
        await one.end()


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(story, 100))
