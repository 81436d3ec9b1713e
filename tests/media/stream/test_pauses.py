"""Pauses decide by the time of arrival, to the ns."""

import pytest

from media.rtp import header
from media.spec import StreamSpec
from media.stream.pauses import FIRST_UPDATE, GRACE, MAX_DIGITS, MAX_INTERVALS, Pauses
from tests.media.rtp.test_red import redundant

SECOND = 1_000_000_000


def test_a_pause_covers_only_arrivals_within_it() -> None:
    pauses = Pauses()
    assert [pauses.begin(10), pauses.begin(11), pauses.lasting] == [True, False, True]
    assert [pauses.end(20), pauses.end(21)] == [True, False]
    assert [pauses.covers(at) for at in (9, 10, 19, 20)] == [False, True, True, False]


def test_a_pause_is_forgotten_once_nothing_of_it_can_wait() -> None:
    pauses, left = Pauses([(10, 20), (30, None)]), []
    for at in (GRACE + 20 - 1, GRACE + 20, 10**10):
        pauses.forget(at)
        left.append(len(pauses.items))
    assert (left, pauses.items) == ([2, 1, 1], [(30, None)])


def test_a_successor_learns_the_pauses_and_whether_one_lasts() -> None:
    left = [(10, 20), (30, None)]
    for told, over, known in (
        ([], None, left),
        ([], 50, [(10, 20), (30, 50)]),
        ([], 25, [(10, 20), (30, 30)]),
        ([(29, None)], 50, [(10, 20), (29, None)]),
        ([(10, 20), (30, 40)], 50, [(10, 20), (30, 40)]),
    ):
        pauses = Pauses(told)
        pauses.take_over(left, over)
        assert pauses.items == known


def test_a_digit_keyed_in_a_pause_is_excluded_while_held() -> None:
    pauses, second = Pauses([(10 * SECOND, 20 * SECOND)]), SECOND
    assert not pauses.keyed((7, 100), 9 * second, 9 * second + 1)
    for digit, began, arrival in (((7, 200), 15, 15), ((7, 300), 19, 21)):  # the second one is first heard after it
        assert pauses.keyed(digit, began * second, arrival * second)
    assert pauses.keyed((7, 300), 21 * second, 21 * second + 1)  # its end, repeated late
    for held in range(20, 30):
        assert pauses.keyed((7, 200), 15 * second, held * second)
        pauses.forget(held * second)
        assert pauses.items
    assert not pauses.keyed((7, 400), 20 * second - FIRST_UPDATE, 20 * second)
    pauses.forget(32 * second)
    assert not pauses.items
    assert not pauses.keyed((7, 200), 33 * second, 33 * second)


def test_the_digits_of_a_pause_are_bounded() -> None:
    """The oldest are forgotten: they may go on after the pause."""
    pauses = Pauses([(0, 10 * SECOND)])
    for number in range(MAX_DIGITS + 1):
        assert pauses.keyed((7, number), 1, 1)
    known = [pauses.keyed((7, number), 30 * SECOND, 30 * SECOND + 1) for number in range(MAX_DIGITS, -1, -1)]
    assert known.count(True) == MAX_DIGITS


def test_the_pause_list_is_bounded_and_covers_every_pause() -> None:
    pauses, last = Pauses(), 4 * MAX_INTERVALS
    for at in range(0, last, 2):
        pauses.begin(at)
        pauses.end(at + 1)
    assert len(pauses.items) == MAX_INTERVALS
    assert all(pauses.covers(at) for at in range(0, last, 2))
    newest = range(last - 2 * MAX_INTERVALS + 3, last, 2)
    assert not any(pauses.covers(at) for at in newest), "between the newest it is kept"
    other = Pauses([(last, None)])
    other.take_over(pauses.items, None)
    assert len(other.items) == MAX_INTERVALS
    assert all(other.covers(at) for at in range(0, last + 1, 2))
    assert other.lasting


MS, BEGIN, END = 1_000_000, 10_000, 20_000  # the pause, in ms
SPEC = StreamSpec(0, payloads=((0, "PCMU", 8000), (96, "RED", 8000), (101, "telephone-event", 8000)))


def heard(at: int, payload_type: int, payload: bytes, timestamp: int = 5000, pauses: Pauses | None = None) -> bool:
    packet = header.build(payload_type, 1, timestamp, 7, payload)
    pauses = pauses or Pauses([(BEGIN * MS, END * MS)])
    return not pauses.unwanted(SPEC, header.parse(packet), packet, at * MS)


RED, VOICE = 96, b"x" * 160
KEY = b"\x05\x8a"
CARRIED = redundant((101, 3200, KEY + (8 * 100).to_bytes(2)), newest=(0, b"c" * 160))
KEPT = {
    "sound": (0, VOICE, {9_999: True, 10_000: False, 19_999: False, 20_000: True}),
    "a digit keyed in the pause that ends later": (101, KEY + (8 * 200).to_bytes(2), {20_100: False}),
    "a digit keyed after it": (101, KEY + (8 * 20).to_bytes(2), {20_100: True}),
    "redundant audio of the pause": (
        RED,
        redundant((0, 320, b"a" * 160), (0, 160, b"b" * 160), newest=(0, b"c" * 160)),
        {9_999: True, 10_000: False, 20_000: False, 20_020: False, 20_040: True},
    ),
    "a digit that is repeated": (RED, CARRIED, {20_200: False, 20_600: True}),
    "a digit as the new block": (RED, redundant(newest=(101, KEY + (8 * 100).to_bytes(2))), {20_040: False}),
    "redundant audio that cannot be read": (RED, b"\x80", {19_999: False, 20_000: True}),
}


@pytest.mark.parametrize(("payload_type", "payload", "kept"), KEPT.values(), ids=KEPT)
def test_nothing_of_a_pause_is_kept(payload_type: int, payload: bytes, kept: dict[int, bool]) -> None:
    assert {at: heard(at, payload_type, payload) for at in kept} == kept
