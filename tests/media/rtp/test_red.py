"""Redundant audio of RFC 2198, taken apart."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.errors import Malformed
from media.rtp.red import MAX_BLOCKS, Block, blocks


def redundant(*repeated: tuple[int, int, bytes], newest: tuple[int, bytes]) -> bytes:
    """Make a payload of (payload type, how far behind, payload), then the new block."""
    heads = [(1 << 31 | kind << 24 | behind << 10 | len(data)).to_bytes(4) for kind, behind, data in repeated]
    return b"".join([*heads, bytes([newest[0]]), *(data for _, _, data in repeated), newest[1]])


def test_blocks_are_read_with_their_distance_and_length() -> None:
    """The new block is last and has the packet's time; fourteen bits are of the distance, ten of the length."""
    payload = redundant((5, 320, b"older"), (5, 160, b"old"), newest=(0, b"new"))
    assert blocks(payload) == [Block(5, 320, b"older"), Block(5, 160, b"old"), Block(0, 0, b"new")]
    assert blocks(bytes.fromhex("6f 0102")) == [Block(111, 0, b"\x01\x02")]
    assert blocks(bytes.fromhex("ef fffc02 6f") + b"abc")[0] == Block(111, 0x3FFF, b"ab")


@pytest.mark.parametrize(
    "payload",
    [b"", b"\x80", b"\x80\0\0\0", b"\x80\0\0\x02\0a", redundant(*[(0, 1, b"")] * (MAX_BLOCKS + 1), newest=(0, b""))],
)
def test_invalid_redundant_block_headers_are_refused(payload: bytes) -> None:
    with pytest.raises(Malformed):
        blocks(payload)


@given(st.binary(max_size=60))
def test_any_bytes_give_blocks_or_the_documented_error(payload: bytes) -> None:
    try:
        found = blocks(payload)
    except Malformed:
        return
    assert 1 <= len(found) <= MAX_BLOCKS + 1
    assert sum(len(block.payload) for block in found) == len(payload) - 4 * (len(found) - 1) - 1
