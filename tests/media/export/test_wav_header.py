"""WAV headers, small and beyond 4 GiB."""

import io
import struct
import wave

import pytest

from media.export import wav_header


@pytest.mark.parametrize("channels", [1, 2])
def test_python_opens_mono_and_stereo(channels: int) -> None:
    file = wav_header.header(8000, channels, 5) + bytes(10 * channels)
    with wave.open(io.BytesIO(file)) as sound:
        assert (sound.getframerate(), sound.getnchannels(), sound.getsampwidth(), sound.getnframes()) == (
            8000,
            channels,
            2,
            5,
        )


def test_more_channels_are_extensible_without_places_in_a_room() -> None:
    head = wav_header.header(16_000, 5, 1)
    tag, channels, rate, speed, block, bits, extra, valid, mask = struct.unpack_from("<HHIIHHHHI", head, 20)
    assert (tag, channels, rate, speed, block, bits, extra, valid, mask) == (
        0xFFFE,
        5,
        16_000,
        160_000,
        10,
        16,
        22,
        16,
        0,
    )
    assert head[44:46] == b"\x01\x00"
    assert struct.unpack_from("<I", head, 4)[0] == len(head) - 8 + 10


def test_sizes_beyond_32_bits_stand_in_ds64() -> None:
    most = (0xFFFF_FFFF - 36) // 4
    assert [wav_header.header(8000, 2, count)[:4] for count in (most, most + 1)] == [b"RIFF", b"RF64"]
    samples = 3 << 30
    head = wav_header.header(8000, 2, samples)
    riff, chunk, size, whole, data, count, table = struct.unpack_from("<I4x4sIQQQI", head, 4)
    assert (riff, chunk, size, table) == (0xFFFF_FFFF, b"ds64", 28, 0)
    assert (data, count) == (4 * samples, samples)
    assert whole == len(head) - 8 + data
    assert head[-8:] == b"data\xff\xff\xff\xff"
