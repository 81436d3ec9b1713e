"""A call in real workers under real packets, whose parts can be read back; for the tests of the media plane."""

import asyncio
import os
import random
import signal
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from pylibsrtp import Policy, Session

from media.receive import sockets
from media.records import record_format
from media.rtp import header
from media.spec import StreamSpec
from recorder.workers import messages
from recorder.workers.pool import Workers
from storage.vault.container import HEADER, MEDIA_SEGMENT, PartSecret, Reader, new_part

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


class WorkerCall:
    """A folder, workers, and one call whose parts can be read back."""

    def __init__(
        self, folder: Path, streams: int = 2, tick: float = 0.01, first: int = 65500, kept: bool = True,
        call: str = CALL,
    ) -> None:  # fmt: skip
        self.folder, self.kept, self.call = folder, kept, call
        self.events: list[object] = []
        self.key = os.urandom(30)
        self.workers = Workers(1, folder / "run", self._heard, tick)
        self.pairs = {n: self._pair() for n in range(streams)}
        self.senders = [Sender(self.key, 0x1000 + n, first) for n in range(streams)]
        self.specs = tuple(
            StreamSpec(n, SUITE, self.key, own_key=os.urandom(30), payloads=((8, "PCMA", 8000),))
            for n in range(streams)
        )
        self.parts: list[tuple[str, PartSecret]] = []
        (folder / "run/spool").mkdir(parents=True)
        self.spool = os.open(folder / "run/spool" / call, os.O_CREAT | os.O_RDWR)

    @staticmethod
    def _pair() -> sockets.Pair:
        while True:
            port = random.randrange(30000, 60000, 2)
            try:
                return sockets.open_pair("127.0.0.1", port)
            except sockets.SocketRefused:
                continue

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
        """Read the parts as a player would: each one alone, up to what was committed."""
        out: list[record_format.Record] = []
        secrets = dict(self.parts)
        for name, length in (*final.parts, (final.part, final.committed)):
            data = (self.folder / name).read_bytes()[:length]
            reader = Reader(secrets[name], len(data), lambda at, n, data=data: data[at : at + n])  # type: ignore[misc]  # mypy infers no lambda with a default
            if len(data) > HEADER:
                out += record_format.read(reader.chunks(live=name != final.part))
        return out

    def frames(self, found: list[record_format.Record], stream: int) -> list[int]:
        """Give the numbers of the frames of a stream, in the order of their sequence numbers."""
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

    async def end(self) -> None:
        await self.workers.stop()
        for pair in self.pairs.values():
            pair.close()
        for sender in self.senders:
            sender.socket.close()
        os.close(self.spool)


def run(story: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(story, 100))
