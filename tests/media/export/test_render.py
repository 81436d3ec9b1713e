"""A call as it sounds: the right party on the right channel, in true time, nothing invented."""

from __future__ import annotations

from array import array

import av
import pytest

from media.codecs.decoders import Format
from media.export.render import NothingToRender, RenderStream, Resampler, measure, render
from media.records import record_format
from media.records.record_format import Mark
from tests.in_process.rendered_calls import (
    MS,
    PCMA,
    PCMU,
    START,
    encode,
    expand,
    listen,
    noise,
    run,
    single,
    snr,
    stream,
    voice,
)
from tests.media.rtp.test_red import redundant

SILENCE = array("h", [0])


SAID = noise(1, 3)
FIVE = run(noise(1, 5))
KEYS = (101, Format("telephone-event", 8000)), (13, Format("CN", 8000))
SOUNDS = {
    "the order of the streams asked for": (
        run(noise(1, 1), stream=3) + run(noise(2, 1), stream=5, ssrc=8),
        [stream(5), stream(3)],
        [expand(noise(2, 1)[0]), expand(noise(1, 1)[0])],
    ),
    "a stream that stayed empty": (FIVE, [stream(0), stream(1)], [expand(b"".join(noise(1, 5))), SILENCE * 800]),
    "an unknown codec (T11)": (
        FIVE + run([b"x" * 30] * 5, stream=1, ssrc=8, pt=96),
        [stream(0), stream(1, (96, Format("EVS", 16_000)))],
        [expand(b"".join(noise(1, 5))), SILENCE * 800],
    ),
    "no packet": (b"", [stream(0), stream(1)], [array("h"), array("h")]),
    "a lost packet": (
        single(SAID[0]) + single(SAID[2], seq=1002, ts=5320, at=40),
        [stream(0)],
        [expand(SAID[0]) + SILENCE * 160 + expand(SAID[2])],
    ),
    "two codecs of one source": (
        single(SAID[0]) + single(SAID[1], seq=1001, ts=5160, at=20, pt=8),
        [stream(0, (0, PCMU), (8, PCMA))],
        [expand(SAID[0]) + expand(SAID[1], "pcm_alaw")],
    ),
    "digits and comfort noise": (
        single(SAID[0])
        + b"".join(single(b"\x05\x8a\x01\x90", seq=1001 + i, ts=5160, at=20 + i, pt=101) for i in range(3))
        + single(b"\x40", seq=1004, ts=5320, at=40, pt=13)
        + single(SAID[1], seq=1005, ts=5480, at=60),
        [stream(0, (0, PCMU), *KEYS)],
        [expand(SAID[0]) + SILENCE * 320 + expand(SAID[1])],
    ),
}


@pytest.mark.parametrize(("stored", "wanted", "sounds"), SOUNDS.values(), ids=SOUNDS)
def test_each_channel_sounds_as_it_was_sent(
    stored: bytes, wanted: list[RenderStream], sounds: list[array[int]]
) -> None:
    channels, report, _ = listen(stored, *wanted)
    assert channels == sounds
    assert report.seconds == len(sounds[0]) / 8000
    assert [each.errors for each in report.streams] == [0] * len(wanted)


@pytest.mark.parametrize(
    ("stored", "form", "noted"),
    [(run([b"x"], pt=96), "EVS", ("EVS",)), (run([b"\x80\0\0"] * 3, pt=96), "red", ("red",)), (FIVE, "CN", ())],
)
def test_what_cannot_be_heard_is_noted(stored: bytes, form: str, noted: tuple[str, ...]) -> None:
    """Duty T11."""
    _, report, _ = listen(stored, stream(0, (0, PCMU), (96, Format(form, 8000))))
    assert report.streams[0].unknown == noted


@pytest.mark.parametrize(
    ("marked", "resumed", "gap"),
    [
        (record_format.mark(255, Mark.PAUSE, START + 500 * MS), 10_000, (0.5, 10.0, "pause")),
        (record_format.mark(1, Mark.HOLD, START + 500 * MS), 1_000, (0.5, 1.0, "")),
        (b"", 1_000, (0.5, 1.0, "")),
    ],
    ids=["a pause", "a hold of another stream", "a loss"],
)
def test_a_gap_is_silence_of_its_length_with_its_reason(
    marked: bytes, resumed: int, gap: tuple[float, float, str]
) -> None:
    stored = run(noise(1, 25)) + marked + run(noise(2, 25), seq=2000, ts=5000 + 8 * resumed, at=resumed)
    (sound,), report, _ = listen(stored)
    assert sound[4000 : 8 * resumed] == SILENCE * (8 * resumed - 4000)
    assert report.streams[0].gaps == (gap,)
    assert report.streams[0].sound_seconds == 1.0


def test_the_new_block_of_redundant_audio_is_heard_once() -> None:
    form = stream(0, (0, PCMU), (96, Format("red", 8000)), (101, Format("telephone-event", 8000)))
    said = noise(1, 4)
    stored = single(redundant(newest=(0, said[0])), pt=96)
    for i in (1, 2):
        payload = redundant((0, 160, said[i - 1]), newest=(0, said[i]))
        stored += single(payload, seq=1000 + i, ts=5000 + 160 * i, at=20 * i, pt=96)
    stored += single(redundant(newest=(101, b"\x05\x0a\0\xa0")), seq=1003, ts=5480, at=60, pt=96)
    stored += single(said[3], seq=1004, ts=5640, at=80)
    channels, report, _ = listen(stored, form)
    assert channels[0] == expand(b"".join(said[:3])) + SILENCE * 160 + expand(said[3])
    assert (report.streams[0].errors, report.streams[0].unknown) == (0, ())


def test_resampled_sound_has_no_seam_and_its_gaps_their_length() -> None:
    spoken = encode("pcm_mulaw", voice(1, 8000), 8000)
    stored = run([bytes(160)], stream=1, ssrc=8, pt=9)
    stored += run(spoken[:25], ts=0) + run(spoken[25:], seq=1025, ts=4000, at=500)
    stored += run(spoken[:25], seq=1050, ts=48_000, at=6000)
    channels, report, _ = listen(stored, stream(0), stream(1, (9, Format("G722", 8000))))
    assert report.streams[0].gaps == ((1.0, 6.0, ""),)
    ratio, delay = snr(voice(1, 8000), channels[0][:16_000:2], 20)
    assert ratio > 25
    assert delay == 0
    assert not any(channels[0][16_010:95_990])


def test_an_undecodable_payload_shifts_no_other() -> None:
    context = av.CodecContext.create("libopus", "w")
    context.options = {"vbr": "off"}  # of one size, so they lie in one record
    context.sample_rate, context.layout, context.format, context.bit_rate = 48_000, "mono", "s16", 24_000
    sent, packets = voice(0.4, 48_000), []
    for at in range(0, len(sent), 960):
        frame = av.AudioFrame(format="s16", layout="mono", samples=960)
        frame.sample_rate, frame.pts = 48_000, at
        frame.planes[0].update(sent[at : at + 960].tobytes())
        packets += [bytes(packet) for packet in context.encode(frame)]
    form = stream(0, (96, Format("opus", 48_000, 2)))
    whole, _, _ = listen(run(packets, pt=96, step=960), form)
    packets[5] = bytes([packets[5][0] | 3, 0]) + packets[5][2:]  # no frame at all
    channels, report, _ = listen(run(packets, pt=96, step=960), form)
    assert (report.streams[0].errors, len(channels[0])) == (1, len(whole[0]))
    assert not any(channels[0][4800:5760])
    quiet = sum((a - b) ** 2 for a, b in zip(channels[0][9600:], whole[0][9600:], strict=True))
    assert quiet < sum(a * a for a in whole[0][9600:]) / 100


def test_a_long_stretch_loses_nothing_where_it_is_given_out() -> None:
    spoken = encode("pcm_mulaw", voice(8, 8000), 8000)
    stored = run([bytes(160)], stream=1, ssrc=8, pt=9)
    stored += b"".join(single(p, seq=i, ts=160 * i, at=20 * i) for i, p in enumerate(spoken))
    channels, report, _ = listen(stored, stream(0), stream(1, (9, Format("G722", 8000))))
    assert report.streams[0].dropped_seconds == 0
    assert report.streams[0].gaps == ()
    heard = channels[0][::2]
    assert max(abs(a - b) for a, b in zip(expand(b"".join(spoken)), heard, strict=True)) < 1000


@pytest.mark.parametrize("count", [0, 65])
def test_no_stream_or_far_too_many_are_refused(count: int) -> None:
    with pytest.raises(NothingToRender):
        measure([], [stream(i) for i in range(count)])


def test_a_source_that_changes_without_end_is_heard_throughout() -> None:
    p = noise(1, 400)
    stored = b"".join(single(p[i], ssrc=i + 1, seq=1, ts=i * 1_000_003, at=20 * i) for i in range(400))
    channels, _, _ = listen(stored)
    assert channels[0] == expand(b"".join(p))


@pytest.mark.parametrize(("ahead", "seen"), [(0, True), (20, False)])
def test_pictures_are_placed_by_arrival_within_a_persons_time(ahead: int, seen: bool) -> None:
    """The last of them comes 3.9 s after the first at 100 ms each, 3.12 s at 80 ms; all are dated 100 ms apart."""
    stored = run(noise(1, 200)) + run([b"x"] * 40, stream=1, pt=96, step=9_000, every=100 - ahead)
    video = RenderStream(1, "2", {96: Format("VP8", 90_000)}, heard=((START + 3_500 * MS, 1 << 63),))
    measured = measure(record_format.read([stored]), [RenderStream(0, "1", {})], [video])
    shown: list[int] = []
    render(measured, record_format.read([stored]), lambda _: None, lambda placed: shown.append(placed.position))
    assert (shown == [at * 800 for at in range(35, 40)]) is seen and bool(shown) is seen


@pytest.mark.parametrize(("rate_in", "rate_out"), [(8000, 16_000), (8000, 48_000), (16_000, 48_000)])
def test_a_resampled_stretch_keeps_its_length_and_has_no_delay(rate_in: int, rate_out: int) -> None:
    sent = voice(1, rate_in)
    resampler = Resampler(rate_in, rate_out)
    assert resampler.feed(b"") == b""
    step = rate_in // 50
    heard = b"".join([resampler.feed(sent[i : i + step].tobytes()) for i in range(0, len(sent), step)])
    samples = array("h", heard + resampler.finish())
    assert abs(len(samples) - rate_out) <= 1
    ratio, delay = snr(sent, samples[:: rate_out // rate_in], 20)
    assert delay == 0
    assert ratio > 35
