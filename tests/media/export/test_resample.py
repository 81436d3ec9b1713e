"""The resampler keeps time and sound."""

from array import array

import pytest

from media.export.resample import Resampler
from tests.media.calls import snr, voice


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16_000), (8000, 48_000), (16_000, 48_000)])
def test_a_stretch_keeps_its_length_and_has_no_delay(rate_in: int, rate_out: int) -> None:
    sent = voice(1, rate_in)
    resampler = Resampler(rate_in, rate_out)
    step = rate_in // 50
    heard = b"".join([resampler.feed(sent[i : i + step].tobytes()) for i in range(0, len(sent), step)])
    samples = array("h", heard + resampler.finish())
    assert abs(len(samples) - rate_out) <= 1
    ratio, delay = snr(sent, samples[:: rate_out // rate_in], 20)
    assert delay == 0
    assert ratio > 35


def test_nothing_in_gives_nothing() -> None:
    assert Resampler(8000, 16_000).feed(b"") == b""
