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


def test_an_octet_aligned_frame_keeps_its_bytes() -> None:
    speech = bytes(range(12))
    assert amr.frames(b"\xf0" + b"\x04" + speech, wide=False, aligned=True) == [b"\x04" + speech]


def test_two_octet_aligned_frames_of_different_modes_are_split() -> None:
    payload = b"\xf0" + b"\x84" + b"\x0c" + bytes(12) + bytes([1]) * 13
    assert amr.frames(payload, wide=False, aligned=True) == [b"\x04" + bytes(12), b"\x0c" + bytes([1]) * 13]


def test_bandwidth_efficient_amr_frames_are_aligned() -> None:
    """Duty T10."""
    found = amr.frames(packed((0, 1, 95, (1 << 95) - 1)), wide=False, aligned=False)
    assert found == [b"\x04" + b"\xff" * 11 + b"\xfe"]


def test_two_bandwidth_efficient_frames_follow_without_a_gap() -> None:
    found = amr.frames(packed((0, 1, 95, 1), (7, 1, 244, 1 << 243)), wide=False, aligned=False)
    assert found == [b"\x04" + bytes(11) + b"\x02", b"\x3c" + b"\x80" + bytes(30)]


@pytest.mark.parametrize("kind", [8, 14, 15])
def test_sid_lost_and_no_data_hold_no_speech(kind: int) -> None:
    width = 39 if kind == 8 else 0
    assert amr.frames(packed((kind, 1, width, 0)), wide=False, aligned=False) == [None]


def test_a_frame_marked_bad_holds_no_speech() -> None:
    assert amr.frames(packed((0, 0, 95, 1)), wide=False, aligned=False) == [None]


def test_wide_band_has_its_own_widths() -> None:
    payload = b"\xf0" + bytes([8 << 3 | 4]) + bytes(60)
    assert amr.frames(payload, wide=True, aligned=True) == [bytes([8 << 3 | 4]) + bytes(60)]


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


def test_crc_bytes_follow_the_amr_table_of_contents() -> None:
    payload = b"\xf0" + b"\x84\xfc\x0c" + b"\xaa\xbb" + bytes(12) + bytes([1]) * 13
    found = amr.frames(payload, wide=False, aligned=True, checked=True)
    assert found == [b"\x04" + bytes(12), None, b"\x0c" + bytes([1]) * 13]
