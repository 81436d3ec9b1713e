"""Payloads of video become what a decoder takes; what is lost takes nothing else with it."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs.decoders import Format
from media.codecs.video_depacketizer import H264, START, Pictures, Vp8, parameter_sets, unpacking
from tests.in_process.films import film, h264_payloads, units, vp8_payloads

NOISY = [40, 200, 90, 150]


def put(unpack: H264 | Vp8, payloads: list[bytes], lost: frozenset[int] = frozenset()) -> bytes:
    before = -1
    for number, payload in enumerate(payloads):
        if number not in lost:
            unpack.add(payload, follows=number == before + 1)
            before = number
    return unpack.take()


@pytest.mark.parametrize("aggregate", [True, False])
def test_units_of_h264_come_back_whole(aggregate: bool) -> None:
    unpack = H264(None)
    for data in film("libx264", NOISY):
        payloads = h264_payloads(data, aggregate=aggregate)
        assert sorted(units(put(unpack, payloads))) == sorted(units(data))


@pytest.mark.parametrize("lost", [0, 3, 8])
def test_a_lost_fragment_takes_its_unit_and_nothing_else(lost: int) -> None:
    unit, other = bytes([0x65]) + bytes(range(1, 256)) * 20, bytes([0x41]) + b"\7" * 50
    payloads = [*h264_payloads(START + unit), other]
    assert len(payloads) == 10 and put(H264(None), payloads) == START + unit + START + other
    assert put(H264(None), payloads, frozenset({lost})) == START + other


def test_parameter_sets_of_the_offer_precede_the_first_picture() -> None:
    sets = [b"\x67\x42\x00", b"\x68\xce"]
    coded = ",".join(base64.b64encode(unit).decode() for unit in sets)
    fmtp = f"packetization-mode=1; sprop-parameter-sets={coded},!,; profile-level-id=42e01f"
    assert list(parameter_sets(fmtp)) == sets and list(parameter_sets(None)) == []
    assert put(H264(fmtp), [b"\x65abc"]) == START + sets[0] + START + sets[1] + START + b"\x65abc"


def test_a_picture_of_vp8_is_whole_or_left_out() -> None:
    data = bytes(range(256)) * 10
    payloads = vp8_payloads(data)
    unpack = Vp8()
    assert put(unpack, payloads) == data
    for lost in range(len(payloads)):
        assert put(unpack, payloads, frozenset({lost})) == (b"" if lost < len(payloads) - 1 else data[:2400])
    assert put(unpack, payloads) == data


@pytest.mark.parametrize(
    ("head", "size"),
    [("10", 1), ("9000", 2), ("908005", 3), ("90808105", 4), ("90c0050a", 4), ("90e0850a070b", 6), ("90100b", 3)],
)
def test_every_descriptor_of_vp8_is_taken_off(head: str, size: int) -> None:
    start = bytes.fromhex(head)
    assert len(start) == size
    assert put(Vp8(), [start + b"picture"]) == b"picture"


def test_other_formats_are_not_shown() -> None:
    assert unpacking(Format("H265", 90_000)) is None and unpacking(Format("h264", 90_000)) is not None


def test_a_picture_ends_when_the_next_begins_or_its_time_is_up() -> None:
    pictures = Pictures(H264(None))
    assert list(pictures.before(0)) == []
    assert [list(pictures.add(0, n, (unit,))) for n, unit in ((10, b"\x65a"), (11, b"\x65b"))] == [[], []]
    assert list(pictures.add(40, 12, (b"\x41c",))) == [(0, START + b"\x65a" + START + b"\x65b")]
    assert [list(pictures.before(at)) for at in (40, 41, 41)] == [[], [(40, START + b"\x41c")], []]
    assert list(pictures.add(80, 13, (b"\x41d",))) == []
    assert list(pictures.finish()) == [(80, START + b"\x41d")]


@given(st.lists(st.tuples(st.binary(max_size=40), st.booleans()), max_size=30), st.sampled_from([H264, Vp8]))
def test_any_bytes_give_a_picture_or_nothing(payloads: list[tuple[bytes, bool]], kind: type) -> None:
    unpack = kind(None) if kind is H264 else kind()
    for payload, follows in payloads:
        unpack.add(payload, follows=follows)
    assert isinstance(unpack.take(), bytes)
