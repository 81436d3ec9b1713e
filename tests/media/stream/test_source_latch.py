"""Plain RTP has no proof of whose it is: the port that the offer names is heard above any other."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.records import record_format
from media.rtp import header
from media.stream.receiver import ReceivedStream
from tests.in_process.rendered_calls import START, expand, listen, noise, run, stream
from tests.media.stream.lanes import (
    FIRST_ARRIVAL,
    FRAME,
    KEY,
    lane_of,
    numbers_of,
    packets_of,
    receive,
    stored,
    stream_of,
    successor_of,
    track_of,
)  # fmt: skip

OFFERED, OTHER, THIRD = 4000, 4444, 5555


def hear(track: ReceivedStream, port: int, count: int, at: int = 0, ssrc: int = 7, first: int = 10) -> list[bytes]:
    """Let packets come from a port of the client from the `at`-th frame on; return what is stored."""
    return packets_of(receive(track, stream_of(count, first, ssrc), at, port=port))


def source(track: ReceivedStream) -> tuple[object, bool, bool]:
    """Return the port of the chosen source, whether the socket is to be connected to it, and if it may give way."""
    return (
        track.latched and track.latched[1],
        bool(track.latch.wish) and track.latch.wish == track.latch.name,
        track.trial,
    )


FOREVER = 20 * 60 * 50  # frames


@pytest.mark.parametrize(
    ("forged", "later", "ssrc"), [(1, 1, 7), (5, 700, 8), (5, FOREVER, 7), (550, 1, 8), (550, 700, 7)]
)
def test_the_offered_port_is_heard_even_if_it_speaks_late_o15(forged: int, later: int, ssrc: int) -> None:
    """As when the sender of an earlier call at our port goes on, or somebody forges, with the same SSRC and numbers."""
    track, at = track_of(), forged + later
    assert len(hear(track, OTHER, forged)) == forged
    assert source(track) == (OTHER, False, True)
    out = receive(track, stream_of(40, 10, ssrc), at, port=OFFERED)
    assert packets_of(out) == stream_of(40, 10, ssrc)
    marks = [each for each in record_format.read(out) if isinstance(each, record_format.Marked)]
    assert [(each.kind, each.value) for each in marks] == [(record_format.Mark.SOURCE, record_format.GAVE_WAY)]
    assert source(track) == (OFFERED, True, False)
    assert hear(track, OTHER, 40, at + 1, first=20 + forged) == []
    assert hear(track, OFFERED, 40, at + 40, ssrc, first=50) == stream_of(40, 50, ssrc)
    assert (track.reception.packets, track.reception.foreign) == (forged + 80, 40)
    assert (track.reception.duplicates, track.reception.late) == (0, 0)


@given(st.lists(st.sampled_from([OTHER, OFFERED, THIRD]), min_size=1, max_size=60), st.booleans())
def test_property_the_offered_ports_packets_are_stored_once(ports: list[int], hands_on: bool) -> None:
    """All with one SSRC and, from each port, the same numbers; over the death of a worker too."""
    track, sent, numbers = track_of(), dict.fromkeys(ports, 0), list[int]()
    for n, port in enumerate(ports):
        out = receive(track, stream_of(1, 10 + sent[port]), n, port=port)
        sent[port] += 1
        if port == OFFERED:
            assert [packet[2:4] for packet in packets_of(out)] == [(9 + sent[port]).to_bytes(2, "big")]
        else:
            assert sent.get(OFFERED, 0) == 0 or out == []
        numbers += numbers_of(out)
        track = successor_of(track) if hands_on else track
    assert len(set(numbers)) == len(numbers)
    assert (track.reception.packets, track.reception.foreign) == (len(numbers), len(ports) - len(numbers))


@pytest.mark.parametrize(
    ("ahead", "forged", "gap", "ssrc"),
    [(0, 1, 0, 7), (48, 1, 5, 8), (-48, 1, 100, 7), (0, 50, 0, 8), (48, 50, 100, 7), (-48, 550, 100, 8)],
)
def test_the_offered_source_is_heard_whole_after_another(ahead: int, forged: int, gap: int, ssrc: int) -> None:
    """Wherever its timestamps lie, so many frames ahead of those of the other source."""
    track, begins, genuine = track_of(), forged + gap, noise(3, 100)
    out = receive(track, stream_of(forged, 60), port=OTHER)
    sent = [header.build(0, 10 + n, 160 * (60 + ahead + n), ssrc, payload) for n, payload in enumerate(genuine)]
    out += receive(track, sent, begins, port=OFFERED, cuts=25)
    reference = run(noise(1, 1000), stream=1, at=(FIRST_ARRIVAL - START) / 1e6)
    (sound, _), _, _ = listen(b"".join(out) + reference, stream(0), stream(1))
    assert sound[begins * 160 : (begins + 100) * 160] == expand(b"".join(genuine))


def test_a_source_on_another_port_takes_the_fast_path() -> None:
    """A client behind NAT: nobody comes from the port that it names, and its packets cost no more than others."""
    track = track_of()
    hear(track, OTHER, 5)
    assert hear(track, THIRD, 5, 1) == []
    for second in range(1, 20):
        out = receive(track, stream_of(50, second * 50 - 35), second * 50, port=OTHER)
        assert [type(each) for each in record_format.read(out)] == [record_format.Run]
    assert (source(track), track.reception.packets, track.reception.foreign) == ((OTHER, False, True), 955, 5)


def test_one_stranger_in_a_batch_keeps_it_from_the_fast_path() -> None:
    track, out = track_of(), list[bytes]()
    hear(track, OTHER, 5)
    lane = lane_of(stream_of(20, 15), [FIRST_ARRIVAL + (5 + n) * FRAME for n in range(20)], port=OTHER)
    lane.names[7 * 32 + 7] ^= 1  # the last byte of its address
    track.receive(lane, 20, out)
    assert len(stored(out)) == 19 and track.reception.foreign == 1


@pytest.mark.parametrize(
    ("port", "fields"),
    [(OFFERED, {}), (OTHER, {"source": None, "networks": ("192.0.2.0/24",)}), (OTHER, {"srtp": True})],
    ids=["the offered one", "any if none was offered", "one that its key proves"],
)
def test_a_proven_source_is_latched_at_once(port: int, fields: dict[str, Any]) -> None:
    track, sender = track_of(**fields), Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [sender.protect(packet) if "srtp" in fields else packet for packet in stream_of(5, 10)]
    assert len(packets_of(receive(track, packets, port=port))) == 5
    assert source(track) == (port, True, False)
    assert hear(track, THIRD, 5, 1) == []


@pytest.mark.parametrize(("ssrc", "kept"), [(7, 0), (9, 5)])
def test_a_source_of_a_previous_call_yields_to_the_offered_one(ssrc: int, kept: int) -> None:
    track = track_of(former=(("192.0.2.1", OTHER, (7,)), ("192.0.2.1", THIRD, (8,))))
    assert len(hear(track, OTHER, 5, ssrc=ssrc)) == kept
    assert len(hear(track, OFFERED, 5, 10, ssrc=8)) == 5
    assert hear(track, OTHER, 5, 15, ssrc=ssrc, first=20) == []
