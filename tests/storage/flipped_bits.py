"""Damage of a single bit."""

from collections.abc import Iterator


def flips(data: bytes) -> Iterator[bytes]:
    """Yield copies of some data, each with another bit of it flipped, from the first byte on, its lowest bit first."""
    for bit in range(len(data) * 8):
        bad = bytearray(data)
        bad[bit // 8] ^= 1 << bit % 8
        yield bytes(bad)
