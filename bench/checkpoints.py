"""What a call costs a media worker a second, and how much of that are its commit slot and its reports.

Run `python -m bench.checkpoints [--calls 200] [--rounds 8]`.

Everything happens in this process: a second of packets is sent to each of the calls, then every call is drained once,
as by a tick of a worker, and each drain is timed by itself. So what else the machine does shows in few of them, and
the lower quartile can be compared where a bench by CPU time cannot, also on a machine that is busy. Every few ticks go
without the slot, and every few have what a tick in five seconds has: a sender report of each stream, and ours.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

from bench import processes
from bench.flows import FLOWS, SSRC
from bench.media_load import BASE, Sender, key_of
from media.receive import sockets
from media.receive.recvmmsg import Region
from media.rtp.rtcp import INTERVAL
from media.spec import StreamSpec
from media.srtp.context import SUITES, LibEngine
from media.srtp.srtcp import Srtcp
from recorder.cli import console
from recorder.simulate.reports import sender_report
from recorder.workers import messages
from recorder.workers.call_recorder import CallRecorder
from storage.vault.container import MEDIA_SEGMENT, new_part

SUITE = "AES_CM_128_HMAC_SHA1_80"
TICKS = 4
"""Ticks of one kind in a row; the first is not counted, because it finds what the other kind left."""
WARM = 3
FLOW = FLOWS["G.711"]
PACKETS = round(1 / FLOW.pace)
"""Packets of one stream in a second, which is a tick."""
HEADER = ("", "us/call and s, lower quartile", "median", "us/packet")
NEVER = 1 << 62


class Kind(Enum):
    """What ticks in a row have."""

    SLOT = "with its slot"
    BARE = "without"
    REPORTS = "with its slot and reports"


def _tape(number: int, folder: Path, specs: tuple[StreamSpec, ...], pairs: list[sockets.Pair]) -> CallRecorder:
    header, secret = new_part(os.urandom(32), b"bench", MEDIA_SEGMENT, os.urandom)
    part = os.open(folder / f"{number}.m1", os.O_CREAT | os.O_WRONLY, 0o600)
    spool = os.open(folder / str(number), os.O_CREAT | os.O_RDWR, 0o600)
    os.write(part, header)
    sealed = messages.Part("m1", secret.key, secret.prefix, secret.segment)
    tape = CallRecorder(messages.NewCall(f"{number:036}", sealed, specs, bytes(32)), part, spool, os.urandom)
    tape.add_streams(specs, {spec.stream: pair.filenos() for spec, pair in zip(specs, pairs, strict=True)}, 0)
    return tape


def _without(tape: CallRecorder) -> None:
    """Commit without a slot: it only counts."""
    tape.generation += 1


class Stage:
    """The calls and who sends to them."""

    def __init__(self, calls: int, seconds: int, folder: Path) -> None:
        key = key_of(SUITE)
        self._client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._client.bind(("127.0.0.1", 0))
        self._reporter, self._seconds, where = Srtcp(SUITE, key), 0, self._client.getsockname()
        specs = tuple(
            StreamSpec(s, SUITE, key, own_key=key, payloads=FLOW.payloads, rtcp_source=where) for s in range(2)
        )
        self._pairs = [sockets.open_pair("127.0.0.1", BASE + 2 * i) for i in range(2 * calls)]
        self._region = Region(str(folder / "region"))
        self._recorders = [_tape(n, folder, specs, self._pairs[2 * n : 2 * n + 2]) for n in range(calls)]
        engine = LibEngine(SUITES[SUITE], key, inbound=False)
        packets = [engine.protect(packet) for group in FLOW.groups(seconds) for packet in group]
        self._packets: Iterator[ctypes.Array[ctypes.c_char]] = map(ctypes.create_string_buffer, packets)
        self._sender, self._streams = Sender(2 * calls), 2 * calls

    def tick(self, kind: Kind = Kind.SLOT) -> list[float]:
        """Send a second of packets, then drain every call; give the microseconds that each took."""
        for _ in range(PACKETS):
            self._sender.send(next(self._packets), 0, self._streams)
        for tape in self._recorders:
            tape._reports._next = 1 if kind is Kind.REPORTS else NEVER
        if kind is Kind.REPORTS:
            self._report()
        took, clock = [], time.perf_counter_ns
        for tape in self._recorders:
            began = clock()
            tape.drain(self._region, time.time_ns())
            took.append((clock() - began) / 1_000)
        return took

    def _report(self) -> None:
        """Send a sender report to every stream, and forget those that came from them."""
        self._seconds += 1
        sealed = self._reporter.protect(sender_report(SSRC, time.time(), 0, self._seconds, 0))
        for pair in self._pairs:
            self._client.sendto(sealed, ("127.0.0.1", pair.port + 1))

    def stored(self) -> int:
        """Give the packets that were stored."""
        return sum(figures["packets"] for tape in self._recorders for figures in tape.figures())


def measure(calls: int, rounds: int, folder: Path) -> dict[Kind, list[float]]:
    """Give what drains took."""
    seconds = WARM + rounds * len(Kind) * TICKS
    stage, save = Stage(calls, seconds, folder), CallRecorder._save
    took: dict[Kind, list[float]] = {kind: [] for kind in Kind}
    for _ in range(WARM):
        stage.tick()
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for kind in Kind:
            CallRecorder._save = _without if kind is Kind.BARE else save  # type: ignore[method-assign]  # only here it may
            for tick in range(TICKS):
                some = stage.tick(kind)
                took[kind] += some if tick else []
    if stage.stored() != 2 * calls * seconds * PACKETS:
        raise SystemExit("VOID: packets were lost")
    return took


def main() -> None:
    """Read the arguments and run."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=200, help="two streams each")
    parser.add_argument("--rounds", type=int, default=6, help=f"of {TICKS} seconds of packets with slots and without")
    given = parser.parse_args()
    print(f"{processes.machine()}\n{given.calls} calls of G.711, {SUITE}\n", flush=True)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        took = measure(given.calls, given.rounds, Path(folder))
    quarter = {kind: statistics.quantiles(each, n=4)[0] for kind, each in took.items()}
    median = {kind: statistics.median(each) for kind, each in took.items()}
    rows = [
        (kind.value, f"{quarter[kind]:.1f}", f"{median[kind]:.1f}", f"{quarter[kind] / 2 / PACKETS:.2f}")
        for kind in Kind
    ]
    console.table(HEADER, rows)
    slot, reports = quarter[Kind.SLOT] - quarter[Kind.BARE], quarter[Kind.REPORTS] - quarter[Kind.SLOT]
    whole = quarter[Kind.SLOT] + reports / INTERVAL
    print(f"\na call and second, all in all: {whole:.1f} us")
    print(f"its slot: {slot:.1f} us, {slot / whole:.1%}")
    print(f"its reports: {reports:.1f} us every {INTERVAL:.0f} s, {reports / INTERVAL / whole:.1%}")


if __name__ == "__main__":
    main()
