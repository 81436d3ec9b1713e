"""Streams that were never heard: what a restart cost them begins where somebody last listened, not at the answer."""

import pytest

from media.stream.gap_detection import NEVER
from tests.media.stream.test_gap_detection import BEGIN, MS, SECOND, taken_over


@pytest.mark.parametrize(
    ("listens", "resumed", "silent"),
    [
        ([(9, False), (15, True), (24, False)], 20, 13),
        ([(25, True)], 20, 18),  # the clock was set back
        ([(900, True), (15, True), (16, False)], 60, 13),  # it was set back before that was noted anew
    ],
)
def test_a_silence_with_empty_sockets_is_no_restart_gap(
    listens: list[tuple[int, bool]], resumed: int, silent: int
) -> None:
    one = taken_over(kept=True)
    assert [one.track.listens(BEGIN + at * SECOND * MS) for at, _ in listens] == [noted for _, noted in listens]
    one.track.resume(BEGIN + resumed * SECOND * MS, False)
    one.hear(50 * resumed + 1)
    assert one.listed == [
        (0, silent * SECOND, "no media"), (silent * SECOND, resumed * SECOND + 20, "restart"),
    ]  # fmt: skip


def test_an_earlier_restart_is_missed_despite_later_listening() -> None:
    one = taken_over(since=900)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    one.track.resume(BEGIN + 20 * SECOND * MS, False)
    one.hear(1_001)
    back = one.listed[0][1]
    assert one.listed == [
        (900, back, "restart"), (back, 13 * SECOND, "no media"), (13 * SECOND, 20 * SECOND + 20, "restart"),
    ]  # fmt: skip


def test_a_restart_gap_stays_when_another_restart_follows() -> None:
    one = taken_over(kept=True)
    assert one.track.listens(BEGIN + 15 * SECOND * MS)
    one.track.resume(BEGIN + 60 * SECOND * MS, False)
    assert one.track.listens(BEGIN + 60 * SECOND * MS)
    one.track.resume(BEGIN + 61 * SECOND * MS, False, BEGIN + 60 * SECOND * MS)
    one.hear(3_051)
    assert one.listed == [(0, 13 * SECOND, "no media"), (13 * SECOND, 61 * SECOND + 20, "restart")]


def test_a_held_or_idle_stream_need_not_be_listened_to() -> None:
    held, quiet = taken_over(held=True), taken_over(since=0)
    held.track.gaps.since, quiet.track.gaps.since = NEVER, 0
    assert not any(each.track.listens(BEGIN + 99 * SECOND * MS) for each in (held, quiet))
