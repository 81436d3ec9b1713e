import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs import g711
from recorder.simulate import coded

WHO = (0xDEADBEEF, 77, 1)


@pytest.mark.parametrize(("codec", "law"), [("PCMA", g711.ALAW), ("PCMU", g711.ULAW)])
def test_a_frame_decodes_to_its_samples(codec: str, law: tuple[bytes, bytes]) -> None:
    plain = coded.samples(codec, *WHO, 5)
    assert g711.decode(coded.payload(codec, *WHO, 5), law) == plain
    assert list(coded.find(plain)) == [coded.Found(0, *WHO, 5)]


@given(st.integers(0, 2**32 - 1), st.integers(0, 2**24 - 1), st.integers(0, 255), st.integers(0, 2**32 - 1))
def test_property_two_masks_make_the_whole_frame(run: int, call: int, stream: int, frame: int) -> None:
    words = coded.payload("PCMU", run, call, stream, frame)
    signs = int("".join("0" if word & 0x80 else "1" for word in words), 2)
    assert signs == coded.bits(run, call, stream, frame)
    assert {word & 0x7F for word in words} == {coded.LOUD["PCMU"][0] & 0x7F}


def test_frames_are_found_at_any_offset_and_loudness_if_whole() -> None:
    first, second = (coded.samples("PCMA", *WHO, frame) for frame in (1, 2))
    sound = bytes(2 * 37) + first + bytes(2 * 5) + second
    quiet = struct.pack(f"<{len(sound) // 2}h", *(value // 50 for (value,) in struct.iter_unpack("<h", sound)))
    for each in (sound, quiet):
        assert [(f.position, f.frame) for f in coded.find(each)] == [(37, 1), (202, 2)]
    damaged = first[:201] + bytes([first[201] ^ 0x80]) + first[202:]
    assert list(coded.find(damaged)) == []
    assert all(list(coded.find(first[: 2 * length])) == [] for length in range(160))


@given(st.binary(max_size=2000))
def test_any_bytes_hold_no_frame(noise: bytes) -> None:
    assert list(coded.find(noise)) == []
