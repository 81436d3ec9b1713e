"""The key changes while a call goes on that is older than a round of sequence numbers."""

from dataclasses import replace

import pytest

from media.spec import StreamSpec
from media.srtp.context import SUITES, LibEngine, suite_of
from media.stream import checkpoint
from media.stream.pauses import Pauses
from media.stream.receiver import Track
from tests.media.stream.test_receiver import FIRST_ARRIVAL, PAYLOADS, lane_of, stored, stream_of

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
    return Track(spec, Pauses(), 1)


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
def test_a_source_goes_on_under_another_key_with_its_rollover_counter_or_from_zero_c7(suite, kept):
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


def test_a_third_key_goes_on_with_the_counter_of_the_second_that_began_from_zero_c7():
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


def test_stragglers_of_the_old_key_leave_the_counter_of_either_as_it_is():
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


def test_a_source_that_counts_anew_under_another_key_begins_anew():
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
def test_a_successor_goes_on_under_the_new_key_whether_anything_of_it_was_heard_or_not(kept, heard):
    suite = "AES_CM_128_HMAC_SHA1_80"
    track, first = track_of(suite), ROUND - 20
    hear(track, Sender(suite, key_of(suite, 1)).protect(first, 60), 0)
    rekey(track, key_of(suite, 2))
    sender, at = Sender(suite, key_of(suite, 2), first if kept else 0), first + 60 if kept else 40
    hear(track, sender.protect(at, heard), 60)
    successor = Track(track.spec, Pauses(), 1)
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
def test_a_key_of_before_goes_on_with_its_counter_though_another_began_at_zero_and_it_was_forgotten(suite, forgotten):
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
        successor = Track(track.spec, Pauses(), 1)
        checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]) or b"", {0: successor})
    after = hear(successor, old.protect(first + 70, 30), 70)
    assert [number for number, _ in after] == list(range(first + 70, first + 100))
    assert (successor.reception.packets, successor.reception.rejected) == (100, 0)


@pytest.mark.parametrize("port", [4000, 4444])
def test_packets_that_others_forge_do_not_keep_a_source_unheard_that_is_joined_behind_a_wrap(port):
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
def test_two_keys_of_one_line_share_the_rollover_counter_of_a_source_c5_c7(suite):
    """RFC 3711 section 3.3.1; each is come back to after more than half a round under the other, over a restart too."""
    keys = [key_of(suite, 1), key_of(suite, 2)]
    spec = StreamSpec(0, suite, keys[0], mki=2, others=(keys[1],), payloads=PAYLOADS, source=("192.0.2.1", 4000))
    track, begin, heard, at = Track(spec, Pauses(), 1), ROUND - 20_000, 0, ROUND - 20_000
    for turn, count in enumerate((100, 40_000, 40_000, 100, 33_000, 100)):
        sender = Sender(suite, keys[turn % 2], at)
        packets = tagged(suite, sender.protect(at, count), bytes([0, 1 + turn % 2]))
        assert [number for number, _ in hear(track, packets, heard)] == list(range(at, at + count))
        at, heard = at + count, heard + count
        track.srtp.keyring.expire(FIRST_ARRIVAL + heard * 20_000_000 + 60_000_000_000)
        if turn in (1, 4):
            successor = Track(spec, Pauses(), 1)
            checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]), {0: successor})
            track = successor
    assert (track.reception.packets, track.reception.rejected, track.reception.totals()) == (
        at - begin,
        0,
        (0, at - begin),
    )
    assert track.gaps.missing_ns == 0


def test_packets_under_any_key_of_a_line_that_is_still_to_be_followed_are_opened_c5():
    suite = "AES_CM_128_HMAC_SHA1_80"
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(1, 5), 0)
    track.expect(replace(track.spec, key=key_of(suite, 2), others=(key_of(suite, 3),)))
    for turn in (3, 2, 3):
        assert (
            len(hear(track, Sender(suite, key_of(suite, turn)).protect(track.reception.sources[0].highest + 1, 5), 5))
            == 5
        )


def test_a_stream_that_was_plain_takes_up_a_line_of_several_keys_c5():
    suite = "AES_CM_128_HMAC_SHA1_80"
    plain = StreamSpec(0, payloads=PAYLOADS, source=("192.0.2.1", 4000))
    track = Track(plain, Pauses(), 1)
    track.change(replace(plain, suite=suite, key=key_of(suite, 1), others=(key_of(suite, 2),)), FIRST_ARRIVAL, [])
    for turn in (2, 1):
        assert len(hear(track, Sender(suite, key_of(suite, turn)).protect(10 - 5 * turn, 5), 0)) == 5
