"""Batches to records: both paths lead to the same packets, whatever order they come in."""

import struct
from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.receive import batch
from media.receive.batch import BatchBuffer, Lane
from media.records import record_format
from media.rtp import header
from media.spec import Dtls, StreamSpec
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.source_latch import STRAGGLE

SUITE, KEY = "AES_CM_128_HMAC_SHA1_80", bytes(range(30))
PAYLOADS = ((0, "PCMU", 8000), (8, "PCMA", 8000))
FIRST_ARRIVAL = 1_700_000_000_990_000_000
BENCH = BatchBuffer()


def lane_of(
    packets: list[bytes], arrivals: list[int], address: tuple[int, ...] = (192, 0, 2, 1), port: int = 4000
) -> Lane:
    memory = memoryview(bytearray(batch.LANE))
    lane = Lane(memory, BENCH)
    for slot in range(batch.SLOTS):
        struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.LENGTH_AT, batch.UNUSED)
    for slot, (packet, arrival) in enumerate(zip(packets, arrivals, strict=True)):
        struct.pack_into("=I", lane.headers, slot * batch.MMSGHDR + batch.LENGTH_AT, len(packet))
        struct.pack_into("=qq", lane.control, slot * batch.CONTROL + 16, *divmod(arrival, 1_000_000_000))
        lane.names[slot * 32 : slot * 32 + 8] = struct.pack("=H", 2) + port.to_bytes(2, "big") + bytes(address)
        near, far = packet[: batch.NEAR], packet[batch.NEAR :]
        lane.near[slot * batch.NEAR : slot * batch.NEAR + len(near)] = near
        lane.far[slot * batch.FAR : slot * batch.FAR + len(far)] = far
    return lane


def track_of(srtp: bool, pure: bool) -> ReceivedStream:
    spec = StreamSpec(0, SUITE if srtp else None, KEY if srtp else b"", payloads=PAYLOADS, source=("192.0.2.1", 4000))
    track = ReceivedStream(spec, Pauses(), 1)
    track.latch.pure = pure
    return track


def stored(out: list[bytes]) -> list[tuple[int, bytes]]:
    found = []
    for record in record_format.read([b"".join(out)]):
        if isinstance(record, record_format.Run | record_format.Mixed):
            found += [(sequence, packet) for sequence, _, packet in record.packets()]
        elif isinstance(record, record_format.Packet):
            found.append((record.sequence, record.packet))
    return found


def stream_of(count: int, first: int, ssrc: int = 7) -> list[bytes]:
    return [header.build(8, first + i, (first + i) * 160, ssrc, bytes([i % 256]) * 160) for i in range(count)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 59), min_size=2, max_size=90),
    st.integers(0, 65535),
    st.booleans(),
    st.lists(st.integers(1, 25), min_size=1, max_size=20),
)
def test_both_paths_store_the_same_packets(order: list[int], first: int, srtp: bool, cuts: list[int]) -> None:
    plain = stream_of(60, first)
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    wire = [sender.protect(packet) for packet in plain] if srtp else plain
    results = []
    for pure in (True, False):
        track, out, at, n = track_of(srtp, pure), [], 0, 0
        while at < len(order):
            chosen = order[at : at + (cuts[n % len(cuts)] if pure else 1)]
            arrivals = [FIRST_ARRIVAL + (at + i) * 20_000_000 for i in range(len(chosen))]
            track.receive(lane_of([wire[i] for i in chosen], arrivals), len(chosen), out)
            at, n = at + len(chosen), n + 1
        results.append(
            (
                stored(out),
                track.reception.packets,
                track.reception.totals(),
                track.reception.duplicates + track.reception.rejected,
                track.gaps.missing_ns,
            )
        )
    assert results[0] == results[1]
    assert len({sequence for sequence, _ in results[0][0]}) == len(results[0][0])
    if not srtp or first + 60 < 65536:  # a first packet behind the wrap is of a rollover counter nobody has seen
        assert {packet for _, packet in results[0][0]} <= set(plain)


def test_an_even_batch_is_one_run_with_its_arrivals() -> None:
    """Duty T5."""
    track, out = track_of(srtp=False, pure=True), []
    packets = stream_of(26, 65500)
    arrivals = [FIRST_ARRIVAL + i * 20_000_000 for i in range(26)]
    track.receive(lane_of(packets[:1], arrivals[:1]), 1, out)
    out.clear()
    track.receive(lane_of(packets[1:], arrivals[1:]), 25, out)
    (run,) = record_format.read([b"".join(out)])
    assert isinstance(run, record_format.Run)
    assert [packet for _, _, packet in run.packets()] == packets[1:]
    assert list(run.arrivals) == arrivals[1:]
    assert sum(map(len, out)) <= 1.03 * 25 * 160


def test_a_wrap_inside_a_batch_goes_on_counting() -> None:
    track, out = track_of(srtp=True, pure=True), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [sender.protect(packet) for packet in stream_of(50, 65510)]
    for start in (0, 25):
        track.receive(lane_of(packets[start : start + 25], [FIRST_ARRIVAL + (start + i) for i in range(25)]), 25, out)
    assert [sequence for sequence, _ in stored(out)] == list(range(65510, 65560))
    assert track.reception.totals() == (0, 50)


def test_an_unexplained_silence_before_a_batch_is_a_gap() -> None:
    track, out = track_of(srtp=False, pure=True), []
    track.gaps.since = FIRST_ARRIVAL
    packets = stream_of(20, 10)
    arrivals = [FIRST_ARRIVAL + i * 20_000_000 + (i >= 10) * 6_000_000_000 for i in range(20)]
    track.receive(lane_of(packets[:10], arrivals[:10]), 10, out)
    track.receive(lane_of(packets[10:], arrivals[10:]), 10, out)
    assert track.gaps.listed() == [(arrivals[9] + 20_000_000, arrivals[10], "no media")]
    assert len(stored(out)) == 20


def test_a_hole_is_a_gap_until_the_late_packet_fills_it() -> None:
    track, out = track_of(srtp=False, pure=True), []
    packets = stream_of(30, 10)
    arrivals = [FIRST_ARRIVAL + i * 20_000_000 for i in range(30)]
    track.receive(lane_of(packets[:10] + packets[13:], arrivals[:10] + arrivals[13:]), 27, out)
    assert (track.reception.totals()[0], track.gaps.missing_ns) == (3, 60_000_000)
    assert track.gaps.listed() == [(arrivals[13] - 60_000_000, arrivals[13], "loss")]
    track.receive(lane_of([packets[11]], [arrivals[29] + 1]), 1, out)
    assert (track.reception.totals()[0], track.gaps.missing_ns, track.reception.reordered) == (2, 40_000_000, 1)


@pytest.mark.parametrize("batch_of", [1, 7, 25])
@pytest.mark.parametrize("pure", [True, False])
def test_jitter_is_of_packets_in_the_order_of_their_arrival(pure: bool, batch_of: int) -> None:
    """RFC 3550 section 6.4.1: "not necessarily in sequence"; by that a sender tells late packets from none."""
    dice, packets = Random(1), stream_of(200, 65500)
    late = {n: dice.randrange(30, 150) * 1_000_000 for n in dice.sample(range(1, 190), 40)}
    sent = sorted((n * 20_000_000 + late.get(n, 0), n) for n in range(200) if n not in (60, 61, 110))
    track, out, expected = track_of(srtp=False, pure=pure), [], 0.0
    for start in range(0, len(sent), batch_of):
        piece = sent[start : start + batch_of]
        lane = lane_of([packets[n] for _, n in piece], [FIRST_ARRIVAL + at for at, _ in piece])
        track.receive(lane, len(piece), out)
    transits = [at - n * 20_000_000 for at, n in sent]
    for before, after in pairwise(transits):
        expected += (abs(after - before) - expected) / 16
    assert track.reception.jitter == pytest.approx(expected, rel=0.001)
    assert track.reception.packets == 197
    assert track.reception.reordered > 30


def test_the_fast_path_keeps_the_jitter_after_a_late_packet() -> None:
    track, out, packets = track_of(srtp=False, pure=True), [], stream_of(31, 10)
    late = [*range(4), *range(5, 11), 4]
    arrivals = [FIRST_ARRIVAL + n * 20_000_000 for n in range(31)]
    track.receive(lane_of([packets[n] for n in late], [*arrivals[:10], arrivals[10]]), 11, out)
    before = track.reception.jitter
    track.receive(lane_of(packets[11:], arrivals[11:]), 20, out)
    # the fifth came 120 ms late, the one after it was on time again: that is another difference of 120 ms
    assert before > 120e6 / 16
    assert track.reception.jitter == pytest.approx((before + (120e6 - before) / 16) * (15 / 16) ** 19)


def test_a_sender_that_begins_anew_has_no_jitter_by_that() -> None:
    track, out = track_of(srtp=False, pure=False), []
    packets = stream_of(10, 10) + [header.build(8, 30000 + i, 77 + i * 160, 7, b"x" * 160) for i in range(10)]
    track.receive(lane_of(packets, [FIRST_ARRIVAL + i * 20_000_000 for i in range(20)]), 20, out)
    assert (len(stored(out)), track.reception.jitter) == (20, 0.0)


@pytest.mark.parametrize(("ssrc", "offered", "kept"), [(7, 5000, 0), (8, 5000, 5), (7, 4000, 5)])
def test_a_sender_of_the_last_call_is_recognised_by_its_ssrc(ssrc: int, offered: int, kept: int) -> None:
    """Not by the address alone: a client may use its port for the next call too, whatever its offer says."""
    spec = StreamSpec(
        0, None, b"", payloads=PAYLOADS, source=("192.0.2.1", offered), former=(("192.0.2.1", 4000, (7,)),)
    )
    track, out = ReceivedStream(spec, Pauses(), 1), []
    arrivals = [FIRST_ARRIVAL + n * 20_000_000 for n in range(10)]
    track.receive(lane_of(stream_of(5, 10, ssrc), arrivals[:5]), 5, out)
    assert (len(stored(out)), track.reception.foreign) == (kept, 5 - kept)
    if kept:  # whoever was chosen may take any SSRC
        track.receive(lane_of(stream_of(5, 10, 15 - ssrc), arrivals[5:]), 5, out)
        assert (len(stored(out)), track.reception.foreign) == (10, 0)


@pytest.mark.parametrize("name", ["telephone-event", "TELEPHONE-EVENT"])
@pytest.mark.parametrize(("lasted", "kept"), [(50, 1), (400, 0)])
def test_a_digit_keyed_in_a_pause_is_not_stored_when_sent_late(name: str, lasted: int, kept: int) -> None:
    """RFC 4733 section 2.3: each packet says how long the digit lasts by then; the name has no case (RFC 4855)."""
    track, out, ended = track_of(srtp=False, pure=False), [], FIRST_ARRIVAL + 1_000_000_000
    track.spec = replace(track.spec, payloads=(*PAYLOADS, (101, name, 8000)))
    track.pauses.begin(FIRST_ARRIVAL)
    track.pauses.end(ended)
    said = bytes([5, 0x8A]) + (lasted * 8).to_bytes(2, "big")
    track.receive(lane_of([header.build(101, 1, 800, 7, said)], [ended + 100_000_000]), 1, out)
    assert len(stored(out)) == kept


def test_plain_rtp_from_elsewhere_is_only_counted() -> None:
    """Duty O15."""
    track, out = track_of(srtp=False, pure=False), []
    track.receive(lane_of(stream_of(5, 10), [FIRST_ARRIVAL] * 5, address=(198, 51, 100, 9)), 5, out)
    assert (track.reception.foreign, track.reception.packets, track.latched, out) == (5, 0, None, [])
    track.receive(lane_of(stream_of(5, 10), [FIRST_ARRIVAL] * 5), 5, out)
    track.receive(lane_of(stream_of(5, 15), [FIRST_ARRIVAL] * 5, port=4002), 5, out)
    assert (track.reception.foreign, track.reception.packets) == (10, 5)


def test_a_reoffer_moves_the_source_to_the_new_address() -> None:
    track, out = track_of(srtp=False, pure=False), []
    track.receive(lane_of(stream_of(5, 10), [FIRST_ARRIVAL] * 5), 5, out)
    assert track.latched == (bytes((192, 0, 2, 1)), 4000)
    assert track.change(replace(track.spec, source=("198.51.100.9", 5000)), FIRST_ARRIVAL, out)
    assert track.latched is None
    later = [FIRST_ARRIVAL + STRAGGLE] * 5
    track.receive(lane_of(stream_of(5, 15), later), 5, out)
    track.receive(lane_of(stream_of(5, 15), later, address=(198, 51, 100, 9), port=5002), 5, out)
    assert (track.reception.packets, track.reception.foreign, track.latched) == (
        10,
        5,
        (bytes((198, 51, 100, 9)), 5002),
    )


def test_a_source_given_another_address_of_ours_is_chosen_again() -> None:
    track, out = track_of(srtp=False, pure=False), []
    track.receive(lane_of(stream_of(5, 10), [FIRST_ARRIVAL] * 5), 5, out)
    assert track.change(replace(track.spec, here="198.51.100.8"), FIRST_ARRIVAL, out)
    assert track.latched is None
    assert not track.change(track.spec, FIRST_ARRIVAL, out)


@pytest.mark.parametrize("srtp", [False, True])
def test_packets_in_flight_when_the_source_moves_are_kept(srtp: bool) -> None:
    """To connect to where they come from would shut out everything of the new source, to the end of the call."""
    track, out = track_of(srtp, pure=False), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [sender.protect(packet) for packet in stream_of(15, 10)] if srtp else stream_of(15, 10)
    track.receive(lane_of(packets[:5], [FIRST_ARRIVAL] * 5), 5, out)
    track.change(replace(track.spec, source=("192.0.2.1", 5000)), FIRST_ARRIVAL, out)
    track.receive(lane_of(packets[5:8], [FIRST_ARRIVAL + 1] * 3), 3, out)
    assert (track.reception.packets, track.latched, track.latch.wish) == (8, None, None)
    track.receive(lane_of(packets[8:], [FIRST_ARRIVAL + 2] * 7, port=5000), 7, out)
    assert (track.reception.packets, track.latched) == (15, (bytes((192, 0, 2, 1)), 5000))


def test_old_and_new_source_count_until_a_reoffer_is_followed() -> None:
    track, out, elsewhere = track_of(srtp=False, pure=False), [], (198, 51, 100, 9)
    packets = stream_of(14, 10)
    track.receive(lane_of(packets[:2], [FIRST_ARRIVAL] * 2), 2, out)
    track.latch.connected = track.latch.pure = True
    spec = replace(track.spec, source=("198.51.100.9", 5000))
    track.expect(track.spec)
    assert (track.latch.coming, track.latch.connected, track.latch.pure) == ((), True, True)
    track.expect(spec)
    assert (track.latch.connected, track.latch.pure) == (False, False)
    track.receive(lane_of(packets[2:4], [FIRST_ARRIVAL] * 2), 2, out)
    track.receive(lane_of(packets[4:6], [FIRST_ARRIVAL] * 2, elsewhere, 5002), 2, out)
    track.receive(lane_of(packets[6:], [FIRST_ARRIVAL] * 8, (203, 0, 113, 5)), 8, out)
    assert (track.reception.packets, track.reception.foreign, track.latched) == (6, 8, (bytes((192, 0, 2, 1)), 4000))
    assert track.change(spec, FIRST_ARRIVAL, out)
    assert (track.latch.coming, track.latched) == ((), None)
    assert not track.change(spec, FIRST_ARRIVAL, out)


def test_a_source_that_announces_a_move_but_stays_is_kept() -> None:
    track, out = track_of(srtp=False, pure=False), []
    packets = stream_of(15, 10)
    track.receive(lane_of(packets[:5], [FIRST_ARRIVAL] * 5), 5, out)
    track.change(replace(track.spec, source=("192.0.2.1", 5000)), FIRST_ARRIVAL, out)
    arrivals = [FIRST_ARRIVAL + i * STRAGGLE // 5 for i in range(10)]
    track.receive(lane_of(packets[5:], arrivals), 10, out)
    assert (track.reception.packets, track.latched) == (15, (bytes((192, 0, 2, 1)), 4000))


@pytest.mark.parametrize("held", [False, True])
def test_packets_in_flight_are_kept_whatever_is_offered_next(held: bool) -> None:
    """A client whose media addresses are not among its `sources`: until the new one sends, 2 s at most."""
    track, out = track_of(srtp=False, pure=False), []
    packets, old, new = stream_of(20, 10), (192, 0, 2, 1), (198, 51, 100, 7)
    track.receive(lane_of(packets[:5], [FIRST_ARRIVAL] * 5), 5, out)
    moved = replace(track.spec, source=None, held=True) if held else replace(track.spec, source=("198.51.100.7", 5000))
    track.change(moved, FIRST_ARRIVAL, out)

    def heard(first: int, arrival: int, address: tuple[int, ...], port: int) -> int:
        before = track.reception.packets
        track.receive(lane_of(packets[first : first + 1], [arrival], address, port), 1, out)
        return track.reception.packets - before

    assert heard(5, FIRST_ARRIVAL + STRAGGLE - 1, old, 4000) == 1
    assert heard(6, FIRST_ARRIVAL + STRAGGLE - 1, old, 4001) == 0  # somebody else
    assert heard(6, FIRST_ARRIVAL + STRAGGLE, old, 4000) == 0
    assert heard(6, FIRST_ARRIVAL + 1, new, 5000) == (not held)
    assert heard(7, FIRST_ARRIVAL + 2, old, 4000) == held
    assert track.latched == (None if held else (bytes(new), 5000))


def test_a_source_that_is_offered_again_is_chosen_at_once() -> None:
    """A hold by 0.0.0.0 and its end, sooner than anything could have been on its way."""
    track, out = track_of(srtp=False, pure=False), []
    packets, spec = stream_of(10, 10), track.spec
    track.receive(lane_of(packets[:5], [FIRST_ARRIVAL] * 5), 5, out)
    for offered in (replace(spec, source=None, held=True), spec):
        track.change(offered, FIRST_ARRIVAL, out)
    track.receive(lane_of(packets[5:], [FIRST_ARRIVAL + 1] * 5), 5, out)
    assert (track.reception.packets, track.latched) == (10, (bytes((192, 0, 2, 1)), 4000))


def test_a_digit_held_over_the_end_of_a_pause_is_not_stored_t8() -> None:
    spec = StreamSpec(0, payloads=(*PAYLOADS, (101, "telephone-event", 8000)), source=("192.0.2.1", 4000))
    second, out = 1_000_000_000, []
    track = ReceivedStream(spec, Pauses([(FIRST_ARRIVAL, FIRST_ARRIVAL + second)]), 1)
    track.latch.pure = True
    packets, arrivals = [], []
    for digit, began, ended in ((1, -0.5, -0.2), (2, 0.3, 0.5), (3, 0.9, 1.4), (4, 1.5, 1.8)):
        for lasted in range(20, int(1000 * (ended - began)), 20):
            event = bytes((digit, 10)) + (8 * lasted).to_bytes(2)
            packets.append(header.build(101, len(packets), int(8000 * (5 + began)), 7, event))
            arrivals.append(FIRST_ARRIVAL + int(began * second) + lasted * 1_000_000)
    for start in range(0, len(packets), 20):
        batch_of = packets[start : start + 20]
        track.receive(lane_of(batch_of, arrivals[start : start + 20]), len(batch_of), out)
    assert {packet[12] for _, packet in stored(out)} == {1, 4}
    assert (track.reception.totals()[0], track.gaps.missing_ns) == (0, 0)


def test_a_stream_joined_after_many_wraps_is_found() -> None:
    """Duty C10."""
    track, out = track_of(srtp=True, pure=False), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    plain = stream_of(2, 3 * 65536 + 500)
    for step in range(0, 3 * 65536 + 500, 0x7000):
        sender.protect(header.build(8, step, 0, 7, b"x"))
    track.receive(lane_of([sender.protect(packet) for packet in plain], [FIRST_ARRIVAL] * 2), 2, out)
    assert [sequence for sequence, _ in stored(out)] == [3 * 65536 + 500, 3 * 65536 + 501]


def test_a_changed_ssrc_is_a_new_source_in_the_same_stream() -> None:
    """Duties R24, T4."""
    track, out = track_of(srtp=False, pure=True), []
    track.receive(lane_of(stream_of(10, 10), [FIRST_ARRIVAL] * 10), 10, out)
    track.receive(lane_of(stream_of(10, 40000, ssrc=9), [FIRST_ARRIVAL] * 10), 10, out)
    assert (track.reception.packets, track.reception.totals(), len(track.reception.sources)) == (20, (0, 20), 2)


def plain(number: int) -> bytes:
    return header.build(8, number, number * 160, 7, bytes(160))


def test_a_dtls_stream_without_keys_stores_nothing_d2() -> None:
    spec = StreamSpec(0, payloads=PAYLOADS, source=("192.0.2.1", 4000), dtls=Dtls())
    track, out = ReceivedStream(spec, Pauses(), 1), list[bytes]()
    track.receive(lane_of([plain(1), plain(2)], [FIRST_ARRIVAL, FIRST_ARRIVAL + 1]), 2, out)
    assert (stored(out), track.reception.foreign, track.latched) == ([], 2, None)


def test_audio_behind_the_last_handshake_datagram_is_kept_d4() -> None:
    spec = StreamSpec(0, payloads=PAYLOADS, source=("192.0.2.1", 4000), dtls=Dtls())
    track, out = ReceivedStream(spec, Pauses(), 1), list[bytes]()
    session = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    greetings: list[tuple[bool, bytes, object]] = []

    def greet(rtcp: bool, datagram: bytes, sender: object) -> bool:
        greetings.append((rtcp, datagram, sender))
        track.rekey(replace(spec, suite=SUITE, key=KEY, own_key=KEY))
        return datagram[0] == 22

    track.greet = greet
    packets = [plain(1), b"\x16" + bytes(20), session.protect(plain(2)), session.protect(plain(3)), b"\0\1" + bytes(18)]
    track.receive(lane_of(packets, [FIRST_ARRIVAL + n for n in range(5)]), 5, out)
    assert [sequence for sequence, _ in stored(out)] == [2, 3]
    assert greetings[0] == (False, b"\x16" + bytes(20), (bytes([192, 0, 2, 1]), 4000))
    assert track.reception.foreign == 2  # what came before, and the datagram that was for nobody
    assert track.srtp.outgoing is not None


def test_old_keys_serve_until_a_new_association_has_keys_d6() -> None:
    before = StreamSpec(0, SUITE, KEY, payloads=PAYLOADS, source=("192.0.2.1", 4000), dtls=Dtls(rtp=False))
    track = ReceivedStream(before, Pauses(), 1)
    track.change(replace(before, suite=None, key=b"", dtls=Dtls(tls_id="new")), 0, [])
    assert track.srtp.keyring is not None
    track.rekey(replace(before, key=bytes(30)))
    assert [context.key for context in track.srtp.keyring.contexts] == [KEY, bytes(30)]
    track.change(replace(before, suite=None, key=b"", dtls=None), 0, [])
    assert track.srtp.keyring is None and track.srtp.outgoing is None


def test_a_restored_key_never_reuses_an_srtcp_index() -> None:
    """RFC 3711 section 9.1: a handshake promised others, and a re-offer gives that association up."""
    spec = StreamSpec(0, SUITE, KEY, payloads=PAYLOADS, rtcp_mux=True, dtls=Dtls(rtp=False), own_key=KEY)
    track = ReceivedStream(spec, Pauses(), 1)
    track.receive(lane_of([Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND)).protect(plain(1))], [1]), 1, [])
    said = [track.report(2, b"recorder"), track.report(3, b"recorder")]
    track.rekey(replace(spec, key=bytes(30), own_key=bytes(30)))
    said.append(track.report(4, b"recorder"))
    track.change(replace(spec, dtls=Dtls(tls_id="third")), 5, [])
    said.append(track.report(6, b"recorder"))
    indexes = [int.from_bytes(each[-14:-10]) for each in said if each is not None]
    assert len(indexes) == len(set(indexes)) == 4


def test_the_rtcp_port_may_have_keys_of_its_own_d5() -> None:
    spec = StreamSpec(
        0, SUITE, KEY, dtls=Dtls(rtp=False), rtcp_suite="AEAD_AES_128_GCM", rtcp_key=bytes(28), own_key=KEY
    )
    spec = replace(spec, own_key=bytes(28))
    track = ReceivedStream(spec, Pauses(), 1)
    assert track.srtp.control is not None and track.srtp.outgoing is not None
    track.rekey(replace(spec, rtcp_suite=None, rtcp_key=b"", dtls=None, own_key=b""))
    assert track.srtp.control is None and track.srtp.keyring is not None


def test_srtp_from_elsewhere_counts_if_sources_are_learnt_o15() -> None:
    """Duty O15."""
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [sender.protect(packet) for packet in stream_of(4, 1)]
    arrivals = [FIRST_ARRIVAL + i * 20_000_000 for i in range(4)]
    for learn in (True, False):
        track, out = track_of(srtp=True, pure=False), []
        track.spec = replace(track.spec, learn=learn)
        track.receive(lane_of(packets[:2], arrivals[:2], (198, 51, 100, 9)), 2, out)
        assert (track.reception.packets, track.reception.foreign) == ((2, 0) if learn else (0, 2))
        track.receive(lane_of(packets[2:], arrivals[2:]), 2, out)
        assert track.reception.packets == (4 if learn else 2)
