"""A line of the journal tells its number without being opened; whatever else it is, it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.errors import SealBroken
from storage.journal_lines import HEAD_BYTES, Head, boxes_of, packed

BOXES = [(0, 5 << 32, b"one"), (7, (1 << 48) - 1, b"two")]


@pytest.mark.parametrize("base", [False, True])
def test_a_line_is_read_as_it_was_written(base: bool) -> None:
    line = packed("00ff", 12, BOXES, base=base)
    assert line.endswith(b"\n") and Head.of(line[:HEAD_BYTES]) == Head("00ff", 12, base)
    assert boxes_of(line) == ("00ff", BOXES)


def test_a_line_of_before_has_no_number() -> None:
    assert Head.of(b'{"id":"00","items":[]}\n') == Head("00", 0, False)


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"id":"00"}', b'{"id":"xx","items":[]}', b'{"n":1,"items":[]}'])
def test_what_is_no_line_has_no_head(line: bytes) -> None:
    assert Head.of(line) is None


@given(st.binary(max_size=80) | st.just(packed("00", 1, BOXES, base=False)).map(lambda line: line[:-9]))
def test_whatever_is_read_is_a_line_or_damaged(line: bytes) -> None:
    Head.of(line)
    with pytest.raises(SealBroken):
        boxes_of(line)
