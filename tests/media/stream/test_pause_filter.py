"""What of a pause must not be kept, whenever it comes."""

from media.rtp import header
from media.spec import StreamSpec
from media.stream.pause_filter import unwanted
from media.stream.pauses import Pauses
from tests.media.rtp.test_red import redundant

MS, BEGIN, END = 1_000_000, 10_000, 20_000  # the pause, in ms
SPEC = StreamSpec(0, payloads=((0, "PCMU", 8000), (96, "RED", 8000), (101, "telephone-event", 8000)))


def heard(at: int, payload_type: int, payload: bytes, timestamp: int = 5000, pauses: Pauses | None = None) -> bool:
    packet = header.build(payload_type, 1, timestamp, 7, payload)
    pauses = pauses or Pauses([(BEGIN * MS, END * MS)])
    return not unwanted(SPEC, pauses, header.parse(packet), packet, at * MS)


def test_only_packets_of_a_pause_are_dropped() -> None:
    assert [heard(at, 0, b"x" * 160) for at in (9_999, 10_000, 19_999, 20_000)] == [True, False, False, True]


def test_a_digit_keyed_in_a_pause_is_dropped_if_it_ends_later() -> None:
    assert not heard(20_100, 101, b"\x05\x8a" + (8 * 200).to_bytes(2))
    assert heard(20_100, 101, b"\x05\x8a" + (8 * 20).to_bytes(2))


def test_redundant_audio_from_a_pause_is_dropped_after_it() -> None:
    said = redundant((0, 320, b"a" * 160), (0, 160, b"b" * 160), newest=(0, b"c" * 160))
    assert [heard(at, 96, said) for at in (9_999, 10_000, 20_000, 20_020, 20_040)] == [True, False, False, False, True]


def test_a_digit_keyed_in_a_pause_is_dropped_even_when_repeated() -> None:
    event = b"\x05\x8a" + (8 * 100).to_bytes(2)
    repeated = redundant((101, 3200, event), newest=(0, b"c" * 160))
    assert [heard(at, 96, repeated) for at in (20_200, 20_600)] == [False, True]
    assert not heard(20_040, 96, redundant(newest=(101, event)))


def test_a_repeated_digit_of_a_pause_is_recognised() -> None:
    pauses = Pauses([(BEGIN * MS, END * MS)])
    held = b"\x05\x0a" + (8 * 300).to_bytes(2)
    assert not heard(20_200, 101, held, 5000, pauses)
    again = redundant((101, 4000, b"\x05\x8a" + (8 * 10).to_bytes(2)), newest=(0, b"c"))
    assert not heard(20_700, 96, again, 9000, pauses)


def test_unreadable_redundant_audio_is_judged_by_its_arrival() -> None:
    assert [heard(at, 96, b"\x80") for at in (19_999, 20_000)] == [False, True]
