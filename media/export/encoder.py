"""Encode PCM to FLAC, Ogg/Opus, MP3 and Matroska by FFmpeg (PyAV, imported when an encoder is created).

Matroska can also contain video: H.264, or VP8 (20 times slower) if FFmpeg was built without an H.264 encoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO

from media.errors import MediaError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream

OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
MP3_RATES = (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000)
OPUS_BITS = 24_000  # per channel, for 8 kHz: transparent for telephone speech
WIDE_BITS = 40_000  # per channel, above 8 kHz
MP3_BITS = 32_000
OPUS_EFFORT = "5"  # of 10: two thirds of the time, no audible difference in speech
FILM_RATE = 25  # maximum pictures per second
FILM_BITS = 1_000_000  # enough for faces; a shared page of text is sharp after a second
FILMS = {
    "libx264": {"preset": "superfast", "threads": "1"},
    "libvpx": {"deadline": "realtime", "cpu-used": "-16", "auto-alt-ref": "0"},
}  # the first one available
MILLISECOND = Fraction(1, 1000)
BUFFER = 1 << 18  # bytes that FFmpeg collects before it writes
NOT_RANDOM = {"fflags": "+bitexact"}
"""Stream ids are counted, not random: FFmpeg opens /dev/urandom for random ones, and where a process may open nothing
it spends 0.1 s on clock jitter instead."""


class Unencodable(MediaError):
    """This format cannot hold this many channels."""


class Container(StrEnum):
    """The formats of an export."""

    WAV = "wav"
    FLAC = "flac"
    OPUS = "opus"
    MP3 = "mp3"
    MKV = "mkv"
    PCAP = "pcap"


@dataclass(frozen=True)
class Kind:
    """How FFmpeg writes one container."""

    container: str
    codec: str
    channels: int
    # most channels that it can hold
    rates: tuple[int, ...] = ()
    # supported sample rates, rising; empty: any
    apart: bool = False
    # one mono track per channel


KINDS = {
    Container.FLAC: Kind("flac", "flac", 8),
    Container.OPUS: Kind("ogg", "libopus", 8, OPUS_RATES),
    Container.MP3: Kind("mp3", "libmp3lame", 2, MP3_RATES),
    Container.MKV: Kind("matroska", "flac", 64, apart=True),
}
LAYOUTS = ("mono", "stereo", "3.0", "quad", "5.0", "5.1", "6.1", "7.1")


class Encoder:
    """Write interleaved 16-bit PCM to a container; `finish` must be called."""

    def __init__(
        self, out: BinaryIO, form: Container, rate: int, titles: Sequence[str], picture: tuple[int, int] | None = None
    ) -> None:
        """`titles` names each channel; `picture` is width and height of a video track. Raise Unencodable."""
        import av

        self._kind = _fitting(form, len(titles))
        self._rate, self._channels, self._at = rate, len(titles), 0
        self._out: OutputContainer = av.open(
            out, "w", format=self._kind.container, buffer_size=BUFFER, options=NOT_RANDOM
        )
        if self._kind.apart:
            self._tracks = [self._track("mono", title) for title in titles]
        else:
            self._tracks = [self._track(LAYOUTS[len(titles) - 1], "")]
        self._film = self._pictures(*picture) if picture else None

    @property
    def seconds(self) -> float:
        """Return the length of the sound so far."""
        return self._at / self._rate

    def _pictures(self, width: int, height: int) -> VideoStream:
        import av
        from av.video.stream import VideoStream

        codec = next((name for name in FILMS if name in av.codecs_available), "none")
        film = self._out.add_stream(codec, rate=FILM_RATE, options=FILMS.get(codec, {}))
        if not isinstance(film, VideoStream):
            raise Unencodable("this FFmpeg has no video encoder")
        film.width, film.height, film.pix_fmt, film.bit_rate = width, height, "yuv420p", FILM_BITS
        film.codec_context.time_base = MILLISECOND
        film.codec_context.thread_count = 1
        return film

    def show(self, seconds: float, frame: VideoFrame) -> None:
        """Encode the picture shown from a time on; times never go back."""
        if self._film is not None:
            frame.pts, frame.time_base = round(seconds * 1000), MILLISECOND
            self._out.mux(self._film.encode(frame))

    def _track(self, layout: str, title: str) -> AudioStream:
        from av.audio.stream import AudioStream

        options = {}
        if self._kind.codec == "libopus":
            options = {"compression_level": OPUS_EFFORT, "application": "audio"}
            if self._channels > 2:
                options["mapping_family"] = "255"  # channels without a position in a room
        held = held_rate(self._kind, self._rate)
        # PyAV's encoder resamples input at another rate
        track = self._out.add_stream(self._kind.codec, rate=held, options=options, layout=layout)
        if not isinstance(track, AudioStream):
            raise Unencodable(f"{self._kind.codec} is no audio codec")
        if self._kind.codec == "libopus":
            track.bit_rate = self._channels * (OPUS_BITS if self._rate == OPUS_RATES[0] else WIDE_BITS)
        elif self._kind.codec == "libmp3lame":
            track.bit_rate = self._channels * MP3_BITS
        track.time_base = Fraction(1, self._rate)
        if title:
            track.metadata["title"] = title
        return track

    def give(self, pcm: bytes | bytearray) -> None:
        """Encode the next samples."""
        samples = len(pcm) // 2 // self._channels
        if self._kind.apart:
            for channel, track in enumerate(self._tracks):
                self._encode(track, apart(pcm, channel, self._channels), samples)
        else:
            self._encode(self._tracks[0], pcm, samples)
        self._at += samples

    def _encode(self, track: AudioStream, pcm: bytes | bytearray, samples: int) -> None:
        from av import AudioFrame

        if not samples:
            return
        frame = AudioFrame(format="s16", layout=track.layout, samples=samples)
        frame.sample_rate, frame.pts, frame.time_base = self._rate, self._at, Fraction(1, self._rate)
        frame.planes[0].update(bytes(pcm).ljust(frame.planes[0].buffer_size, b"\0"))
        self._out.mux(track.encode(frame))

    def finish(self) -> None:
        """Write buffered data and the end of the container."""
        if not self._at:  # no player opens a file without samples
            self.give(bytes(self._rate // 50 * self._channels * 2))
        for track in (*self._tracks, *((self._film,) if self._film else ())):
            self._out.mux(track.encode(None))
        self._out.close()


def _fitting(form: Container, channels: int) -> Kind:
    kind = KINDS.get(form)
    if kind is None:
        raise Unencodable(f"{form} is not made by an encoder")
    if channels > kind.channels:
        raise Unencodable(
            f"{form} holds at most {kind.channels} channels and this call has {channels}; choose wav or mkv"
        )
    return kind


def held_rate(kind: Kind, rate: int) -> int:
    """Return the rate at which a container holds the sound: the next higher one it supports, or its highest."""
    return next((each for each in kind.rates if each >= rate), kind.rates[-1]) if kind.rates else rate


def apart(pcm: bytes | bytearray, channel: int, channels: int) -> bytearray:
    """Extract one channel of interleaved sound."""
    one = bytearray(len(pcm) // channels)
    one[0::2] = pcm[2 * channel :: 2 * channels]
    one[1::2] = pcm[2 * channel + 1 :: 2 * channels]
    return one
