"""SRTP packets behind libsrtp's short window and within ours: each is stored once, whoever has its key."""

import pytest

from media.rtp.sequence import WINDOW
from media.srtp.context import REPLAYS
from media.stream import checkpoint
from media.stream.receiver import Track
from tests.media.stream.test_receiver import stream_of
from tests.media.stream.test_rekeyed import Sender, hear, key_of, rekey, track_of

SUITES = ["AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM"]
FIRST = 65_500  # the numbers wrap on the way
LATE = [3, 4, 9]  # of these nothing is heard at first


def overtaken(suite: str, by: int) -> tuple[Track, list[bytes]]:
    """Have a track hear `by` packets behind some that are under way still; give it and all as they were sent."""
    track, wire = track_of(suite), Sender(suite, key_of(suite, 1)).protect(FIRST, LATE[-1] + 1 + by)
    hear(track, wire[: LATE[0]], 0)  # its socket is connected to the source once that was heard
    track.latch.pure = True
    hear(track, [packet for number, packet in enumerate(wire) if number not in LATE][LATE[0] :], LATE[0])
    return track, wire


def late_of(wire: list[bytes]) -> list[bytes]:
    return [wire[number] for number in LATE]


EXPECTED = [(FIRST + number, packet) for number, packet in enumerate(stream_of(LATE[-1] + 1, FIRST)) if number in LATE]


@pytest.mark.parametrize("suite", SUITES)
@pytest.mark.parametrize("by", [REPLAYS - 20, REPLAYS + 1, WINDOW - 20])
def test_overtaken_packets_are_stored_once(suite: str, by: int) -> None:
    track, wire = overtaken(suite, by)
    assert hear(track, late_of(wire), len(wire)) == EXPECTED
    assert (track.gaps.listed(), track.reception.rejected) == ([], 0)
    assert hear(track, late_of(wire), len(wire)) == []
    assert track.reception.rejected == len(LATE)


@pytest.mark.parametrize("suite", SUITES)
def test_one_alone_is_stored_as_well(suite: str) -> None:
    track, wire = overtaken(suite, 2 * REPLAYS)
    assert [hear(track, [packet], len(wire)) for packet in late_of(wire)] == [[each] for each in EXPECTED]


@pytest.mark.parametrize("suite", SUITES)
def test_forged_ones_change_nothing(suite: str) -> None:
    track, wire = overtaken(suite, 2 * REPLAYS)
    forged = [packet[:-1] + bytes([packet[-1] ^ 1]) for packet in late_of(wire)]
    assert hear(track, forged, len(wire)) == []
    assert (track.reception.rejected, len(track.gaps.listed())) == (len(LATE), 2)
    assert hear(track, late_of(wire), len(wire)) == EXPECTED


def test_those_under_the_key_before_are_stored_too() -> None:
    suite = SUITES[0]
    before = Sender(suite, key_of(suite, 1)).protect(FIRST, LATE[-1] + 1)
    track = track_of(suite)
    hear(track, [packet for number, packet in enumerate(before) if number not in LATE], 0)
    rekey(track, key_of(suite, 2))
    after = Sender(suite, key_of(suite, 2), FIRST).protect(FIRST + len(before), 2 * REPLAYS)
    hear(track, after, len(before))
    assert hear(track, late_of(before), len(before) + len(after)) == EXPECTED


@pytest.mark.parametrize("suite", SUITES)
def test_those_under_the_key_before_are_stored_where_the_new_one_counts_from_zero(suite: str) -> None:
    """They were overtaken under their own key already, and the numbers wrapped on the way."""
    by = 2 * REPLAYS
    track, wire = overtaken(suite, by)
    rekey(track, key_of(suite, 2))
    at = FIRST + len(wire) - 65_536
    hear(track, Sender(suite, key_of(suite, 2)).protect(at, 20), len(wire))
    assert hear(track, late_of(wire), len(wire) + 20) == EXPECTED
    assert (track.reception.rejected, track.gaps.listed()) == (0, [])


@pytest.mark.parametrize("suite", SUITES)
def test_those_of_a_key_that_counts_from_zero_are_stored_too(suite: str) -> None:
    track = track_of(suite)
    hear(track, Sender(suite, key_of(suite, 1)).protect(FIRST, 60), 0)
    rekey(track, key_of(suite, 2))
    at = FIRST + 60 - 65_536
    wire = Sender(suite, key_of(suite, 2)).protect(at, LATE[-1] + 1 + 2 * REPLAYS)
    hear(track, [packet for number, packet in enumerate(wire) if number not in LATE], 60)
    found = hear(track, late_of(wire), 60 + len(wire))
    assert [number for number, _ in found] == [FIRST + 60 + number for number in LATE]


def test_a_forged_one_is_rejected_while_a_key_is_announced_that_nothing_came_under() -> None:
    suite = SUITES[0]
    track, wire = overtaken(suite, 2 * REPLAYS)
    rekey(track, key_of(suite, 2))
    assert hear(track, [packet[:-1] + bytes([packet[-1] ^ 1]) for packet in late_of(wire)], len(wire)) == []
    assert track.reception.rejected == len(LATE)
    assert hear(track, late_of(wire), len(wire)) == EXPECTED


@pytest.mark.parametrize("suite", SUITES)
def test_a_successor_stores_what_its_predecessor_has_not(suite: str) -> None:
    track, wire = overtaken(suite, 2 * REPLAYS)
    hear(track, late_of(wire)[:1], len(wire))
    successor = track_of(suite)
    checkpoint.restore(checkpoint.pack([track]), checkpoint.moving([track]) or b"", {0: successor})
    assert hear(successor, wire, len(wire) + 1) == EXPECTED[1:]
