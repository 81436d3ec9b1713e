"""RTP payloads of AMR and AMR-WB (RFC 4867), in both forms, to the single frames that a decoder takes."""

from dataclasses import dataclass
from functools import lru_cache

from media.errors import MediaError

# Speech bits of each frame type (3GPP TS 26.101 table 1a, TS 26.201 table 1a); the entry after the speech modes is SID.
NARROW_BITS = (95, 103, 118, 134, 148, 159, 204, 244, 39)
WIDE_BITS = (132, 177, 253, 285, 317, 365, 397, 461, 477, 40)

LOST, NO_DATA = 14, 15  # frame types without bits
MAX_FRAMES = 12  # 240 ms in one packet; maxptime seen in the field is 240


class MalformedAmr(MediaError):
    """The payload does not follow RFC 4867 section 4.3 or 4.4."""


@dataclass(frozen=True)
class Packing:
    """How frames are packed in a payload."""

    aligned: bool = False
    # octet-aligned (section 4.4), otherwise bandwidth-efficient (section 4.3)
    checked: bool = False
    # a CRC byte for each frame with bits follows the table of contents (section 4.4.2.1)


@lru_cache(64)
def packing(fmtp: str | None) -> Packing | None:
    """Read it from the format parameters (RFC 4867 section 8.1); None if the order of frames is not supported.

    Each of crc, robust-sorting and interleaving implies octet-aligned; the last two change the order of the bytes.
    """
    pairs = (each.strip().lower().partition("=") for each in (fmtp or "").split(";"))
    params = {name.strip(): value.strip() for name, _, value in pairs}
    if params.get("robust-sorting") == "1" or "interleaving" in params:
        return None
    checked = params.get("crc") == "1"
    return Packing(checked or params.get("octet-align") == "1", checked)


def frames(payload: bytes, *, wide: bool, aligned: bool, checked: bool = False) -> list[bytes | None]:
    """Split a payload into frames of the storage format (section 5.3), 20 ms each.

    None stands for a frame without speech (SID, NO_DATA, lost, marked bad). Raise MalformedAmr.
    """
    bits = WIDE_BITS if wide else NARROW_BITS
    return _aligned(payload, bits, checked) if aligned else _packed(payload, bits)


def _width(frame_type: int, bits: tuple[int, ...]) -> int:
    """Return the number of speech bits of a frame type, 0 for those that carry none."""
    if frame_type in (LOST, NO_DATA):
        return 0
    if frame_type >= len(bits):
        raise MalformedAmr("an AMR payload names a frame type that does not exist")
    return bits[frame_type]


def _frame(frame_type: int, quality: int, speech: bytes, bits: tuple[int, ...]) -> bytes | None:
    """Put the storage header before the speech bits; return None if there is no speech."""
    if frame_type >= len(bits) - 1 or not quality:
        return None
    return bytes([frame_type << 3 | 4]) + speech


def _aligned(payload: bytes, bits: tuple[int, ...], checked: bool) -> list[bytes | None]:
    """Parse the octet-aligned form: a byte of mode request, a byte per table entry, then whole bytes (section 4.4)."""
    entries: list[tuple[int, int]] = []
    at = 1
    while True:
        if at >= len(payload) or len(entries) == MAX_FRAMES:
            raise MalformedAmr("the table of contents of an AMR payload does not end")
        entry = payload[at]
        entries.append((entry >> 3 & 15, entry >> 2 & 1))
        at += 1
        if not entry & 0x80:
            break
    at += sum(frame_type not in (LOST, NO_DATA) for frame_type, _ in entries) if checked else 0
    found: list[bytes | None] = []
    for frame_type, quality in entries:
        size = (_width(frame_type, bits) + 7) // 8
        if at + size > len(payload):
            raise MalformedAmr("an AMR payload is shorter than its table of contents says")
        found.append(_frame(frame_type, quality, payload[at : at + size], bits))
        at += size
    return found


def _packed(payload: bytes, bits: tuple[int, ...]) -> list[bytes | None]:
    """Parse the bandwidth-efficient form: 4 bits of mode request, 6 per table entry, then bits (section 4.3)."""
    whole, total, at = int.from_bytes(payload, "big"), 8 * len(payload), 4

    def take(width: int) -> int:
        nonlocal at
        at += width
        if at > total:
            raise MalformedAmr("an AMR payload is shorter than its table of contents says")
        return whole >> total - at & (1 << width) - 1

    entries: list[tuple[int, int]] = []
    more = 1
    while more:
        if len(entries) == MAX_FRAMES:
            raise MalformedAmr("the table of contents of an AMR payload does not end")
        entry = take(6)
        more = entry >> 5
        entries.append((entry >> 1 & 15, entry & 1))
    found: list[bytes | None] = []
    for frame_type, quality in entries:
        width = _width(frame_type, bits)
        size = (width + 7) // 8
        speech = (take(width) << 8 * size - width).to_bytes(size, "big")
        found.append(_frame(frame_type, quality, speech, bits))
    return found
