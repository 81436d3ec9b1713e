"""Synthetic voices for people and codecs: vowels sung in syllables, another tune for every participant."""

from __future__ import annotations

import math
import random
from array import array
from functools import lru_cache

SYLLABLE = 0.24
"""Seconds of a syllable: about four a second, as people speak."""
PAUSE = 0.15
"""Share of syllables that are silence."""
_VOWELS = ((730, 1090), (270, 2290), (530, 1840), (570, 840), (300, 870))
"""First two formants in Hz of a, i, e, o, u (Peterson and Barney 1952, men)."""
_SCALE = (1.0, 9 / 8, 5 / 4, 3 / 2, 5 / 3)
"""Pentatonic: any two tunes sound well together."""
_PITCHES = (110.0, 196.0, 146.8, 246.9, 130.8, 220.0, 164.8, 261.6)
"""Base note in Hz of the voices; neighbours are far apart, so that two participants can be told apart."""
_PEAK = 12_000


def voice(number: int, rate: int, seconds: float) -> array[int]:
    """Return a voice as 16-bit samples; the same number gives the same tune at every rate."""
    tune = random.Random(number)  # noqa: S311  a tune, not a secret
    ground = _PITCHES[number % len(_PITCHES)]
    sound = array("h")
    wanted = round(rate * seconds)
    while len(sound) < wanted:
        pause, vowel, step = tune.random() < PAUSE, tune.randrange(len(_VOWELS)), tune.choice(_SCALE)
        sound += _silence(rate) if pause else _syllable(round(ground * step, 3), vowel, rate)
    return sound[:wanted]


def _silence(rate: int) -> array[int]:
    return array("h", bytes(2 * round(SYLLABLE * rate)))


@lru_cache(maxsize=512)
def _syllable(pitch: float, vowel: int, rate: int) -> array[int]:
    """Make one sung vowel: a period of harmonics under two formants, repeated below a soft envelope."""
    period = max(2, round(rate / pitch))
    wave = [0.0] * period
    for harmonic in range(1, max(2, min(30, int(3400 / pitch)))):
        weight = sum(1 / (1 + ((harmonic * pitch - formant) / 120) ** 2) for formant in _VOWELS[vowel]) + 0.02
        for i in range(period):
            wave[i] += weight * math.sin(2 * math.pi * harmonic * i / period)
    loud = _PEAK / max(abs(value) for value in wave)
    count = round(SYLLABLE * rate)
    return array("h", (int(loud * wave[i % period] * math.sin(math.pi * i / count)) for i in range(count)))
