"""What was heard is compared with what was said."""

from __future__ import annotations

import io
import math
import random
import wave
from array import array

import pytest

from recorder.cli.snr import channels, snr_db
from recorder.simulate import voices

RATE = 8000


def voice(seed: int = 1) -> array[int]:
    """A second of something that never repeats, without the high frequencies that voices lack, loud in its middle."""
    chance = random.Random(seed)
    hiss = [chance.gauss(0, 1) for _ in range(RATE + 16)]
    return array("h", [round(sum(hiss[n : n + 16]) * 800 * math.sin(math.pi * n / RATE)) for n in range(RATE)])


def test_the_same_samples_have_no_noise_whatever_their_delay() -> None:
    for lag in (0, 311):
        assert snr_db(voice(), array("h", bytes(2 * lag)) + voice(), RATE) == math.inf


@pytest.mark.parametrize("lag", [894])
def test_a_sung_note_is_not_mistaken_for_itself_a_period_later(lag: int) -> None:
    """One voice of the demo: its notes repeat every few ms, and between two coarse lags the right one hides."""
    said = voices.voice(0, 48_000, 4)
    heard = array("h", bytes(2 * lag)) + array("h", [x + round(x / 50) % 7 for x in said])
    assert snr_db(said, heard, 48_000) > 30


def test_noise_of_a_tenth_is_20_db() -> None:
    noisy = array("h", [said + round(noise / 10) for said, noise in zip(voice(), voice(2), strict=True)])
    assert snr_db(voice(), noisy, RATE) == pytest.approx(20, abs=1.5)


def test_another_voice_or_silence_is_not_heard() -> None:
    assert snr_db(voice(), voice(2), RATE) < 1
    assert snr_db(voice(), array("h", bytes(2 * RATE)), RATE) == -math.inf


def test_each_channel_of_a_file_by_itself() -> None:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(array("h", [1, -1, 2, -2, 3, -3]).tobytes())
    assert channels(data.getvalue()) == (16000, [array("h", [1, 2, 3]), array("h", [-1, -2, -3])])
