"""Compare what was recorded with what was said: signal-to-noise ratio at the best alignment; pure."""

from __future__ import annotations

import io
import math
import wave
from array import array
from collections.abc import Sequence

WINDOW = 0.5
"""Seconds compared when looking for the alignment: enough of speech to be unmistakable."""

COARSE = 4
"""First look at every fourth sample and lag; then near the best at all."""


def channels(data: bytes) -> tuple[int, list[array[int]]]:
    """Return (rate, samples of each channel) of a 16-bit WAV file."""
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != 2:
            raise ValueError("only 16-bit WAV is compared")
        samples = array("h", file.readframes(file.getnframes()))
        count = file.getnchannels()
        return file.getframerate(), [samples[n::count] for n in range(count)]


def snr_db(said: Sequence[int], heard: Sequence[int], rate: int, longest_lag: float = 0.1) -> float:
    """Return how far `heard` is from `said` in dB, after shifting it by at most `longest_lag` seconds and scaling it.

    Infinite for equal samples.
    """
    lag = _best_lag(said, heard, int(rate * WINDOW), int(rate * longest_lag))
    paired = heard[lag : lag + len(said)]
    said = said[: len(paired)]
    power = sum(x * x for x in said)
    cross = sum(x * y for x, y in zip(said, paired, strict=True))
    energy = sum(y * y for y in paired)
    if not power or not energy:
        return -math.inf
    gain = cross / energy
    noise = sum((x - gain * y) ** 2 for x, y in zip(said, paired, strict=True))
    return math.inf if noise == 0 else 10 * math.log10(power / noise)


def _best_lag(said: Sequence[int], heard: Sequence[int], window: int, longest: int) -> int:
    """Return the shift at which the loudest window of `said` fits best."""
    start = _loudest(said, window)
    sample = said[start : start + window]

    def fit(lag: int, step: int) -> float:
        part = heard[start + lag : start + lag + window : step]
        energy = sum(y * y for y in part)
        cross = sum(x * y for x, y in zip(sample[::step], part, strict=False))
        return cross / math.sqrt(energy) if energy else -math.inf

    near = max(range(0, longest + 1, COARSE), key=lambda lag: fit(lag, COARSE))
    return max(range(max(0, near - COARSE), near + COARSE + 1), key=lambda lag: fit(lag, 1))


def _loudest(said: Sequence[int], window: int) -> int:
    """Return where the loudest of a few windows begins."""
    starts = range(0, max(1, len(said) - window), max(1, window // 2))
    return max(starts, key=lambda at: sum(abs(x) for x in said[at : at + window : 16]))
