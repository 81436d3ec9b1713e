"""The zip of an export: written from front to back, and unpacked by somebody else's program."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from array import array
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import av
import pytest

from personal import Personal
from recorder.exports.media_zip import UNFINISHED, Added, Archive, add_table, chosen
from recorder.exports.render_client import RenderStream
from recorder.session import document_builder
from storage.exports.subject_filter import Subject
from tests.in_process.films import film, stored, vp8_payloads
from tests.in_process.rendered_calls import START, noise, run
from tests.recorder.exports.rendering import rendered
from tests.recorder.sealed import part_of

PARTIES: Any = [{"name": "Mira Okafor", "number": "+4930123456"}, {"name": "Tove Lind", "number": "+4940777888"}]
VP8 = {"pt": 96, "encoding": "VP8", "clock": 90_000, "channels": 1, "fmtp": None}
STREAMS: list[Any] = [{"label": str(n + 1), "party": n, "media": "audio", "formats": []} for n in range(2)]
TRANSFER = str(document_builder.from_ns(START + 3_000_000_000))
SPEAKERS = [
    {"from": None, "to": TRANSFER, "party": 0, "inferred": False},
    {"from": TRANSFER, "to": None, "party": 1, "inferred": False},
]
SHARED = {**STREAMS[0], "party": 1, "earlier": [0], "speakers": SPEAKERS}
SOUND = bytes(range(256)) * 9000
TABLE = b"id\r\n" * 1000

Chosen = tuple[Sequence[RenderStream], str | None]


def heard_by(streams: Sequence[Any], *mine: int, known: datetime | None = None) -> Chosen:
    """Choose streams for the party of a number, for nobody in particular if there is none."""
    details: Any = {"parties": PARTIES, "streams": list(streams)}
    return chosen(details, (lambda parties: list(mine)) if mine else None, known)


class OneWay:
    """A file that can only be written."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> int:
        self.data += data
        return len(data)

    def flush(self) -> None:
        pass


@pytest.fixture
def zipped(tmp_path: Path) -> Path:
    out = OneWay()
    zip = Archive(out)
    for content, add in (
        (TABLE, partial(add_table, zip, "csv")),
        (SOUND, partial(zip.add, "media/a.wav", packed=False)),
    ):
        fd = os.memfd_create("test")
        os.write(fd, content)
        add(fd)
        os.close(fd)
    zip.note(Added("a", "media/a.wav", None))
    zip.note(Added("b", None, "no audio"))
    zip.close()
    (tmp_path / "out.zip").write_bytes(out.data)
    return tmp_path / "out.zip"


def test_the_zip_holds_the_table_and_the_media(zipped: Path) -> None:
    with ZipFile(zipped) as zip:
        assert zip.testzip() is None
        assert (zip.read("calls.csv"), zip.read("media/a.wav")) == (TABLE, SOUND)
        assert zip.getinfo("calls.csv").compress_size < 200
        assert {info.date_time for info in zip.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        told = json.loads(zip.read("media.json"))
    assert told["media"] == [
        {"call": "a", "file": "media/a.wav", "problem": None},
        {"call": "b", "file": None, "problem": "no audio"},
    ]


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed (Debian: apt-get install unzip)")
def test_unzip_takes_it(zipped: Path) -> None:
    subprocess.run(["unzip", "-q", "-d", zipped.parent / "to", zipped], check=True)
    assert (zipped.parent / "to/media/a.wav").read_bytes() == SOUND


def test_all_streams_are_chosen_unless_a_person_is_named() -> None:
    assert [s.index for s in heard_by(STREAMS)[0]] == [0, 1]
    details: Any = {"parties": PARTIES, "streams": STREAMS}
    mine, problem = chosen(details, Subject(Personal("Tove Lind"), "DE").of)
    assert [(s.index, s.heard) for s in mine] == [(0, ()), (1, None)] and problem is None
    assert [s.label for s in heard_by([{**STREAMS[0], "label": "mira"}, STREAMS[1]], 1)[0]] == ["1", "2"]
    assert chosen({}, Subject(Personal("Mira"), "DE").of) == ((), None)


def test_pictures_of_others_are_left_out() -> None:
    mine, problem = heard_by([*STREAMS, *({**stream, "media": "video"} for stream in STREAMS)], 0)
    assert [(s.index, s.media, s.heard) for s in mine] == [
        (0, "audio", None),
        (1, "audio", ()),
        (2, "video", None),
        (3, "video", ()),
    ]
    assert problem is None


@pytest.mark.parametrize(
    ("streams", "heard"),
    [
        ([{**STREAMS[0], "party": [0, 1]}, {**STREAMS[1], "party": None}], []),
        ([STREAMS[1], {**STREAMS[0], "inferred": True}], []),  # a conclusion that nobody stated
        ([STREAMS[1], {**STREAMS[0], "earlier": [1]}], []),  # a line that went to another person by a transfer
        ([STREAMS[0], {**STREAMS[1], "party": [0, 1]}], [(0, None), (1, ())]),
    ],
)
def test_a_stream_that_may_hold_another_voice_is_silenced(streams: list[Any], heard: list[Any]) -> None:
    mine, problem = heard_by(streams, 0)
    assert [(s.index, s.heard) for s in mine] == heard and "cannot be separated" in (problem or "")


@pytest.mark.parametrize("form", ["wav", "mkv"])
def test_audio_keeps_its_place_when_others_are_silenced(tmp_path: Path, form: str) -> None:
    """Time 0 is the first packet of the earliest stream and the end that of the last, heard or not."""
    stored = (
        run(noise(1, 50), stream=0)
        + run(noise(2, 75), stream=1, ssrc=8, at=1_002)
        + run(noise(3, 50), stream=0, at=3_500, seq=1175, ts=5000 + 175 * 160)
    )
    (others, whole), (silence, mine) = [
        decoded(tmp_path, stored, heard_by(STREAMS, *who)[0], form) for who in ((), (1,))
    ]
    assert len(mine) == len(whole) == 4_500 * 8
    assert mine == whole and not any(mine[: 1_002 * 8]) and any(mine[1_002 * 8 : 1_022 * 8])
    assert not any(silence) and any(others[:160])


def test_pictures_of_others_that_come_first_move_nothing(tmp_path: Path) -> None:
    pictures = {**STREAMS[1], "media": "video", "formats": [VP8]}
    stored = run([bytes(50)] * 5, stream=1, pt=96, step=3_600, every=40) + run(noise(1, 50), at=400)
    for who in ((), (0,)):
        (sound,) = decoded(tmp_path, stored, heard_by([STREAMS[0], pictures], *who)[0], "wav")
        assert not any(sound[: 400 * 8]) and any(sound[400 * 8 :])


def jumping(ms: int) -> bytes:
    """Make packets of the first person alone, in the middle of which the timestamps jump."""
    return run(noise(1, 100)) + run(noise(2, 50), seq=1100, ts=5000 + (100 * 20 + ms) * 8, at=2_000)


def behind(ms: int) -> bytes:
    """Make the second person's packets, whose timestamps are behind by so much after the transfer."""
    return run(noise(1, 100)) + run(noise(2, 100), seq=1100, ts=5000 + (150 * 20 - ms) * 8, at=3_000)


@pytest.mark.parametrize(
    ("stored", "other", "last"),
    [
        # of the first person alone: nothing of it may sound in the second one's file
        *[(jumping(ms), 1, None) for ms in (0, 400, 600, 990)],
        (b"".join(run(noise(i, 1), seq=1000 + i, ts=5000 + i * 224, at=i * 20) for i in range(150)), 1, None),
        (b"".join(run(noise(i, 1), seq=1000 + i, ts=5000 + i * 160, at=max(i * 20, 900)) for i in range(150)), 1, None),
        # of the first up to 2 s, and then of the second: in the first one's file there is nothing after 2 s
        *[(behind(ms), 0, 2_000) for ms in (0, 600, 990)],
    ],
)
def test_no_packet_of_another_person_is_heard(stored: bytes, other: int, last: int | None, tmp_path: Path) -> None:
    """RTP time and arrival may be a second apart: a sender's clock that jumps or runs, a network that stood still."""
    (sound,) = decoded(tmp_path, stored, heard_by([SHARED], other)[0], "wav")
    assert not any(sound[(last or 0) * 8 :]) and any(sound) is (last is not None)


def test_the_end_of_a_live_call_that_is_in_doubt_is_silent(tmp_path: Path) -> None:
    """A transfer 3 s after the begin is not in the index yet, which is known up to there."""
    heard, problem = heard_by(STREAMS[:1], 0, known=datetime.fromisoformat(TRANSFER))
    assert problem == UNFINISHED
    (sound,) = decoded(tmp_path, run(noise(1, 400)), heard, "wav")
    assert all(any(sound[at : at + 80]) for at in range(0, 3_000 * 8, 80)) and not any(sound[3_000 * 8 :])
    for mine, known, times in ((0, 2, 1), (0, 9, 1), (1, 2, 0), (1, 3.4, 0), (1, 9, 1)):
        at = datetime.fromisoformat(str(document_builder.from_ns(START + round(known * 1e9))))
        heard, _ = heard_by([SHARED, {**STREAMS[0], "party": mine}], mine, known=at)
        assert len(heard[0].heard or ()) == times


def decoded(folder: Path, stored: bytes, streams: Sequence[RenderStream], form: str) -> list[array[int]]:
    """Render and decode; return the samples of each channel, 8,000 a second."""
    with part_of(folder, "m1", stored) as part:
        file, _ = rendered([part], streams, form)
    sounds = []
    with av.open(io.BytesIO(file)) as container:
        tracks = len(container.streams.audio)
    for number in range(tracks):
        with av.open(io.BytesIO(file)) as container:
            layout = container.streams.audio[number].layout
            resampler, samples = av.AudioResampler("s16", layout, 8_000), array("h")
            for frame in container.decode(audio=number):
                for piece in resampler.resample(frame):
                    samples.frombytes(bytes(piece.planes[0])[: 2 * piece.samples * layout.nb_channels])
        sounds += [samples[at :: layout.nb_channels] for at in range(layout.nb_channels)]
    return sounds


def shades(folder: Path, stored: bytes, streams: Sequence[RenderStream]) -> list[tuple[int, int]]:
    """Render as mkv; give the darkest and the lightest of four places far from the border of each picture."""
    with part_of(folder, "m1", stored) as part:
        file, _ = rendered([part], streams, "mkv")
    seen = []
    with av.open(io.BytesIO(file)) as container:
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
    pictures = [{**STREAMS[0], "label": str(at), "media": "video", "formats": [VP8]} for at in (2, 3, 4)]
    pictures[1]["party"] = 1
    streams = [{**STREAMS[0], "party": mine}, *pictures[:2], {**SHARED, **pictures[2], "party": 1}]
    heard, problem = heard_by(streams, mine)
    sound = run(noise(1, 300))
    seen = shades(tmp_path, sound + b"".join(films) + stored(handed, stream=3, ssrc=93, every=200), heard)
    assert problem is None and max(light for _, light in seen) >= shade - 6
    for dark, light in seen:
        assert all(abs(each - known) <= 6 for each, known in ((light, shade), (dark, shade))) or dark <= 22, (
            dark,
            light,
        )
        assert light <= 22 or abs(light - shade) <= 6, (dark, light)


@pytest.mark.parametrize("mine", [0, 1])
def test_only_the_persons_part_of_a_shared_stream_is_heard(mine: int, tmp_path: Path) -> None:
    """A transfer at 3 s: to half a second before it the first is heard, from half a second behind it the second."""
    heard, problem = heard_by([SHARED, {**STREAMS[1], "party": None}], mine)
    assert problem is not None and "cannot be separated" in problem  # of the second stream, not of the first
    both = run(noise(2, 100), stream=1, ssrc=8) + run(noise(1, 300), stream=0)
    first, second = decoded(tmp_path, both, heard, "wav")
    assert not any(second)
    for number in range(len(first) // 400):  # stretches of 50 ms; the seam lasts from 2.5 s to 3.5 s
        loud = len(set(first[400 * number : 400 * (number + 1)])) > 10
        assert loud is (number < 50 if mine == 0 else number >= 70), number
