"""The state of streams comes back as it was, and damage is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media import holes, rtp, state
from media.errors import Damaged
from media.figures import figures
from media.pauses import Pauses
from media.spec import StreamSpec
from media.track import Track

AT = 1_700_000_000_000_000_000
SPEC = StreamSpec(3, payloads=((8, "PCMA", 8000),), source=("192.0.2.1", 4000))


def fresh() -> Track:
    return Track(SPEC, Pauses(), 1)


def hear(track: Track, number: int, ssrc: int = 7, at: int = 0) -> bool:
    packet = rtp.build(8, number, number * 160, ssrc, bytes(160))
    return track._place(rtp.parse(packet), packet, AT + at * 20_000_000) is not None


@given(st.lists(st.tuples(st.integers(0, 900), st.sampled_from((7, 9, 11))), max_size=60), st.booleans())
def test_property_a_successor_knows_what_its_predecessor_knew(heard: list[tuple[int, int]], held: bool) -> None:
    track, successor = fresh(), fresh()
    for at, (number, ssrc) in enumerate(heard):
        hear(track, number, ssrc, at)
    if held:
        holes.forgive(track, AT, AT + 1)
    state.restore(state.pack([track]), {3: successor})
    ours, theirs = figures(successor), figures(track)
    for told in (ours, theirs):
        told["sources"], told["last_arrival"] = sorted(told["sources"]), 0
    assert ours == theirs
    assert (successor.excused_from, successor.excused_until) == (track.excused_from, track.excused_until)
    for number, ssrc in heard:
        assert hear(successor, number, ssrc) == hear(track, number, ssrc)
    assert not any(hear(successor, number, ssrc) for number, ssrc in heard)


def test_a_successor_knows_from_when_on_silence_counts_and_what_no_key_opened() -> None:
    track = fresh()
    track.since = AT
    for heard, refused in ((False, (0, 0)), (True, (3, AT + 1))):
        if heard:
            hear(track, 1, at=50)
            holes.silent(track, 7, AT + 2_000_000_000)
        track.refused, track.cold = refused, None
        successor = fresh()
        state.restore(state.pack([track]), {3: successor})
        assert (successor.since, successor.refused) == (AT + heard * 2_000_000_000, refused)
        holes.finish(successor, AT + 60_000_000_000)
        assert [why for _, _, why in successor.gaps.listed()] == ["no media"]


def test_a_stream_of_which_nothing_is_odd_shares_its_rare_state() -> None:
    track = fresh()
    track.since = AT
    hear(track, 1, at=1)
    state.pack([track])
    assert track.cold is state._USUAL


def test_streams_that_are_gone_are_passed_over() -> None:
    track = fresh()
    hear(track, 1)
    state.restore(state.pack([track]), {})


def test_every_truncation_is_said() -> None:
    track = fresh()
    hear(track, 1)
    whole = state.pack([track])
    for size in range(1, len(whole)):
        with pytest.raises(Damaged):
            state.restore(whole[:size], {3: fresh()})
