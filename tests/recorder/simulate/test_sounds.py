"""Sounds that are sent can be decoded and heard."""

from __future__ import annotations

import math
from array import array
from typing import Any

import av
import pytest

from recorder.simulate.plan import CODECS, LONGEST_TUNE
from recorder.simulate.sounds import encode, tune
from recorder.simulate.voices import voice


def decoded(codec: str, frames: list[bytes]) -> array[int]:
    """Decode with FFmpeg itself."""
    names = {"PCMA": "pcm_alaw", "PCMU": "pcm_mulaw", "G722": "g722", "opus": "libopus"}
    context: Any = av.CodecContext.create(names[codec], "r")
    context.sample_rate, context.layout = CODECS[codec].rate, "mono"
    heard = array("h")
    for frame in frames:
        for made in context.decode(av.Packet(frame)):
            heard.frombytes(bytes(made.planes[0])[: 2 * made.samples])
    return heard


def snr(sent: array[int], heard: array[int], delay: int) -> float:
    pairs = list(zip(sent, heard[delay:], strict=False))
    noise = sum((a - b) ** 2 for a, b in pairs) or 1
    return 10 * math.log10(sum(a * a for a, _ in pairs) / noise)


@pytest.mark.parametrize(
    ("codec", "delays", "least"), [("PCMA", [0], 33), ("PCMU", [0], 33), ("G722", range(10, 30), 15)]
)
def test_encoded_audio_resembles_its_source(codec: str, delays: list[int], least: float) -> None:
    sound = tune(1, codec, 1)
    heard = decoded(codec, encode(codec, sound))
    assert max(snr(sound, heard, delay) for delay in delays) > least


@pytest.mark.parametrize("codec", ["PCMA", "PCMU", "G722", "opus"])
def test_a_packet_is_made_of_every_20_ms(codec: str) -> None:
    frames = encode(codec, tune(0, codec, 1))
    assert len(frames) == 100
    assert all(0 < len(frame) <= 1275 for frame in frames)  # the longest of Opus (RFC 6716 section 3.4)
    assert len(tune(0, codec, 3600)) == CODECS[codec].rate * LONGEST_TUNE  # a long call repeats it


def test_the_laws_keep_the_extremes() -> None:
    for codec in ("PCMA", "PCMU"):
        heard = decoded(codec, encode(codec, array("h", [32767, -32768, 0, -1] * 40)))
        assert heard[0] > 31_000 and heard[1] < -31_000 and abs(heard[2]) < 9 and abs(heard[3]) < 9


def test_a_voice_is_loud_repeatable_and_has_pauses() -> None:
    sound, syllable = voice(2, 8000, 10), 1920
    assert voice(2, 8000, 10) == sound != voice(1, 8000, 10) and len(sound) == 80_000
    assert 8_000 < max(abs(sample) for sample in sound) < 32_000  # it never clips
    assert 1 <= sum(not any(sound[at : at + syllable]) for at in range(0, len(sound), syllable)) <= 20
