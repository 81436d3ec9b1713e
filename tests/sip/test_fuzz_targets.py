"""Damaged and random input for every parser of the SIP side: a value or the documented error, nothing else."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.sip.fuzz_targets import SEEDS, TARGETS

JUNK = (
    b"", b"\0", b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\r\n ", b";", b",", b"<", b">", b'"', b"\\", b"=", b"%", b":",
    b"@", b"&", b"--", b"]]>", b"<!--", b"<!DOCTYPE a>", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"\xe2\x80\xa8",
    b"-1", b"99999999999999999999", b"z9hG4bK", b"SIP/2.0", b"sip:", b"tag=", b"a=crypto:1 ", b"m=audio 0 RTP/AVP 0",
    b"inline:", b"|2^99|", b"Content-Length: 5\r\n", b"Via: ,\r\n", b"multipart/mixed;boundary=",
    b"Content-Transfer-Encoding: base64\r\n",
)  # fmt: skip


@st.composite
def damaged(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """Cut, double, swap and overwrite pieces of something well-formed."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(data)))
        until = min(len(data), at + draw(st.sampled_from((0, 1, 2, 9, 80, 4_000))))
        piece = data[at:until]
        put = draw(
            st.one_of(st.sampled_from(JUNK), st.binary(max_size=8), st.just(piece * 2), st.just(piece.swapcase()))
        )
        data = data[:at] + put + data[until:]
    return data


@pytest.mark.parametrize("name", TARGETS)
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(data=st.data())
def test_fuzz_damaged_input_gives_a_value_or_an_error(name: str, data: Any) -> None:
    TARGETS[name](data.draw(damaged(SEEDS[name])))


@pytest.mark.parametrize("name", TARGETS)
@given(data=st.binary(max_size=300))
def test_fuzz_any_bytes_give_a_value_or_the_documented_error(name: str, data: bytes) -> None:
    TARGETS[name](data)


@pytest.mark.parametrize("name", TARGETS)
def test_every_truncated_seed_gives_a_value_or_an_error(name: str) -> None:
    for seed in SEEDS[name][:3]:
        step = max(1, len(seed) // 150) if name in ("endpoint", "framing", "metadata") else 1
        for length in range(0, len(seed) + 1, step):
            TARGETS[name](seed[:length])
