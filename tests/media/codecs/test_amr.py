"""AMR payloads of RFC 4867 in both forms."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import amr


def packed(*frames: tuple[int, int, int, int]) -> bytes:
    """Make a bandwidth-efficient payload of (type, quality, width, speech bits as number)."""
    value, length = 15, 4
    for i, (kind, quality, _, _) in enumerate(frames):
        value, length = value << 6 | (i + 1 < len(frames)) << 5 | kind << 1 | quality, length + 6
    for _, _, width, speech in frames:
        value, length = value << width | speech, length + width
    pad = -length % 8
    return (value << pad).to_bytes((length + pad) // 8, "big")


ALIGNED, EFFICIENT = {"wide": False, "aligned": True}, {"wide": False, "aligned": False}
WIDE_HEAD = bytes([8 << 3 | 4])
CUT = {
    "one, octet-aligned": (b"\xf0\x04" + bytes(range(12)), ALIGNED, [b"\x04" + bytes(range(12))]),
    "two of different modes": (
        b"\xf0\x84\x0c" + bytes(12) + bytes([1]) * 13,
        ALIGNED,
        [b"\x04" + bytes(12), b"\x0c" + bytes([1]) * 13],
    ),
    "CRCs behind the table of contents": (
        b"\xf0\x84\xfc\x0c\xaa\xbb" + bytes(12) + bytes([1]) * 13,
        {**ALIGNED, "checked": True},
        [b"\x04" + bytes(12), None, b"\x0c" + bytes([1]) * 13],
    ),
    "one, bandwidth-efficient (T10)": (
        packed((0, 1, 95, (1 << 95) - 1)),
        EFFICIENT,
        [b"\x04" + b"\xff" * 11 + b"\xfe"],
    ),
    "two, bandwidth-efficient": (
        packed((0, 1, 95, 1), (7, 1, 244, 1 << 243)),
        EFFICIENT,
        [b"\x04" + bytes(11) + b"\x02", b"\x3c\x80" + bytes(30)],
    ),
    "a silence descriptor": (packed((8, 1, 39, 0)), EFFICIENT, [None]),
    "a lost frame": (packed((14, 1, 0, 0)), EFFICIENT, [None]),
    "no data": (packed((15, 1, 0, 0)), EFFICIENT, [None]),
    "one that is marked bad": (packed((0, 0, 95, 1)), EFFICIENT, [None]),
    "wide band": (b"\xf0" + WIDE_HEAD + bytes(60), {"wide": True, "aligned": True}, [WIDE_HEAD + bytes(60)]),
}


@pytest.mark.parametrize(("payload", "form", "frames"), CUT.values(), ids=CUT)
def test_a_payload_is_cut_into_its_frames(payload: bytes, form: dict[str, bool], frames: list[bytes | None]) -> None:
    """Duty T10."""
    assert amr.frames(payload, **form) == frames


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xf0",
        b"\xf0\x84",
        b"\xf0\x04" + bytes(11),
        b"\xf0" + b"\x84" * 40,
        bytes([0xF0, 12 << 3 | 4]) + bytes(90),
    ],
)
def test_amr_frames_that_contradict_the_table_are_refused(payload: bytes) -> None:
    with pytest.raises(amr.MalformedAmr):
        amr.frames(payload, wide=False, aligned=True)


@given(st.binary(max_size=80), st.booleans(), st.booleans())
def test_any_bytes_give_amr_frames_or_the_documented_error(payload: bytes, wide: bool, aligned: bool) -> None:
    try:
        found = amr.frames(payload, wide=wide, aligned=aligned)
    except amr.MalformedAmr:
        return
    assert 1 <= len(found) <= amr.MAX_FRAMES


@pytest.mark.parametrize(
    ("fmtp", "packing"),
    [
        (None, amr.Packing()),
        ("octet-align=1", amr.Packing(aligned=True)),
        ("mode-set=7; octet-align=1", amr.Packing(aligned=True)),
        ("Octet-Align = 1", amr.Packing(aligned=True)),
        ("octet-align=0;crc=0;robust-sorting=0", amr.Packing()),
        ("crc=1", amr.Packing(aligned=True, checked=True)),
        ("octet-align=1; robust-sorting=1", None),
        ("interleaving=30", None),
    ],
)
def test_the_form_stands_in_the_format_parameters(fmtp: str | None, packing: amr.Packing | None) -> None:
    assert amr.packing(fmtp) == packing
