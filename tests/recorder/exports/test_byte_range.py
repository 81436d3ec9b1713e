"""A part of a file that is made from front to back."""

from __future__ import annotations

import pytest

from recorder.exports.render_worker import ByteRange, EndReached

FILE = bytes(range(50))


def through(begin: int, end: int, step: int) -> tuple[bytes, int]:
    """Write the file piece by piece; return what came out and how much had to be made."""
    out, made = bytearray(), 0
    window = ByteRange(out.extend, begin, end)
    try:
        for at in range(0, len(FILE), step):
            made += len(FILE[at : at + step])
            window.write(FILE[at : at + step])
    except EndReached:
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
