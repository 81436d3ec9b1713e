"""CPU time that a call costs a media worker each second, and the share of its commit slot and its reports.

Run `python -m bench.checkpoints [--calls 200] [--rounds 8]`.

Everything happens in this process: it sends a second of packets to each call, then drains every call once, as a worker
does at a tick, and times each drain. Other load on the machine affects only a few drains, so the lower quartile is
comparable even on a busy machine, unlike CPU time. Some ticks run without the slot. Some do what a worker does in one
tick out of five seconds: receive a sender report of each stream, and send ours.
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

from aiortc.clock import current_ntp_time
from aiortc.rtp import RtcpSenderInfo, RtcpSrPacket

from bench import processes
from bench.flows import FLOWS, SSRC
from bench.media_load import BASE, Sender, key_of
from media.receive import sockets
from media.receive.recvmmsg import Region
from media.rtp.rtcp import INTERVAL
from media.spec import StreamSpec
from media.srtp.context import SUITES, Engine
from media.srtp.srtcp import Srtcp
from recorder.cli import console
from recorder.workers import messages
from recorder.workers.call_recorder import CallRecorder
from storage.vault.container import MEDIA_SEGMENT, new_part

SUITE = "AES_CM_128_HMAC_SHA1_80"
TICKS = 4
"""Ticks of one kind in a row; the first is not counted, because it handles what the other kind left."""
WARM = 3
FLOW = FLOWS["G.711"]
PACKETS = round(1 / FLOW.pace)
"""Packets of one stream in a second, which is one tick."""
HEADER = ("", "us/call and s, lower quartile", "median", "us/packet")
NEVER = 1 << 62


class Kind(Enum):
    """The work that a run of ticks includes."""

    SLOT = "with its slot"
    BARE = "without"
    REPORTS = "with its slot and reports"


def _recorder(number: int, folder: Path, specs: tuple[StreamSpec, ...], pairs: list[sockets.Pair]) -> CallRecorder:
    header, secret = new_part(os.urandom(32), b"bench", MEDIA_SEGMENT, os.urandom)
    part = os.open(folder / f"{number}.m1", os.O_CREAT | os.O_WRONLY, 0o600)
    spool = os.open(folder / str(number), os.O_CREAT | os.O_RDWR, 0o600)
    os.write(part, header)
    sealed = messages.Part("m1", secret.key, secret.prefix, secret.segment)
    recorder = CallRecorder(messages.NewCall(f"{number:036}", sealed, specs, bytes(32)), part, spool, os.urandom)
    descriptors = {spec.stream: pair.filenos() for spec, pair in zip(specs, pairs, strict=True)}
    recorder.add_streams(specs, descriptors, time.time_ns())
    return recorder


def _without(recorder: CallRecorder) -> None:
    """Commit without a slot: only count."""
    recorder.generation += 1


class Stage:
    """The calls and the sender of their packets."""

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
        self._recorders = [_recorder(n, folder, specs, self._pairs[2 * n : 2 * n + 2]) for n in range(calls)]
        engine = Engine(SUITES[SUITE], key, inbound=False)
        packets = [engine.protect(packet) for group in FLOW.groups(seconds) for packet in group]
        self._packets: Iterator[ctypes.Array[ctypes.c_char]] = map(ctypes.create_string_buffer, packets)
        self._sender, self._streams = Sender(2 * calls), 2 * calls

    def tick(self, kind: Kind = Kind.SLOT) -> list[float]:
        """Send a second of packets, then drain every call; return the microseconds that each drain took."""
        for _ in range(PACKETS):
            self._sender.send(next(self._packets), 0, self._streams)
        for recorder in self._recorders:
            recorder._reports._next = 1 if kind is Kind.REPORTS else NEVER
        if kind is Kind.REPORTS:
            self._report()
        took, clock = [], time.perf_counter_ns
        for recorder in self._recorders:
            began = clock()
            recorder.drain(self._region, time.time_ns())
            took.append((clock() - began) / 1_000)
        return took

    def _report(self) -> None:
        """Send a sender report to every stream, and discard our reports to them."""
        self._seconds += 1
        info = RtcpSenderInfo(current_ntp_time(), 0, self._seconds, 0)
        sealed = self._reporter.protect(bytes(RtcpSrPacket(SSRC, info)))
        for pair in self._pairs:
            self._client.sendto(sealed, ("127.0.0.1", pair.port + 1))

    def stored(self) -> int:
        """Return the number of packets stored."""
        return sum(figures["packets"] for recorder in self._recorders for figures in recorder.figures())


def measure(calls: int, rounds: int, folder: Path) -> dict[Kind, list[float]]:
    """Return the times of all drains, by kind."""
    seconds = WARM + rounds * len(Kind) * TICKS
    stage, save = Stage(calls, seconds, folder), CallRecorder._save
    took: dict[Kind, list[float]] = {kind: [] for kind in Kind}
    for _ in range(WARM):
        stage.tick()
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for kind in Kind:
            CallRecorder._save = _without if kind is Kind.BARE else save  # type: ignore[method-assign]  # only here
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
