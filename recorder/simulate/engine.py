"""The media process of a run: `python -m recorder.simulate.engine` sends what commands on its standard input say.

Commands are JSON, one a line: open, sound, add, keyed, on, off, time, drop, count; each gets one JSON line back. Every
stream sends each 20 ms; streams are spread over ten slots of 2 ms. The clock never skips: after a stall the missed
slots are sent late.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator

from recorder.simulate import coded
from recorder.simulate.batch import Batch, random_number
from recorder.simulate.handshakes import DTLS_BYTES, Handshakes
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
_LISTEN_EVERY = 10
"""Ticks between reads of the recorder's reports, which are seconds apart."""


class Engine:
    """Sockets, streams and what is due when."""

    def __init__(self) -> None:
        self.streams: dict[int, Outgoing] = {}
        self.tick = 0
        self._zero = time.time()  # when tick 0 was due, in seconds since 1970: by the tick that was least late
        self.figures = {"slots": 0, "late_5ms": 0, "late_20ms": 0, "latest_us": 0}
        self._sounds: dict[int, list[bytes]] = {}
        self._by_name: dict[tuple[str, int], Outgoing] = {}
        self._lanes: list[tuple[socket.socket, socket.socket]] = []
        self._batches: list[list[Batch]] = []
        self._members: dict[tuple[int, int], dict[int, Outgoing]] = {}
        self._changed: set[tuple[int, int]] = set()
        self._fresh: dict[int, list[Outgoing]] = {}  # by the tick of their first report
        self._packets = 0
        self._pem = b""
        self._handshakes: dict[int, Handshakes] = {}
        self._greeted: dict[tuple[str, int], Handshakes] = {}

    def close(self) -> None:
        """Close all ports."""
        for pair in self._lanes:
            for each in pair:
                each.close()

    def do(self, words: Words) -> Words:
        """Carry out one command and return its reply."""
        return COMMANDS[words["do"]](self, words)

    def open(self, words: Words) -> Words:
        """Open a pair of ports for each lane; return the RTP ports."""
        self._pem = words.get("pem", "").encode()
        for _ in range(words["lanes"]):
            self._lanes.append(_pair(words["address"]))
            self._batches.append([Batch(self._lanes[-1][0].fileno()) for _ in range(SLOTS)])
        return {"ports": [rtp.getsockname()[1] for rtp, _ in self._lanes]}

    def sound(self, words: Words) -> Words:
        """Take the encoded frames of a voice."""
        self._sounds[words["id"]] = [bytes.fromhex(frame) for frame in words["frames"]]
        return {}

    def add(self, words: Words) -> Words:
        """Add silent streams."""
        for each in words["streams"]:
            stream = Outgoing(each, self._sounds)
            self.streams[each["id"]] = stream
            self._members.setdefault((stream.lane, stream.slot), {})[each["id"]] = stream
            self._by_name[each["host"], each["port"]] = self._by_name[stream.reports_to] = stream
            if "fingerprints" in each:
                made = self._handshakes[each["id"]] = Handshakes(each, self._pem, stream, self._lanes[stream.lane])
                self._greeted |= dict.fromkeys(made.names, made)
        return {}

    def keyed(self, words: Words) -> Words:
        """Tell whether the handshakes of streams are over, and any error."""
        made = [self._handshakes[number] for number in words["ids"] if number in self._handshakes]
        return {"over": all(each.over for each in made), "faults": [each.fault for each in made if each.fault]}

    def on(self, words: Words) -> Words:
        """Let streams send from the next tick on, and send a report after the first packet (RFC 3550 section 6.2).

        The recorder can then align even the streams of a short call, however late a busy machine sends one.
        """
        for stream in self._named(words):
            stream.on(self.tick + 1)
            self._fresh.setdefault(self.tick + 2, []).append(stream)
        return {"tick": self.tick + 1}

    def off(self, words: Words) -> Words:
        """Stop streams after the current tick."""
        for stream in self._named(words):
            stream.off(self.tick + 1)
        return {"tick": self.tick + 1}

    def time(self, words: Words) -> Words:
        """Return the current tick: every packet of earlier ones is sent."""
        return {"tick": self.tick}

    def drop(self, words: Words) -> Words:
        """Stop streams, send BYE, return their figures and forget them."""
        reply = []
        for number, stream in zip(words["ids"], self._named(words), strict=True):
            stream.off(self.tick + 1)
            self._report(stream, leaving=True)
            self._packets += stream.packets(self.tick)
            reply.append({"sent": stream.sent, **stream.figures})
            del self.streams[number], self._members[stream.lane, stream.slot][number]
            made = self._handshakes.pop(number, None)
            self._greeted = {name: other for name, other in self._greeted.items() if other is not made}
            self._by_name = {name: other for name, other in self._by_name.items() if other is not stream}
        return {"streams": reply}

    def count(self, words: Words) -> Words:
        """Return the figures of the whole process."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        errors = sum(batch.errors for lane in self._batches for batch in lane)
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

    def begin(self, tick: int) -> None:
        """Start a tick: apply changes, so that all its slots agree on who sends; exchange reports."""
        self.tick = tick
        self._zero = min(self._zero, time.time() - tick * TICK)
        for lane, slot in self._changed:
            members = self._members.get((lane, slot), {}).values()
            self._batches[lane][slot].arrange(s.source for s in members if s.began is not None)
        self._changed.clear()
        numbers = range(tick % REPORT_TICKS, max(self.streams, default=-1) + 1, REPORT_TICKS)
        due = [self.streams[number] for number in numbers if number in self.streams]
        for stream in (*self._fresh.pop(tick, ()), *due):
            if stream.began is not None:
                self._report(stream)
        waiting = [made for made in self._handshakes.values() if not made.over]
        if tick % _LISTEN_EVERY == 0 or waiting:
            self._listen()
        for made in waiting:
            made.repeat()

    def send(self, slot: int, frame: int) -> None:
        """Send what is due in one slot of the current tick."""
        for batches in self._batches:
            if len(batches[slot]):
                batches[slot].send(self.tick, frame)

    def _report(self, stream: Outgoing, *, leaving: bool = False) -> None:
        """Note when this tick was due: a busy machine delays sending but not the clock."""
        place = self._lanes[stream.lane][0 if stream.mux else 1]
        now = self._zero + self.tick * TICK
        try:
            place.sendto(stream.report(self.tick, now, leaving=leaving), stream.reports_to)
        except OSError:
            return  # a closed port of the recorder is not a fault of the audio

    def _listen(self) -> None:
        for pair in self._lanes:
            for each in pair:
                for packet, name in _waiting(each):
                    stream, greeted = self._by_name.get(name), self._greeted.get(name)
                    if greeted is not None and packet[:1] and packet[0] in DTLS_BYTES:
                        greeted.receive(name, packet)
                    elif stream is not None:
                        stream.hear(packet)


COMMANDS = {
    "open": Engine.open, "sound": Engine.sound, "add": Engine.add, "on": Engine.on, "off": Engine.off,
    "time": Engine.time, "drop": Engine.drop, "count": Engine.count, "keyed": Engine.keyed,
}  # fmt: skip


def _waiting(place: socket.socket) -> Iterator[tuple[bytes, tuple[str, int]]]:
    """Yield the datagrams in a socket."""
    while True:
        try:
            packet, name = place.recvfrom(2048, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            continue
        yield packet, name[:2]


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


class Orders:
    """Commands from standard input, read without waiting."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._rest = b""
        self.over = False

    def take(self, wait: float) -> None:
        """Carry out waiting commands; wait at most so many seconds for one."""
        if not select.select([0], [], [], wait)[0]:
            return
        data = os.read(0, 1 << 20)
        self.over = not data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            reply = self._engine.do(json.loads(line))
            sys.stdout.write(json.dumps(reply) + "\n")
            sys.stdout.flush()


def run() -> None:
    """Keep the clock until standard input ends."""
    engine = Engine()
    orders = Orders(engine)
    due, slot, frame = time.monotonic(), 0, 0
    while not orders.over:
        if slot == 0:
            engine.begin(engine.tick + 1)
            frame = coded.frame_mask(engine.tick)
        engine.send(slot, frame)
        slot = (slot + 1) % SLOTS
        due += TICK / SLOTS
        _note(engine.figures, time.monotonic() - due)
        orders.take(0)
        while (left := due - time.monotonic()) > 0 and not orders.over:
            orders.take(left)


def _note(figures: dict[str, int], late: float) -> None:
    figures["slots"] += 1
    figures["late_5ms"] += late > LATE
    figures["late_20ms"] += late > VERY_LATE
    figures["latest_us"] = max(figures["latest_us"], int(late * 1e6))


if __name__ == "__main__":
    gc.disable()  # nothing here makes reference cycles, and a collection delays a slot
    try:
        os.setpriority(os.PRIO_PROCESS, 0, _PRIORITY)
    except PermissionError:
        pass  # without privileges the generator runs at normal priority
    run()
