"""A stream that is there again after eleven minutes and more: its packets have an index that nobody can estimate."""

import pytest
from pylibsrtp import Policy, Session

from media.srtp.context import Context
from media.stream.srtp_recovery import NEAR, candidates
from tests.media.stream.test_receiver import FIRST_ARRIVAL, KEY, lane_of, stream_of, track_of

BEFORE = 100


def at(number):
    return FIRST_ARRIVAL + number * 20_000_000


def heard(lost, after=200):
    """Have a track hear some packets, then none of `lost`, then more; give it and what it stored."""
    track, out = track_of(True, pure=True), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    wire = [sender.protect(packet) for packet in stream_of(BEFORE + lost + after, 65_000)]
    for begin, end in ((0, BEFORE), (BEFORE + lost, len(wire))):
        for start in range(begin, end, 50):
            batch = wire[start : min(end, start + 50)]
            track.receive(lane_of(batch, [at(start + n) for n in range(len(batch))]), len(batch), out)
    return track, wire


@pytest.mark.parametrize("lost", [1000, 32_700, 32_769, 40_000, 65_400, 65_536, 70_000, 200_000])
def test_everything_after_an_outage_is_stored_and_everything_in_it_is_missing(lost):
    track, _ = heard(lost)
    (source,) = track.reception.sources
    assert (track.reception.packets, track.reception.rejected, track.reception.late) == (BEFORE + 200, 0, 0)
    assert source.lost == lost
    assert track.gaps.missing_ns >= lost * 20_000_000
    assert source.highest == 65_000 + BEFORE + lost + 200 - 1


def test_what_was_heard_before_the_outage_is_a_replay_after_it():
    track, wire = heard(70_000)
    count, size = track.reception.packets, track.reception.size
    for packet in (wire[0], wire[BEFORE - 1], wire[-1]):
        track.receive(lane_of([packet], [at(BEFORE + 70_000 + 300)]), 1, [])
    assert (track.reception.packets, track.reception.size) == (count, size)


def test_a_forged_packet_after_an_outage_changes_nothing():
    track, out = track_of(True, pure=True), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    wire = [sender.protect(packet) for packet in stream_of(BEFORE + 70_001, 65_000)]
    track.receive(lane_of(wire[:50], [at(n) for n in range(50)]), 50, out)
    forged = bytearray(wire[-1])
    forged[-1] ^= 1
    later = at(BEFORE + 70_000)
    track.receive(lane_of([bytes(forged)], [later]), 1, out)
    assert (track.reception.packets, track.reception.rejected, track.reception.sources[0].highest) == (50, 1, 65_049)
    track.receive(lane_of([wire[-1]], [later + 1_000_000]), 1, out)
    assert track.reception.packets == 50, "one look at a time, or a flood of forged ones would cost too much"
    track.receive(lane_of([wire[-1]], [later + 60_000_000]), 1, out)
    assert track.reception.packets == 51


def test_nothing_is_looked_for_while_the_estimate_is_right(monkeypatch):
    monkeypatch.setattr(Context, "genuine", lambda *_: pytest.fail("looked"))
    track, out = track_of(True, pure=True), []
    track.receive(lane_of([b"\x80\x08" + bytes(10) + bytes(100)] * 3, [at(n) for n in range(3)]), 3, out)
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
