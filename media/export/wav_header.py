"""WAV headers for sound of known length: RIFF, or RF64 (EBU Tech 3306) if 32 bits are not enough; 16-bit PCM."""

import struct

PCM, EXTENSIBLE = 1, 0xFFFE
SUBTYPE_PCM = bytes.fromhex("0100000000001000800000aa00389b71")
LIMIT = 0xFFFF_FFFF  # RIFF sizes have 32 bits
ELSEWHERE = 0xFFFF_FFFF  # RF64: "the size is in the ds64 chunk"


def header(rate: int, channels: int, samples: int) -> bytes:
    """Write everything before the sound; `samples` per channel follow as interleaved little-endian 16-bit PCM."""
    form = _format(rate, channels)
    size = samples * channels * 2
    riff = 4 + 8 + len(form) + 8 + size
    if riff <= LIMIT:
        head = struct.pack("<4sI4s4sI", b"RIFF", riff, b"WAVE", b"fmt ", len(form))
        return head + form + struct.pack("<4sI", b"data", size)
    sizes = struct.pack("<4sIQQQI", b"ds64", 28, riff + 36, size, samples, 0)
    head = struct.pack("<4sI4s", b"RF64", ELSEWHERE, b"WAVE") + sizes
    return head + struct.pack("<4sI", b"fmt ", len(form)) + form + struct.pack("<4sI", b"data", ELSEWHERE)


def _format(rate: int, channels: int) -> bytes:
    """Write the body of `fmt `: plain for mono and stereo, otherwise extensible, with no position for channels."""
    block = 2 * channels
    tag = PCM if channels <= 2 else EXTENSIBLE
    plain = struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, 16)
    return plain if channels <= 2 else plain + struct.pack("<HHI", 22, 16, 0) + SUBTYPE_PCM
