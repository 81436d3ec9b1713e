"""Genuine SRTP packets that a receiver by the book refuses: each is stored once, and nothing forged is."""

from dataclasses import replace

import pytest
from pylibsrtp import Policy, Session

from media.rtp.sequence import WINDOW
from media.spec import StreamSpec
from media.srtp.context import REPLAYS, SUITES, Context, LibEngine, suite_of
from media.stream import checkpoint
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.srtp_recovery import NEAR, candidates
from tests.media.stream.test_receiver import FIRST_ARRIVAL, KEY, PAYLOADS, lane_of, stored, stream_of
from tests.media.stream.test_receiver import track_of as plain_key_track

ROUND = 65_536


class Sender:
    """A client's side of one key, whose index is wherever it is told to be."""

    def __init__(self, suite, key, index=0):
        self._engine = LibEngine(suite_of(suite, key), key, inbound=False)
        for number in range(0, index, 0x7000):
            self._engine.protect(stream_of(1, number)[0])

    def protect(self, first, count):
        return [self._engine.protect(packet) for packet in stream_of(count, first)]


def key_of(suite, seed):
    return bytes((seed + n) % 256 for n in range(SUITES[suite].key + SUITES[suite].salt))


def track_of(suite):
    spec = StreamSpec(0, suite, key_of(suite, 1), payloads=PAYLOADS, source=("192.0.2.1", 4000))
    return ReceivedStream(spec, Pauses(), 1)


def hear(track, packets, number):
    out = []
    for start in range(0, len(packets), 50):
        batch = packets[start : start + 50]
        arrivals = [FIRST_ARRIVAL + (number + start + n) * 20_000_000 for n in range(len(batch))]
        track.receive(lane_of(batch, arrivals), len(batch), out)
    return stored(out)


def rekey(track, key):
    track.change(replace(track.spec, key=key), FIRST_ARRIVAL, [])


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
@pytest.mark.parametrize("kept", [True, False])
def test_a_source_may_keep_or_restart_its_rollover_counter_c7(suite, kept):
    """RFC 3711 section 3.3.1 keeps it, many senders begin at zero."""
    track, first = track_of(suite), ROUND - 20
    hear(track, Sender(suite, key_of(suite, 1)).protect(first, 60), 0)
    rekey(track, key_of(suite, 2))
    after = Sender(suite, key_of(suite, 2), first if kept else 0).protect(first + 60 if kept else 40, 60)
    assert [number for number, _ in hear(track, after, 60)] == list(range(first + 60, first + 120))
    assert (track.reception.packets, track.reception.rejected, track.reception.totals()) == (120, 0, (0, 120))


def test_the_wrap_may_lie_between_the_two_keys_c7():
    suite = "AES_CM_128_HMAC_SHA1_80"
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(ROUND - 60, 60), 0)
    rekey(track, key_of(suite, 2))
    hear(track, Sender(suite, key_of(suite, 2), ROUND - 60).protect(ROUND, 60), 60)
    assert (track.reception.packets, track.reception.rejected, track.reception.totals()) == (120, 0, (0, 120))


def test_a_third_key_continues_the_counter_of_the_second_c7():
    """Its client has wrapped once less than the stream has."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    track, first = track_of(suite), ROUND - 20
    hear(track, Sender(suite, key_of(suite, 1)).protect(first, 60), 0)
    rekey(track, key_of(suite, 2))
    second = Sender(suite, key_of(suite, 2))
    for at in (40, 20_000, 45_000, ROUND - 10, ROUND + 20):
        assert len(hear(track, second.protect(at, 20), 60)) == 20
    rekey(track, key_of(suite, 3))
    third = hear(track, Sender(suite, key_of(suite, 3), ROUND).protect(ROUND + 40, 20), 60)
    assert [number for number, _ in third] == list(range(2 * ROUND + 40, 2 * ROUND + 60))
    assert (track.reception.rejected, track.reception.sources[0].shift) == (0, -1)


def test_late_packets_of_the_old_key_change_no_counter():
    """A successor has to walk on to the right index (media.stream.checkpoint)."""
    suite = "AEAD_AES_128_GCM"
    track, first = track_of(suite), ROUND - 20
    old, new = Sender(suite, key_of(suite, 1)), Sender(suite, key_of(suite, 2))
    hear(track, old.protect(first, 60), 0)
    late = old.protect(first + 60, 2)
    rekey(track, key_of(suite, 2))
    early = new.protect(42, 1)
    for packets, shift in ((early, -1), (late, 0), (new.protect(43, 5), -1)):
        hear(track, packets, 60)
        assert track.reception.sources[0].shift == shift
    assert (track.reception.packets, track.reception.rejected, track.reception.totals()) == (68, 0, (0, 68))


def test_a_forged_packet_takes_no_key_into_use():
    suite = "AES_CM_128_HMAC_SHA1_80"
    track, first = track_of(suite), ROUND - 20
    hear(track, Sender(suite, key_of(suite, 1)).protect(first, 60), 0)
    rekey(track, key_of(suite, 2))
    before = track.srtp.keyring.check
    assert not hear(track, Sender(suite, key_of(suite, 3), first).protect(first + 60, 20), 60)
    assert (track.reception.rejected, track.srtp.keyring.check, track.reception.sources[0].highest) == (
        20,
        before,
        first + 59,
    )


def test_a_source_that_renumbers_under_a_new_key_begins_anew():
    """Its own key vouches for it, as nothing does for plain RTP; nothing was lost and nothing is thrown away."""
    suite = "AES_CM_128_HMAC_SHA1_80"
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(500, 60), 0)
    rekey(track, key_of(suite, 2))
    assert len(hear(track, Sender(suite, key_of(suite, 2)).protect(45_000, 60), 60)) == 60
    assert (track.reception.packets, track.reception.late, track.reception.totals()[0], track.gaps.missing_ns) == (
        120,
        0,
        0,
        0,
    )


@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("heard", [0, 20])
def test_a_successor_continues_under_a_new_key(kept, heard):
    suite = "AES_CM_128_HMAC_SHA1_80"
    track, first = track_of(suite), ROUND - 20
    hear(track, Sender(suite, key_of(suite, 1)).protect(first, 60), 0)
    rekey(track, key_of(suite, 2))
    sender, at = Sender(suite, key_of(suite, 2), first if kept else 0), first + 60 if kept else 40
    hear(track, sender.protect(at, heard), 60)
    successor = ReceivedStream(track.spec, Pauses(), 1)
    checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]), {0: successor})
    after = hear(successor, sender.protect(at + heard, 60 - heard), 60 + heard)
    assert [number for number, _ in after] == list(range(first + 60 + heard, first + 120))
    assert (successor.reception.packets, successor.reception.rejected, successor.reception.sources[0].shift) == (
        120,
        0,
        0 if kept else -1,
    )


@pytest.mark.parametrize("forgotten", ["by a successor", "by time"])
@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_an_old_key_resumes_its_counter_after_it_was_forgotten(suite, forgotten):
    """As the answered line keeps its key, and the first one, used until our answer is there, has another."""
    track, first = track_of(suite), ROUND - 20
    old = Sender(suite, key_of(suite, 1))
    hear(track, old.protect(first, 60), 0)
    track.change(replace(track.spec, alternates=((suite, key_of(suite, 2), 0),)), FIRST_ARRIVAL, [])
    assert len(hear(track, Sender(suite, key_of(suite, 2)).protect(40, 10), 60)) == 10
    if forgotten == "by time":
        rekey(track, key_of(suite, 2))
        for seconds in (20, 100, 200):
            track.srtp.keyring.expire(FIRST_ARRIVAL + seconds * 1_000_000_000)
        assert [each.key for each in track.srtp.keyring.contexts] == [key_of(suite, 2)]
        rekey(track, key_of(suite, 1))
        successor = track
    else:
        successor = ReceivedStream(track.spec, Pauses(), 1)
        checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]) or b"", {0: successor})
    after = hear(successor, old.protect(first + 70, 30), 70)
    assert [number for number, _ in after] == list(range(first + 70, first + 100))
    assert (successor.reception.packets, successor.reception.rejected) == (100, 0)


@pytest.mark.parametrize("port", [4000, 4444])
def test_forged_packets_do_not_hide_a_source_behind_a_wrap(port):
    suite = "AES_CM_128_HMAC_SHA1_80"
    track, out = track_of(suite), []
    sent = Sender(suite, key_of(suite, 1), 3 * ROUND).protect(1000, 100)
    forged = Sender(suite, key_of(suite, 9)).protect(1000, 100)
    for n in range(100):
        at = FIRST_ARRIVAL + n * 20_000_000
        strange = [forged[n][:8] + n.to_bytes(4) + forged[n][12:]] * 3
        track.receive(lane_of(strange, [at] * 3, (198, 51, 100, 9)), 3, out)
        track.receive(lane_of([sent[n]], [at], port=port), 1, out)
    assert [number & 0xFFFF for number, _ in stored(out)] == list(range(1000, 1100))


def tagged(suite, packets, name):
    """Put an identifier of two bytes where it belongs: before the tag, with AEAD behind everything."""
    tag = 0 if SUITES[suite].aead else SUITES[suite].tag
    return [packet[: len(packet) - tag] + name + packet[len(packet) - tag :] for packet in packets]


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_256_GCM"])
def test_two_keys_of_one_line_share_a_rollover_counter_c5_c7(suite):
    """RFC 3711 section 3.3.1; each is come back to after more than half a round under the other, over a restart too."""
    keys = [key_of(suite, 1), key_of(suite, 2)]
    spec = StreamSpec(0, suite, keys[0], mki=2, others=(keys[1],), payloads=PAYLOADS, source=("192.0.2.1", 4000))
    track, begin, heard, at = ReceivedStream(spec, Pauses(), 1), ROUND - 20_000, 0, ROUND - 20_000
    for turn, count in enumerate((100, 40_000, 40_000, 100, 33_000, 100)):
        sender = Sender(suite, keys[turn % 2], at)
        packets = tagged(suite, sender.protect(at, count), bytes([0, 1 + turn % 2]))
        assert [number for number, _ in hear(track, packets, heard)] == list(range(at, at + count))
        at, heard = at + count, heard + count
        track.srtp.keyring.expire(FIRST_ARRIVAL + heard * 20_000_000 + 60_000_000_000)
        if turn in (1, 4):
            successor = ReceivedStream(spec, Pauses(), 1)
            checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]), {0: successor})
            track = successor
    assert (track.reception.packets, track.reception.rejected, track.reception.totals()) == (
        at - begin,
        0,
        (0, at - begin),
    )
    assert track.gaps.missing_ns == 0


def test_any_key_of_a_line_not_yet_followed_is_opened_c5():
    suite = "AES_CM_128_HMAC_SHA1_80"
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(1, 5), 0)
    track.expect(replace(track.spec, key=key_of(suite, 2), others=(key_of(suite, 3),)))
    for turn in (3, 2, 3):
        assert (
            len(hear(track, Sender(suite, key_of(suite, turn)).protect(track.reception.sources[0].highest + 1, 5), 5))
            == 5
        )


def test_a_plain_stream_can_change_to_a_line_of_several_keys_c5():
    suite = "AES_CM_128_HMAC_SHA1_80"
    plain = StreamSpec(0, payloads=PAYLOADS, source=("192.0.2.1", 4000))
    track = ReceivedStream(plain, Pauses(), 1)
    track.change(replace(plain, suite=suite, key=key_of(suite, 1), others=(key_of(suite, 2),)), FIRST_ARRIVAL, [])
    for turn in (2, 1):
        assert len(hear(track, Sender(suite, key_of(suite, turn)).protect(10 - 5 * turn, 5), 0)) == 5


# ---- overtaken by more than libsrtp's short window, and by less than ours ----
OVERTAKEN_SUITES = ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM"]
FIRST = 65_500  # the numbers wrap on the way
LATE = [3, 4, 9]  # of these nothing is heard at first


def hear_overtaken(suite: str, by: int) -> tuple[ReceivedStream, list[bytes]]:
    """Have a track hear `by` packets behind some that are under way still; give it and all as they were sent."""
    track, wire = track_of(suite), Sender(suite, key_of(suite, 1)).protect(FIRST, LATE[-1] + 1 + by)
    hear(track, wire[: LATE[0]], 0)  # its socket is connected to the source once that was heard
    track.latch.pure = True
    hear(track, [packet for number, packet in enumerate(wire) if number not in LATE][LATE[0] :], LATE[0])
    return track, wire


def late_of(wire: list[bytes]) -> list[bytes]:
    return [wire[number] for number in LATE]


EXPECTED = [(FIRST + number, packet) for number, packet in enumerate(stream_of(LATE[-1] + 1, FIRST)) if number in LATE]


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
@pytest.mark.parametrize("by", [REPLAYS - 20, REPLAYS + 1, WINDOW - 20])
def test_overtaken_packets_are_stored_once(suite: str, by: int) -> None:
    track, wire = hear_overtaken(suite, by)
    assert hear(track, late_of(wire), len(wire)) == EXPECTED
    assert (track.gaps.listed(), track.reception.rejected) == ([], 0)
    assert hear(track, late_of(wire), len(wire)) == []
    assert track.reception.rejected == len(LATE)


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_one_alone_is_stored_as_well(suite: str) -> None:
    track, wire = hear_overtaken(suite, 2 * REPLAYS)
    assert [hear(track, [packet], len(wire)) for packet in late_of(wire)] == [[each] for each in EXPECTED]


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_forged_ones_change_nothing(suite: str) -> None:
    track, wire = hear_overtaken(suite, 2 * REPLAYS)
    forged = [packet[:-1] + bytes([packet[-1] ^ 1]) for packet in late_of(wire)]
    assert hear(track, forged, len(wire)) == []
    assert (track.reception.rejected, len(track.gaps.listed())) == (len(LATE), 2)
    assert hear(track, late_of(wire), len(wire)) == EXPECTED


def test_those_under_the_key_before_are_stored_too() -> None:
    suite = OVERTAKEN_SUITES[0]
    before = Sender(suite, key_of(suite, 1)).protect(FIRST, LATE[-1] + 1)
    track = track_of(suite)
    hear(track, [packet for number, packet in enumerate(before) if number not in LATE], 0)
    rekey(track, key_of(suite, 2))
    after = Sender(suite, key_of(suite, 2), FIRST).protect(FIRST + len(before), 2 * REPLAYS)
    hear(track, after, len(before))
    assert hear(track, late_of(before), len(before) + len(after)) == EXPECTED


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_late_packets_under_the_old_key_are_stored(suite: str) -> None:
    """They were overtaken under their own key already, and the numbers wrapped on the way."""
    by = 2 * REPLAYS
    track, wire = hear_overtaken(suite, by)
    rekey(track, key_of(suite, 2))
    at = FIRST + len(wire) - 65_536
    hear(track, Sender(suite, key_of(suite, 2)).protect(at, 20), len(wire))
    assert hear(track, late_of(wire), len(wire) + 20) == EXPECTED
    assert (track.reception.rejected, track.gaps.listed()) == (0, [])


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_those_of_a_key_that_counts_from_zero_are_stored_too(suite: str) -> None:
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(FIRST, 60), 0)
    rekey(track, key_of(suite, 2))
    at = FIRST + 60 - 65_536
    wire = Sender(suite, key_of(suite, 2)).protect(at, LATE[-1] + 1 + 2 * REPLAYS)
    hear(track, [packet for number, packet in enumerate(wire) if number not in LATE], 60)
    found = hear(track, late_of(wire), 60 + len(wire))
    assert [number for number, _ in found] == [FIRST + 60 + number for number in LATE]


def test_a_forged_late_packet_is_rejected_under_an_unused_key() -> None:
    suite = OVERTAKEN_SUITES[0]
    track, wire = hear_overtaken(suite, 2 * REPLAYS)
    rekey(track, key_of(suite, 2))
    assert hear(track, [packet[:-1] + bytes([packet[-1] ^ 1]) for packet in late_of(wire)], len(wire)) == []
    assert track.reception.rejected == len(LATE)
    assert hear(track, late_of(wire), len(wire)) == EXPECTED


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_a_successor_stores_what_its_predecessor_has_not(suite: str) -> None:
    track, wire = hear_overtaken(suite, 2 * REPLAYS)
    hear(track, late_of(wire)[:1], len(wire))
    successor = track_of(suite)
    checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]) or b"", {0: successor})
    assert hear(successor, wire, len(wire) + 1) == EXPECTED[1:]


# ---- after an outage of eleven minutes and more: the index cannot be estimated ----
HEARD_BEFORE = 100


def sent_at(number):
    return FIRST_ARRIVAL + number * 20_000_000


def heard_around(lost, after=200):
    """Have a track hear some packets, then none of `lost`, then more; give it and what it stored."""
    track, out = plain_key_track(True, pure=True), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    wire = [sender.protect(packet) for packet in stream_of(HEARD_BEFORE + lost + after, 65_000)]
    for begin, end in ((0, HEARD_BEFORE), (HEARD_BEFORE + lost, len(wire))):
        for start in range(begin, end, 50):
            batch = wire[start : min(end, start + 50)]
            track.receive(lane_of(batch, [sent_at(start + n) for n in range(len(batch))]), len(batch), out)
    return track, wire


@pytest.mark.parametrize("lost", [1000, 32_700, 32_769, 40_000, 65_400, 65_536, 70_000, 200_000])
def test_only_packets_in_an_outage_are_missing(lost):
    track, _ = heard_around(lost)
    (source,) = track.reception.sources
    assert (track.reception.packets, track.reception.rejected, track.reception.late) == (HEARD_BEFORE + 200, 0, 0)
    assert source.lost == lost
    assert track.gaps.missing_ns >= lost * 20_000_000
    assert source.highest == 65_000 + HEARD_BEFORE + lost + 200 - 1


def test_a_packet_from_before_an_outage_is_a_replay():
    track, wire = heard_around(70_000)
    count, size = track.reception.packets, track.reception.size
    for packet in (wire[0], wire[HEARD_BEFORE - 1], wire[-1]):
        track.receive(lane_of([packet], [sent_at(HEARD_BEFORE + 70_000 + 300)]), 1, [])
    assert (track.reception.packets, track.reception.size) == (count, size)


def test_a_forged_packet_after_an_outage_changes_nothing():
    track, out = plain_key_track(True, pure=True), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    wire = [sender.protect(packet) for packet in stream_of(HEARD_BEFORE + 70_001, 65_000)]
    track.receive(lane_of(wire[:50], [sent_at(n) for n in range(50)]), 50, out)
    forged = bytearray(wire[-1])
    forged[-1] ^= 1
    later = sent_at(HEARD_BEFORE + 70_000)
    track.receive(lane_of([bytes(forged)], [later]), 1, out)
    assert (track.reception.packets, track.reception.rejected, track.reception.sources[0].highest) == (50, 1, 65_049)
    track.receive(lane_of([wire[-1]], [later + 1_000_000]), 1, out)
    assert track.reception.packets == 50, "one look at a time, or a flood of forged ones would cost too much"
    track.receive(lane_of([wire[-1]], [later + 60_000_000]), 1, out)
    assert track.reception.packets == 51


def test_nothing_is_looked_for_while_the_estimate_is_right(monkeypatch):
    monkeypatch.setattr(Context, "genuine", lambda *_: pytest.fail("looked"))
    track, out = plain_key_track(True, pure=True), []
    track.receive(lane_of([b"\x80\x08" + bytes(10) + bytes(100)] * 3, [sent_at(n) for n in range(3)]), 3, out)
    assert track.reception.rejected == 3


@pytest.mark.parametrize(
    ("reached", "sent", "sequence", "indexes"),
    [
        (100, NEAR, 40_000, [40_000]),
        (100, NEAR, 100, [65_636]),
        (100, 70_000, 101, [101, 65_637, 131_173]),
        (0x1FFFF, 10, 0, [0x20000, 0x30000]),
    ],
)
def test_the_indexes_that_a_number_may_mean(reached, sent, sequence, indexes):
    assert list(candidates(reached, sent, sequence)) == indexes


def test_a_day_of_silence_is_not_looked_through_for_ever():
    assert len(candidates(0, 10**9, 7)) == 64
