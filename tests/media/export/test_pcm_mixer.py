"""Pieces of sound on a canvas come out in order, interleaved, once."""

from array import array

from media.export import pcm_mixer
from media.export.pcm_mixer import Canvas, mix


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


def test_a_late_piece_fills_the_hole_left_for_it() -> None:
    board, out = board_of(1)
    board.write(0, 0, pcm(1), 1)
    board.write(0, 2, pcm(3), 1)
    board.write(0, 1, pcm(2), 1)
    assert shown(board, out, 3) == [1, 2, 3]


def test_one_source_never_overwrites_itself() -> None:
    board, out = board_of(1)
    board.write(0, 0, pcm(1, 2), 1)
    board.write(0, 1, pcm(9, 3), 1)
    assert shown(board, out, 3) == [1, 2, 3]


def test_two_sources_at_once_are_mixed() -> None:
    board, out = board_of(1)
    board.write(0, 0, pcm(100, 30_000), 1)
    board.write(0, 1, pcm(10_000, 5), 2)
    assert shown(board, out, 3) == [100, 32_767, 5]


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


def test_mixing_clips() -> None:
    assert mix(pcm(-30_000, 1), pcm(-30_000, 1)) == pcm(-32_768, 2)
