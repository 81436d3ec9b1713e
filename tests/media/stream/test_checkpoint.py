"""The state of streams comes back as it was, and damage is said."""

import contextlib
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pylibsrtp import Policy, Session

from media.errors import Damaged
from media.rtp import header
from media.stream import checkpoint
from media.stream.gap_detection import Expected, RefusedPackets
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from media.stream.source_probation import Unproven
from tests.media.stream.lanes import FIRST_ARRIVAL, FRAME, KEY, lane_of, receive, stream_of, successor_of, track_of

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
    successor = successor_of(track)
    assert (successor.gaps.since, successor.gaps.refused) == (AT + heard * 2_000_000_000, refused)
    successor.finish(AT + 60_000_000_000)
    assert [why for _, _, why in successor.gaps.listed()] == ["no media"]


@given(st.lists(st.integers(2, 40), max_size=30), st.integers(1, 40))
def test_property_batches_in_order_need_no_more_than_what_moves(batches: list[int], before: int) -> None:
    """A base of some time ago and what has moved since are the same as a base of now."""
    track, packets, at = fresh(), stream_of(before + sum(batches), 10), before
    receive(track, packets[:before])
    base, steady = checkpoint.pack([track]), checkpoint.steady([track])
    for count in batches:
        receive(track, packets[at : at + count], at)
        at += count
        assert checkpoint.steady([track]) == steady
    old, new = fresh(), successor_of(track)
    checkpoint.restore(base, checkpoint.moving([track]), {0: old})
    assert figures(old) == figures(new) == figures(track)
    assert checkpoint.pack([old]) == checkpoint.pack([new])
    assert old.reception.packets == len(packets)
    repeated = packets[-64:]
    receive(old, repeated, arrivals=[FIRST_ARRIVAL] * len(repeated))
    assert (old.reception.packets, old.reception.duplicates) == (len(packets), len(repeated))


def hear_report(track: ReceivedStream, at: int, ssrc: int) -> None:
    """Have it receive a sender report that no packet was sent, or, if the SSRC is 0, noise."""
    report = struct.pack("!BBHIQIII", 0x80, 200, 6, ssrc, 1, 160, 0, 0)
    track.receive_rtcp(lane_of([report if ssrc else b"noise"], [at]), 1, [])


def offer(track: ReceivedStream, at: int, **changes: Any) -> None:
    track.change(replace(track.spec, **changes), at, [])


Act = Callable[[ReceivedStream, int, list[int]], object]


def in_sequence(track: ReceivedStream, at: int, heard: list[int]) -> None:
    count = heard[-1] % 4 + 1
    receive(track, stream_of(count, heard[-1] + 1), arrivals=[at + n * FRAME for n in range(count)])
    heard.append(heard[-1] + count)


#: What happens to a stream, given its time and the numbers of its packets so far.
ACTS: dict[str, Act] = {
    "a batch": in_sequence,
    "the batch before": lambda track, at, heard: receive(track, stream_of(2, heard[-1] - 1), arrivals=[at, at]),
    "a lost packet": lambda track, at, heard: heard.append(heard[-1] + 1),
    "the packet before last": lambda track, at, heard: hear(track, heard[-1] - 1, at=(at - AT) // FRAME),
    "another sender": lambda track, at, heard: hear(track, heard[-1], ssrc=9, at=(at - AT) // FRAME),
    "another codec": lambda track, at, heard: receive(
        track, [header.build(0, heard[-1] + n, (heard[-1] + n) * 160, 7, bytes(160)) for n in (1, 2)], arrivals=[at, at]
    ),
    "two senders at once": lambda track, at, heard: receive(
        track, [stream_of(1, heard[-1], 11)[0], stream_of(1, heard[-1] + 1)[0]], arrivals=[at, at + 1]
    ),
    "noise": lambda track, at, _: hear_report(track, at, 0),
    "a report of silence": lambda track, at, _: hear_report(track, at, 7),
    "a hold": lambda track, at, _: offer(track, at, held=True),
    "the end of a hold": lambda track, at, _: offer(track, at, held=False),
    "another offered source": lambda track, at, heard: offer(track, at, source=("192.0.2.1", 4000 + heard[-1])),
    "a pause": lambda track, at, _: track.pauses.begin(at) and track.forgive(at, None),
    "the end of a pause": lambda track, at, _: track.pauses.end(at) and track.forgive(track.pauses.items[-1][0], at),
    "an empty socket": lambda track, at, _: track.listens(at),
    "unstored packets": lambda track, at, _: track.reception.packets > 4 and track.unstored(2, at - FRAME, at),
    "a packet no key opens": lambda track, at, _: track.gaps.unopened(bytes(12), at),
    "a restart": lambda track, at, _: track.resume(at, False),
    "a restart with sockets": lambda track, at, _: track.resume(at, True),
    "the source is forgotten": lambda track, at, _: track.latch.move(at),
    "the end": lambda track, at, _: track.finish(at),
}


@given(st.lists(st.tuples(st.sampled_from(list(ACTS)), st.integers(1, 500)), min_size=10, max_size=40), st.booleans())
def test_property_a_base_is_good_while_nothing_else_changes(acts: list[tuple[str, int]], pure: bool) -> None:
    """Nothing says that it changed: what a successor would learn does."""
    track, at, heard = track_of(pure=pure), AT, [100]
    track.gaps.expect(AT)
    base, steady = checkpoint.pack([track]), checkpoint.steady([track])
    for act, frames in acts:
        at += frames * FRAME
        ACTS[act](track, at, heard)
        fresh = checkpoint.pack([track])
        if checkpoint.steady([track]) != steady:
            base, steady = fresh, checkpoint.steady([track])
            continue
        known = [track_of(), track_of()]
        for state, successor in zip((base, fresh), known, strict=True):
            successor.spec = track.spec
            checkpoint.restore(state, checkpoint.moving([track]), {0: successor})
        assert checkpoint.pack(known[:1]) == checkpoint.pack(known[1:]), act


def heard_of_two() -> ReceivedStream:
    track = fresh()
    for at, ssrc in enumerate((7, 7, 9)):
        hear(track, 10 + at, ssrc, at)
    return track


def never_heard() -> ReceivedStream:
    """Give a stream whose socket was empty, and that another worker continues now."""
    track = fresh()
    track.gaps.expect(AT)
    track.listens(AT + 3600 * FRAME)
    track.resume(AT + 7200 * FRAME, False)
    return track


#: Another value for what is no number.
OTHERS: dict[str, Any] = {
    "sources": (), "current": None, "retired": (1, 2, 3), "payload_type": 0, "items": ((1, 2, "loss", 7, 1, 1),),
    "excused": (AT, None), "refused": RefusedPackets(1, AT), "since": Expected.NOT_NOW,
    "name": bytes((2, 0, 15, 161, 192, 0, 2, 1)) + bytes(8),
    "unproven": (Unproven(header.parse(packet := stream_of(1, 1)[0]), packet, AT),),
}  # fmt: skip


@pytest.mark.parametrize("made", [heard_of_two, never_heard])
def test_each_value_of_a_checkpoint_moves_or_needs_a_new_base(made: Callable[[], ReceivedStream]) -> None:
    track, moves = made(), set()
    packed, steady = checkpoint.pack([track]), checkpoint.steady([track])
    for owner in (track.reception, *track.reception.sources, track.gaps, track.latch, track.probation, track.srtp):
        for name in dir(owner):
            known = getattr(owner, name)
            if isinstance(known, int | float):
                other: Any = not known if isinstance(known, bool) else known + 1
            elif name in OTHERS:
                other = OTHERS[name]
            else:
                continue
            with contextlib.suppress(AttributeError):  # it is computed
                setattr(owner, name, other)
                if checkpoint.pack([track]) != packed and checkpoint.steady([track]) == steady:
                    moves.add(name)
                setattr(owner, name, known)
                steady = checkpoint.steady([track])
    # the window follows from the numbers received
    expected = {"timestamp", "arrival", "step", "window", "size", "jitter", "reports"}
    assert moves == (expected if track.reception.current else {"size", "jitter", "reports"})


def test_the_base_is_good_for_packets_in_sequence_one_by_one() -> None:
    """Also if each is examined, because it has a marker or comes alone."""
    track, packets = fresh(), stream_of(20, 10)
    receive(track, packets[:4])
    steady = checkpoint.steady([track])
    receive(track, packets[4:], 4, cuts=1)
    receive(track, [header.build(8, 30, 30 * 160, 7, bytes(160), marker=True)], 20)
    assert checkpoint.steady([track]) == steady


def test_a_base_does_not_outlast_a_key() -> None:
    track, other = track_of(srtp=True), bytes(range(1, 31))
    old, new = (Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND)) for key in (KEY, other))
    packets = stream_of(8, 10)
    receive(track, [old.protect(packet) for packet in packets[:4]])
    track.change(replace(track.spec, key=other), AT, [])
    steady = checkpoint.steady([track])
    receive(track, [new.protect(packet) for packet in packets[4:]], 4)
    assert checkpoint.steady([track]) != steady


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
    checkpoint.restore(base, checkpoint.moving(tracks), successors)
    assert [track.reception.packets for track in successors.values()] == [1, 3, 4]


def test_every_truncation_is_reported() -> None:
    track = fresh()
    hear(track, 1)
    whole, moving = checkpoint.pack([track]), checkpoint.moving([track])
    cut = [(whole[:size], moving) for size in range(1, len(whole))] + [(whole, moving[:n]) for n in range(len(moving))]
    for base, rest in cut:
        with pytest.raises(Damaged):
            checkpoint.restore(base, rest, {0: fresh()})
