"""Streams that were never heard: what a restart cost them begins where somebody last listened, not at the answer."""

from media.stream.gap_detection import NEVER
from tests.media.stream.test_gap_detection import BEGIN, MS, SECOND, taken_over


def test_a_silence_is_none_of_the_restart_while_the_sockets_were_known_to_be_empty() -> None:
    one = taken_over(kept=True)
    assert not one.track.listens(BEGIN + 9 * SECOND * MS)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    assert not one.track.listens(BEGIN + 24 * SECOND * MS)
    one.track.resume(BEGIN + 20 * SECOND * MS, False)
    one.hear(1_001)
    assert one.told == [(0, 13 * SECOND, "no media"), (13 * SECOND, 20 * SECOND + 20, "restart")]


def test_a_restart_is_missed_although_the_clock_was_set_back_since_somebody_listened() -> None:
    one = taken_over(kept=True)
    assert one.track.listens(BEGIN + 25 * SECOND * MS)
    one.track.resume(BEGIN + 20 * SECOND * MS, False)
    one.hear(1_001)
    assert one.told == [(0, 18 * SECOND, "no media"), (18 * SECOND, 20 * SECOND + 20, "restart")]


def test_a_restart_before_the_last_is_missed_too_although_somebody_listened_since() -> None:
    one = taken_over(since=900)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    one.track.resume(BEGIN + 20 * SECOND * MS, False)
    one.hear(1_001)
    back = one.told[0][1]
    assert one.told == [
        (900, back, "restart"), (back, 13 * SECOND, "no media"), (13 * SECOND, 20 * SECOND + 20, "restart"),
    ]  # fmt: skip


def test_what_a_restart_has_cost_is_no_silence_although_the_next_one_came_at_once() -> None:
    one = taken_over(kept=True)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    one.track.resume(BEGIN + 60 * SECOND * MS, False)
    assert one.track.listens(BEGIN + 60 * SECOND * MS)
    one.track.resume(BEGIN + 61 * SECOND * MS, False, BEGIN + 60 * SECOND * MS)
    one.hear(3_051)
    assert one.told == [(0, 13 * SECOND, "no media"), (13 * SECOND, 61 * SECOND + 20, "restart")]


def test_listening_is_noted_anew_when_the_clock_was_set_back() -> None:
    one = taken_over(kept=True)
    assert one.track.listens(BEGIN + 900 * SECOND * MS)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    assert not one.track.listens(BEGIN + 16 * SECOND * MS)
    one.track.resume(BEGIN + 60 * SECOND * MS, False)
    one.hear(3_001)
    assert one.told == [(0, 13 * SECOND, "no media"), (13 * SECOND, 60 * SECOND + 20, "restart")]


def test_nobody_need_listen_to_a_stream_that_is_held_or_has_nothing_to_say() -> None:
    held, quiet = taken_over(held=True), taken_over(since=0)
    held.track.gaps.since, quiet.track.gaps.since = NEVER, 0
    assert not any(each.track.listens(BEGIN + 99 * SECOND * MS) for each in (held, quiet))
