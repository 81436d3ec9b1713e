"""Pauses decide by the time of arrival, to the ns."""

from media.pauses import MAX_INTERVALS, Pauses


def test_what_arrives_in_a_pause_is_covered_and_nothing_else() -> None:
    pauses = Pauses()
    assert pauses.begin(10)
    assert not pauses.begin(11)
    assert pauses.lasting
    assert pauses.end(20)
    assert not pauses.end(21)
    assert [pauses.covers(at) for at in (9, 10, 19, 20)] == [False, True, True, False]


def test_a_pause_is_forgotten_when_nothing_of_it_can_wait_any_more() -> None:
    pauses = Pauses([(10, 20), (30, None)])
    assert not pauses.forget(20 - 1)
    assert pauses.forget(20)
    assert not pauses.forget(10**9)
    assert pauses.items == [(30, None)]


def test_the_list_is_bounded() -> None:
    pauses = Pauses()
    for at in range(0, 4 * MAX_INTERVALS, 2):
        pauses.begin(at)
        pauses.end(at + 1)
    assert len(pauses.items) == MAX_INTERVALS
