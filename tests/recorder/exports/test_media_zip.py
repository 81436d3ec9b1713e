"""The zip of an export: written from front to back, and unpacked by somebody else's program."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import wave
from array import array
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from zipfile import ZipFile

import av
import pytest

from admin_api.exports.subject_filter import Subject
from personal import Personal
from recorder.exports.media_zip import UNFINISHED, Added, Archive, add_table, chosen
from recorder.exports.render_client import RenderStream, render
from recorder.session import call_document
from tests.in_process.films import film, stored, vp8_payloads
from tests.in_process.rendered_calls import START, noise, run
from tests.recorder.sealed import output, part_of

PARTIES = [{"name": "Mira Okafor", "number": "+4930123456"}, {"name": "Tove Lind", "number": "+4940777888"}]
VP8 = {"pt": 96, "encoding": "VP8", "clock": 90_000, "channels": 1, "fmtp": None}
STREAMS = [{"label": "1", "party": 0, "media": "audio"}, {"label": "2", "party": 1, "media": "audio"}]


class OneWay:
    """A file that can only be written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        pass


def descriptor(content: bytes) -> int:
    fd = os.memfd_create("test")
    os.write(fd, content)
    return fd


def zipped(folder: Path) -> Path:
    out = OneWay()
    zip = Archive(out)  # type: ignore[arg-type]  # a sink without a vault
    table, sound = descriptor(b"id\r\n" * 1000), descriptor(bytes(range(256)) * 9000)
    add_table(zip, "csv", table)
    zip.add("media/a.wav", sound, packed=False)
    zip.told(Added("a", "media/a.wav", None))
    zip.told(Added("b", None, "no audio"))
    zip.close()
    for fd in (table, sound):
        os.close(fd)
    (folder / "out.zip").write_bytes(out.data)
    return folder / "out.zip"


def test_the_zip_holds_the_table_and_the_media(tmp_path: Path) -> None:
    with ZipFile(zipped(tmp_path)) as zip:
        assert zip.testzip() is None
        assert zip.read("calls.csv") == b"id\r\n" * 1000
        assert zip.getinfo("calls.csv").compress_size < 200
        assert zip.read("media/a.wav") == bytes(range(256)) * 9000
        told = json.loads(zip.read("media.json"))
        assert {info.date_time for info in zip.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    assert told["media"] == [
        {"call": "a", "file": "media/a.wav", "problem": None},
        {"call": "b", "file": None, "problem": "no audio"},
    ]


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed (Debian: apt-get install unzip)")
def test_unzip_takes_it(tmp_path: Path) -> None:
    done = subprocess.run(["unzip", "-q", "-d", tmp_path / "to", zipped(tmp_path)], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "to/media/a.wav").read_bytes() == bytes(range(256)) * 9000


def test_all_streams_are_chosen_unless_a_person_is_named() -> None:
    call = {"parties": PARTIES, "streams": STREAMS}
    assert [s.index for s in chosen(call, None)[0]] == [0, 1]
    mine, problem = chosen(call, Subject(Personal("Tove Lind"), "DE").of)
    assert [(s.index, s.heard) for s in mine] == [(0, ()), (1, None)] and problem is None
    named = chosen({**call, "streams": [{**STREAMS[0], "label": "mira"}, STREAMS[1]]}, lambda parties: [1])[0]
    assert [s.label for s in named] == ["1", "2"]


def test_pictures_of_others_are_left_out() -> None:
    pictures = [{**stream, "media": "video"} for stream in STREAMS]
    mine, problem = chosen({"parties": PARTIES, "streams": [*STREAMS, *pictures]}, lambda parties: [0])
    shown = [(s.index, s.media) for s in mine if s.heard is None]
    assert shown == [(0, "audio"), (2, "video")] and {s.heard for s in mine} == {None, ()} and problem is None


def test_a_mixture_is_left_out_and_said() -> None:
    call = {"parties": PARTIES, "streams": [{**STREAMS[0], "party": [0, 1]}, {**STREAMS[1], "party": None}]}
    mine, problem = chosen(call, Subject(Personal("Mira Okafor"), "DE").of)
    assert mine == () and problem and "cannot be separated" in problem
    assert chosen({}, Subject(Personal("Mira"), "DE").of) == ((), None)


@pytest.mark.parametrize("doubt", [{"inferred": True}, {"earlier": [0]}])
def test_a_stream_that_may_hold_another_voice_is_silenced(doubt: dict[str, object]) -> None:
    """A conclusion that nobody stated, and a line that went from one person to another by a transfer."""
    call = {"parties": PARTIES, "streams": [STREAMS[0], {**STREAMS[1], **doubt}]}
    mine, problem = chosen(call, lambda parties: [1])
    assert mine == () and problem is not None and "cannot be separated" in problem


def test_a_mixture_beside_an_own_stream_is_silenced() -> None:
    call = {"parties": PARTIES, "streams": [STREAMS[0], {**STREAMS[1], "party": [0, 1]}]}
    mine, problem = chosen(call, lambda parties: [0])
    assert [(s.index, s.heard) for s in mine] == [(0, None), (1, ())] and problem is not None


def test_the_other_channel_is_silence_of_the_same_length(tmp_path: Path) -> None:
    streams = [{"label": str(n), "party": n, "media": "audio", "formats": []} for n in range(2)]
    heard, _ = chosen({"parties": PARTIES, "streams": streams}, lambda parties: [1])
    both = run(noise(1, 100), stream=0) + run(noise(2, 100), stream=1, ssrc=8)
    with part_of(tmp_path, "m1", both) as part, output(tmp_path) as (fd, path):
        asyncio.run(render([part], heard, "wav", fd))
    with wave.open(str(path)) as sound:
        assert (sound.getnchannels(), sound.getnframes()) == (2, 16_000)
        samples = memoryview(sound.readframes(16_000)).cast("h")
    assert set(samples[::2]) == {0} and len(set(samples[1::2])) > 100


@pytest.mark.parametrize("form", ["wav", "flac", "mkv"])
def test_audio_keeps_its_place_when_others_are_silenced(tmp_path: Path, form: str) -> None:
    """Time 0 is the first packet of the earliest stream and the end that of the last, heard or not."""
    told = [{"label": str(n), "party": n, "media": "audio", "formats": []} for n in range(2)]
    call = {"parties": PARTIES, "streams": told}
    stored = (
        run(noise(1, 50), stream=0)
        + run(noise(2, 75), stream=1, ssrc=8, at=1_002)
        + run(noise(3, 50), stream=0, at=3_500, seq=1175, ts=5000 + 175 * 160)
    )
    sounds = [decoded(tmp_path, stored, chosen(call, whose)[0], form) for whose in (None, lambda parties: [1])]
    whole, mine = (sound[1::2] for sound in sounds)
    assert len(mine) == len(whole) == 4_500 * 8
    assert mine == whole and not any(mine[: 1_002 * 8]) and any(mine[1_002 * 8 : 1_022 * 8])
    assert not any(sounds[1][::2]) and any(sounds[0][: 2 * 160 : 2])


def test_pictures_of_others_move_nothing_though_they_came_first(tmp_path: Path) -> None:
    told = [
        {"label": "1", "party": 0, "media": "audio", "formats": []},
        {"label": "2", "party": 1, "media": "video", "formats": [VP8]},
    ]
    stored = run([bytes(50)] * 5, stream=1, pt=96, step=3_600, every=40) + run(noise(1, 50), at=400)
    for whose in (None, lambda parties: [0]):
        heard, _ = chosen({"parties": PARTIES, "streams": told}, whose)
        assert not any(decoded(tmp_path, stored, heard, "wav")[: 400 * 8])
        assert any(decoded(tmp_path, stored, heard, "wav")[400 * 8 :])


def behind(ms: int) -> bytes:
    """Make the second person's packets, whose timestamps are behind by so much after the transfer."""
    return run(noise(1, 100)) + run(noise(2, 100), seq=1100, ts=5000 + (150 * 20 - ms) * 8, at=3_000)


@pytest.mark.parametrize(
    ("stored", "other", "last"),
    [
        # of the first person alone: nothing of it may sound in the second one's file
        *[
            (run(noise(1, 100)) + run(noise(2, 50), seq=1100, ts=5000 + (100 * 20 + ms) * 8, at=2_000), 1, None)
            for ms in (0, 400, 600, 990)
        ],
        (b"".join(run(noise(i, 1), seq=1000 + i, ts=5000 + i * 224, at=i * 20) for i in range(150)), 1, None),
        (b"".join(run(noise(i, 1), seq=1000 + i, ts=5000 + i * 160, at=max(i * 20, 900)) for i in range(150)), 1, None),
        # of the first up to 2 s, and then of the second: in the first one's file there is nothing after 2 s
        *[(behind(ms), 0, 2_000) for ms in (0, 600, 990)],
    ],
)
def test_no_packet_of_another_person_is_heard(stored: bytes, other: int, last: int | None, tmp_path: Path) -> None:
    """RTP time and arrival may be a second apart: a sender's clock that jumps or runs, a network that stood still."""
    stream = {"label": "1", "party": 1, "earlier": [0], "speakers": SPEAKERS, "media": "audio", "formats": []}
    heard, _ = chosen({"parties": PARTIES, "streams": [stream]}, lambda parties: [other])
    sound = decoded(tmp_path, stored, heard, "wav")
    assert not any(sound[(last or 0) * 8 :]) and any(sound) is (last is not None)


def test_a_live_calls_doubtful_end_is_silent(tmp_path: Path) -> None:
    """A transfer 3 s after the begin is not in the index yet, which is known up to there."""
    at = datetime.fromisoformat(TRANSFER)
    one = {"label": "1", "party": 0, "media": "audio", "formats": []}
    heard, problem = chosen({"parties": PARTIES, "streams": [one]}, lambda parties: [0], at)
    assert problem == UNFINISHED
    sound = decoded(tmp_path, run(noise(1, 400)), heard, "wav")
    assert all(any(sound[at : at + 80]) for at in range(0, 3_000 * 8, 80)) and not any(sound[3_000 * 8 :])
    changed = {**one, "party": 1, "speakers": SPEAKERS}
    for mine, known, times in ((0, 2, 1), (0, 9, 1), (1, 2, 0), (1, 3.4, 0), (1, 9, 1)):
        told = {"parties": PARTIES, "streams": [changed, {**one, "party": mine}]}
        heard, _ = chosen(told, lambda parties, mine=mine: [mine], document_time(known))
        assert len(heard[0].heard or ()) == times


def document_time(seconds: float) -> datetime:
    return datetime.fromisoformat(call_document.from_ns(START + round(seconds * 1e9)))


def decoded(folder: Path, stored: bytes, streams: Sequence[RenderStream], form: str) -> array[int]:
    """Render and decode to interleaved samples of 8,000 Hz."""
    part = folder / "m1"
    for left in (part, *folder.glob("out*")):
        left.unlink(missing_ok=True)
    with part_of(folder, "m1", stored) as opened, output(folder) as (fd, path):
        asyncio.run(render([opened], streams, form, fd))
    with av.open(str(path)) as container:
        tracks = len(container.streams.audio)
    sounds = [track(path, number) for number in range(tracks)]
    return sounds[0] if tracks == 1 else array("h", [sample for pair in zip(*sounds, strict=True) for sample in pair])


def track(path: Path, number: int) -> array[int]:
    samples = array("h")
    with av.open(str(path)) as container:
        resampler = av.AudioResampler("s16", container.streams.audio[number].layout, 8_000)
        for frame in container.decode(audio=number):
            for piece in resampler.resample(frame):
                samples.frombytes(bytes(piece.planes[0])[: 2 * piece.samples * piece.layout.nb_channels])
    return samples


def shades(folder: Path, stored: bytes, streams: Sequence[RenderStream]) -> list[tuple[int, int]]:
    """Render as mkv; give the darkest and the lightest of four places far from the border of each picture."""
    with part_of(folder, "m1", stored) as opened, output(folder) as (fd, path):
        asyncio.run(render([opened], streams, "mkv", fd))
    seen = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            light, line = bytes(frame.planes[0]), frame.planes[0].line_size
            found = [light[y * frame.height // 8 * line + x * frame.width // 8] for y in (3, 5) for x in (1, 3, 5, 7)]
            seen.append((min(found), max(found)))
    return seen


@pytest.mark.parametrize(("mine", "shade"), [(0, 80), (1, 200)])
def test_only_the_persons_pictures_are_shown(mine: int, shade: int, tmp_path: Path) -> None:
    """Each has a stream of pictures; a third one goes from the first to the second after three seconds."""
    films = [stored([vp8_payloads(each) for each in film("libvpx", [grey] * 30)], stream=at, ssrc=90 + at,
                    every=200) for at, grey in ((1, 80), (2, 200))]  # fmt: skip
    handed = [vp8_payloads(each) for each in film("libvpx", [80] * 15 + [200] * 15)]
    told = [{"label": "1", "party": mine, "media": "audio", "formats": []}]
    told += [{"label": str(at), "party": at - 2, "media": "video", "formats": [VP8]} for at in (2, 3)]
    told += [{"label": "4", "party": 1, "earlier": [0], "speakers": SPEAKERS, "media": "video", "formats": [VP8]}]
    heard, problem = chosen({"parties": PARTIES, "streams": told}, lambda parties: [mine])
    sound = run(noise(1, 300))
    seen = shades(tmp_path, sound + b"".join(films) + stored(handed, stream=3, ssrc=93, every=200), heard)
    assert problem is None and max(light for _, light in seen) >= shade - 6
    for dark, light in seen:
        assert all(abs(each - known) <= 6 for each, known in ((light, shade), (dark, shade))) or dark <= 22, (
            dark,
            light,
        )
        assert light <= 22 or abs(light - shade) <= 6, (dark, light)


TRANSFER = call_document.from_ns(START + 3_000_000_000)
SPEAKERS = [
    {"from": None, "to": TRANSFER, "party": 0, "inferred": False},
    {"from": TRANSFER, "to": None, "party": 1, "inferred": False},
]


@pytest.mark.parametrize("mine", [0, 1])
def test_only_the_persons_part_of_a_shared_stream_is_heard(mine: int, tmp_path: Path) -> None:
    """A transfer at 3 s: to half a second before it the first is heard, from half a second behind it the second."""
    stream = {"label": "1", "party": 1, "earlier": [0], "speakers": SPEAKERS, "media": "audio", "formats": []}
    other = {"label": "2", "party": None, "media": "audio", "formats": []}
    heard, problem = chosen({"parties": PARTIES, "streams": [stream, other]}, lambda parties: [mine])
    assert problem is not None and "cannot be separated" in problem  # of the second stream, not of the first
    both = run(noise(2, 100), stream=1, ssrc=8) + run(noise(1, 300), stream=0)
    with part_of(tmp_path, "m1", both) as part, output(tmp_path) as (fd, path):
        asyncio.run(render([part], heard, "wav", fd))
    with wave.open(str(path)) as sound:
        frames = sound.getnframes()
        samples = memoryview(sound.readframes(frames)).cast("h")
    assert set(samples[1::2]) == {0}
    loud = [len(set(samples[2 * at : 2 * at + 800 : 2])) > 10 for at in range(0, frames, 400)]
    for number, sounds in enumerate(loud):  # stretches of 50 ms; the seam lasts from 2.5 s to 3.5 s
        assert sounds is (number < 50 if mine == 0 else number >= 70), number
