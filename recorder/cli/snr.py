"""Compare what was recorded with what was sent: signal-to-noise ratio at the best alignment; pure."""

from __future__ import annotations

import io
import math
import wave
from array import array
from collections.abc import Iterable, Sequence
from heapq import nlargest

WINDOW = 0.0625
"""Seconds of each stretch that is compared to find the alignment."""

STRETCHES = 8
"""Stretches compared at once, spread over the sent audio: a shift by a whole period of one note fits that note almost
as well as no shift, but it does not fit the other notes."""

COARSE = 4
"""First compare every fourth lag, with four samples added up to one; then compare all lags near the best."""

CANDIDATES = 6
"""Lags that are compared closely: in the first step the right one may score a little worse than a wrong one."""


def channels(data: bytes) -> tuple[int, list[array[int]]]:
    """Return (rate, samples of each channel) of a 16-bit WAV file."""
    with wave.open(io.BytesIO(data)) as file:
        if file.getsampwidth() != 2:
            raise ValueError("only 16-bit WAV can be compared")
        samples = array("h", file.readframes(file.getnframes()))
        count = file.getnchannels()
        return file.getframerate(), [samples[n::count] for n in range(count)]


def snr_db(original: Sequence[int], heard: Sequence[int], rate: int, longest_lag: float = 0.1) -> float:
    """Return how far `heard` is from `original` in dB, after shifting by at most `longest_lag` seconds and scaling.

    Infinite for equal samples.
    """
    lag = _best_lag(original, heard, int(rate * WINDOW), int(rate * longest_lag))
    paired = heard[lag : lag + len(original)]
    original = original[: len(paired)]
    power = sum(x * x for x in original)
    cross = sum(x * y for x, y in zip(original, paired, strict=True))
    energy = sum(y * y for y in paired)
    if not power or not energy:
        return -math.inf
    gain = cross / energy
    noise = sum((x - gain * y) ** 2 for x, y in zip(original, paired, strict=True))
    return math.inf if noise == 0 else 10 * math.log10(power / noise)


def _best_lag(original: Sequence[int], heard: Sequence[int], window: int, longest: int) -> int:
    """Return the shift at which the loudest stretches of `original` fit best, all of them together."""
    starts = _loudest(original, window)
    blurred = [_blurred(heard[start : start + longest + window]) for start in starts]
    rough = [_blurred(original[start : start + window]) for start in starts]
    exact = [original[start : start + window] for start in starts]

    def near(lag: int) -> float:
        return _fit((one, other[lag : lag + len(one)]) for one, other in zip(rough, blurred, strict=True))

    def at(lag: int) -> float:
        return _fit((one, heard[start + lag : start + lag + window]) for one, start in zip(exact, starts, strict=True))

    best = [COARSE * lag for lag in nlargest(CANDIDATES, range(longest // COARSE + 1), key=near)]
    close = {lag for each in best for lag in range(max(0, each - COARSE), each + COARSE + 1)}
    return max(sorted(close), key=at)


def _fit(pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> float:
    """Return how well the stretches agree, regardless of the loudness of the second ones."""
    cross = energy = 0
    for one, other in pairs:
        cross += sum(x * y for x, y in zip(one, other, strict=False))
        energy += sum(y * y for y in other)
    return cross / math.sqrt(energy) if energy else -math.inf


def _blurred(samples: Sequence[int]) -> list[int]:
    """Return sums of COARSE samples: unlike single samples they still fit at a lag between two that are compared."""
    return [sum(samples[at : at + COARSE]) for at in range(0, len(samples) - COARSE + 1, COARSE)]


def _loudest(original: Sequence[int], window: int) -> list[int]:
    """Return where the loudest stretch in each of STRETCHES equal parts begins."""
    part = max(1, len(original) // STRETCHES)
    found = []
    for begin in range(0, part * STRETCHES, part):
        starts = range(begin, max(begin + 1, min(begin + part, len(original) - window)), max(1, window // 2))
        found.append(max(starts, key=lambda at: sum(abs(x) for x in original[at : at + window : 16])))
    return found
