"""Split RTP payloads of Speex (RFC 5574), which contain any number of frames as a bit string, into single frames."""

# Bits of a frame by its mode (Speex manual, tables 9.1 and 10.1): narrowband, and each layer above it.
NARROW_BITS = (5, 43, 119, 160, 220, 300, 364, 492, 79)
LAYER_BITS = (4, 36, 112, 192, 352)
END = 15  # instead of a mode: nothing follows
REQUEST, USER = 14, 13  # instead of a mode: a message to the decoder, from the codec or the application
REQUEST_BITS = (1, 1, 4, 4, 4, 4, 4, 4, 8, 8, 16, 16, 32, 32, 64, 64)  # size of its content, by kind (table 5.1)
MAX_FRAMES = 12  # 240 ms
MAX_BYTES = 2048  # of a payload that are read: MAX_FRAMES take at most 1.8 KB, and the time grows quadratically
MAX_LAYERS = 2  # to 16 and to 32 kHz


class _Bits:
    """A payload, read bit by bit."""

    def __init__(self, payload: bytes) -> None:
        self._whole, self.total, self.at = int.from_bytes(payload, "big"), 8 * len(payload), 0

    @property
    def left(self) -> int:
        return self.total - self.at

    def peek(self, width: int) -> int:
        return self._whole >> self.left - width & (1 << width) - 1

    def skip(self, width: int) -> None:
        """Skip bits; raise ValueError if the payload ends before."""
        if width > self.left:
            raise ValueError("a Speex frame is cut off")
        self.at += width

    def since(self, begin: int) -> bytes:
        """Return the bits from `begin` on as whole bytes, padded with a zero and ones (RFC 5574 section 3.3)."""
        width = self.at - begin
        bits = self._whole >> self.left & (1 << width) - 1
        spare = -width % 8
        return (bits << spare | (1 << spare) - 1 >> 1).to_bytes((width + spare) // 8, "big")


def frames(payload: bytes) -> list[bytes]:
    """Split a payload into frames of 20 ms, each in separate bytes. Raise ValueError."""
    found: list[bytes] = []
    bits = _Bits(payload[:MAX_BYTES])
    while bits.left >= NARROW_BITS[0] and len(found) < MAX_FRAMES:
        mode, begin = bits.peek(5), bits.at
        if mode == END:
            break
        if mode in (REQUEST, USER):
            _message(bits, mode)
            continue
        if mode >= len(NARROW_BITS):
            raise ValueError("a Speex frame is of a mode that does not exist")
        bits.skip(NARROW_BITS[mode])
        _layers(bits)
        found.append(bits.since(begin))
    if not found:
        raise ValueError("a Speex payload has no frame")
    return found


def _layers(bits: _Bits) -> None:
    """Skip the layers that widen a frame: a one, the mode, and its bits; twice for 32 kHz."""
    for _ in range(MAX_LAYERS):
        if bits.left < LAYER_BITS[0] or not bits.peek(4) >> 3:
            return
        mode = bits.peek(4) & 7
        if mode >= len(LAYER_BITS):
            raise ValueError("a layer of a Speex frame is of a mode that does not exist")
        bits.skip(LAYER_BITS[mode])


def _message(bits: _Bits, mode: int) -> None:
    bits.skip(5)
    if bits.left < 4:
        raise ValueError("a message in a Speex payload is cut off")
    kind = bits.peek(4)
    bits.skip(4)
    bits.skip(REQUEST_BITS[kind] if mode == REQUEST else 5 + 8 * kind)
