"""Plain RTP has no proof of whose it is: the port that the offer names is heard above any other."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pylibsrtp import Policy, Session

from media import records
from media.latch import TRIAL
from media.pauses import Pauses
from media.spec import StreamSpec
from media.track import STRAGGLE, Track
from tests.media.test_track import FIRST_ARRIVAL, KEY, PAYLOADS, lane_of, stored, stream_of, track_of

OFFERED, OTHER, THIRD = 4000, 4444, 5555
FRAME = 20_000_000


def hear(track: Track, port: int, count: int, at: int = 0, ssrc: int = 7, first: int = 10) -> list[bytes]:
    """Let packets come from a port of the client, `at` ns after the first of all; give what was stored."""
    out: list[bytes] = []
    arrivals = [FIRST_ARRIVAL + at + n * FRAME for n in range(count)]
    track.receive(lane_of(stream_of(count, first, ssrc), arrivals, port=port), count, out)
    return out


def test_the_offered_port_is_heard_although_another_one_spoke_first_o15() -> None:
    """As when the sender of an earlier call at our port goes on, with another SSRC or after two calls."""
    track = track_of(srtp=False, pure=False)
    assert len(stored(hear(track, OTHER, 5))) == 5
    assert (track.latched and track.latched[1], track.latch_wish) == (OTHER, None)
    out = hear(track, OFFERED, 5, 100 * FRAME, ssrc=8)
    assert len(stored(out)) == 5
    assert [each.kind for each in records.read(out) if isinstance(each, records.Marked)] == [records.Mark.SOURCE]
    assert (track.latched and track.latched[1], track.latch_wish) == (OFFERED, track.name)
    assert stored(hear(track, OTHER, 5, 101 * FRAME, first=15)) == []
    assert (track.packets, track.foreign) == (10, 5)


def test_both_in_one_batch_are_told_apart() -> None:
    track, out = track_of(srtp=False, pure=False), []
    for n in range(6):
        lane = lane_of(stream_of(1, 10 + n, 7 + n % 2), [FIRST_ARRIVAL + n * FRAME], port=(OTHER, OFFERED)[n % 2])
        track.receive(lane, 1, out)
    assert [int.from_bytes(packet[8:12]) for _, packet in stored(out)] == [7, 8, 8, 8]
    assert track.foreign == 2


def test_one_address_and_port_that_the_offer_does_not_name_are_chosen_for_good_after_a_trial() -> None:
    """A client behind NAT: nobody comes from the port that it names."""
    track = track_of(srtp=False, pure=False)
    hear(track, OTHER, 5)
    assert stored(hear(track, THIRD, 5, FRAME)) == []
    hear(track, OTHER, 1, TRIAL - FRAME, first=15)
    assert track.latch_wish is None
    assert len(stored(hear(track, OTHER, 2, TRIAL + FRAME, first=16))) == 2
    assert (track.latch_wish, track.trial) == (track.name, 0)
    assert stored(hear(track, OFFERED, 5, TRIAL + 2 * FRAME, ssrc=8)) == []
    assert (track.packets, track.foreign) == (8, 10)


def test_a_hold_is_no_part_of_a_trial() -> None:
    """Whom the offer names has nothing to say in it, so another port proves nothing by speaking."""
    track, out = track_of(srtp=False, pure=False), []
    track.change(replace(track.spec, held=True), FIRST_ARRIVAL, out)
    for second in range(30):
        hear(track, OTHER, 1, second * 50 * FRAME, first=10 + second)
    assert not track.change(replace(track.spec, held=False), FIRST_ARRIVAL + 1500 * FRAME, out)
    hear(track, OTHER, 1, 1500 * FRAME, first=40)
    assert track.latch_wish is None
    assert len(stored(hear(track, OFFERED, 5, 1501 * FRAME, ssrc=8))) == 5
    assert track.latch_wish == track.name


def test_whoever_the_offer_names_is_chosen_for_good_at_once() -> None:
    track = track_of(srtp=False, pure=False)
    hear(track, OFFERED, 5)
    assert (track.latch_wish, track.trial) == (track.name, 0)
    assert stored(hear(track, OTHER, 5, FRAME)) == []


def test_an_encrypted_packet_proves_itself_and_needs_no_trial() -> None:
    track, out = track_of(srtp=True, pure=False), []
    sender = Session(Policy(key=KEY, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
    packets = [sender.protect(packet) for packet in stream_of(5, 10)]
    track.receive(lane_of(packets, [FIRST_ARRIVAL] * 5, port=OTHER), 5, out)
    assert (track.packets, track.latch_wish, track.trial) == (5, track.name, 0)


def test_without_an_offered_address_there_is_nobody_to_wait_for() -> None:
    spec = StreamSpec(0, None, b"", payloads=PAYLOADS, networks=("192.0.2.0/24",))
    track = Track(spec, Pauses(), 1)
    hear(track, OTHER, 5)
    assert (track.packets, track.latch_wish, track.trial) == (5, track.name, 0)


def test_a_reoffer_ends_a_trial_and_names_another_port() -> None:
    track, out = track_of(srtp=False, pure=False), []
    hear(track, OTHER, 5)
    assert track.change(replace(track.spec, source=("192.0.2.1", THIRD)), FIRST_ARRIVAL, out)
    assert (track.latched, track.trial) == (None, 0)
    assert len(stored(hear(track, OTHER, 5, 5 * FRAME, first=15))) == 5
    assert track.latched is None
    hear(track, THIRD, 5, 10 * FRAME, first=20)
    assert (track.packets, track.latched and track.latched[1]) == (15, THIRD)
    assert STRAGGLE < TRIAL


def test_whom_a_reoffer_brings_neither_ends_a_trial_nor_is_chosen_before_it_is_followed() -> None:
    track = track_of(srtp=False, pure=False)
    hear(track, OTHER, 5)
    track.expect(replace(track.spec, source=("192.0.2.1", THIRD)))
    assert len(stored(hear(track, THIRD, 5, TRIAL + FRAME, first=15))) == 5
    assert (track.latched and track.latched[1], track.latch_wish, track.trial > 0) == (OTHER, None, True)


@pytest.mark.parametrize(("ssrc", "kept"), [(7, 0), (9, 5)])
def test_whom_a_call_before_heard_is_told_by_address_and_ssrc_or_gives_way(ssrc: int, kept: int) -> None:
    former = (("192.0.2.1", OTHER, (7,)), ("192.0.2.1", THIRD, (8,)))
    spec = StreamSpec(0, None, b"", payloads=PAYLOADS, source=("192.0.2.1", OFFERED), former=former)
    track = Track(spec, Pauses(), 1)
    assert len(stored(hear(track, OTHER, 5, ssrc=ssrc))) == kept
    assert len(stored(hear(track, OFFERED, 5, 10 * FRAME, ssrc=8))) == 5
    assert stored(hear(track, OTHER, 5, 15 * FRAME, ssrc=ssrc, first=20)) == []
