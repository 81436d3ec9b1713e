"""What a stream takes of a worker's memory, so that nobody adds a kilobyte to each of thousands unawares."""

import gc
import subprocess
import sys
import tracemalloc
from pathlib import Path

from media.spec import StreamSpec
from media.stream.checkpoint import pack
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from tests.media.stream.lanes import FIRST_ARRIVAL, KEY, PAYLOADS, SUITE, lane_of, stream_of

STREAMS = 200
MOST = 2_450 if sys.version_info < (3, 12) else 2_520
"""Bytes; 2,420 measured with Python 3.11, whatever was imported before.

libsrtp takes 3.1 KiB more, which Python does not see.
"""
ROOT = Path(__file__).parents[3]


def grown(count: int) -> list[ReceivedStream]:
    """Make streams that have received some packets and were packed once."""
    lane = lane_of(stream_of(40, 10), [FIRST_ARRIVAL + i * 20_000_000 for i in range(40)])
    tracks = []
    for number in range(count):
        spec = StreamSpec(
            0, str(bytearray(SUITE, "ascii"), "ascii"), bytes(bytearray(KEY)), own_key=bytes(bytearray(KEY)),
            payloads=tuple(PAYLOADS), source=("192.0.2.1", int("4000")), rtcp_source=("192.0.2.1", 20_001),
        )  # fmt: skip
        track = ReceivedStream(spec, Pauses(), 1_000_000 + number)
        track.srtp.keyring, kept = None, track.srtp.keyring  # the packets are plain; the ring stays in memory
        track.latch.pure = True
        track.receive(lane, 40, [])
        track.srtp.keyring = kept
        pack([track])
        tracks.append(track)
    return tracks


def each_stream() -> float:
    """Measure the bytes of a stream."""
    grown(STREAMS)  # readers and caches that all share
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracks = grown(STREAMS)
    gc.collect()
    each = (tracemalloc.get_traced_memory()[0] - before) / STREAMS
    if {track.reception.packets for track in tracks} != {40}:
        raise AssertionError("not every stream has received its packets")
    return each


def test_a_stream_takes_little_memory_of_its_own() -> None:
    """In an interpreter of its own: what ran before decides which objects are made anew and which were used before."""
    story = "from tests.media.stream.test_memory import each_stream; print(each_stream())"
    done = subprocess.run([sys.executable, "-c", story], cwd=ROOT, capture_output=True, text=True, check=True)
    assert float(done.stdout) <= MOST
