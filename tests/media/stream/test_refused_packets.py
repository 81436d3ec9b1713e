"""Packets that are not stored name their gap: too late, or opened by no key; what is forged names nothing."""

import pytest
from pylibsrtp import Policy, Session

from media.rtp import header
from media.rtp.sequence import WINDOW
from media.spec import Dtls
from media.srtp.context import Context
from media.stream.gap_detection import RefusedPackets
from media.stream.receiver import ReceivedStream
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, KEY, altered, receive, stream_of, successor_of, track_of

MISSING = 5


def heard(srtp: bool, count: int, first: int = 65000, missing: int = MISSING) -> tuple[ReceivedStream, list[bytes]]:
    """Have a track hear all packets but one; give it and the packets as sent."""
    plain, sender, track = stream_of(count, first), session(), track_of(srtp, pure=True)
    wire = [sender.protect(packet) for packet in plain] if srtp else plain
    receive(track, wire[:missing] + wire[missing + 1 :])
    return track, wire


def session(key: bytes = KEY) -> Session:
    return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))


def reasons(track: ReceivedStream) -> list[str]:
    return [why for _, _, why in track.gaps.listed()]


def at(number: int) -> int:
    return FIRST_ARRIVAL + number * FRAME


@pytest.mark.parametrize("srtp", [True, False])
def test_a_packet_behind_the_window_is_late_and_so_is_its_gap(srtp: bool) -> None:
    track, wire = heard(srtp, MISSING + WINDOW + 2)
    missing = track.gaps.missing_ns
    refused = [altered(wire[MISSING]), wire[0], wire[MISSING][:14]] if srtp else []
    receive(track, refused, WINDOW + 10)  # forged, a replay and cut: these name nothing
    assert (track.reception.late, reasons(track)) == (0, ["loss"])
    for copies in (1, 2):  # alone, and in a batch that is decrypted as a whole
        assert receive(track, [wire[MISSING]] * copies, WINDOW + 10) == []
    assert (reasons(track), track.gaps.missing_ns) == (["late"], missing)
    assert (track.reception.late, track.reception.rejected) == (3, len(refused))
    assert track.reception.sources[0].settled == 0


@pytest.mark.parametrize("srtp", [True, False])
def test_a_packet_inside_the_window_fills_its_gap_however_late(srtp: bool) -> None:
    track, wire = heard(srtp, MISSING + WINDOW)
    receive(track, [wire[MISSING]], WINDOW + 10)
    assert (track.gaps.listed(), track.reception.late, track.reception.packets) == ([], 0, MISSING + WINDOW)


def test_a_late_packet_is_known_by_its_rollover_counter() -> None:
    """As after a change of keys, where the numbers go on and libsrtp counts anew."""
    track, wire = heard(True, 20 + WINDOW, first=65530, missing=10)
    (source,), wrap = track.reception.sources, 1 << 16
    source.first, source.highest, source.shift = source.first - wrap, source.highest - wrap, 1
    track.gaps.items = tuple((*gap[:4], gap[4] - wrap, gap[5] - wrap) for gap in track.gaps.items)
    receive(track, [wire[10]], WINDOW + 20)
    assert (track.reception.late, track.reception.rejected) == (1, 0)


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AEAD_AES_128_GCM"])
def test_a_context_knows_its_packets_whenever_they_come(suite: str) -> None:
    key = bytes(range(28 if "AEAD" in suite else 30))
    context, sender = Context(suite, key), Context(suite, key)
    extended = header.build(8, 1, 160, 7, bytes(160))
    extended = bytes([0x91]) + extended[1:12] + bytes(4) + b"\xbe\xde\0\1abcd" + extended[12:]
    for packet in (header.build(8, 1, 160, 7, bytes(160)), extended):
        sealed = sender.engine.protect(packet)
        assert context.genuine(sealed, 1)
        assert not context.genuine(sealed, 1 + (1 << 16)) and not context.genuine(sealed, -1)
        assert not any(context.genuine(sealed[:size], 1) for size in range(len(sealed)))
        for bit in range(0, 8 * len(sealed), 37):
            broken = bytearray(sealed)
            broken[bit // 8] ^= 1 << bit % 8
            assert not context.genuine(bytes(broken), 1)
        sender = Context(suite, key)  # the same number again


def test_a_sender_that_restarts_with_plain_rtp_is_not_late() -> None:
    track, _ = heard(False, MISSING + WINDOW + 2)
    for n in range(2):
        other = header.build(8, 65000 + MISSING + n, 3_000_000, 7, bytes(160))  # a missing number, not at its own time
        receive(track, [other], WINDOW + 10 + n)
    assert (track.reception.late, track.reception.packets) == (0, MISSING + WINDOW + 3)


@pytest.mark.parametrize("pure", [True, False])
def test_packets_under_another_key_are_a_decrypt_failure(pure: bool) -> None:
    """Duty C1: by the packets themselves, on both paths."""
    good, bad, track = session(), session(bytes(30)), track_of(True, pure)
    wire = [(bad if 20 <= n < 40 else good).protect(packet) for n, packet in enumerate(stream_of(60, 100))]
    receive(track, wire, cuts=20)
    assert (reasons(track), track.reception.rejected) == (["decrypt failure"], 20)
    assert track.gaps.missing_ns == 20 * FRAME


def test_media_before_any_key_are_a_decrypt_failure() -> None:
    track = track_of(dtls=Dtls())
    track.gaps.since = at(0)
    for second in range(10):
        receive(track, stream_of(2, 2 * second), 50 * second)
    track.finish(at(500))
    assert track.gaps.listed() == [(at(0), at(500), "decrypt failure")]


@pytest.mark.parametrize("missing", [4, 5])
def test_refused_packets_count_from_the_last_good_packet(missing: int) -> None:
    wire, track = stream_of(20, 100), track_of(pure=True)
    for number in (0, 1, 2):
        track.gaps.unopened(wire[0], at(number))
    receive(track, wire[:10])
    assert track.gaps.refused == RefusedPackets(3, at(0))
    for number in (10, 11):
        track.gaps.unopened(wire[0], at(number))
    assert track.gaps.refused == RefusedPackets(2, at(10))
    for each in (track, successor_of(track)):
        receive(each, [wire[10 + missing]], 10 + missing)
        assert reasons(each) == ["decrypt failure" if missing == 4 else "loss"]
        receive(each, [wire[18]], 18)  # the next loss has nothing to do with what failed before
        assert reasons(each)[-1] == "loss"
