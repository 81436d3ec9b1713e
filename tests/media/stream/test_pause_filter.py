"""What of a pause must not be kept, whenever it comes."""

import pytest

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


RED, VOICE = 96, b"x" * 160
KEY = b"\x05\x8a"
CARRIED = redundant((101, 3200, KEY + (8 * 100).to_bytes(2)), newest=(0, b"c" * 160))
KEPT = {
    "sound": (0, VOICE, {9_999: True, 10_000: False, 19_999: False, 20_000: True}),
    "a digit keyed in the pause that ends later": (101, KEY + (8 * 200).to_bytes(2), {20_100: False}),
    "a digit keyed after it": (101, KEY + (8 * 20).to_bytes(2), {20_100: True}),
    "redundant audio of the pause": (
        RED,
        redundant((0, 320, b"a" * 160), (0, 160, b"b" * 160), newest=(0, b"c" * 160)),
        {9_999: True, 10_000: False, 20_000: False, 20_020: False, 20_040: True},
    ),
    "a digit that is repeated": (RED, CARRIED, {20_200: False, 20_600: True}),
    "a digit as the new block": (RED, redundant(newest=(101, KEY + (8 * 100).to_bytes(2))), {20_040: False}),
    "redundant audio that cannot be read": (RED, b"\x80", {19_999: False, 20_000: True}),
}


@pytest.mark.parametrize(("payload_type", "payload", "kept"), KEPT.values(), ids=KEPT)
def test_nothing_of_a_pause_is_kept(payload_type: int, payload: bytes, kept: dict[int, bool]) -> None:
    assert {at: heard(at, payload_type, payload) for at in kept} == kept
