"""Batches to records: both paths lead to the same packets, whatever order they come in."""

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from pylibsrtp import Policy, Session

from media.rtp import header
from media.spec import Dtls
from media.stream.source_latch import STRAGGLE
from tests.media.stream.lanes import (
    FIRST_ARRIVAL,
    FRAME,
    KEY,
    PAYLOADS,
    SUITE,
    numbers_of,
    receive,
    stored,
    stream_of,
    track_of,
)  # fmt: skip

HERE = (bytes((192, 0, 2, 1)), 4000)


def sender() -> Session:
    return Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))


@pytest.mark.parametrize(("pure", "batch_of"), [(True, 25), (True, 7), (False, 1)])
def test_jitter_is_of_packets_in_the_order_of_their_arrival(pure: bool, batch_of: int) -> None:
    """RFC 3550 section 6.4.1: "not necessarily in sequence"; by that a sender tells late packets from none."""
    dice, packets = Random(1), stream_of(200, 65500)
    late = {n: dice.randrange(30, 150) * 1_000_000 for n in dice.sample(range(1, 190), 40)}
    sent = sorted((n * FRAME + late.get(n, 0), n) for n in range(200) if n not in (60, 61, 110))
    track, expected = track_of(pure=pure), 0.0
    receive(track, [packets[n] for _, n in sent], arrivals=[FIRST_ARRIVAL + at for at, _ in sent], cuts=batch_of)
    for before, after in pairwise([at - n * FRAME for at, n in sent]):
        expected += (abs(after - before) - expected) / 16
    assert track.reception.jitter == pytest.approx(expected, rel=0.001)
    assert track.reception.packets == 197
    assert track.reception.reordered > 30


def test_a_sender_that_begins_anew_has_no_jitter_by_that() -> None:
    track = track_of()
    packets = stream_of(10, 10) + [header.build(8, 30000 + i, 77 + i * 160, 7, b"x" * 160) for i in range(10)]
    assert (len(stored(receive(track, packets))), track.reception.jitter) == (20, 0.0)


@pytest.mark.parametrize(("ssrc", "offered", "kept"), [(7, 5000, 0), (8, 5000, 5), (7, 4000, 5)])
def test_a_sender_of_the_last_call_is_recognised_by_its_ssrc(ssrc: int, offered: int, kept: int) -> None:
    """Not by the address alone: a client may use its port for the next call too, whatever its offer says."""
    track = track_of(source=("192.0.2.1", offered), former=(("192.0.2.1", 4000, (7,)),))
    out = receive(track, stream_of(5, 10, ssrc))
    assert (len(stored(out)), track.reception.foreign) == (kept, 5 - kept)
    if kept:  # whoever was chosen may take any SSRC
        out = receive(track, stream_of(5, 10, 15 - ssrc), 5)
        assert (len(stored(out)), track.reception.foreign) == (5, 0)


def test_plain_rtp_from_elsewhere_is_only_counted() -> None:
    """Duty O15."""
    track = track_of()
    assert receive(track, stream_of(5, 10), address=(198, 51, 100, 9)) == []
    assert (track.reception.foreign, track.reception.packets, track.latched) == (5, 0, None)
    receive(track, stream_of(5, 10))
    receive(track, stream_of(5, 15), 5, port=4002)
    assert (track.reception.foreign, track.reception.packets) == (10, 5)


def test_a_reoffer_moves_the_source_to_the_new_address() -> None:
    """As does one that names another address of ours."""
    track = track_of()
    receive(track, stream_of(5, 10))
    assert track.latched == HERE
    assert track.change(replace(track.spec, source=("198.51.100.9", 5000)), FIRST_ARRIVAL, [])
    later = [FIRST_ARRIVAL + STRAGGLE] * 5
    receive(track, stream_of(5, 15), arrivals=later)
    receive(track, stream_of(5, 15), arrivals=later, address=(198, 51, 100, 9), port=5002)
    assert (track.reception.packets, track.reception.foreign) == (10, 5)
    assert track.latched == (bytes((198, 51, 100, 9)), 5002)
    assert track.change(replace(track.spec, here="198.51.100.8"), FIRST_ARRIVAL, [])
    assert [track.latched] == [None]
    assert not track.change(track.spec, FIRST_ARRIVAL, [])


def test_old_and_new_source_count_until_a_reoffer_is_followed() -> None:
    track, packets, elsewhere = track_of(), stream_of(14, 10), (198, 51, 100, 9)
    now = [FIRST_ARRIVAL] * 8
    receive(track, packets[:2], arrivals=now[:2])
    track.latch.connected = track.latch.pure = True
    spec = replace(track.spec, source=("198.51.100.9", 5000))
    track.expect(track.spec)
    assert (track.latch.connected, track.latch.pure) == (True, True)
    track.expect(spec)
    assert (track.latch.connected, track.latch.pure) == (False, False)
    receive(track, packets[2:4], arrivals=now[:2])
    receive(track, packets[4:6], arrivals=now[:2], address=elsewhere, port=5002)
    receive(track, packets[6:], arrivals=now, address=(203, 0, 113, 5))
    assert (track.reception.packets, track.reception.foreign, track.latched) == (6, 8, HERE)
    assert track.change(spec, FIRST_ARRIVAL, [])
    assert (track.latch.coming, track.latched) == ((), None)
    assert not track.change(spec, FIRST_ARRIVAL, [])


@pytest.mark.parametrize("held", [False, True])
def test_packets_in_flight_are_kept_whatever_is_offered_next(held: bool) -> None:
    """A client whose media addresses are not among its `sources`: until the new one sends, 2 s at most."""
    track, packets = track_of(), stream_of(20, 10)
    old, new = (192, 0, 2, 1), (198, 51, 100, 7)
    receive(track, packets[:5], arrivals=[FIRST_ARRIVAL] * 5)
    moved = replace(track.spec, source=None, held=True) if held else replace(track.spec, source=("198.51.100.7", 5000))
    track.change(moved, FIRST_ARRIVAL, [])
    for number, after, address, port, kept in (
        (5, STRAGGLE - 1, old, 4000, True),
        (6, STRAGGLE - 1, old, 4001, False),  # somebody else
        (6, STRAGGLE, old, 4000, False),
        (6, 1, new, 5000, not held),
        (7, 2, old, 4000, held),
    ):
        out = receive(track, [packets[number]], arrivals=[FIRST_ARRIVAL + after], address=address, port=port)
        assert len(stored(out)) == kept, (number, after)
    assert track.latched == (None if held else (bytes(new), 5000))


@pytest.mark.parametrize("srtp", [False, True])
def test_a_source_that_goes_and_comes_back_loses_nothing(srtp: bool) -> None:
    """A hold by 0.0.0.0 and its end, sooner than anything could have been on its way; then another port."""
    track, session, packets = track_of(srtp), sender(), stream_of(20, 10)
    packets = [session.protect(packet) for packet in packets] if srtp else packets
    spec = track.spec
    receive(track, packets[:5], arrivals=[FIRST_ARRIVAL] * 5)
    for offered in (replace(spec, source=None, held=True), spec):
        track.change(offered, FIRST_ARRIVAL, [])
    receive(track, packets[5:10], arrivals=[FIRST_ARRIVAL + 1] * 5)
    assert (track.reception.packets, track.latched) == (10, HERE)
    track.change(replace(spec, source=("192.0.2.1", 5000)), FIRST_ARRIVAL + 1, [])
    receive(track, packets[10:13], arrivals=[FIRST_ARRIVAL + 2] * 3)  # in flight
    assert (track.reception.packets, track.latched, track.latch.wish) == (13, None, None)
    receive(track, packets[13:], arrivals=[FIRST_ARRIVAL + 3] * 7, port=5000)
    assert (track.reception.packets, track.latched) == (20, (HERE[0], 5000))


def test_a_digit_held_over_the_end_of_a_pause_is_not_stored_t8() -> None:
    second, packets, arrivals = 1_000_000_000, list[bytes](), list[int]()
    track = track_of(pure=True, payloads=(*PAYLOADS, (101, "TELEPHONE-EVENT", 8000)))  # the name has no case
    track.pauses.begin(FIRST_ARRIVAL)
    track.pauses.end(FIRST_ARRIVAL + second)
    for digit, began, ended in ((1, -0.5, -0.2), (2, 0.3, 0.5), (3, 0.9, 1.4), (4, 1.5, 1.8)):
        for lasted in range(20, int(1000 * (ended - began)), 20):
            event = bytes((digit, 10)) + (8 * lasted).to_bytes(2)
            packets.append(header.build(101, len(packets), int(8000 * (5 + began)), 7, event))
            arrivals.append(FIRST_ARRIVAL + int(began * second) + lasted * 1_000_000)
    out = receive(track, packets, arrivals=arrivals, cuts=20)
    assert {packet[12] for _, packet in stored(out)} == {1, 4}
    assert (track.reception.totals()[0], track.gaps.missing_ns) == (0, 0)


def test_a_dtls_stream_without_keys_stores_nothing_d2() -> None:
    track = track_of(dtls=Dtls())
    assert receive(track, stream_of(2, 1)) == []
    assert (track.reception.foreign, track.latched) == (2, None)


def test_audio_behind_the_last_handshake_datagram_is_kept_d4() -> None:
    track, session, plain = track_of(dtls=Dtls()), sender(), stream_of(3, 1)
    greetings: list[tuple[bool, bytes, object]] = []

    def greet(rtcp: bool, datagram: bytes, source: object) -> bool:
        greetings.append((rtcp, datagram, source))
        track.rekey(replace(track.spec, suite=SUITE, key=KEY, own_key=KEY))
        return datagram[0] == 22

    track.greet = greet
    handshake = b"\x16" + bytes(20)
    protected = [session.protect(packet) for packet in plain[1:]]
    out = receive(track, [plain[0], handshake, *protected, b"\0\1" + bytes(18)])
    assert numbers_of(out) == [2, 3]
    assert greetings[0] == (False, handshake, HERE)
    assert track.reception.foreign == 2  # what came before, and the datagram that was for nobody
    assert track.srtp.outgoing is not None


def test_old_keys_serve_until_a_new_association_has_keys_d6() -> None:
    track = track_of(srtp=True, dtls=Dtls(rtp=False))
    before = track.spec
    track.change(replace(before, suite=None, key=b"", dtls=Dtls(tls_id="new")), 0, [])
    assert track.srtp.keyring is not None
    track.rekey(replace(before, key=bytes(30)))
    assert [context.key for context in track.srtp.keyring.contexts] == [KEY, bytes(30)]
    track.change(replace(before, suite=None, key=b"", dtls=None), 0, [])
    assert [track.srtp.keyring, track.srtp.outgoing] == [None, None]


def test_a_restored_key_never_reuses_an_srtcp_index() -> None:
    """RFC 3711 section 9.1: a handshake promised others, and a re-offer gives that association up."""
    track = track_of(srtp=True, rtcp_mux=True, dtls=Dtls(rtp=False), own_key=KEY)
    spec = track.spec
    receive(track, [sender().protect(stream_of(1, 1)[0])])
    reports = [track.report(2, b"recorder"), track.report(3, b"recorder")]
    track.rekey(replace(spec, key=bytes(30), own_key=bytes(30)))
    reports.append(track.report(4, b"recorder"))
    track.change(replace(spec, dtls=Dtls(tls_id="third")), 5, [])
    reports.append(track.report(6, b"recorder"))
    indexes = [int.from_bytes(each[-14:-10]) for each in reports if each is not None]
    assert len(indexes) == len(set(indexes)) == 4


def test_the_rtcp_port_may_have_keys_of_its_own_d5() -> None:
    track = track_of(
        srtp=True, dtls=Dtls(rtp=False), rtcp_suite="AEAD_AES_128_GCM", rtcp_key=bytes(28), own_key=bytes(28)
    )
    assert track.srtp.control is not None and track.srtp.outgoing is not None
    track.rekey(replace(track.spec, rtcp_suite=None, rtcp_key=b"", dtls=None, own_key=b""))
    assert [track.srtp.control] == [None]


@pytest.mark.parametrize("learn", [True, False])
def test_srtp_from_elsewhere_counts_if_sources_are_learnt_o15(learn: bool) -> None:
    """Duty O15."""
    track, session = track_of(srtp=True, learn=learn), sender()
    packets = [session.protect(packet) for packet in stream_of(4, 1)]
    receive(track, packets[:2], address=(198, 51, 100, 9))
    assert (track.reception.packets, track.reception.foreign) == ((2, 0) if learn else (0, 2))
    receive(track, packets[2:], 2)
    assert track.reception.packets == (4 if learn else 2)


def test_a_stream_joined_after_many_wraps_is_found() -> None:
    """Duty C10."""
    track, session, first = track_of(srtp=True), sender(), 3 * 65536 + 500
    for step in range(0, first, 0x7000):
        session.protect(header.build(8, step, 0, 7, b"x"))
    out = receive(track, [session.protect(packet) for packet in stream_of(2, first)])
    assert numbers_of(out) == [first, first + 1]


def test_a_changed_ssrc_is_a_new_source_in_the_same_stream() -> None:
    """Duties R24, T4."""
    track = track_of(pure=True)
    receive(track, stream_of(10, 10))
    receive(track, stream_of(10, 40000, ssrc=9), 10)
    assert (track.reception.packets, track.reception.totals(), len(track.reception.sources)) == (20, (0, 20), 2)
