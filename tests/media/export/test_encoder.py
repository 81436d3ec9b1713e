"""Encoded files, listened to."""

from __future__ import annotations

import io
from array import array

import av
import pytest

from media.export.encoder import Container, Encoder, Unencodable, apart
from tests.in_process.rendered_calls import snr, voice


def made(form: Container, rate: int, *channels: array[int]) -> bytes:
    """Encode channels, given in pieces of 0.3 s."""
    woven = array("h", bytes(2 * len(channels) * len(channels[0])))
    for i, channel in enumerate(channels):
        woven[i :: len(channels)] = channel
    out, pcm, step = io.BytesIO(), woven.tobytes(), rate * 6 // 10 * len(channels)
    encoder = Encoder(out, form, rate, [str(i) for i in range(len(channels))])
    for at in range(0, len(pcm), step):
        encoder.give(pcm[at : at + step])
    encoder.finish()
    return out.getvalue()


def heard(file: bytes, rate: int, track: int = 0) -> list[array[int]]:
    """Decode one track and take its channels apart."""
    with av.open(io.BytesIO(file)) as source:
        stream = source.streams.audio[track]
        channels = stream.codec_context.layout.nb_channels
        linear = av.AudioResampler(format="s16", layout=stream.codec_context.layout, rate=rate)
        out = array("h")
        for frame in source.decode(stream):
            for piece in linear.resample(frame):
                out.frombytes(bytes(piece.planes[0])[: 2 * piece.samples * channels])
        for piece in linear.resample(None):
            out.frombytes(bytes(piece.planes[0])[: 2 * piece.samples * channels])
    return [out[i::channels] for i in range(channels)]


def quiet(sound: array[int]) -> array[int]:
    return array("h", [s // 3 for s in sound])


@pytest.mark.parametrize("channels", [1, 2, 5, 8])
def test_flac_is_exact(channels: int) -> None:
    sent = [array("h", [s // (i + 1) for s in voice(0.5, 8000)]) for i in range(channels)]
    assert heard(made(Container.FLAC, 8000, *sent), 8000) == sent


def test_matroska_has_one_exact_track_for_each_party() -> None:
    sent = [voice(0.5, 8000), quiet(voice(0.5, 8000))]
    file = made(Container.MKV, 8000, *sent)
    assert [heard(file, 8000, track)[0] for track in (0, 1)] == sent
    with av.open(io.BytesIO(file)) as source:
        assert [stream.metadata.get("title") for stream in source.streams] == ["0", "1"]


@pytest.mark.parametrize("speaker", [1, 3])
def test_opus_gives_none_of_many_parties_a_place_in_a_room(speaker: int) -> None:
    sent = [array("h", bytes(16_000)) for _ in range(6)]
    sent[speaker] = voice(1, 8000)
    file = made(Container.OPUS, 8000, *sent)
    with av.open(io.BytesIO(file)) as source:
        assert source.streams.audio[0].codec_context.layout.name == "6 channels"  # and not "5.1"
    channels = heard(file, 8000)
    loud = [max(map(abs, channel)) for channel in channels]
    assert snr(sent[speaker], channels[speaker], 40)[0] > 8
    assert max(loud[:speaker] + loud[speaker + 1 :]) < loud[speaker] / 20


@pytest.mark.parametrize("form", [Container.FLAC, Container.OPUS, Container.MP3, Container.MKV])
def test_a_call_without_sound_gives_a_playable_file(form: Container) -> None:
    (one, *_) = heard(made(form, 8000, array("h"), array("h")), 8000)
    assert not any(one)


@pytest.mark.parametrize(
    ("form", "rate", "channels"), [(Container.MP3, 8000, 3), (Container.FLAC, 8000, 9), (Container.PCAP, 8000, 1)]
)
def test_an_unencodable_container_or_channel_count_is_refused(form: Container, rate: int, channels: int) -> None:
    with pytest.raises(Unencodable):
        Encoder(io.BytesIO(), form, rate, ["x"] * channels)


@pytest.mark.parametrize(
    ("form", "rate", "latest"),
    [
        (Container.OPUS, 8000, 2),
        (Container.OPUS, 48_000, 2),
        (Container.OPUS, 44_100, 441),  # a rate that Opus has not: converted, as the next one is
        (Container.MP3, 96_000, 960),
    ],
)
def test_a_lossy_file_keeps_time_and_parties_apart(form: Container, rate: int, latest: int) -> None:
    sent = voice(1, rate)
    file = made(form, rate, sent, array("h", bytes(2 * rate)))
    one, other = heard(file, rate)
    with av.open(io.BytesIO(file)) as source:
        assert source.streams.audio[0].rate == 48_000
    ratio, delay = snr(sent, one, max(40, latest))
    assert ratio > 8 and delay <= latest
    assert max(map(abs, other)) < max(map(abs, one)) / 20
    assert abs(len(one) - rate) <= rate // (50 if form is Container.OPUS else 20)


def test_one_channel_is_taken_out() -> None:
    assert array("h", bytes(apart(array("h", [1, 2, 3, 4, 5, 6]).tobytes(), 1, 3))) == array("h", [2, 5])
