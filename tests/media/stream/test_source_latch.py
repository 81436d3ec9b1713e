"""Plain RTP has no proof of whose it is: the port that the offer names is heard above any other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.records import record_format
from media.rtp import header
from media.spec import StreamSpec
from media.stream import checkpoint
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from tests.in_process.rendered_calls import START, expand, listen, noise, run, stream
from tests.media.stream.test_receiver import FIRST_ARRIVAL, KEY, PAYLOADS, lane_of, stored, stream_of, track_of

OFFERED, OTHER, THIRD = 4000, 4444, 5555
FRAME = 20_000_000


def hear(track: ReceivedStream, port: int, count: int, at: int = 0, ssrc: int = 7, first: int = 10) -> list[bytes]:
    """Let packets come from a port of the client, `at` ns after the first of all; give what was stored."""
    out: list[bytes] = []
    arrivals = [FIRST_ARRIVAL + at + n * FRAME for n in range(count)]
    track.receive(lane_of(stream_of(count, first, ssrc), arrivals, port=port), count, out)
    return out


FOREVER = 20 * 60 * 1_000_000_000


@pytest.mark.parametrize("ssrc", [7, 8])
@pytest.mark.parametrize("later", [1, 700, FOREVER // FRAME])
@pytest.mark.parametrize("forged", [1, 5, 550])
def test_the_offered_port_is_heard_even_if_it_speaks_late_o15(forged: int, later: int, ssrc: int) -> None:
    """As when the sender of an earlier call at our port goes on, or somebody forges, with the same SSRC and numbers."""
    track = track_of(srtp=False, pure=False)
    for begin in range(0, forged, 50):
        count = min(50, forged - begin)
        assert len(stored(hear(track, OTHER, count, begin * FRAME, first=10 + begin))) == count
    assert (track.latched and track.latched[1], track.latch.wish, track.trial) == (OTHER, None, True)
    at = (forged + later) * FRAME
    out = hear(track, OFFERED, 40, at, ssrc)
    assert [packet for _, packet in stored(out)] == stream_of(40, 10, ssrc)
    marks = [each for each in record_format.read(out) if isinstance(each, record_format.Marked)]
    assert [(each.kind, each.value) for each in marks] == [(record_format.Mark.SOURCE, record_format.GAVE_WAY)]
    assert (track.latched and track.latched[1], track.latch.wish, track.trial) == (OFFERED, track.latch.name, False)
    assert stored(hear(track, OTHER, 40, at + FRAME, first=20 + forged)) == []
    assert [packet for _, packet in stored(hear(track, OFFERED, 40, at + 40 * FRAME, ssrc, first=50))] == stream_of(
        40, 50, ssrc
    )
    assert (track.reception.packets, track.reception.foreign, track.reception.duplicates, track.reception.late) == (
        forged + 80,
        40,
        0,
        0,
    )


@given(st.lists(st.sampled_from([OTHER, OFFERED, THIRD]), min_size=1, max_size=60), st.booleans())
def test_property_the_offered_ports_packets_are_stored_once(ports: list[int], hands_on: bool) -> None:
    """All with one SSRC and, from each port, the same numbers; over the death of a worker too."""
    track, sent, numbers, kept = track_of(srtp=False, pure=False), dict.fromkeys(ports, 0), set(), 0
    for n, port in enumerate(ports):
        out = hear(track, port, 1, n * FRAME, first=10 + sent[port])
        sent[port] += 1
        if port == OFFERED:
            assert [packet[2:4] for _, packet in stored(out)] == [(9 + sent[port]).to_bytes(2, "big")]
        else:
            assert sent.get(OFFERED, 0) == 0 or stored(out) == []
        assert numbers.isdisjoint(sequence for sequence, _ in stored(out))
        numbers |= {sequence for sequence, _ in stored(out)}
        kept += len(stored(out))
        if hands_on:
            successor = ReceivedStream(track.spec, Pauses(), 1)
            checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]) or b"", {0: successor})
            track = successor
    assert (track.reception.packets, track.reception.foreign) == (kept, len(ports) - kept)


@pytest.mark.parametrize("ssrc", [7, 8])
@pytest.mark.parametrize(("forged", "gap"), [(1, 0), (1, 5), (1, 50), (1, 100), (50, 0), (50, 100), (550, 100)])
@pytest.mark.parametrize("ahead", [0, 48, -48])
def test_the_offered_source_is_heard_whole_after_another(ahead: int, forged: int, gap: int, ssrc: int) -> None:
    """Wherever its timestamps lie, so many frames ahead of those of the other source."""
    track, out, begins = track_of(srtp=False, pure=False), [], forged + gap
    for begin in range(0, forged, 50):
        out += hear(track, OTHER, min(50, forged - begin), begin * FRAME, first=60 + begin)
    genuine = noise(3, 100)
    sent = [header.build(0, 10 + n, 160 * (60 + ahead + n), ssrc, payload) for n, payload in enumerate(genuine)]
    for begin in range(0, 100, 25):
        arrivals = [FIRST_ARRIVAL + (begins + begin + n) * FRAME for n in range(25)]
        track.receive(lane_of(sent[begin : begin + 25], arrivals, port=OFFERED), 25, out)
    reference = run(noise(1, 1000), stream=1, at=(FIRST_ARRIVAL - START) / 1e6)
    (sound, _), _, _ = listen(b"".join(out) + reference, stream(0), stream(1))
    assert sound[begins * 160 : (begins + 100) * 160] == expand(b"".join(genuine))


def test_a_source_on_another_port_takes_the_fast_path() -> None:
    """A client behind NAT: nobody comes from the port that it names, and its packets cost no more than others."""
    track = track_of(srtp=False, pure=False)
    hear(track, OTHER, 5)
    assert stored(hear(track, THIRD, 5, FRAME)) == []
    for second in range(1, 20):
        out = hear(track, OTHER, 50, second * 50 * FRAME, first=second * 50 - 35)
        assert [type(each) for each in record_format.read(out)] == [record_format.Run]
    assert (track.latch.wish, track.trial, track.reception.packets, track.reception.foreign) == (None, True, 955, 5)


def test_one_stranger_in_a_batch_keeps_it_from_the_fast_path() -> None:
    track = track_of(srtp=False, pure=False)
    hear(track, OTHER, 5)
    lane = lane_of(stream_of(20, 15), [FIRST_ARRIVAL + (5 + n) * FRAME for n in range(20)], port=OTHER)
    lane.names[7 * 32 + 7] ^= 1  # the last byte of its address
    out: list[bytes] = []
    track.receive(lane, 20, out)
    assert len(stored(out)) == 19 and track.reception.foreign == 1


def test_the_offered_source_is_latched_at_once() -> None:
    track = track_of(srtp=False, pure=False)
    hear(track, OFFERED, 5)
    assert (track.latch.wish, track.trial) == (track.latch.name, False)
    assert stored(hear(track, OTHER, 5, FRAME)) == []


def test_an_authenticated_source_yields_to_nobody() -> None:
    track, out = track_of(srtp=True, pure=False), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [sender.protect(packet) for packet in stream_of(5, 10)]
    track.receive(lane_of(packets, [FIRST_ARRIVAL] * 5, port=OTHER), 5, out)
    assert (track.reception.packets, track.latch.wish, track.trial) == (5, track.latch.name, False)


def test_without_an_offered_address_any_source_is_latched() -> None:
    spec = StreamSpec(0, None, b"", payloads=PAYLOADS, networks=("192.0.2.0/24",))
    track = ReceivedStream(spec, Pauses(), 1)
    hear(track, OTHER, 5)
    assert (track.reception.packets, track.latch.wish, track.trial) == (5, track.latch.name, False)


def test_a_reoffer_names_another_port() -> None:
    track, out = track_of(srtp=False, pure=False), []
    hear(track, OTHER, 5)
    assert track.change(replace(track.spec, source=("192.0.2.1", THIRD)), FIRST_ARRIVAL, out)
    assert (track.latched, track.trial) == (None, False)
    assert len(stored(hear(track, OTHER, 5, 5 * FRAME, first=15))) == 5
    assert track.latched is None
    hear(track, THIRD, 5, 10 * FRAME, first=20)
    assert (track.reception.packets, track.latched and track.latched[1], track.trial) == (15, THIRD, False)


def test_a_reoffered_source_is_not_chosen_before_it_is_followed() -> None:
    track = track_of(srtp=False, pure=False)
    hear(track, OTHER, 5)
    track.expect(replace(track.spec, source=("192.0.2.1", THIRD)))
    assert len(stored(hear(track, THIRD, 5, FOREVER, first=15))) == 5
    assert (track.latched and track.latched[1], track.latch.wish) == (OTHER, None)


@pytest.mark.parametrize(("ssrc", "kept"), [(7, 0), (9, 5)])
def test_a_source_of_a_previous_call_yields_to_the_offered_one(ssrc: int, kept: int) -> None:
    former = (("192.0.2.1", OTHER, (7,)), ("192.0.2.1", THIRD, (8,)))
    spec = StreamSpec(0, None, b"", payloads=PAYLOADS, source=("192.0.2.1", OFFERED), former=former)
    track = ReceivedStream(spec, Pauses(), 1)
    assert len(stored(hear(track, OTHER, 5, ssrc=ssrc))) == kept
    assert len(stored(hear(track, OFFERED, 5, 10 * FRAME, ssrc=8))) == 5
    assert stored(hear(track, OTHER, 5, 15 * FRAME, ssrc=ssrc, first=20)) == []
