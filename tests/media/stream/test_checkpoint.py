"""The state of streams comes back as it was, and damage is said."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Damaged
from media.rtp import header
from media.spec import StreamSpec
from media.stream import checkpoint
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from tests.media.stream.lanes import FIRST_ARRIVAL, lane_of, stream_of

AT = 1_700_000_000_000_000_000
SPEC = StreamSpec(3, payloads=((8, "PCMA", 8000),), source=("192.0.2.1", 4000))


def fresh() -> ReceivedStream:
    return ReceivedStream(SPEC, Pauses(), 1)


def hear(track: ReceivedStream, number: int, ssrc: int = 7, at: int = 0) -> bool:
    packet = header.build(8, number, number * 160, ssrc, bytes(160))
    return track._place(header.parse(packet), packet, AT + at * 20_000_000) is not None


def moved(*tracks: ReceivedStream) -> bytes:
    told = checkpoint.moving(tracks)
    assert told is not None
    return told


def hand_on(track: ReceivedStream, successor: ReceivedStream) -> None:
    checkpoint.restore(checkpoint.pack([track]), moved(track), {3: successor})


@given(st.lists(st.tuples(st.integers(0, 900), st.sampled_from((7, 9, 11))), max_size=60), st.booleans())
def test_property_a_successor_knows_what_its_predecessor_knew(heard: list[tuple[int, int]], held: bool) -> None:
    track, successor = fresh(), fresh()
    for at, (number, ssrc) in enumerate(heard):
        hear(track, number, ssrc, at)
    if held:
        track.forgive(AT, AT + 1)
    hand_on(track, successor)
    ours, theirs = figures(successor), figures(track)
    for told in (ours, theirs):
        told["sources"], told["last_arrival"] = sorted(told["sources"]), 0
    assert ours == theirs
    assert (successor.gaps.excused_from, successor.gaps.excused_until) == (
        track.gaps.excused_from,
        track.gaps.excused_until,
    )
    for number, ssrc in heard:
        assert hear(successor, number, ssrc) == hear(track, number, ssrc)
    assert not any(hear(successor, number, ssrc) for number, ssrc in heard)


@pytest.mark.parametrize(
    ("offered", "came_from", "now", "moved_on"),
    [
        (("192.0.2.1", 4000), 4000, ("192.0.2.1", 4000), False),
        (("192.0.2.1", 4000), 4000, ("192.0.2.1", 4004), True),
        (("192.0.2.1", 4000), 4000, None, True),
        (("192.0.2.1", 4000), 4002, ("192.0.2.1", 4000), False),
        (("192.0.2.1", 4000), 4002, ("192.0.2.1", 4002), True),
        (None, 4000, None, False),
        (None, 4000, ("192.0.2.1", 4000), True),
    ],
)
def test_a_successor_knows_which_offer_chose_the_source(
    offered: tuple[str, int] | None, came_from: int, now: tuple[str, int] | None, moved_on: bool
) -> None:
    spec = replace(SPEC, source=offered, networks=("192.0.2.0/24",))
    track, successor = ReceivedStream(spec, Pauses(), 1), ReceivedStream(replace(spec, source=now), Pauses(), 1)
    track.receive(lane_of(stream_of(2, 10), [FIRST_ARRIVAL] * 2, port=came_from), 2, [])
    hand_on(track, successor)
    assert successor.latched == (bytes((192, 0, 2, 1)), came_from)
    assert successor.latch.coming == ((successor.latch.allowed,) if moved_on else ())


@pytest.mark.parametrize(("came_from", "trial"), [(4000, False), (4002, True)])
def test_a_successor_knows_if_its_source_is_only_provisional(came_from: int, trial: bool) -> None:
    track, successor = fresh(), fresh()
    track.receive(lane_of(stream_of(2, 10), [FIRST_ARRIVAL] * 2, port=came_from), 2, [])
    hand_on(track, successor)
    assert (successor.trial, track.trial) == (trial, trial)


def test_a_successor_knows_when_the_silence_began() -> None:
    track = fresh()
    track.gaps.since = AT
    for heard, refused in ((False, (0, 0)), (True, (3, AT + 1))):
        if heard:
            hear(track, 1, at=50)
            track.gaps.silent(7, AT + 2_000_000_000)
        track.gaps.refused.restore(refused)
        track.cold = None
        successor = fresh()
        hand_on(track, successor)
        assert (successor.gaps.since, successor.gaps.refused.state()) == (AT + heard * 2_000_000_000, refused)
        successor.finish(AT + 60_000_000_000)
        assert [why for _, _, why in successor.gaps.listed()] == ["no media"]


def test_a_stream_of_which_nothing_is_odd_shares_its_rare_state() -> None:
    track = fresh()
    track.gaps.since = AT
    hear(track, 1, at=1)
    checkpoint.pack([track])
    assert track.cold is checkpoint._USUAL


@given(st.lists(st.integers(2, 40), max_size=30), st.integers(1, 40))
def test_property_batches_in_order_need_no_more_than_what_moves(batches: list[int], before: int) -> None:
    """A base of some time ago and what has moved since are the same as a base of now."""
    track = fresh()
    track.latch.pure = True
    arrivals = itertools.count(FIRST_ARRIVAL, 20_000_000)
    packets = iter(stream_of(before + sum(batches) + 1, 10))

    def receive(count: int) -> list[bytes]:
        some = list(itertools.islice(packets, count))
        track.receive(lane_of(some, list(itertools.islice(arrivals, count))), count, [])
        return some

    heard = receive(before)
    base = checkpoint.pack([track])
    for count in batches:
        heard += receive(count)
        assert checkpoint.moving([track]) is not None
    old, new = fresh(), fresh()
    checkpoint.restore(base, moved(track), {3: old})
    hand_on(track, new)
    assert figures(old) == figures(new) == figures(track)
    assert checkpoint.pack([old]) == checkpoint.pack([new])
    assert old.reception.packets == before + sum(batches)
    repeated = heard[-64:]
    old.receive(lane_of(repeated, [FIRST_ARRIVAL] * len(repeated)), len(repeated), [])
    assert (old.reception.packets, old.reception.duplicates) == (before + sum(batches), len(repeated))


def test_whatever_else_changes_wants_a_new_base() -> None:
    track = fresh()
    track.latch.pure = True
    packets = stream_of(12, 10)
    track.receive(lane_of(packets, [FIRST_ARRIVAL + 20_000_000 * n for n in range(12)]), 12, [])
    acts: list[Callable[[], object]] = [
        lambda: track.receive(lane_of(packets[-2:], [FIRST_ARRIVAL] * 2), 2, []),
        lambda: track.receive_rtcp(lane_of([b"noise"], [FIRST_ARRIVAL]), 1, []),
        lambda: track.forgive(AT, AT + 1),
        lambda: track.change(SPEC, AT, []),
        lambda: track.finish(AT),
    ]
    for act in acts:
        checkpoint.pack([track])
        assert checkpoint.moving([track]) is not None
        act()
        assert checkpoint.moving([track]) is None


def test_a_silent_stream_hands_on_only_its_report_count() -> None:
    track, successor = fresh(), fresh()
    track.srtp.reports = 2
    hand_on(track, successor)
    assert (successor.reception.current, successor.reception.packets, successor.srtp.reports) == (None, 0, 2)


def test_restored_streams_are_matched_by_their_order() -> None:
    tracks = [fresh() for _ in range(5)]
    for number, track in enumerate(tracks):
        track.spec = replace(SPEC, stream=number)
        for sequence in range(number):
            hear(track, sequence, at=sequence)
    base = checkpoint.pack(tracks)
    successors = {number: fresh() for number in (1, 3, 4)}
    checkpoint.restore(base, moved(*tracks), successors)
    assert [track.reception.packets for track in successors.values()] == [1, 3, 4]


def test_streams_that_are_gone_are_passed_over() -> None:
    track = fresh()
    hear(track, 1)
    checkpoint.restore(checkpoint.pack([track]), moved(track), {})


def test_every_truncation_is_said() -> None:
    track = fresh()
    hear(track, 1)
    whole, moving = checkpoint.pack([track]), moved(track)
    for size in range(1, len(whole)):
        with pytest.raises(Damaged):
            checkpoint.restore(whole[:size], moving, {3: fresh()})
    for size in range(len(moving)):
        with pytest.raises(Damaged):
            checkpoint.restore(whole, moving[:size], {3: fresh()})
