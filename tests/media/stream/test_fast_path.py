"""The fast path: one record for a batch in order, the same packets and figures as the slow path, or nothing at all."""

import random
import struct
from itertools import accumulate
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.receive.batch import NEAR, WIDE
from media.records import record_format
from media.rtp import header
from media.stream import checkpoint, fast_path, fast_path_c
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, KEY, SUITE, lane_of, packets_of, receive, stored  # fmt: skip
from tests.media.stream.lanes import track_of as plain_track

Stored = TypeVar("Stored", record_format.Run, record_format.Mixed)

PAYLOADS = ((96, "H264", 90_000), (111, "opus", 48_000), (8, "PCMA", 8000), (0, "PCMU", 8000))
GCM = "AEAD_AES_128_GCM"


UNEVEN = (0, 3_000_000, 1_000_000, 7_000_000)  # ns that packets come late, in turn


@pytest.fixture(autouse=True, params=["C", "Python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go the fast path in C where it was compiled, then without it."""
    if request.param == "Python":
        monkeypatch.setattr(fast_path_c, "path_of", lambda _: None)


def track_of(suite: str | None, pure: bool = True, continuous: bool = True, **more: Any) -> ReceivedStream:
    key = KEY[: 28 if suite == GCM else 30] if suite else b""
    return plain_track(pure=pure, suite=suite, key=key, payloads=PAYLOADS, continuous=continuous, **more)


def protected(packets: list[bytes], suite: str | None) -> list[bytes]:
    if suite is None:
        return packets
    profile = Policy.SRTP_PROFILE_AEAD_AES_128_GCM if suite == GCM else Policy.SRTP_PROFILE_AES128_CM_SHA1_80
    key = KEY[: 28 if suite == GCM else 30]
    session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile))
    return [session.protect(packet) for packet in packets]


def opus(count: int, first: int = 10, chance: random.Random | None = None) -> list[bytes]:
    chance = chance or random.Random(1)
    return [header.build(111, first + n, 960 * n, 7, chance.randbytes(chance.randint(1, 90))) for n in range(count)]


def g711(count: int, first: int = 10, kind: int = 8) -> list[bytes]:
    return [header.build(kind, (first + n) & 0xFFFF, 160 * n, 7, bytes([n]) * 160) for n in range(count)]


def film(count: int, first: int = 10) -> list[bytes]:
    """Frames of four packets, the last one marked, the one after the next shown before it."""
    sizes = (1250, 1250, 1250, 333)
    packets = []
    for n in range(count):
        frame = n // 4
        shown = 3600 * (frame + (frame % 3 == 1) - (frame % 3 == 2))
        packets.append(header.build(96, first + n, shown, 7, bytes([n % 256]) * sizes[n % 4], marker=n % 4 == 3))
    return packets


def outcome(track: ReceivedStream, wire: list[bytes], cuts: int) -> tuple[list[bytes], dict[str, object]]:
    """Return what a stream stores of packets and knows then; one that is not pure hears each alone (the slow path)."""
    arrivals = [FIRST_ARRIVAL + n * FRAME + UNEVEN[n % 4] for n in range(len(wire))]
    out = receive(track, wire, arrivals=arrivals, cuts=cuts if track.latch.pure else 1)
    source, size = track.reception.sources[0], track.reception.last_size
    clocks = {"step": source.step, "timestamp": source.timestamp, "arrival": source.arrival, "size": size}
    return out, {**figures(track), "jitter_ms": round(track.reception.jitter / 1e6, 2), **clocks}


def both(
    wire: list[bytes], suite: str | None = None, cuts: int = 40, continuous: bool = True
) -> tuple[list[bytes], list[bytes]]:
    """Return what the fast path and the slow one store; both know the same then."""
    (swiftly, one), (singly, other) = (outcome(track_of(suite, pure, continuous), wire, cuts) for pure in (True, False))
    assert one == other
    return swiftly, singly


def records(kind: type[Stored], out: list[bytes]) -> list[Stored]:
    return [record for record in record_format.read([b"".join(out)]) if isinstance(record, kind)]


@settings(max_examples=60, deadline=None)
@given(st.data(), st.booleans(), st.integers(2, 40))
def test_property_both_paths_agree_on_any_packet_order(data: st.DataObject, srtp: bool, cuts: int) -> None:
    packets = opus(60, data.draw(st.sampled_from([10, 65_500])), random.Random(data.draw(st.integers(0, 99))))
    suite = SUITE if srtp and packets[0][2:4] == b"\0\n" else None
    wire = protected(packets, suite)
    order = data.draw(st.permutations(range(60)) | st.just(range(60)) | st.lists(st.integers(0, 59), min_size=30))
    swiftly, singly = both([wire[n] for n in order], suite, cuts)
    assert sorted(stored(swiftly)) == sorted(stored(singly))


def test_a_batch_with_key_identifiers_is_left_to_the_slow_path() -> None:
    """libsrtp is not told of them, so it cannot have the packets as they came."""
    packets = g711(60)
    wire = [packet[:-10] + b"\0\0\0\1" + packet[-10:] for packet in protected(packets, SUITE)]
    track = track_of(SUITE, mki=4)
    assert packets_of(receive(track, wire, cuts=20)) == packets
    assert track.reception.rejected == 0


STEPS = {
    "a timestamp that is set back": [160] * 79 + [160 - 100_000] + [160] * 40,
    "a frame that fills a batch": [960] * 20 + [0] * 40,
    "longer packets behind shorter ones": [960] * 20 + [2880] * 40,
    "leaps that are no packet's length": [2 * 48_000] * 60,
}


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_both_paths_learn_the_same_length_of_a_packet(steps: list[int]) -> None:
    sizes, stamps = random.Random(1), [100_000, *accumulate(steps, initial=100_000)][1:]
    packets = [header.build(111, n, stamp, 7, bytes(sizes.randint(1, 90))) for n, stamp in enumerate(stamps)]
    swiftly, _ = both(protected(packets, SUITE), SUITE, 20)
    assert records(record_format.Mixed, swiftly)


def marked(kind: int) -> list[bytes]:
    packets = g711(40, kind=kind)
    return [*packets[:30], packets[30][:1] + bytes([kind | 0x80]) + packets[30][2:], *packets[31:]]


KEPT = {
    "a marker in a batch of type 0": marked(0),
    "a marker in a batch of type 8": marked(8),
    # as one number of 32 bits the second half of a header counts on over both
    "a type that changes where the number wraps": [*g711(6, first=65_530), *g711(20, first=65_530, kind=9)[6:]],
    **{
        f"payloads of {size} bytes, by the length of a slot": [
            header.build(96, 10 + n, 3600 * n, 7, bytes([n]) * (size - n % 2)) for n in range(20)
        ]
        for size in (NEAR - 12, NEAR - 11, WIDE - 13, WIDE - 12)
    },
}


@pytest.mark.parametrize("packets", KEPT.values(), ids=KEPT)
def test_every_packet_of_a_batch_is_kept_as_it_came(packets: list[bytes]) -> None:
    track = track_of(None)
    stored_first = receive(track, packets[:2])
    assert packets_of(stored_first + receive(track, packets[2:], 2, cuts=20)) == packets
    assert track.reception.packets == len(packets)


def test_a_batch_of_different_sizes_is_one_record() -> None:
    """Duty T5."""
    packets, track = opus(51), track_of(None)
    receive(track, packets[:1])
    out = receive(track, packets[1:], 1)
    (record,) = record_format.read([b"".join(out)])
    assert isinstance(record, record_format.Mixed)
    assert list(record.arrivals) == [FIRST_ARRIVAL + n * FRAME for n in range(1, 51)]
    assert sum(map(len, out)) - sum(map(len, record.payloads)) <= record_format.MIXED_HEAD + 5 * 50


@pytest.mark.parametrize("count", [13, 14, 27, 28])
def test_no_packet_is_left_over_for_a_record_of_its_own(count: int) -> None:
    packets = [header.build(96, 10 + n, 3600, 7, bytes([n]) * (1250 - n % 2)) for n in range(2 + count)]
    track = track_of(None)
    receive(track, packets[:2], arrivals=[FIRST_ARRIVAL] * 2)
    out = receive(track, packets[2:], arrivals=[FIRST_ARRIVAL] * count)
    found = list(record_format.read([b"".join(out)]))
    assert all(isinstance(record, record_format.Mixed) and len(record.payloads) > 1 for record in found)
    assert packets_of(out) == packets[2:]


@pytest.mark.parametrize("where", range(12))
def test_no_byte_of_a_header_can_differ_in_a_batch_of_one_size(where: int) -> None:
    """But for a marker or a timestamp that is 16 ms off, which a MIXED takes; one that leaps has to be borne out."""
    for at in (0, 1, 10, 18, 19):
        packets = [header.build(8, n, 160 * n, 7, bytes([n]) * 160) for n in range(40)]
        packets[20 + at] = bytes(each ^ (0x80 * (n == where)) for n, each in enumerate(packets[20 + at]))
        track, out = track_of(None), list[bytes]()
        receive(track, packets[:20])
        lane = lane_of(packets[20:], [FIRST_ARRIVAL + (20 + n) * FRAME for n in range(20)])
        opened = fast_path.open_all(track.srtp.keyring, lane, 20)
        assert opened is not None
        kept = fast_path.store(track.spec, track.reception, track.srtp.keyring, lane, 20, opened, out)
        assert kept == (where in (1, 7))
        assert all(isinstance(record, record_format.Mixed) for record in record_format.read(out))
        assert not kept or packets_of(out) == packets[20:]


@pytest.mark.parametrize("pure", [True, False])
def test_a_lost_packet_at_a_timestamp_drop_is_no_pair(pure: bool) -> None:
    """The number behind the next one less a timestamp looks like the next one."""
    packets = [header.build(8, 10 + n, 100_000 * (n < 2) + 160 * n, 7, bytes([n]) * 160) for n in range(6)]
    track, out = track_of(None, pure), list[bytes]()
    for batch in ([0], [1, 3], [4, 5]):
        out += receive(track, [packets[n] for n in batch], arrivals=[FIRST_ARRIVAL + n * FRAME for n in batch])
    assert stored(out) == [(10 + n, packets[n]) for n in (0, 1, 3, 4, 5)]
    assert checkpoint.pack([track])  # a timestamp of more than 32 bits ended the call


def test_a_truncated_datagram_is_never_taken_for_a_whole_one() -> None:
    packets = film(40)
    track = track_of(None)
    track.receive(lane_of(packets[:20], [FIRST_ARRIVAL] * 20), 20, [])
    lane = lane_of(packets[20:], [FIRST_ARRIVAL] * 20)
    struct.pack_into("=I", lane.headers, 5 * 64 + 56, WIDE)
    struct.pack_into("=I", lane.headers, 5 * 64 + 48, 0x20)
    out: list[bytes] = []
    track.receive(lane, 20, out)
    assert (track.reception.rejected, len(stored(out))) == (1, 19)
