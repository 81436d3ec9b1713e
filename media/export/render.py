"""Render the records of a call to sound: 16-bit PCM, one channel per audio stream, each packet at its time.

`measure` reads the records once to find rate and length, so that a header can be written; `render` reads them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

from media.codecs.decoders import Decoder, Format, decoder
from media.errors import MediaError
from media.export.pcm_mixer import Channel, PcmMixer
from media.export.timeline import SECOND, Placed, Timeline
from media.export.timeline_survey import Survey
from media.records.reader import Batch, ClockPair, batches
from media.records.record_format import ALL_STREAMS, Mark, Marked, Record

if TYPE_CHECKING:
    from av import AudioFrame

FLUSH_SECONDS = 2  # sound is given out when this much is ready
MAX_CHANNELS = 64  # as many media lines as one call may have
MAX_MARKS = 10_000  # marks kept to name the reasons of gaps
MAX_VOICES = 256  # decoders kept at once; a stream that keeps changing its SSRC must not fill the memory

REASONS = {Mark.PAUSE: "pause", Mark.HOLD: "hold", Mark.RESTART: "restart", Mark.DISK: "disk"}


class NothingToRender(MediaError):
    """The call has no audio stream, or more than a file can hold."""


@dataclass(frozen=True)
class RenderStream:
    """One audio stream of a call."""

    index: int
    # number in the records
    label: str
    # for titles
    payloads: Mapping[int, Format]
    # payload type -> format
    heard: tuple[tuple[int, int], ...] | None = None
    # (from, to) in ns since 1970, in order, in which it is heard; None = always, () = never: silence instead

    @property
    def silent(self) -> bool:
        """Return whether nothing of it is heard; it keeps its channel and its place in time."""
        return self.heard == ()


@dataclass(frozen=True)
class StreamReport:
    """The result for one stream."""

    label: str
    seconds: float
    # from time 0 to its last sample
    sound_seconds: float
    # of which decoded
    packets: int
    # each once
    errors: int
    # payloads or frames that could not be decoded, replaced by silence
    unknown: tuple[str, ...]
    # encodings without a decoder, replaced by silence
    gaps: tuple[tuple[float, float, str], ...]
    # (from, to, reason) in seconds; reason: pause, hold, restart, disk, or empty if no mark gives one
    dropped_seconds: float
    # sound that came too late to be placed


@dataclass(frozen=True)
class Report:
    """The result for a call."""

    rate: int
    channels: int
    seconds: float
    started_ns: int
    # time 0 in ns since the epoch; 0 if there was no packet
    repeats: int
    # packets that were stored twice and used once
    streams: tuple[StreamReport, ...]


@dataclass(frozen=True)
class Measured:
    """Rate, length and positions of a call, after the first reading."""

    timeline: Timeline
    streams: Sequence[RenderStream]
    # a channel each
    marks: Sequence[Marked]
    pictures: Sequence[RenderStream] = ()

    @property
    def rate(self) -> int:
        """Samples a second of the output."""
        return self.timeline.rate

    @property
    def samples(self) -> int:
        """Samples per channel of the output."""
        return self.timeline.samples


def measure(
    records: Iterable[Record],
    streams: Sequence[RenderStream],
    pictures: Sequence[RenderStream] = (),
    others: Sequence[RenderStream] = (),
) -> Measured:
    """Read the records once; `pictures` are the video streams to be shown. Raise NothingToRender, TooLong, Damaged.

    Time 0 is the first packet of all these streams, and the length is that of all. A stream left out of a file goes
    into `others`, or is `silent`, so that nothing else moves.
    """
    if not 0 < len(streams) <= MAX_CHANNELS:
        raise NothingToRender(f"the call has {len(streams)} audio streams; 1 to {MAX_CHANNELS} can be rendered")
    survey = Survey({s.index: s.payloads for s in (*streams, *pictures, *others)})
    marks: list[Marked] = []
    for item in batches(records):
        if isinstance(item, Batch):
            survey.add(item)
        elif isinstance(item, ClockPair):
            survey.report(item)
        elif item.kind in REASONS and len(marks) < MAX_MARKS:
            marks.append(item)
    return Measured(survey.finish(), streams, marks, pictures)


def render(
    measured: Measured,
    records: Iterable[Record],
    give: Callable[[bytes | bytearray], object],
    show: Callable[[Placed], object] | None = None,
) -> Report:
    """Read the records again and pass interleaved little-endian PCM to `give`, in order, gaps as silence.

    `show` is given the payloads of pictures, always before the sound of the same time.
    """
    voices = Voices(measured, give, show)
    for placed, floor in measured.timeline.blocks(_packets(records)):
        voices.sound(placed, floor)
    voices.finish()
    return _report(measured, voices)


def _packets(records: Iterable[Record]) -> Iterator[Batch]:
    return (item for item in batches(records) if isinstance(item, Batch))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A time in which a stream is heard or seen."""

    since: int
    until: int
    # ns since the epoch
    begin: int
    end: int
    # the same in samples of the output

    def holds(self, placed: Placed) -> bool:
        """Return whether packets lie in it and also arrived in it."""
        came = self.since <= min(placed.arrivals) and max(placed.arrivals) < self.until
        return came and self.begin <= placed.position < self.end


class Resampler:
    """16-bit mono PCM from one sample rate to another, streamed, by FFmpeg's resampler (imported when first used).

    It takes one unbroken stretch of sound; begin a new one after a gap.
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        from av import AudioResampler

        self._rate_in = rate_in
        self._inner = AudioResampler(format="s16", layout="mono", rate=rate_out)

    def feed(self, pcm: bytes | bytearray) -> bytes:
        """Return what is ready; the filter holds back a fraction of a millisecond."""
        from av import AudioFrame

        if not pcm:
            return b""
        frame = AudioFrame(format="s16", layout="mono", samples=len(pcm) // 2)
        frame.sample_rate = self._rate_in
        room = frame.planes[0].buffer_size
        frame.planes[0].update(bytes(pcm).ljust(room, b"\0"))
        return self._taken(self._inner.resample(frame))

    def finish(self) -> bytes:
        """Return what was held back."""
        return self._taken(self._inner.resample(None))

    @staticmethod
    def _taken(frames: list[AudioFrame]) -> bytes:
        return b"".join([bytes(f.planes[0])[: 2 * f.samples] for f in frames])


@dataclass(slots=True)
class Voice:
    """One source with one format on one channel."""

    channel: int
    owner: int
    form: Format
    rate: int
    # of the output
    begin: int = 0
    # sample at which the current stretch begins
    taken: int = 0
    # decoded samples of it so far
    end: int = -1
    # sample at which it ends
    written: int = 0
    # samples of it that were written; less than `end` by what the resampler holds
    resampler: Resampler | None = None
    heard: Sequence[Stretch] | None = None
    # when it is heard; None = always
    decoder: Decoder | None = field(init=False)

    def __post_init__(self) -> None:
        self.decoder = decoder(self.form)

    def speak(self, placed: Placed, mixer: PcmMixer) -> None:
        """Decode payloads and place them."""
        if self.decoder is None:
            return
        if self.decoder.joins:
            pcm: bytes | bytearray = self.decoder.decode(b"".join(placed.payloads))
        else:
            pcm = self._in_turn(placed.payloads, self.decoder)
        if self.heard is not None:
            pcm = _silenced(pcm, placed, self.decoder, self.rate, self.heard)
        if self.decoder.rate == self.rate:
            mixer.write(self.channel, placed.position, pcm, self.owner)
        else:
            self._stretch(placed.position, pcm, self.decoder.rate, mixer)

    @staticmethod
    def _in_turn(payloads: Sequence[bytes], speaker: Decoder) -> bytes:
        """Decode payloads as long as the first; one that cannot be decoded does not move those after it."""
        made = [speaker.decode(payload) for payload in payloads]
        size = len(made[0])
        return b"".join([pcm[:size].ljust(size, b"\0") for pcm in made]) if size else b"".join(made)

    def _stretch(self, position: int, pcm: bytes | bytearray, rate: int, mixer: PcmMixer) -> None:
        """Resample seamlessly while payloads follow each other (1 sample of rounding is no gap)."""
        if self.resampler is None or abs(position - self.end) > 1:
            self.settle(mixer)
            self.resampler = Resampler(rate, self.rate)
            self.begin, self.taken, self.written = position, 0, position
        self._lay(self.resampler.feed(pcm), mixer)
        self.taken += len(pcm) // 2
        self.end = self.begin + self.taken * self.rate // rate  # of the total: rounding errors would add up

    def settle(self, mixer: PcmMixer) -> None:
        """End the stretch: write what the resampler holds."""
        if self.resampler is not None:
            rest = self.resampler.finish()
            self._lay(rest[: 2 * max(self.end - self.written, 0)], mixer)
            self.resampler = None

    def _lay(self, pcm: bytes, mixer: PcmMixer) -> None:
        mixer.write(self.channel, self.written, pcm, self.owner)
        self.written += len(pcm) // 2


def _silenced(
    pcm: bytes | bytearray, placed: Placed, speaker: Decoder, rate: int, heard: Sequence[Stretch]
) -> bytes | bytearray:
    """Return decoded sound with silence outside the times in which it is heard; `rate` is that of the output.

    A packet must both lie and have arrived in such a time: RTP time and arrival may be ARRIVAL_BOUND apart
    (media.export.timeline_survey), and otherwise another person's words could be heard.
    """
    kept = bytearray(len(pcm))
    samples = len(pcm) // 2
    ends = _ends(placed.payloads, samples, joined=speaker.joins)
    for stretch in heard:
        first, last = ((at - placed.position) * speaker.rate // rate for at in (stretch.begin, stretch.end))
        for begin, end, arrival in zip([0, *ends], ends, placed.arrivals, strict=False):
            left, right = 2 * max(begin, first), 2 * min(end, last)
            if left < right and stretch.since <= arrival < stretch.until:
                kept[left:right] = pcm[left:right]
    return kept


def _ends(payloads: Sequence[bytes], samples: int, *, joined: bool) -> list[int]:
    """Return the sample at which each of several payloads decoded together ends; `joined`: as one payload."""
    sizes = [len(payload) if joined else 1 for payload in payloads]
    whole = max(sum(sizes), 1)
    return [size * samples // whole for size in accumulate(sizes)]


@dataclass
class Voices:
    """All sources of a call, mixed."""

    measured: Measured
    give: Callable[[bytes | bytearray], object]
    show: Callable[[Placed], object] | None = None
    speaking: dict[tuple[int, int, Format], Voice] = field(default_factory=dict)
    errors: dict[int, int] = field(default_factory=dict)
    # per channel

    def __post_init__(self) -> None:
        self.mixer = PcmMixer(len(self.measured.streams), self.give)
        self._channels = {s.index: i for i, s in enumerate(self.measured.streams) if not s.silent}
        self._shown = {s.index for s in self.measured.pictures}
        self._ready = FLUSH_SECONDS * self.measured.rate
        told = (*self.measured.streams, *self.measured.pictures)
        self._heard = {s.index: [self._stretch(pair) for pair in s.heard] for s in told if s.heard is not None}

    def sound(self, placed: list[Placed], floor: int) -> None:
        """Decode one block; nothing in later blocks lies before sample `floor`."""
        for item in placed:
            if min(item.position, floor) - self.mixer.base >= self._ready:
                self._flush(min(item.position, floor))
            if item.stream in self._channels:
                self._voice(item).speak(item, self.mixer)
            elif self.show is not None and item.stream in self._shown and self._seen(item):
                self.show(item)
        if floor - self.mixer.base >= self._ready:
            self._flush(floor)

    def _stretch(self, pair: tuple[int, int]) -> Stretch:
        timeline = self.measured.timeline
        begin, end = ((at - timeline.origin) * timeline.rate // SECOND for at in pair)
        return Stretch(*pair, max(begin, 0), end)

    def _seen(self, item: Placed) -> bool:
        times = self._heard.get(item.stream)
        return times is None or any(each.holds(item) for each in times)

    def finish(self) -> None:
        """Write and return everything that is left."""
        for voice in self.speaking.values():
            voice.settle(self.mixer)
        self.mixer.flush(self.measured.samples)
        self._count(self.speaking.values())

    def _voice(self, item: Placed) -> Voice:
        key = item.stream, item.ssrc, item.form
        voice = self.speaking.get(key)
        if voice is None:
            if len(self.speaking) >= MAX_VOICES:
                self._retire()
            channel, heard = self._channels[item.stream], self._heard.get(item.stream)
            voice = Voice(channel, item.ssrc, item.form, self.measured.rate, heard=heard)
            self.speaking[key] = voice
        return voice

    def _retire(self) -> None:
        """Remove the oldest half of the decoders."""
        old = list(self.speaking)[: MAX_VOICES // 2]
        voices = [self.speaking.pop(key) for key in old]
        for voice in voices:
            voice.settle(self.mixer)
        self._count(voices)

    def _count(self, voices: Iterable[Voice]) -> None:
        for voice in voices:
            if voice.decoder is not None:
                self.errors[voice.channel] = self.errors.get(voice.channel, 0) + voice.decoder.errors

    def _flush(self, upto: int) -> None:
        """Return sound up to a sample, but not beyond what a resampler still holds."""
        for voice in self.speaking.values():
            if voice.resampler is not None:
                if voice.end + 1 < upto:
                    voice.settle(self.mixer)
                else:
                    upto = min(upto, voice.written)
        self.mixer.flush(upto)


def _report(measured: Measured, voices: Voices) -> Report:
    rate, notes = measured.rate, measured.timeline.notes
    streams = tuple(
        StreamReport(
            label=stream.label,
            seconds=channel.end / rate,
            sound_seconds=channel.sound / rate,
            packets=0 if stream.silent else notes.packets.get(stream.index, 0),
            errors=voices.errors.get(number, 0),
            unknown=() if stream.silent else tuple(notes.unknown.get(stream.index, ())),
            gaps=tuple(_gaps(measured, stream.index, channel)),
            dropped_seconds=channel.dropped / rate,
        )
        for number, (stream, channel) in enumerate(zip(measured.streams, voices.mixer.channels, strict=True))
    )
    origin = measured.timeline.origin
    return Report(rate, len(streams), measured.samples / rate, origin, notes.repeats, streams)


def _gaps(measured: Measured, stream: int, channel: Channel) -> Iterator[tuple[float, float, str]]:
    """Return each gap with its reason: that of a mark within it, or none."""
    rate, origin = measured.rate, measured.timeline.origin
    marks = [
        ((mark.at - origin) / SECOND, REASONS[Mark(mark.kind)])
        for mark in measured.marks
        if mark.stream in (stream, ALL_STREAMS)
    ]
    for start, end in channel.gaps:
        begin, until = start / rate, end / rate
        inside = [reason for at, reason in marks if begin - MARK_SLACK <= at <= until]
        yield begin, until, inside[0] if inside else ""


MARK_SLACK = 0.5  # s; a mark is written with its batch, a packet earlier or later
