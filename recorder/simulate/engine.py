"""The media process of a run: `python -m recorder.simulate.engine` sends what commands on its standard input say.

Commands are JSON, one a line: open, sound, add, keyed, on, off, time, drop, count; each gets one JSON line back. Every
stream sends each 20 ms; streams are spread over ten slots of 2 ms. The clock never skips: after a stall the missed
slots are sent late.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import asyncio_dgram
from aiortc import RTCCertificate
from asyncio_dgram.aio import DatagramStream
from pylibsrtp import Error

from recorder.simulate import coded
from recorder.simulate.batch import Batch, random_number
from recorder.simulate.flow import Flow, Name
from recorder.simulate.outgoing import SLOTS, Outgoing, Words
from recorder.simulate.plan import TICK

REPORT_TICKS = 250
"""Five seconds between sender reports (RFC 3550 section 6.2)."""
LATE, VERY_LATE = 0.005, 0.020
_SOCKET_BUFFER = 4 << 20
_TRIES = 500
"""Attempts to find two neighbouring free ports."""
_LOWEST_PORT = 40_000
_PRIORITY = -10
"""Nice value if allowed: a late generator proves nothing."""
_LINE_LIMIT = 64 << 20
"""The longest command: the frames of a voice of 30 s are 1 MB of JSON."""


class Engine:
    """Sockets, streams and what is due when."""

    def __init__(self) -> None:
        self.streams: dict[int, Outgoing] = {}
        self.tick = 0
        self._zero = time.time()  # when tick 0 was due, in seconds since 1970: by the tick that was least late
        self.figures = {"slots": 0, "late_5ms": 0, "late_20ms": 0, "latest_us": 0}
        self._sounds: dict[int, list[bytes]] = {}
        self._flows: dict[Name, tuple[Flow, Outgoing]] = {}
        self._lanes: list[tuple[DatagramStream, DatagramStream]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._batches: list[list[Batch]] = []
        self._singly: dict[tuple[int, int], list[Outgoing]] = {}
        self._members: dict[tuple[int, int], dict[int, Outgoing]] = {}
        self._changed: set[tuple[int, int]] = set()
        self._fresh: dict[int, list[Outgoing]] = {}  # by the tick of their first report
        self._packets = self._errors = 0
        self._own: RTCCertificate | None = None
        self._handshakes: dict[int, asyncio.Task[str | None]] = {}

    async def close(self) -> None:
        """Close all ports."""
        for task in (*self._tasks, *self._handshakes.values()):
            task.cancel()
        for flow, _ in self._flows.values():
            await flow.close()
        for pair in self._lanes:
            for each in pair:
                each.close()

    async def do(self, words: Words) -> Words:
        """Carry out one command and return its reply."""
        return await COMMANDS[words["do"]](self, words)

    async def open(self, words: Words) -> Words:
        """Open a pair of ports for each lane, and make a certificate if wanted; return RTP ports and fingerprint."""
        for _ in range(words["lanes"]):
            rtp, rtcp = [await asyncio_dgram.from_socket(each) for each in _pair(words["address"])]
            self._tasks += [asyncio.create_task(self._listen(each), name="simulate-listen") for each in (rtp, rtcp)]
            self._batches.append([Batch(rtp.socket.fileno()) for _ in range(SLOTS)])
            self._lanes.append((rtp, rtcp))
        reply: Words = {"ports": [rtp.sockname[1] for rtp, _ in self._lanes]}
        if words.get("certificate"):
            self._own = RTCCertificate.generateCertificate()
            reply["fingerprint"] = next(
                f"{each.algorithm} {each.value}" for each in self._own.getFingerprints() if each.algorithm == "sha-256"
            )
        return reply

    async def sound(self, words: Words) -> Words:
        """Take the encoded frames of a voice."""
        self._sounds[words["id"]] = [bytes.fromhex(frame) for frame in words["frames"]]
        return {}

    async def add(self, words: Words) -> Words:
        """Add silent streams, and begin their handshakes."""
        for each in words["streams"]:
            rtp, rtcp = self._lanes[each["lane"]]
            first = Flow(rtp, (each["host"], each["port"]))
            second = first if each["rtcp_port"] == each["port"] else Flow(rtcp, (each["host"], each["rtcp_port"]))
            stream = Outgoing(each, self._sounds, first, second)
            self.streams[each["id"]] = stream
            self._members.setdefault((stream.lane, stream.slot), {})[each["id"]] = stream
            self._flows |= {flow.name: (flow, stream) for flow in (first, second)}
            if "fingerprints" in each and self._own is not None:
                handshake = asyncio.create_task(stream.agree(self._own, each), name="simulate-handshake")
                self._handshakes[each["id"]] = handshake
        return {}

    async def keyed(self, words: Words) -> Words:
        """Return whether the handshakes of streams are over, and any error."""
        made = [self._handshakes[number] for number in words["ids"] if number in self._handshakes]
        over = all(each.done() for each in made)
        return {"over": over, "faults": [each.result() for each in made if each.result()] if over else []}

    async def on(self, words: Words) -> Words:
        """Let streams send from the next tick on, and send a report after the first packet (RFC 3550 section 6.2).

        The recorder can then align even the streams of a short call, however late a busy machine sends one.
        """
        for stream in self._named(words):
            stream.on(self.tick + 1)
            self._fresh.setdefault(self.tick + 2, []).append(stream)
        return {"tick": self.tick + 1}

    async def off(self, words: Words) -> Words:
        """Stop streams after the current tick."""
        for stream in self._named(words):
            stream.off(self.tick + 1)
        return {"tick": self.tick + 1}

    async def time(self, words: Words) -> Words:
        """Return the current tick: every packet of earlier ones is sent."""
        return {"tick": self.tick}

    async def drop(self, words: Words) -> Words:
        """Stop streams, send BYE, return their figures and forget them."""
        reply = []
        for number, stream in zip(words["ids"], self._named(words), strict=True):
            stream.off(self.tick + 1)
            await self._report(stream, leaving=True)
            self._packets += stream.packets(self.tick)
            reply.append({"sent": stream.sent, **stream.figures})
            del self.streams[number], self._members[stream.lane, stream.slot][number]
            if (handshake := self._handshakes.pop(number, None)) is not None:
                handshake.cancel()
            for flow in {stream.rtp, stream.rtcp}:
                await flow.close()
                if self._flows.get(flow.name, (None,))[0] is flow:
                    del self._flows[flow.name]
        return {"streams": reply}

    async def count(self, words: Words) -> Words:
        """Return the figures of the whole process."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        errors = self._errors + sum(batch.errors for lane in self._batches for batch in lane)
        packets = self._packets + sum(stream.packets(self.tick) for stream in self.streams.values())
        return {
            **self.figures,
            "cpu": usage.ru_utime + usage.ru_stime,
            "errors": errors,
            "packets": packets,
            "tick": self.tick,
        }

    def _named(self, words: Words) -> Iterator[Outgoing]:
        for number in words["ids"]:
            stream = self.streams[number]
            self._changed.add((stream.lane, stream.slot))
            yield stream

    async def begin(self, tick: int) -> None:
        """Start a tick: apply changes, so that all its slots agree on who sends; send reports."""
        self.tick = tick
        self._zero = min(self._zero, time.time() - tick * TICK)
        for place in self._changed:
            sending = [each for each in self._members.get(place, {}).values() if each.began is not None]
            self._batches[place[0]][place[1]].arrange(each.source for each in sending if each.batched)
            self._singly[place] = [each for each in sending if not each.batched]
        self._changed.clear()
        numbers = range(tick % REPORT_TICKS, max(self.streams, default=-1) + 1, REPORT_TICKS)
        due = [self.streams[number] for number in numbers if number in self.streams]
        for stream in (*self._fresh.pop(tick, ()), *due):
            if stream.began is not None:
                await self._report(stream)

    async def send(self, slot: int, frame: int) -> None:
        """Send what is due in one slot of the current tick."""
        for lane, batches in enumerate(self._batches):
            if len(batches[slot]):
                batches[slot].send(self.tick, frame)
            for stream in self._singly.get((lane, slot), ()):
                try:
                    await stream.send(self.tick)
                except (OSError, Error):
                    self._errors += 1

    async def _report(self, stream: Outgoing, *, leaving: bool = False) -> None:
        """Note when this tick was due: a busy machine delays sending but not the clock."""
        try:
            await stream.rtcp.send(stream.report(self.tick, self._zero + self.tick * TICK, leaving=leaving))
        except OSError:
            return  # a closed port of the recorder is not a fault of the audio

    async def _listen(self, ours: Any) -> None:
        """Take what comes to one of our ports: handshakes and reports."""
        while True:
            try:
                datagram, name = await ours.recv()
            except asyncio_dgram.TransportClosed:
                return
            except OSError:
                continue  # of a port of the recorder that is closed
            known = self._flows.get(name[:2])
            if known is not None and (report := known[0].take(datagram)) is not None:
                known[1].hear(report)


COMMANDS: dict[str, Callable[[Engine, Words], Awaitable[Words]]] = {
    "open": Engine.open, "sound": Engine.sound, "add": Engine.add, "on": Engine.on, "off": Engine.off,
    "time": Engine.time, "drop": Engine.drop, "count": Engine.count, "keyed": Engine.keyed,
}  # fmt: skip


def _pair(address: str) -> tuple[socket.socket, socket.socket]:
    """Open an even port for RTP and the next for RTCP (RFC 3550 section 11)."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(_TRIES):
        port = _LOWEST_PORT + 2 * random_number(13)
        pair = socket.socket(family, socket.SOCK_DGRAM), socket.socket(family, socket.SOCK_DGRAM)
        try:
            for i, each in enumerate(pair):
                each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER)
                each.bind((address, port + i))
        except OSError:
            for each in pair:
                each.close()
        else:
            return pair
    raise SystemExit(f"No two neighbouring ports of {address} are free.")


async def _obey(engine: Engine) -> None:
    """Carry out the commands of standard input until it ends."""
    orders = asyncio.StreamReader(_LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    while line := await orders.readline():
        sys.stdout.write(json.dumps(await engine.do(json.loads(line))) + "\n")
        sys.stdout.flush()


async def _keep_time(engine: Engine) -> None:
    """Send what is due, slot after slot."""
    due, slot, frame = time.monotonic(), 0, 0
    while True:
        if slot == 0:
            await engine.begin(engine.tick + 1)
            frame = coded.frame_mask(engine.tick)
        await engine.send(slot, frame)
        slot = (slot + 1) % SLOTS
        due += TICK / SLOTS
        _note(engine.figures, time.monotonic() - due)
        await asyncio.sleep(max(0, due - time.monotonic()))


async def run() -> None:
    """Keep the clock until standard input ends."""
    engine = Engine()
    clock, orders = asyncio.create_task(_keep_time(engine)), asyncio.create_task(_obey(engine))
    done, _ = await asyncio.wait((clock, orders), return_when=asyncio.FIRST_COMPLETED)
    clock.cancel()
    await engine.close()
    for each in done:
        each.result()


def _note(figures: dict[str, int], late: float) -> None:
    figures["slots"] += 1
    figures["late_5ms"] += late > LATE
    figures["late_20ms"] += late > VERY_LATE
    figures["latest_us"] = max(figures["latest_us"], int(late * 1e6))


if __name__ == "__main__":
    gc.freeze()  # a collection looks at the calls only, not at the libraries: it delays a slot by little
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    except PermissionError:
        pass  # without privileges the generator runs at normal priority
    asyncio.run(run())
