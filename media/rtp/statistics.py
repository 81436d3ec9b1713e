"""Figures of a stream: interarrival jitter (RFC 3550 appendix A.8) and the E-model's rating (ITU-T G.107)."""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import mul

#: RFC 3550 A.8: each difference changes the jitter by a sixteenth.
GAIN = 1 / 16
DECAY = 1 - GAIN
#: Longest batch whose jitter is computed in one sum.
MAX_BATCH = 64

#: G.107 (06/2015) table 3: all defaults give R = 93.2.
DEFAULT_R = 93.2


@dataclass(frozen=True)
class Impairment:
    """Equipment impairment of a codec without loss, and its robustness to random loss (ITU-T G.113 appendix I)."""

    # Ie
    codec: float
    # Bpl
    robustness: float


#: G.113 (11/2007) tables I.1 to I.4; G.711 without concealment, because the stored stream has none.
IMPAIRMENTS = {
    "PCMU": Impairment(0.0, 4.3),
    "PCMA": Impairment(0.0, 4.3),
    "G729": Impairment(11.0, 19.0),
    "G723": Impairment(15.0, 16.1),
    "GSM-EFR": Impairment(5.0, 10.0),
}

_WEIGHTS = [tuple(GAIN * DECAY ** (n - 1 - i) for i in range(n)) for n in range(MAX_BATCH + 1)]
_FADING = [DECAY**n for n in range(MAX_BATCH + 1)]


def jitter_of(jitter: float, difference: float) -> float:
    """Update the jitter with one difference of transit times, in the same unit."""
    return jitter + (abs(difference) - jitter) * GAIN


def jitter_of_batch(jitter: float, deltas: list[int], step: int) -> float:
    """Update the jitter with the arrival deltas of packets sent `step` apart; equals repeated `jitter_of`."""
    count = len(deltas)
    weighed = zip(deltas, _WEIGHTS[count], strict=True)
    # abs() and nested maps would take a tenth longer for a batch of 50
    fresh: float = sum([(delta - step if delta > step else step - delta) * weight for delta, weight in weighed])
    return jitter * _FADING[count] + fresh


def jitter_of_all(jitter: float, differences: Iterable[float]) -> float:
    """Update the jitter with differences of transit times; equals repeated `jitter_of`."""
    moved = list(map(abs, differences))
    fresh: float = sum(map(mul, moved, _WEIGHTS[len(moved)]))
    return jitter * _FADING[len(moved)] + fresh


def burst_ratio(lost: int, expected: int, burst: float) -> float:
    """Return BurstR of G.107 section 7.2.2: mean length of the observed bursts, relative to equal random loss."""
    share = lost / expected
    return max(1.0, burst * (1 - share)) if share < 1 else 1.0


def rating(codec: str, lost: int, expected: int, burst: float = 1.0) -> float | None:
    """Return the transmission rating R (G.107 equation 7-29); None for codecs without published constants.

    `burst` is the mean number of packets lost at a time.
    """
    constants = IMPAIRMENTS.get(codec.upper())
    if constants is None or expected <= 0:
        return None
    loss = 100 * lost / expected
    ratio = burst_ratio(lost, expected, burst)
    effective = constants.codec + (95 - constants.codec) * loss / (loss / ratio + constants.robustness)
    return DEFAULT_R - effective


def mos(codec: str, lost: int, expected: int, burst: float = 1.0) -> float | None:
    """Estimate the mean opinion score by G.107 annex B; None if the codec has no published constants."""
    r = rating(codec, lost, expected, burst)
    if r is None:
        return None
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    # between 0 and 6.5 the curve of the annex falls below 1, which is the minimum
    return max(1.0, round(1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6, 2))
