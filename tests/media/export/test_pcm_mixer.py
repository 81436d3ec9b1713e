"""Pieces of sound on a canvas come out in order, interleaved, once."""

from array import array

import pytest

from media.export import pcm_mixer
from media.export.pcm_mixer import Canvas


def pcm(*samples: int) -> bytes:
    return array("h", samples).tobytes()


def shown(board: Canvas, out: bytearray, upto: int) -> list[int]:
    board.flush(upto)
    return list(array("h", bytes(out)))


def board_of(channels: int) -> tuple[Canvas, bytearray]:
    out = bytearray()
    return Canvas(channels, out.extend), out


def test_channels_are_interleaved_and_holes_are_silent() -> None:
    board, out = board_of(2)
    board.write(0, 1, pcm(10, 11), 1)
    board.write(1, 0, pcm(-1), 2)
    assert shown(board, out, 4) == [0, -1, 10, 0, 11, 0, 0, 0]
    assert (board.lanes[0].gaps, board.lanes[1].gaps) == ([(0, 1)], [])
    assert (board.lanes[0].sound, board.lanes[0].end) == (2, 3)


@pytest.mark.parametrize(
    ("pieces", "mixed"),
    [
        ([(0, (1,), 1), (2, (3,), 1), (1, (2,), 1)], [1, 2, 3]),  # a late piece fills the hole left for it
        ([(0, (1, 2), 1), (1, (9, 3), 1)], [1, 2, 3]),  # one source never overwrites itself
        ([(0, (100, 30_000), 1), (1, (10_000, 5), 2)], [100, 32_767, 5]),  # two at once are mixed, and clipped
        ([(0, (-30_000, 1, 0), 1), (0, (-30_000, 1, 0), 2)], [-32_768, 2, 0]),
    ],
)
def test_pieces_are_put_in_their_place(pieces: list[tuple[int, tuple[int, ...], int]], mixed: list[int]) -> None:
    board, out = board_of(1)
    for place, samples, source in pieces:
        board.write(0, place, pcm(*samples), source)
    assert shown(board, out, 3) == mixed


def test_audio_before_the_flush_point_is_dropped_and_counted() -> None:
    board, out = board_of(1)
    board.write(0, 4, pcm(4), 1)
    board.flush(3)
    board.write(0, 1, pcm(1, 2, 3), 1)
    assert shown(board, out, 5) == [0, 0, 0, 3, 4]
    assert board.lanes[0].dropped == 2


def test_a_place_far_ahead_does_not_fill_the_memory() -> None:
    given = 0

    def count(piece: bytes | bytearray) -> None:
        nonlocal given
        given += len(piece)

    board = Canvas(2, count)
    far = pcm_mixer.HELD * 2
    board.write(0, far, pcm(1), 1)
    assert sum(len(lane.pcm) for lane in board.lanes) <= pcm_mixer.HELD
    assert given == 4 * far
