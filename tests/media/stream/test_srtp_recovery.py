"""Genuine SRTP packets that a receiver by the book refuses: each is stored once, and nothing forged is."""

from dataclasses import replace
from typing import Any

import pytest

from media.rtp.sequence import WINDOW
from media.srtp.context import REPLAYS, Context, Engine
from media.srtp.suites import SUITES, suite_of
from media.stream.receiver import ReceivedStream
from media.stream.srtp_recovery import NEAR, candidates
from tests.media.stream.lanes import (
    FIRST_ARRIVAL,
    FRAME,
    KEY,
    altered,
    numbers_of,
    receive,
    stored,
    stream_of,
    successor_of,
)  # fmt: skip
from tests.media.stream.lanes import track_of as plain_key_track

GCM = "AEAD_AES_256_GCM"
ROUND = 65_536
FIRST = ROUND - 20
SUITE = "AES_CM_128_HMAC_SHA1_80"


class Sender:
    """A client's side of one key, whose index is wherever it is told to be."""

    def __init__(self, suite: str, key: bytes, index: int = 0) -> None:
        self._engine = Engine(suite_of(suite, key), key, inbound=False)
        for number in range(0, index, 0x7000):
            self._engine.protect(stream_of(1, number)[0])

    def protect(self, first: int, count: int) -> list[bytes]:
        return [self._engine.protect(packet) for packet in stream_of(count, first)]


def key_of(suite: str, seed: int) -> bytes:
    return bytes((seed + n) % 256 for n in range(SUITES[suite].key + SUITES[suite].salt))


def track_of(suite: str, **more: Any) -> ReceivedStream:
    return plain_key_track(suite=suite, key=key_of(suite, 1), **more)


def hear(track: ReceivedStream, packets: list[bytes], number: int) -> list[tuple[int, bytes]]:
    return stored(receive(track, packets, number))


def rekey(track: ReceivedStream, key: bytes) -> None:
    track.change(replace(track.spec, key=key), FIRST_ARRIVAL, [])


def over_a_wrap(suite: str) -> ReceivedStream:
    """Give a stream that has heard a sequence number wrap under its first key, and is offered a second one."""
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(FIRST, 60), 0)
    rekey(track, key_of(suite, 2))
    return track


def counted(track: ReceivedStream) -> tuple[int, int, tuple[int, int]]:
    return track.reception.packets, track.reception.rejected, track.reception.totals()


@pytest.mark.parametrize(
    ("suite", "kept"), [(SUITE, True), (SUITE, False), ("AES_256_CM_HMAC_SHA1_80", False), (GCM, True)]
)
def test_a_source_may_keep_or_restart_its_rollover_counter_c7(suite: str, kept: bool) -> None:
    """RFC 3711 section 3.3.1 keeps it, many senders begin at zero."""
    track = over_a_wrap(suite)
    after = Sender(suite, key_of(suite, 2), FIRST if kept else 0).protect(FIRST + 60 if kept else 40, 60)
    assert [number for number, _ in hear(track, after, 60)] == list(range(FIRST + 60, FIRST + 120))
    assert counted(track) == (120, 0, (0, 120))


def test_a_third_key_continues_the_counter_of_the_second_c7() -> None:
    """Its client has wrapped once less than the stream has."""
    track, second = over_a_wrap(SUITE), Sender(SUITE, key_of(SUITE, 2))
    for at in (40, 20_000, 45_000, ROUND - 10, ROUND + 20):
        assert len(hear(track, second.protect(at, 20), 60)) == 20
    rekey(track, key_of(SUITE, 3))
    third = hear(track, Sender(SUITE, key_of(SUITE, 3), ROUND).protect(ROUND + 40, 20), 60)
    assert [number for number, _ in third] == list(range(2 * ROUND + 40, 2 * ROUND + 60))
    assert (track.reception.rejected, track.reception.sources[0].shift) == (0, -1)


def test_late_packets_of_the_old_key_change_no_counter() -> None:
    """A successor has to walk on to the right index (media.stream.checkpoint)."""
    suite = "AEAD_AES_128_GCM"
    track, old, new = track_of(suite), Sender(suite, key_of(suite, 1)), Sender(suite, key_of(suite, 2))
    hear(track, old.protect(FIRST, 60), 0)
    late = old.protect(FIRST + 60, 2)
    rekey(track, key_of(suite, 2))
    early = new.protect(42, 1)
    for packets, shift in ((early, -1), (late, 0), (new.protect(43, 5), -1)):
        hear(track, packets, 60)
        assert track.reception.sources[0].shift == shift
    assert counted(track) == (68, 0, (0, 68))


def test_a_source_that_renumbers_under_a_new_key_begins_anew() -> None:
    """Its own key vouches for it, as nothing does for plain RTP; nothing was lost and nothing is thrown away."""
    track = track_of(SUITE)
    hear(track, Sender(SUITE, key_of(SUITE, 1)).protect(500, 60), 0)
    rekey(track, key_of(SUITE, 2))
    assert len(hear(track, Sender(SUITE, key_of(SUITE, 2)).protect(45_000, 60), 60)) == 60
    assert (track.reception.packets, track.reception.totals()[0]) == (120, 0)
    assert (track.reception.late, track.gaps.missing_ns) == (0, 0)


@pytest.mark.parametrize(("kept", "heard"), [(True, 0), (False, 0), (True, 20), (False, 20)])
def test_a_successor_continues_under_a_new_key(kept: bool, heard: int) -> None:
    track = over_a_wrap(SUITE)
    sender, at = Sender(SUITE, key_of(SUITE, 2), FIRST if kept else 0), FIRST + 60 if kept else 40
    hear(track, sender.protect(at, heard), 60)
    successor = successor_of(track)
    after = hear(successor, sender.protect(at + heard, 60 - heard), 60 + heard)
    assert [number for number, _ in after] == list(range(FIRST + 60 + heard, FIRST + 120))
    assert (successor.reception.packets, successor.reception.rejected) == (120, 0)
    assert successor.reception.sources[0].shift == (0 if kept else -1)


@pytest.mark.parametrize("forgotten", ["by a successor", "by time"])
@pytest.mark.parametrize("suite", [SUITE, GCM])
def test_an_old_key_resumes_its_counter_after_it_was_forgotten(suite: str, forgotten: str) -> None:
    """As the answered line keeps its key, and the first one, used until our answer is there, has another."""
    track, old = track_of(suite), Sender(suite, key_of(suite, 1))
    hear(track, old.protect(FIRST, 60), 0)
    track.change(replace(track.spec, alternates=((suite, key_of(suite, 2), 0),)), FIRST_ARRIVAL, [])
    assert len(hear(track, Sender(suite, key_of(suite, 2)).protect(40, 10), 60)) == 10
    if forgotten == "by time":
        rekey(track, key_of(suite, 2))
        assert track.srtp.keyring is not None
        for seconds in (20, 100, 200):
            track.srtp.keyring.expire(FIRST_ARRIVAL + seconds * 1_000_000_000)
        assert [each.key for each in track.srtp.keyring.contexts] == [key_of(suite, 2)]
        rekey(track, key_of(suite, 1))
    else:
        track = successor_of(track)
    after = hear(track, old.protect(FIRST + 70, 30), 70)
    assert [number for number, _ in after] == list(range(FIRST + 70, FIRST + 100))
    assert (track.reception.packets, track.reception.rejected) == (100, 0)


@pytest.mark.parametrize("port", [4000, 4444])
def test_forged_packets_do_not_hide_a_source_behind_a_wrap(port: int) -> None:
    track, out = track_of(SUITE), list[bytes]()
    sent = Sender(SUITE, key_of(SUITE, 1), 3 * ROUND).protect(1000, 100)
    forged = Sender(SUITE, key_of(SUITE, 9)).protect(1000, 100)
    for n in range(100):
        strange = [forged[n][:8] + n.to_bytes(4) + forged[n][12:]] * 3
        receive(track, strange, n, address=(198, 51, 100, 9))
        out += receive(track, [sent[n]], n, port=port)
    assert [number & 0xFFFF for number in numbers_of(out)] == list(range(1000, 1100))


def tagged(suite: str, packets: list[bytes], name: bytes) -> list[bytes]:
    """Put an identifier of two bytes where it belongs: before the tag, with AEAD behind everything."""
    tag = 0 if SUITES[suite].aead else SUITES[suite].tag
    return [packet[: len(packet) - tag] + name + packet[len(packet) - tag :] for packet in packets]


@pytest.mark.parametrize("suite", ["AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", GCM])
def test_two_keys_of_one_line_share_a_rollover_counter_c5_c7(suite: str) -> None:
    """RFC 3711 section 3.3.1; each is come back to after more than half a round under the other, over a restart too."""
    keys = [key_of(suite, 1), key_of(suite, 2)]
    track, at = track_of(suite, mki=2, others=(keys[1],)), ROUND - 20_000
    for turn, count in enumerate((100, 40_000, 40_000, 100, 33_000, 100)):
        sender = Sender(suite, keys[turn % 2], at)
        for begin in (*range(at, at + count - 100, 10_000), at + count - 100):  # the packets in between are lost
            packets = tagged(suite, sender.protect(begin, 100), bytes([0, 1 + turn % 2]))
            heard = hear(track, packets, begin)
            assert [number for number, _ in heard] == list(range(begin, begin + 100))
        at += count
        assert track.srtp.keyring is not None
        track.srtp.keyring.expire(FIRST_ARRIVAL + at * FRAME + 60_000_000_000)
        if turn in (1, 4):
            track = successor_of(track)
    assert (track.reception.rejected, track.reception.sources[0].highest) == (0, at - 1)


def test_any_key_of_a_line_not_yet_followed_is_opened_c5() -> None:
    track = track_of(SUITE)
    hear(track, Sender(SUITE, key_of(SUITE, 1)).protect(1, 5), 0)
    track.expect(replace(track.spec, key=key_of(SUITE, 2), others=(key_of(SUITE, 3),)))
    for at, turn in ((6, 3), (11, 2), (16, 3)):
        assert len(hear(track, Sender(SUITE, key_of(SUITE, turn)).protect(at, 5), at)) == 5


def test_a_plain_stream_can_change_to_a_line_of_several_keys_c5() -> None:
    track = plain_key_track()
    track.change(replace(track.spec, suite=SUITE, key=key_of(SUITE, 1), others=(key_of(SUITE, 2),)), FIRST_ARRIVAL, [])
    for turn in (2, 1):
        assert len(hear(track, Sender(SUITE, key_of(SUITE, turn)).protect(10 - 5 * turn, 5), 0)) == 5


# ---- overtaken by more than libsrtp's short window, and by less than ours ----
OVERTAKEN_SUITES = [SUITE, "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM"]
LATE = [3, 4, 9]  # of these nothing is heard at first


def hear_overtaken(suite: str, by: int) -> tuple[ReceivedStream, list[bytes]]:
    """Have a track hear `by` packets behind some that are under way still; give it and all as they were sent."""
    track, wire = track_of(suite), Sender(suite, key_of(suite, 1)).protect(FIRST, LATE[-1] + 1 + by)
    hear(track, wire[: LATE[0]], 0)  # its socket is connected to the source once that was heard
    track.latch.pure = True
    hear(track, without_late(wire)[LATE[0] :], LATE[0])
    return track, wire


def without_late(wire: list[bytes]) -> list[bytes]:
    return [packet for number, packet in enumerate(wire) if number not in LATE]


def late_of(wire: list[bytes]) -> list[bytes]:
    return [wire[number] for number in LATE]


EXPECTED = [(FIRST + number, packet) for number, packet in enumerate(stream_of(LATE[-1] + 1, FIRST)) if number in LATE]


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
@pytest.mark.parametrize("by", [REPLAYS - 20, REPLAYS + 1, WINDOW - 20])
def test_overtaken_packets_are_stored_once(suite: str, by: int) -> None:
    """Together or each alone; forged ones change nothing."""
    track, wire = hear_overtaken(suite, by)
    assert hear(track, list(map(altered, late_of(wire))), len(wire)) == []
    assert (track.reception.rejected, len(track.gaps.listed())) == (len(LATE), 2)
    first, *others = late_of(wire)
    assert hear(track, [first], len(wire)) + hear(track, others, len(wire)) == EXPECTED
    assert track.gaps.listed() == []
    assert hear(track, late_of(wire), len(wire)) == []
    assert track.reception.rejected == 2 * len(LATE)


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
@pytest.mark.parametrize("under_it", [0, 20])
def test_late_packets_under_the_old_key_are_stored(suite: str, under_it: int) -> None:
    """They were overtaken under their own key already, and the numbers wrapped on the way."""
    track, wire = hear_overtaken(suite, 2 * REPLAYS)
    rekey(track, key_of(suite, 2))
    hear(track, Sender(suite, key_of(suite, 2)).protect(FIRST + len(wire) - ROUND, under_it), len(wire))
    assert hear(track, list(map(altered, late_of(wire))), len(wire)) == []
    assert hear(track, late_of(wire), len(wire) + 20) == EXPECTED
    assert (track.reception.rejected, track.gaps.listed()) == (len(LATE), [])


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_overtaken_packets_of_a_key_from_zero_are_stored(suite: str) -> None:
    track = over_a_wrap(suite)
    wire = Sender(suite, key_of(suite, 2)).protect(FIRST + 60 - ROUND, LATE[-1] + 1 + 2 * REPLAYS)
    hear(track, without_late(wire), 60)
    found = hear(track, late_of(wire), 60 + len(wire))
    assert [number for number, _ in found] == [FIRST + 60 + number for number in LATE]


@pytest.mark.parametrize("suite", OVERTAKEN_SUITES)
def test_a_successor_stores_what_its_predecessor_has_not(suite: str) -> None:
    track, wire = hear_overtaken(suite, 2 * REPLAYS)
    hear(track, late_of(wire)[:1], len(wire))
    assert hear(successor_of(track), wire, len(wire) + 1) == EXPECTED[1:]


# ---- after an outage of eleven minutes and more: the index cannot be estimated ----
BEFORE = 100


def sent_around(lost: int, after: int = 200) -> tuple[list[bytes], list[bytes]]:
    """Protect some packets, and those after an outage in which so many were lost."""
    again = 65_000 + BEFORE + lost
    return Sender(SUITE, KEY).protect(65_000, BEFORE), Sender(SUITE, KEY, again).protect(again, after)


@pytest.mark.parametrize("lost", [1000, 32_700, 32_769, 65_536, 200_000])
def test_only_packets_in_an_outage_are_missing(lost: int) -> None:
    track, (before, after) = plain_key_track(True, pure=True), sent_around(lost)
    hear(track, before, 0)
    hear(track, after, BEFORE + lost)
    (source,) = track.reception.sources
    assert (track.reception.packets, track.reception.rejected, track.reception.late) == (BEFORE + 200, 0, 0)
    assert (source.lost, source.highest) == (lost, 65_000 + BEFORE + lost + 200 - 1)
    assert track.gaps.missing_ns >= lost * FRAME
    size = track.reception.size
    for replay in (before[0], before[-1], after[-1]):
        assert hear(track, [replay], BEFORE + lost + 300) == []
    assert (track.reception.packets, track.reception.size) == (BEFORE + 200, size)


def test_a_forged_packet_after_an_outage_changes_nothing() -> None:
    track, (before, (packet,)) = plain_key_track(True, pure=True), sent_around(70_000, 1)
    hear(track, before[:50], 0)
    later = BEFORE + 70_000
    assert hear(track, [altered(packet)], later) == []
    assert (track.reception.packets, track.reception.rejected, track.reception.sources[0].highest) == (50, 1, 65_049)
    assert hear(track, [packet], later) == [], "one look at a time, or a flood of forged ones would cost too much"
    assert len(hear(track, [packet], later + 3)) == 1


def test_nothing_is_looked_for_while_the_estimate_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Context, "genuine", lambda *_: pytest.fail("looked"))
    track = plain_key_track(True, pure=True)
    hear(track, [b"\x80\x08" + bytes(110)] * 3, 0)
    assert track.reception.rejected == 3


@pytest.mark.parametrize(
    ("reached", "sent", "sequence", "indexes"),
    [
        (100, NEAR, 40_000, [40_000]),
        (100, NEAR, 100, [65_636]),
        (100, 70_000, 101, [101, 65_637, 131_173]),
        (0x1FFFF, 10, 0, [0x20000, 0x30000]),
        (0, 10**9, 7, [7 + ROUND * turn for turn in range(64)]),  # a day of silence is not looked through for ever
    ],
)
def test_the_indexes_that_a_number_may_mean(reached: int, sent: int, sequence: int, indexes: list[int]) -> None:
    assert list(candidates(reached, sent, sequence)) == indexes
