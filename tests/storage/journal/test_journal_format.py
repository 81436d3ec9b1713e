"""A line of the journal tells its number without being opened; whatever else it is, it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import SealBroken
from storage.journal.journal_format import HEAD_BYTES, Head, boxes_of, counting, packed

BOXES = [(0, 5 << 32, b"one"), (7, (1 << 48) - 1, b"two")]


@pytest.mark.parametrize("base", [False, True])
def test_a_line_is_read_as_it_was_written(base: bool) -> None:
    for head in (Head.new("00ff", 12, base=base), Head.new("00ff" * 4, 10**18 - 2).copied(10**18 - 1)):
        line = packed(head, BOXES)
        assert line.endswith(b"\n") and Head.of(line[:HEAD_BYTES]) == head
        assert boxes_of(line) == (head, BOXES)


def test_a_line_of_before_has_no_number() -> None:
    assert Head.of(b'{"id":"00","items":[]}\n') == Head("00", 0, False, 1, 0)


def test_a_copied_line_keeps_the_first_version() -> None:
    before = b'{"id":"00","n":3,"items":[[0,"4e2000000007","b25l"]]}\n'
    head, boxes = boxes_of(before)
    assert head == Head("00", 3, False, 1, 0) and packed(head, boxes) == before
    assert boxes_of(packed(head.copied(9), boxes))[0] == Head("00", 9, True, 1, 0)
    assert head.context(0, "acme") == head.copied(9).context(0, "acme") == "00.0"


def test_an_item_is_bound_to_its_line_and_customer() -> None:
    head = Head.new("00", 3)
    assert head.context(7, "acme") == head.copied(9).context(7, "acme") == "00.7.3.acme"


def line_of(number: int, id: str = "") -> Head:
    return Head.new(id or f"{number:02x}", number)


def base_of(*origins: int, number: int = 5) -> list[Head | None]:
    return [line_of(origin).copied(number) for origin in origins]


OLD = [Head(f"a{number}", number, False, 1, 0) for number in (1, 2)]
GOOD: dict[str, list[Head | None]] = {
    "none": [],
    "from the first on": [line_of(1), line_of(2), line_of(3)],
    "a base, whose numbers have gaps": [*base_of(1, 3, 5), line_of(6)],
    "a base in several lines": [Head.new("aa", 5, base=True), Head.new("bb", 5, base=True), line_of(6)],
    "behind lines of before": [*OLD, line_of(3)],
    "behind lines without numbers": [Head("aa", 0, False, 1, 0), line_of(1)],
    "a base of both versions": [Head("a1", 5, True, 1, 0), *base_of(3, 5), line_of(6)],
    "behind a damaged one": [None, line_of(7)],
}
BAD: dict[str, list[Head | None]] = {
    "the first is missing": [line_of(2), line_of(3)],
    "one in the middle is missing": [line_of(1), line_of(3)],
    "the first behind a base is missing": [*base_of(5), line_of(7)],
    "two changed places": [line_of(2), line_of(1), line_of(3)],
    "the last two changed places": [line_of(1), line_of(3), line_of(2)],
    "one stands there twice": [line_of(1), line_of(2), line_of(3), line_of(2)],
    "two of a base changed places": [*base_of(3, 1), line_of(6)],
    "one of a base is of later": base_of(1, 6),
    "a base of another number": [*base_of(1), *base_of(2, number=6)],
    "a base in the middle": [line_of(1), *base_of(1, number=1)],
    "it says of itself that it is of another": [Head("aa", 1, False, 2, 4)],
    "it has no number": [Head("aa", 0, False, 2, 0)],
}


@pytest.mark.parametrize("heads", GOOD.values(), ids=GOOD)
def test_lines_in_their_order_all_count(heads: list[Head | None]) -> None:
    assert counting(heads) == [True] * len(heads)


@pytest.mark.parametrize("heads", BAD.values(), ids=BAD)
def test_lines_that_are_missing_or_elsewhere_are_noticed(heads: list[Head | None]) -> None:
    with pytest.raises(SealBroken, match="missing or in another order"):
        counting(heads)


def test_a_number_that_comes_again_was_given_up_before() -> None:
    given_up = [line_of(1), line_of(2), line_of(3), line_of(2, "ff"), line_of(3, "ee")]
    assert counting(given_up) == [True, False, False, True, True]
    assert counting([*OLD, Head("ff", 1, False, 1, 0)]) == [False, False, True]


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"id":"00"}', b'{"id":"xx","items":[]}', b'{"n":1,"items":[]}'])
def test_an_invalid_line_has_no_head(line: bytes) -> None:
    assert Head.of(line) is None


@given(st.binary(max_size=80) | st.just(packed(Head.new("00", 1), BOXES)).map(lambda line: line[:-9]))
def test_whatever_is_read_is_a_line_or_damaged(line: bytes) -> None:
    Head.of(line)
    with pytest.raises(SealBroken):
        boxes_of(line)
