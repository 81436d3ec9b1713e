"""A part of a file that is made from front to back."""

from __future__ import annotations

import pytest

from recorder.render_job import BadJob
from recorder.window import MAX_SPAN, Reached, Window, span_from_json, span_to_json

FILE = bytes(range(50))


def through(begin: int, end: int, step: int) -> tuple[bytes, int]:
    """Write the file piece by piece; return what came out and how much had to be made."""
    out, made = bytearray(), 0
    window = Window(out.extend, begin, end)
    try:
        for at in range(0, len(FILE), step):
            made += len(FILE[at : at + step])
            window.write(FILE[at : at + step])
    except Reached:
        pass
    return bytes(out), made


@pytest.mark.parametrize("step", [1, 7, 50])
def test_every_part_comes_out_however_it_is_written(step: int) -> None:
    for begin in range(len(FILE)):
        for end in range(begin + 1, len(FILE) + 1):
            assert through(begin, end, step)[0] == FILE[begin:end]


def test_nothing_is_made_behind_the_end() -> None:
    assert through(3, 9, 5) == (FILE[3:9], 10)
    assert through(3, 10, 5) == (FILE[3:10], 10)


def test_a_part_arrives_as_it_was_named() -> None:
    line = span_to_json(10**18, 10**19 - 1)
    assert len(line) <= MAX_SPAN and line.endswith(b"\n")
    assert span_from_json(line) == (10**18, 10**19 - 1)


@pytest.mark.parametrize("line", [b"", b"[1]\n", b"[1, 2, 3]\n", b'["a", 2]\n', b"7\n", b"\xff"])
def test_anything_else_is_a_bad_job(line: bytes) -> None:
    with pytest.raises(BadJob):
        span_from_json(line)
