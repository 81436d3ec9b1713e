"""What a call costs a media worker a second, and how much of that is its commit slot, on a machine that is busy.

Run `python -m bench.checkpoints [--calls 200] [--rounds 8]`.

Everything happens in this process: a second of packets is sent to each of the calls, then every call is drained once,
as by a tick of a worker, and each drain is timed by itself. So what else the machine does shows in few of them, and
the lower quartile can be compared where a bench by CPU time cannot. Every few ticks go without the slot.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench import processes
from bench.flows import FLOWS
from bench.media_plane import BASE, Sender, key_of
from media import sockets
from media.drain import Region
from media.spec import StreamSpec
from media.srtp import SUITES, LibEngine
from recorder import output, wire
from recorder.tape import Tape
from storage.container import MEDIA_SEGMENT, new_part

SUITE = "AES_CM_128_HMAC_SHA1_80"
TICKS = 4
"""Ticks of one kind in a row; the first is not counted, because it finds what the other kind left."""
WARM = 3
FLOW = FLOWS["G.711"]
PACKETS = round(1 / FLOW.pace)
"""Packets of one stream in a second, which is a tick."""
HEADER = ("", "us/call and s, lower quartile", "median", "us/packet")


def _tape(number: int, folder: Path, specs: tuple[StreamSpec, ...], pairs: list[sockets.Pair]) -> Tape:
    header, secret = new_part(os.urandom(32), b"bench", MEDIA_SEGMENT, os.urandom)
    part = os.open(folder / f"{number}.m1", os.O_CREAT | os.O_WRONLY, 0o600)
    spool = os.open(folder / str(number), os.O_CREAT | os.O_RDWR, 0o600)
    os.write(part, header)
    sealed = wire.Part("m1", secret.key, secret.prefix, secret.segment)
    tape = Tape(wire.NewCall(f"{number:036}", sealed, specs), part, spool, os.urandom)
    tape.add_streams(specs, {spec.stream: pair.filenos() for spec, pair in zip(specs, pairs, strict=True)}, 0)
    return tape


def _without(tape: Tape) -> None:
    """Commit without a slot: it only counts."""
    tape.generation += 1


class Stage:
    """The calls and who sends to them."""

    def __init__(self, calls: int, seconds: int, folder: Path) -> None:
        key = key_of(SUITE)
        specs = tuple(StreamSpec(s, SUITE, key, own_key=key, payloads=FLOW.payloads) for s in range(2))
        self._pairs = [sockets.open_pair("127.0.0.1", BASE + 2 * i, rtcp=False) for i in range(2 * calls)]
        self._region = Region(str(folder / "region"))
        self._tapes = [_tape(n, folder, specs, self._pairs[2 * n : 2 * n + 2]) for n in range(calls)]
        engine = LibEngine(SUITES[SUITE], key, inbound=False)
        packets = [engine.protect(packet) for group in FLOW.groups(seconds) for packet in group]
        self._packets: Iterator[ctypes.Array[ctypes.c_char]] = map(ctypes.create_string_buffer, packets)
        self._sender, self._streams = Sender(2 * calls), 2 * calls

    def tick(self) -> list[float]:
        """Send a second of packets, then drain every call; give the microseconds that each took."""
        for _ in range(PACKETS):
            self._sender.send(next(self._packets), 0, self._streams)
        took, clock = [], time.perf_counter_ns
        for tape in self._tapes:
            began = clock()
            tape.drain(self._region, time.time_ns())
            took.append((clock() - began) / 1_000)
        return took

    def stored(self) -> int:
        """Give the packets that were stored."""
        return sum(figures["packets"] for tape in self._tapes for figures in tape.figures())


def measure(calls: int, rounds: int, folder: Path) -> dict[bool, list[float]]:
    """Give what drains took, with slots and without."""
    seconds = WARM + rounds * 2 * TICKS
    stage, took, save = Stage(calls, seconds, folder), {True: [], False: []}, Tape._save
    for _ in range(WARM):
        stage.tick()
    gc.collect()
    gc.freeze()
    for _ in range(rounds):
        for slots in (True, False):
            Tape._save = save if slots else _without  # type: ignore[method-assign]  # only here may one go without
            for tick in range(TICKS):
                some = stage.tick()
                took[slots] += some if tick else []
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
    rows = [
        (name, f"{quarter[kind]:.1f}", f"{statistics.median(took[kind]):.1f}", f"{quarter[kind] / 2 / PACKETS:.2f}")
        for name, kind in (("with its slot", True), ("without", False))
    ]
    output.table(HEADER, rows)
    share = (quarter[True] - quarter[False]) / quarter[True]
    print(f"\na slot: {quarter[True] - quarter[False]:.1f} us, {share:.1%} of what a call costs its worker")


if __name__ == "__main__":
    main()
