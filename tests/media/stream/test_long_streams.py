"""Long and rough streams: every packet in its place, once; index, gaps and length exact, whatever the network does."""

from itertools import groupby
from random import Random

import pytest

from media.codecs.decoders import Format
from media.export.render import RenderStream, measure, render
from media.receive.batch import SLOTS
from media.records import record_format
from media.rtp import header
from media.srtp.context import SUITES, Engine
from media.stream.receiver import ReceivedStream
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, KEY, SUITE, receive, stored, track_of

MS = 1_000_000
FORMS = {8: Format("PCMA", 8000), 13: Format("CN", 8000)}


def packet(number: int, ssrc: int = 7, timestamp: int | None = None, payload_type: int = 8) -> bytes:
    """Make a packet that carries its number."""
    stamp = number * 160 if timestamp is None else timestamp
    return header.build(payload_type, number & 0xFFFF, stamp & 0xFFFFFFFF, ssrc, number.to_bytes(8, "big") * 20)


def feed(track: ReceivedStream, sent: list[tuple[int, bytes]]) -> bytes:
    """Give (arrival, packet) to a track as a tick a second would; return what is to be stored."""
    out: list[bytes] = []
    for _, second in groupby(sent, lambda each: each[0] // 10**9):
        arrivals, packets = zip(*second, strict=True)
        out += receive(track, packets, arrivals=arrivals, cuts=SLOTS)
    return b"".join(out)


def numbers(data: bytes) -> list[int]:
    """Give the numbers in the payloads of what was stored, in the order of their sequence numbers."""
    return [int.from_bytes(found[12:20], "big") for _, found in sorted(stored([data]))]


def length(data: bytes) -> float:
    """Render and give the seconds of sound that really come out."""
    measured, samples = measure(record_format.read([data]), [RenderStream(0, "0", FORMS)]), 0

    def take(piece: bytes | bytearray) -> None:
        nonlocal samples
        samples += len(piece) // 2

    report = render(measured, record_format.read([data]), take)
    assert report.seconds == samples / 8000
    return samples / 8000


def protected(count: int) -> list[bytes]:
    engine = Engine(SUITES[SUITE], KEY, inbound=False)
    return [engine.protect(packet(n)) for n in range(count)]


@pytest.mark.parametrize("count", [70_000, pytest.param(200_000, marks=pytest.mark.torture)])
def test_torture_of_a_long_call_over_wraps_is_stored_whole(count: int) -> None:
    """70,000 packets wrap the sequence numbers once, 200,000 three times."""
    track = track_of(srtp=True, pure=True)
    sent = [(FIRST_ARRIVAL + n * FRAME, p) for n, p in enumerate(protected(count))]
    data = feed(track, sent)
    assert numbers(data) == list(range(count))
    assert (track.reception.packets, track.reception.totals(), track.gaps.listed()) == (count, (0, count), [])
    assert len(data) <= 1.03 * count * 160
    assert length(data) == count / 50


def rough(count: int, seed: int) -> tuple[list[tuple[int, bytes]], set[int]]:
    """Reorder 30 %, repeat 10 %, lose 2 %, hold some back for up to 2 s, and stall for 500 ms at a time."""
    dice, out, lost = Random(seed), [], set()
    packets = protected(count)
    for n in range(count):
        if 0 < n < count - 1 and dice.random() < 0.02:
            lost.add(n)
            continue
        at = FIRST_ARRIVAL + n * FRAME + (dice.randrange(1, 120) * MS if n > 3 and dice.random() < 0.3 else 0)
        at += dice.randrange(500, 1950) * MS if n > 3 and dice.random() < 0.005 else 0
        stall = n % 500
        if 400 <= stall < 425:  # a burst: half a second comes at once
            at = max(at, FIRST_ARRIVAL + (n - stall + 425) * FRAME)
        out += [(at, packets[n])] * (2 if dice.random() < 0.1 else 1)
    return sorted(out, key=lambda one: one[0]), lost


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("count", [3_000, pytest.param(70_000, marks=pytest.mark.torture)])
def test_torture_by_a_rough_network_stores_each_packet_once(count: int, seed: int) -> None:
    track = track_of(srtp=True, pure=True)
    sent, lost = rough(count, seed)
    data = feed(track, sent)
    kept = [n for n in range(count) if n not in lost]
    assert numbers(data) == kept
    assert (track.reception.packets, track.reception.totals()) == (len(kept), (len(lost), count))
    assert track.gaps.missing_ns == len(lost) * FRAME
    assert track.reception.rejected == len(sent) - len(kept)  # the second copy of each is a replay
    assert length(data) == count / 50
