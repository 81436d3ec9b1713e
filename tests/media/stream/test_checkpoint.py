"""The state of streams comes back as it was, and damage is said."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Damaged
from media.rtp import header
from media.stream import checkpoint
from media.stream.gap_detection import RefusedPackets
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, lane_of, receive, stream_of, successor_of, track_of

AT = 1_700_000_000_000_000_000


def hear(track: ReceivedStream, number: int, ssrc: int = 7, at: int = 0) -> bool:
    packet = header.build(8, number, number * 160, ssrc, bytes(160))
    return receive(track, [packet], arrivals=[AT + at * FRAME]) != []


def fresh(**more: Any) -> ReceivedStream:
    return track_of(pure=True, **more)


@given(st.lists(st.tuples(st.integers(0, 900), st.sampled_from((7, 9, 11))), max_size=60), st.booleans())
def test_property_a_successor_knows_what_its_predecessor_knew(heard: list[tuple[int, int]], held: bool) -> None:
    track = fresh()
    for at, (number, ssrc) in enumerate(heard):
        hear(track, number, ssrc, at)
    if held:
        track.forgive(AT, AT + 1)
    successor = successor_of(track)
    successor.latch.pure = True
    ours, theirs = figures(successor), figures(track)
    for known in (ours, theirs):
        known["sources"], known["last_arrival"] = sorted(known["sources"]), 0
    assert ours == theirs
    assert successor.gaps.excused == track.gaps.excused
    for at, (number, ssrc) in enumerate(heard, len(heard)):
        assert hear(successor, number, ssrc, at) == hear(track, number, ssrc, at)


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
    track = track_of(source=offered, networks=("192.0.2.0/24",))
    receive(track, stream_of(2, 10), port=came_from)
    successor = successor_of(track, replace(track.spec, source=now))
    assert successor.latched == (bytes((192, 0, 2, 1)), came_from)
    assert successor.latch.coming == ((successor.latch.allowed,) if moved_on else ())
    same = successor_of(track)
    assert same.trial == track.trial == (offered is not None and came_from != 4000)


@pytest.mark.parametrize(("heard", "refused"), [(False, None), (True, RefusedPackets(3, AT + 1))])
def test_a_successor_knows_when_the_silence_began(heard: bool, refused: RefusedPackets | None) -> None:
    track = fresh()
    track.gaps.since = AT
    if heard:
        hear(track, 1, at=50)
        track.gaps.silent(7, AT + 2_000_000_000)
    track.gaps.refused = refused
    track.cold = None
    successor = successor_of(track)
    assert (successor.gaps.since, successor.gaps.refused) == (AT + heard * 2_000_000_000, refused)
    successor.finish(AT + 60_000_000_000)
    assert [why for _, _, why in successor.gaps.listed()] == ["no media"]


@given(st.lists(st.integers(2, 40), max_size=30), st.integers(1, 40))
def test_property_batches_in_order_need_no_more_than_what_moves(batches: list[int], before: int) -> None:
    """A base of some time ago and what has moved since are the same as a base of now."""
    track, packets, at = fresh(), stream_of(before + sum(batches), 10), before
    receive(track, packets[:before])
    base = checkpoint.pack([track])
    for count in batches:
        receive(track, packets[at : at + count], at)
        at += count
        assert checkpoint.moving([track]) is not None
    old, new = fresh(), successor_of(track)
    checkpoint.restore(base, checkpoint.moving([track]) or b"", {0: old})
    assert figures(old) == figures(new) == figures(track)
    assert checkpoint.pack([old]) == checkpoint.pack([new])
    assert old.reception.packets == len(packets)
    repeated = packets[-64:]
    receive(old, repeated, arrivals=[FIRST_ARRIVAL] * len(repeated))
    assert (old.reception.packets, old.reception.duplicates) == (len(packets), len(repeated))


def test_whatever_else_changes_wants_a_new_base() -> None:
    track, packets = fresh(), stream_of(12, 10)
    receive(track, packets)
    acts: list[Callable[[], object]] = [
        lambda: receive(track, packets[-2:]),
        lambda: track.receive_rtcp(lane_of([b"noise"], [FIRST_ARRIVAL]), 1, []),
        lambda: track.forgive(AT, AT + 1),
        lambda: track.change(track.spec, AT, []),
        lambda: track.finish(AT),
    ]
    for act in acts:
        checkpoint.pack([track])
        assert checkpoint.moving([track]) is not None
        act()
        assert checkpoint.moving([track]) is None


def test_a_silent_stream_hands_on_only_its_report_count() -> None:
    track = fresh()
    track.srtp.reports = 2
    successor = successor_of(track)
    assert (successor.reception.current, successor.reception.packets, successor.srtp.reports) == (None, 0, 2)


def test_restored_streams_are_matched_by_their_order() -> None:
    """Those that are gone are passed over."""
    tracks = [fresh() for _ in range(5)]
    for number, track in enumerate(tracks):
        track.spec = replace(track.spec, stream=number)
        receive(track, stream_of(number, 0))
    base, successors = checkpoint.pack(tracks), {number: fresh() for number in (1, 3, 4)}
    checkpoint.restore(base, checkpoint.moving(tracks) or b"", successors)
    assert [track.reception.packets for track in successors.values()] == [1, 3, 4]


def test_every_truncation_is_reported() -> None:
    track = fresh()
    hear(track, 1)
    whole, moving = checkpoint.pack([track]), checkpoint.moving([track]) or b""
    cut = [(whole[:size], moving) for size in range(1, len(whole))] + [(whole, moving[:n]) for n in range(len(moving))]
    for base, rest in cut:
        with pytest.raises(Damaged):
            checkpoint.restore(base, rest, {0: fresh()})
