"""Pieces of sound come out in order, interleaved, once."""

from array import array

import pytest

from media.export import pcm_mixer
from media.export.pcm_mixer import PcmMixer


def pcm(*samples: int) -> bytes:
    return array("h", samples).tobytes()


def shown(mixer: PcmMixer, out: bytearray, upto: int) -> list[int]:
    mixer.flush(upto)
    return list(array("h", bytes(out)))


def mixer_of(channels: int) -> tuple[PcmMixer, bytearray]:
    out = bytearray()
    return PcmMixer(channels, out.extend), out


def test_channels_are_interleaved_and_holes_are_silent() -> None:
    mixer, out = mixer_of(2)
    mixer.write(0, 1, pcm(10, 11), 1)
    mixer.write(1, 0, pcm(-1), 2)
    assert shown(mixer, out, 4) == [0, -1, 10, 0, 11, 0, 0, 0]
    assert (mixer.channels[0].gaps, mixer.channels[1].gaps) == ([(0, 1)], [])
    assert (mixer.channels[0].sound, mixer.channels[0].end) == (2, 3)


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
    mixer, out = mixer_of(1)
    for place, samples, source in pieces:
        mixer.write(0, place, pcm(*samples), source)
    assert shown(mixer, out, 3) == mixed


def test_audio_before_the_flush_point_is_dropped_and_counted() -> None:
    mixer, out = mixer_of(1)
    mixer.write(0, 4, pcm(4), 1)
    mixer.flush(3)
    mixer.write(0, 1, pcm(1, 2, 3), 1)
    assert shown(mixer, out, 5) == [0, 0, 0, 3, 4]
    assert mixer.channels[0].dropped == 2


def test_a_place_far_ahead_does_not_fill_the_memory() -> None:
    given = 0

    def count(piece: bytes | bytearray) -> None:
        nonlocal given
        given += len(piece)

    mixer = PcmMixer(2, count)
    far = pcm_mixer.HELD * 2
    mixer.write(0, far, pcm(1), 1)
    assert sum(len(channel.pcm) for channel in mixer.channels) <= pcm_mixer.HELD
    assert given == 4 * far
