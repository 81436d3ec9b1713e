"""When a picture is asked for, read by the layouts of RFC 4585 and RFC 5104 alone."""

import struct
from dataclasses import replace

from media.rtp import header
from media.spec import StreamSpec
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.rtcp_feedback import PAUSE_NS, Pictures
from tests.media.stream.lanes import receive

AT = 1_700_000_000_000_000_000
OWN, SSRC = 0xABCD, 7


def video(*words: str) -> ReceivedStream:
    spec = StreamSpec(0, payloads=((96, "H264", 90_000),), source=("192.0.2.1", 4000), feedback=words, continuous=False)
    return ReceivedStream(spec, Pauses(), OWN)


def hear(track: ReceivedStream, *numbers: int, ssrc: int = SSRC) -> None:
    for number in numbers:
        packet = header.build(96, number, number * 3000, ssrc, bytes(100))
        receive(track, [packet], arrivals=[AT + number * 33_000_000])


def is_pli(packet: bytes | None, ssrc: int = SSRC) -> bool:
    return packet is not None and struct.unpack("!BBHII", packet) == (0x81, 206, 2, OWN, ssrc)


def fir_number(packet: bytes | None) -> int:
    """Read a full intra request: media SSRC 0 in the head, then one entry."""
    first, kind, words, own, nobody, ssrc, number = struct.unpack("!BBHIIIB3x", packet or b"")
    assert (first, kind, 4 + 4 * words, own, nobody, ssrc) == (0x84, 206, len(packet or b""), OWN, 0, SSRC)
    return int(number)


def test_a_key_frame_is_asked_for_at_start_and_loss_r26_t12() -> None:
    track, pictures = video("pli", "fir"), Pictures()
    assert pictures.wanted(track, AT) is None
    hear(track, 1, 2, 3)
    assert fir_number(pictures.wanted(track, AT)) == AT // PAUSE_NS & 0xFF
    hear(track, 4, 8)
    assert pictures.wanted(track, AT + PAUSE_NS - 1) is None
    assert is_pli(pictures.wanted(track, AT + PAUSE_NS))
    assert pictures.wanted(track, AT + 3 * PAUSE_NS) is None


def test_only_requests_that_were_offered_are_sent_r26() -> None:
    """And a worker that begins anew repeats no number of a full intra request."""
    for words in (("pli",), ("fir",), ()):
        track, pictures, asked = video(*words), Pictures(), []
        hear(track, 1)
        for turn in range(5):  # a loss each time
            hear(track, 5 + 4 * turn)
            asked.append(pictures.wanted(track, AT + turn * PAUSE_NS))
        asked.append(Pictures().wanted(track, AT + 5 * PAUSE_NS))
        if words == ("fir",):
            assert [fir_number(each) for each in asked] == [AT // PAUSE_NS + turn & 0xFF for turn in range(6)]
        else:
            assert [is_pli(each) for each in asked] == [words == ("pli",)] * 6
            assert words or asked == [None] * 6


def test_a_new_source_is_asked_for_a_picture_unless_held_r26() -> None:
    track, pictures = video("pli"), Pictures()
    hear(track, 1)
    assert is_pli(pictures.wanted(track, AT))
    hear(track, 100, ssrc=9)
    assert is_pli(pictures.wanted(track, AT + PAUSE_NS), 9)
    track.spec = replace(track.spec, held=True)
    hear(track, 200, ssrc=9)
    assert pictures.wanted(track, AT + 2 * PAUSE_NS) is None


def test_a_loss_filled_late_is_asked_for_once_r26() -> None:
    track, pictures = video("pli"), Pictures()
    hear(track, 1, 2, 4)
    assert is_pli(pictures.wanted(track, AT))
    hear(track, 3)
    assert pictures.wanted(track, AT + PAUSE_NS) is None
    hear(track, 5, 7)
    assert is_pli(pictures.wanted(track, AT + 2 * PAUSE_NS))
