"""An RTP clock against its own sender reports, and ten minutes of it through the renderer."""

from __future__ import annotations

import struct
from array import array
from random import Random

import pytest

from media.export.clock_drift import FASTEST, REPORTS, SECOND, STEP, Drift
from media.records import record_format
from tests.in_process.rendered_calls import MS, START, listen, run, stream

NTP = 2_208_988_800
HOUR = 3600


def fed(ppm: float, seconds: int, noise: int = 0) -> Drift:
    """Take a report every 5 s of a clock that is `ppm` fast; `noise` ns are how far a timestamp may be old."""
    dice, drift = Random(1), Drift(8000, 0, 0)
    for at in range(5, seconds, 5):
        elapsed = at * SECOND - (dice.randrange(noise) if noise else 0)
        drift.take(at * SECOND, int(elapsed * 8 * (1 + ppm / 1e6)) // 1_000_000)
    return drift


@pytest.mark.parametrize("ppm", [-200, -100, 100, 200])
def test_a_clock_that_runs_away_is_followed_within_a_step(ppm: int) -> None:
    drift = fed(ppm, HOUR)
    assert abs(drift.correction - -ppm * HOUR * 1000) <= STEP + abs(ppm) * 5 * REPORTS * 1000


def test_a_correct_clock_is_not_adjusted_by_noisy_reports() -> None:
    assert abs(fed(0, HOUR, noise=20 * MS).correction) <= 2 * STEP
    assert fed(0, HOUR).correction == 0


def test_a_few_reports_prove_nothing() -> None:
    drift = Drift(8000, 0, 0)
    assert not any(drift.take(n * 5 * SECOND - n * 20 * MS, n * 40_000) for n in range(1, REPORTS - 1))


def test_a_first_report_that_is_old_moves_nothing() -> None:
    drift = Drift(8000, 15 * MS, 0)
    for at in range(5, 605, 5):
        drift.take(at * SECOND, at * 8000 + at * 8000 // 10_000)
    assert abs(drift.correction - -60 * MS) <= STEP + 6 * MS


def test_a_set_wall_clock_does_not_count_as_drift() -> None:
    drift, earlier = fed(100, HOUR // 2), 0
    earlier = drift.correction
    for at in range(HOUR // 2, HOUR, 5):  # an hour is taken off the wall clock
        drift.take((at - HOUR) * SECOND, int(at * 8000 * 1.0001))
    assert earlier < -100 * MS
    assert abs(drift.correction - 2 * earlier) <= 2 * STEP


def reported(stream: int, at: int, ntp: int, rate: float = 1.0) -> bytes:
    """Make the report that the time at `at` (ns since the epoch) was `ntp` by the clock of a sender."""
    wire = (ntp // SECOND + NTP) << 32 | ntp % SECOND * (1 << 32) // SECOND
    stamp = int((at - START) * 8 * rate) // MS
    return record_format.rtcp(stream, at, struct.pack("!BBHIQIII", 0x80, 200, 6, 7 + stream, wire, stamp, 0, 0))


def call(ppm: int, seconds: int) -> bytes:
    """Make a call whose second stream has a clock that is `ppm` fast; both click once a minute, at the same moment."""
    quiet, out = b"\xff" * 160, []
    for second in range(seconds):
        for number, rate in ((0, 1.0), (1, 1 + ppm / 1e6)):
            first = int(second * 50 * rate)
            count = int((second + 1) * 50 * rate) - first
            pay = [quiet] * count
            if second % 60 == 30:
                before = int(second * 8000 * rate) - first * 160  # samples of that frame before this moment
                pay[:2] = [b"\xff" * before + b"\x80" * (160 - before), b"\x80" * 160]
            at = first * 20 / rate
            out.append(run(pay, stream=number, ssrc=7 + number, seq=first, ts=first * 160, at=at, every=20 / rate))
            if second % 5 == 0:
                out.append(reported(number, START + second * SECOND, START + second * SECOND, rate))
    return b"".join(out)


def clicks(samples: array[int]) -> list[int]:
    """Give the places of loud frames, the first sample of each."""
    found: list[int] = []
    for at, value in enumerate(samples):
        if abs(value) > 8000 and (not found or at - found[-1] > 8000):
            found.append(at)
    return found


def test_two_streams_stay_synchronised_despite_clock_drift() -> None:
    """At most 20 ms apart; uncorrected it would be 120 ms."""
    channels, _, _ = listen(call(200, 600), stream(0), stream(1))
    one, two = clicks(channels[0]), clicks(channels[1])
    assert len(one) == len(two) == 10
    assert max(abs(a - b) / 8 for a, b in zip(one, two, strict=True)) <= 20  # ms


@pytest.mark.parametrize("way", [1, -1])
def test_forged_reports_move_a_stream_no_further_than_drift_can(way: int) -> None:
    """Ten a second, each 90 ms further off than the one before: that would be two and a half minutes."""
    seconds, out = 181, []
    for second in range(seconds):
        for number in (0, 1):
            pay = [b"\xff" * 160] * 50
            pay[0] = b"\x80" * 160 if second % 60 == 0 else pay[0]
            out.append(run(pay, stream=number, ssrc=7 + number, seq=second * 50, ts=second * 8000, at=second * 1000))
        at = START + second * SECOND
        out += [reported(0, at, at)] * (second % 5 == 0)
        out += [reported(1, at + n, at + way * (10 * second + n) * 90 * MS) for n in range(10)]
    channels, _, _ = listen(b"".join(out), stream(0), stream(1))
    one, two = clicks(channels[0]), clicks(channels[1])
    assert one == [0, 480_000, 960_000, 1_440_000]
    assert all(abs(a - b) <= a / FASTEST for a, b in zip(one, two, strict=True))
