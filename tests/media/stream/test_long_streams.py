"""Long and rough streams: every packet in its place, once; index, gaps and length exact, whatever the network does."""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from random import Random

import pytest

from media.codecs.decoders import Format
from media.export.render import RenderStream, measure, render
from media.receive.batch import SLOTS
from media.records import record_format
from media.rtp import header
from media.spec import MAX_CONTEXTS
from media.srtp.context import SUITES, Engine
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, KEY, PAYLOADS, SUITE, receive, stored, track_of

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


def test_several_sources_on_one_line_are_all_stored() -> None:
    track, out = track_of(srtp=False, pure=True), []
    for n in range(300):
        for ssrc in (7, 8, 9):
            out.append((FIRST_ARRIVAL + n * FRAME + ssrc, packet(n, ssrc)))
    data = feed(track, out)
    assert sorted(numbers(data)) == sorted([*range(300)] * 3)
    assert (track.reception.packets, track.reception.totals()) == (900, (0, 900))
    assert [source[1:] for source in figures(track)["sources"]] == [[0, 299]] * 3
    assert (
        6.0 <= length(data) <= 6.04
    )  # a source that begins beside another is set behind its frame (media.export.timeline_survey.SNAP)


@pytest.mark.parametrize("hours", [1, pytest.param(24, marks=pytest.mark.torture)])
def test_torture_of_comfort_noise_for_hours_is_no_loss(hours: int) -> None:
    """RFC 3389: a packet of comfort noise every 200 ms and a sentence now and then; the clock goes on meanwhile."""
    spec = replace(track_of(srtp=False, pure=True).spec, payloads=(*PAYLOADS, (13, "CN", 8000)))
    track = track_of(srtp=False, pure=True)
    track.spec, sent, number = spec, [], 0
    for second in range(hours * 3600):
        talks = second % 600 < 2
        for part in range(50 if talks else 5):
            at = second * 1000 + part * (20 if talks else 200)
            sent.append((FIRST_ARRIVAL + at * MS, packet(number, timestamp=at * 8, payload_type=8 if talks else 13)))
            number += 1
    data = feed(track, sent)
    assert (track.reception.packets, track.reception.totals(), track.gaps.listed()) == (number, (0, number), [])
    assert length(data) == hours * 3600 - 600 + 2  # to the end of the last sentence: comfort noise is no sound


@pytest.mark.parametrize("offers", [100, pytest.param(500, marks=pytest.mark.torture)])
def test_torture_of_many_reoffers_with_new_keys_loses_nothing(offers: int) -> None:
    track, out, sent = track_of(srtp=True, pure=True), list[bytes](), range(20 * offers)
    for offer in range(offers):
        key = bytes([offer % 256, offer // 256, *range(28)])
        spec = replace(track.spec, key=key, held=False)
        track.expect(spec)
        track.change(spec, FIRST_ARRIVAL + 20 * offer * FRAME, out)
        track.latch.pure = True
        engine = Engine(SUITES[SUITE], key, inbound=False)
        out += receive(track, [engine.protect(packet(n)) for n in sent[20 * offer :][:20]], 20 * offer)
    assert numbers(b"".join(out)) == list(sent)
    assert (track.reception.packets, track.reception.totals()) == (len(sent), (0, len(sent)))
    assert (track.reception.rejected, track.gaps.listed()) == (0, [])
    assert track.srtp.keyring is not None and len(track.srtp.keyring.contexts) <= MAX_CONTEXTS
