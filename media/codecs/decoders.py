"""Decode payloads: what each encoding is, how long a payload lasts, and its 16-bit mono PCM.

G.711 is expanded by table and L16 is byte-swapped. Everything else goes through FFmpeg (PyAV), imported with the first
such payload. A decoder never raises: what cannot be decoded becomes silence of the payload's length, and is counted.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from media.codecs import amr, g711, speex

if TYPE_CHECKING:
    from av import AudioFrame, AudioResampler
    from av.audio.codeccontext import AudioCodecContext

# A piece of payload: one packet for FFmpeg (None: no speech in it), and its length in samples.
Piece = tuple[bytes | None, int]


@dataclass(frozen=True)
class Format:
    """What one payload type means, from rtpmap and fmtp of the SDP."""

    name: str
    # encoding name as sent, in any case
    clock: int
    # RTP clock in Hz
    channels: int = 1
    # channels in the SDP (Opus always says 2)
    fmtp: str | None = None
    # format parameters, raw


# RFC 3551 table 4, and 2 and 19 as Cisco uses them: payload types that need no rtpmap.
STATIC = {
    0: Format("PCMU", 8000),
    2: Format("G726-32", 8000),
    3: Format("GSM", 8000),
    4: Format("G723", 8000),
    8: Format("PCMA", 8000),
    9: Format("G722", 8000),
    10: Format("L16", 44_100, 2),
    11: Format("L16", 44_100),
    13: Format("CN", 8000),
    18: Format("G729", 8000),
    19: Format("CN", 8000),
}

# Never decoded: digits (RFC 4733) are personal data and no audio; comfort noise (RFC 3389) is no speech.
NOT_SOUND = frozenset({"TELEPHONE-EVENT", "TONE", "CN"})

# Encodings that can be shown as pictures (media.codecs.video_depacketizer).
PICTURES = frozenset({"H264", "VP8"})


@dataclass(frozen=True)
class Coding:
    """How to decode one encoding."""

    decoder: str | None
    # FFmpeg's decoder; None: G.711 by table, L16 directly
    rate: int | None
    # decoded samples per second; None: the RTP clock
    clock: int | None
    # RTP clock whatever the SDP says; None: as in the SDP
    split: Callable[[bytes, Format], list[Piece]]
    # splits a payload into pieces; raises ValueError or MalformedAmr
    tables: tuple[bytes, bytes] | None = None
    # G.711 expansion
    bits: int | None = None
    # bits per sample, if FFmpeg must be told


def _one_byte_one_sample(payload: bytes, form: Format) -> list[Piece]:
    return [(payload, len(payload))]


def _g722(payload: bytes, form: Format) -> list[Piece]:
    return [(payload, 2 * len(payload))]


def _g729(payload: bytes, form: Format) -> list[Piece]:
    """Split into 10-byte voice frames and a final 2-byte SID (annex B), unknown to FFmpeg: 10 ms of silence."""
    voice, rest = divmod(len(payload), 10)
    if rest not in (0, 2):
        raise ValueError("a G.729 payload is whole frames of 10 bytes and at most one SID of 2")
    return [(payload[10 * i : 10 * i + 10], 80) for i in range(voice)] + ([(None, 80)] if rest else [])


def _equal(size: int, samples: int) -> Callable[[bytes, Format], list[Piece]]:
    """Return the splitter for a codec with equal frames."""

    def split(payload: bytes, form: Format) -> list[Piece]:
        if not payload or len(payload) % size:
            raise ValueError("the payload is not whole frames")
        return [(payload[i : i + size], samples) for i in range(0, len(payload), size)]

    return split


def _ilbc(payload: bytes, form: Format) -> list[Piece]:
    """Split into frames of 38 bytes (20 ms) or 50 (30 ms) by length, as senders forget `mode=20` (RFC 3952)."""
    return _equal(*ilbc_frame(payload))(payload, form)


def ilbc_frame(payload: bytes) -> tuple[int, int]:
    """Return bytes and samples of the frames in an iLBC payload."""
    return (38, 160) if len(payload) % 50 else (50, 240)


def _g726(bits: int) -> Callable[[bytes, Format], list[Piece]]:
    """Return the splitter for one rate: codes of this many bits without frames (RFC 3551 section 4.5.4)."""

    def split(payload: bytes, form: Format) -> list[Piece]:
        return [(payload, 8 * len(payload) // bits)]

    return split


# G.723.1 by the two lowest bits of a frame: 6.3 kbit/s, 5.3 kbit/s, SID (RFC 3551 section 4.5.3); 3 never comes.
G723_BYTES = (24, 20, 4)


def _g723(payload: bytes, form: Format) -> list[Piece]:
    """Split into frames of 30 ms whose first byte gives their length; FFmpeg generates the noise of a SID."""
    found: list[Piece] = []
    at = 0
    while at < len(payload):
        kind = payload[at] & 3
        frame = payload[at : at + G723_BYTES[kind]] if kind < len(G723_BYTES) else b""
        if not frame or len(frame) < G723_BYTES[kind]:
            raise ValueError("a G.723.1 payload is whole frames of 24, 20 or 4 bytes")
        found.append((frame, 240))
        at += len(frame)
    return found


def _l16(payload: bytes, form: Format) -> list[Piece]:
    """Count the samples of one channel (RFC 3551 section 4.5.11)."""
    samples, rest = divmod(len(payload), 2 * form.channels)
    if rest:
        raise ValueError("an L16 payload is whole samples of every channel")
    return [(payload, samples)]


OPUS_MAX_SAMPLES = 5760  # 120 ms, RFC 6716 section 3.2.5


def _opus(payload: bytes, form: Format) -> list[Piece]:
    """Read the length of an Opus packet from its first two bytes (RFC 6716 section 3.1); samples at 48 kHz."""
    if not payload:
        raise ValueError("an Opus packet has at least one byte")
    config = payload[0] >> 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    else:
        frame = (480, 960)[config & 1] if config < 16 else (120, 240, 480, 960)[config & 3]
    code = payload[0] & 3
    if code == 3 and len(payload) < 2:
        raise ValueError("an Opus packet of code 3 has a count byte")
    samples = frame * (1 if code == 0 else 2 if code < 3 else payload[1] & 63)
    if not 0 < samples <= OPUS_MAX_SAMPLES:
        raise ValueError("an Opus packet lasts at most 120 ms")
    return [(payload, samples)]


def _amr(*, wide: bool) -> Callable[[bytes, Format], list[Piece]]:
    """Return the splitter for AMR or AMR-WB."""
    samples = 320 if wide else 160

    def split(payload: bytes, form: Format) -> list[Piece]:
        packing = amr.packing(form.fmtp) or amr.Packing()
        found = amr.frames(payload, wide=wide, aligned=packing.aligned, checked=packing.checked)
        return [(frame, samples) for frame in found]

    return split


def _speex(payload: bytes, form: Format) -> list[Piece]:
    return [(frame, form.clock // 50) for frame in speex.frames(payload)]


CODINGS = {
    "PCMU": Coding(None, None, None, _one_byte_one_sample, g711.ULAW),
    "PCMA": Coding(None, None, None, _one_byte_one_sample, g711.ALAW),
    "G722": Coding("g722", 16_000, 8_000, _g722),  # RFC 3551 section 4.5.2: the clock is 8,000 by an old mistake
    "G729": Coding("g729", 8_000, 8_000, _g729),
    "GSM": Coding("gsm", 8_000, 8_000, _equal(33, 160)),
    "ILBC": Coding("ilbc", 8_000, 8_000, _ilbc),
    "OPUS": Coding("libopus", 48_000, 48_000, _opus),
    "AMR": Coding("amrnb", 8_000, 8_000, _amr(wide=False)),
    "AMR-WB": Coding("amrwb", 16_000, 16_000, _amr(wide=True)),
    "SPEEX": Coding("speex", None, None, _speex),
    "G723": Coding("g723_1", 8_000, 8_000, _g723),
    "L16": Coding(None, None, None, _l16),
}
# The same codes packed from the lowest bit (RFC 3551 section 4.5.4), or from the highest (its AAL2 forms, I.366.2).
for _bits in (2, 3, 4, 5):
    CODINGS[f"G726-{8 * _bits}"] = Coding("g726le", 8_000, 8_000, _g726(_bits), bits=_bits)
    CODINGS[f"AAL2-G726-{8 * _bits}"] = Coding("g726", 8_000, 8_000, _g726(_bits), bits=_bits)

SPEEX_CLOCKS = (8_000, 16_000, 32_000)
CLOCKS = range(8_000, 192_001)  # clock rates accepted in the rtpmap of G.711 or L16
L16_CHANNELS = (1, 2)


def coding(form: Format) -> Coding | None:
    """Return how to decode a format; None if it is unknown or no audio."""
    name = form.name.upper()
    allowed = SPEEX_CLOCKS if name == "SPEEX" else CLOCKS
    found = CODINGS.get(name)
    if found and found.clock is None and form.clock not in allowed:
        return None
    if name == "L16" and form.channels not in L16_CHANNELS:
        return None
    if name in ("AMR", "AMR-WB") and (form.channels > 1 or amr.packing(form.fmtp) is None):
        return None
    return found


def decodable(kind: str, name: str | None) -> bool | None:
    """Return whether an encoding can be heard or seen; None if it is neither audio nor video."""
    upper = (name or "").upper()
    if kind == "video":
        return upper in PICTURES
    return upper in CODINGS if kind == "audio" and upper and upper not in NOT_SOUND else None


class Known:
    """A format whose properties are looked up once."""

    __slots__ = ("clock", "coding", "form", "picture", "rate", "sound")

    def __init__(self, form: Format) -> None:
        self.form = form
        self.coding = coding(form)
        # None if there is no decoder
        self.sound = form.name.upper() not in NOT_SOUND
        # False: digits and comfort noise
        self.picture = form.name.upper() in PICTURES
        # video that can be shown
        self.clock = (self.coding and self.coding.clock) or max(form.clock, 1)
        # actual RTP clock, Hz
        self.rate = (self.coding and self.coding.rate) or self.clock
        # decoded samples per second

    def samples_in(self, payload: bytes) -> int:
        """Return the length of a payload in samples of `rate`; 0 if it is unknown."""
        if self.coding is None:
            return 0
        if self.coding.tables:
            return len(payload)
        try:
            return sum([samples for _, samples in self.coding.split(payload, self.form)])
        except (ValueError, amr.MalformedAmr):
            return 0


class Decoder(Protocol):
    """Decodes the payloads of one source, in order, to PCM."""

    rate: int
    # output samples per second
    errors: int
    # payloads and frames that could not be decoded so far
    joins: bool
    # payloads may be joined and decoded together

    def decode(self, payload: bytes) -> bytes | bytearray:
        """Return 16-bit little-endian mono samples, exactly as long as the payload lasts."""


def decoder(form: Format) -> Decoder | None:
    """Return a decoder; None if the format is unknown."""
    found = coding(form)
    if found is None:
        return None
    if found.tables:
        return TableDecoder(found.tables, form.clock)
    return FrameDecoder(found, form) if found.decoder else LinearDecoder(form)


class TableDecoder:
    """G.711."""

    joins = True

    def __init__(self, tables: tuple[bytes, bytes], rate: int) -> None:
        self.rate, self.errors, self._tables = rate, 0, tables

    def decode(self, payload: bytes) -> bytearray:
        """Expand a payload, or several joined."""
        return g711.decode(payload, self._tables)


class LinearDecoder:
    """L16: samples in network order; two channels are mixed into one."""

    joins = False

    def __init__(self, form: Format) -> None:
        self.rate, self.errors, self._form = form.clock, 0, form

    def decode(self, payload: bytes) -> bytes:
        """Decode one payload; return nothing if it is incomplete."""
        try:
            _l16(payload, self._form)
        except ValueError:
            self.errors += 1
            return b""
        heard = array("h", payload)
        if sys.byteorder == "little":
            heard.byteswap()
        if self._form.channels == 2:
            heard = array("h", [(left + right) // 2 for left, right in zip(heard[::2], heard[1::2], strict=True)])
        if sys.byteorder == "big":
            heard.byteswap()
        return heard.tobytes()


class FrameDecoder:
    """Any codec of FFmpeg, one piece at a time."""

    joins = False

    def __init__(self, how: Coding, form: Format) -> None:
        self.rate, self.errors = Known(form).rate, 0
        self._how, self._form = how, form
        self._context: AudioCodecContext | None = None
        self._opened_for = 0
        # frame size in bytes of the mode for which the context was opened, if modes differ (iLBC)
        self._converter: AudioResampler | None = None

    def decode(self, payload: bytes) -> bytes:
        """Decode one payload; return silence if that fails."""
        try:
            pieces = self._how.split(payload, self._form)
        except (ValueError, amr.MalformedAmr):
            self.errors += 1
            return b""
        return b"".join([self._piece(piece, samples) for piece, samples in pieces])

    def _piece(self, piece: bytes | None, samples: int) -> bytes:
        from av import FFmpegError, Packet

        if not piece:  # FFmpeg takes an empty packet for the end of the stream
            return bytes(2 * samples)
        try:
            if self._context is None or self._opened_for not in (0, len(piece)):
                self._context = self._open(piece)
            pcm = b"".join([self._linear(frame) for frame in self._context.decode(Packet(piece))])
        except (FFmpegError, ValueError):
            pcm = b""
        if not pcm:
            self.errors += 1
        return pcm[: 2 * samples].ljust(2 * samples, b"\0")

    def _open(self, piece: bytes) -> AudioCodecContext:
        import av

        context = av.CodecContext.create(self._how.decoder or "", "r")
        if not isinstance(context, av.AudioCodecContext):
            raise ValueError("not an audio decoder")
        context.sample_rate, context.layout = self.rate, "mono"
        context.thread_count = 1
        if self._how.bits:
            context.options = {"bits_per_coded_sample": str(self._how.bits)}
        if self._how.decoder == "ilbc":  # FFmpeg tells 20 from 30 ms frames by the bit rate
            self._opened_for = len(piece)
            context.bit_rate = 15_200 if len(piece) == 38 else 13_333
        return context

    def _linear(self, frame: AudioFrame) -> bytes:
        """Convert a decoded frame to 16-bit mono."""
        if frame.format.name in ("s16", "s16p") and frame.layout.nb_channels == 1:
            return bytes(frame.planes[0])[: 2 * frame.samples]
        if self._converter is None:
            from av import AudioResampler

            self._converter = AudioResampler(format="s16", layout="mono", rate=frame.sample_rate)
        frame.pts = None
        made = self._converter.resample(frame)
        return b"".join([bytes(f.planes[0])[: 2 * f.samples] for f in made])
