"""Speex payloads of RFC 5574, cut into frames."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import speex

# 0.12 s of `voice` at 8 kHz and 0.08 s at 16 kHz, encoded by libspeex 1.2 (FFmpeg has no encoder): a frame a packet,
# then three or two; the frames of 300 and 412 bits end amid a byte.
NARROW_ALONE = (
    bytes.fromhex("2f2930be9500007fffffffffff8ca1c687f1ef820fd276a5bae35cd4b5692ba1e7145cd047f7"),
    bytes.fromhex("2f2958be944bdd0b3ce927f302246e711845906d9cd25757a0be5b8d23292b92ed9d7dc4aae7"),
    bytes.fromhex("2f2958be9448dcb0868cdd8559a46e1f405cf17461525734bb967805cb491b9ece8d2e905c77"),
    bytes.fromhex("2f2958be9448dcf76cf3229c792438061057c6a8fe92371250e6f8fb9676a40469044e861577"),
    bytes.fromhex("2f2958be93b520c0c24ca7f3192438620d9fc2ab95ad481a50e67d3ae0a9359ec84977dc5da7"),
    bytes.fromhex("2f2958be9248dc8f8d5cacdb155a5e06105d20a85bad2f140d9a086ccb16978606911a33b8b7"),
)
NARROW_TOGETHER = (
    bytes.fromhex(
        "2f2930be9500007fffffffffff8ca1c687f1ef820fd276a5bae35cd4b5692ba1e7145cd047f2f2958be944bdd0b3ce927f30"
        "2246e711845906d9cd25757a0be5b8d23292b92ed9d7dc4aae2f2958be9448dcb0868cdd8559a46e1f405cf17461525734bb"
        "967805cb491b9ece8d2e905c77"
    ),
    bytes.fromhex(
        "2f2958be9448dcf76cf3229c792438061057c6a8fe92371250e6f8fb9676a40469044e861572f2958be93b520c0c24ca7f31"
        "92438620d9fc2ab95ad481a50e67d3ae0a9359ec84977dc5da2f2958be9248dc8f8d5cacdb155a5e06105d20a85bad2f140d"
        "9a086ccb16978606911a33b8b7"
    ),
)
WIDE_ALONE = (
    bytes.fromhex(
        "2f2930be9500007fffffffffff807dfffff7170fbbd276b7977bf665988abccd2f4140b91e8a3bf4b5ad60b4ed60b5ad60b5ad67"
    ),
    bytes.fromhex(
        "2f2958be95491df7d90c72cac5246e815e05225f8bd257313370ea67a2093d91249c252b9bba3860b5ad60b5ad60b5ad60b5ad67"
    ),
    bytes.fromhex(
        "2f2958be94495c89966c64bf6a246e50e594201517d2573173da0366fa091b982df900b967aa3860b5ad60b5ad60b5ad60b5ad67"
    ),
    bytes.fromhex(
        "2f2958be94495c099ef1087b31246e60917a2d4ae82d480ed4bf4eb8fa891b8b455d682acb7a3b60b5ad60b5ad60b5ad60b5ad67"
    ),
)
WIDE_TOGETHER = (
    bytes.fromhex(
        "2f2930be9500007fffffffffff807dfffff7170fbbd276b7977bf665988abccd2f4140b91e8a3bf4b5ad60b4ed60b5ad60b5"
        "ad62f2958be95491df7d90c72cac5246e815e05225f8bd257313370ea67a2093d91249c252b9bba3860b5ad60b5ad60b5ad6"
        "0b5ad6"
    ),
    bytes.fromhex(
        "2f2958be94495c89966c64bf6a246e50e594201517d2573173da0366fa091b982df900b967aa3860b5ad60b5ad60b5ad60b5"
        "ad62f2958be94495c099ef1087b31246e60917a2d4ae82d480ed4bf4eb8fa891b8b455d682acb7a3b60b5ad60b5ad60b5ad6"
        "0b5ad6"
    ),
)


@pytest.mark.parametrize(("alone", "together"), [(NARROW_ALONE, NARROW_TOGETHER), (WIDE_ALONE, WIDE_TOGETHER)])
def test_frames_sent_together_are_those_sent_alone(alone: tuple[bytes, ...], together: tuple[bytes, ...]) -> None:
    assert [frame for payload in together for frame in speex.frames(payload)] == list(alone)
    assert [speex.frames(payload) for payload in alone] == [[payload] for payload in alone]


def bits(text: str) -> bytes:
    """Make a payload of bits as text."""
    text = text.replace(" ", "")
    return int(text.ljust(-(-len(text) // 8) * 8, "0"), 2).to_bytes(-(-len(text) // 8))


ULTRA = "00001" + "0" * 38 + "1001" + "0" * 32 + "1000"


@pytest.mark.parametrize(
    ("payload", "frame"),
    [
        ("00000 00000 01111 0", "00000 011"),
        (ULTRA + ULTRA + "01111", ULTRA + "0" + "1" * (-len(ULTRA) % 8 - 1)),
        ("01110 0011 1010  00000  01101 0001 10000" + "1" * 8 + "00000 01111", "00000 011"),
    ],
    ids=["silence of five bits up to the terminator", "two layers of 32 kHz", "messages to the decoder are no frames"],
)
def test_two_frames_are_found_bit_by_bit(payload: str, frame: str) -> None:
    assert speex.frames(bits(payload)) == [bits(frame)] * 2


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x7f",
        bits("01001" + "0" * 300),
        bits("00001" + "0" * 20),
        bits("00000 1101"),
        bits("01101 00"),
        bits("01110 111"),
        bits("00000 1000 1000 1000 01111"),
        bits("01110 0000 0" * 1640 + "00000 01111"),
    ],
)
def test_an_incomplete_speex_frame_is_refused(payload: bytes) -> None:
    with pytest.raises(ValueError, match="Speex"):
        speex.frames(payload)


@given(st.binary(max_size=200))
def test_any_bytes_give_speex_frames_or_the_documented_error(payload: bytes) -> None:
    try:
        found = speex.frames(payload)
    except ValueError:
        return
    assert 1 <= len(found) <= speex.MAX_FRAMES
    assert all(speex.frames(frame) == [frame] for frame in found)
