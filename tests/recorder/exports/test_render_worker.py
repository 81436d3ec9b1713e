"""What a render worker is asked for and what it makes, in this process and in its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from array import array
from pathlib import Path

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from media.codecs.decoders import Format
from media.export.encoder import Container
from recorder.exports.render_job import (
    MAX_SPAN,
    PEAKS,
    BadJob,
    Job,
    JobPart,
    JobStream,
    from_json,
    span_from_json,
    span_to_json,
    to_json,
)
from recorder.exports.render_worker import ByteRange, EndReached
from tests.in_process.films import film, h264_payloads
from tests.in_process.films import stored as film_stored
from tests.in_process.rendered_calls import PCMU, noise, run
from tests.recorder.exports.rendering import rendered
from tests.recorder.sealed import part_of

LOUD = noise(1, 100)
PIECES = b"".join(run(LOUD[:5], seq=1000 + 5 * i, ts=5000 + 800 * i, at=100 * i) for i in range(40))
STREAMS = [JobStream(number, str(number), {0: PCMU}) for number in range(3)]


@pytest.mark.parametrize(
    ("form", "magic"),
    [
        ("wav", b"RIFF"),
        ("flac", b"fLaC"),
        ("opus", b"OggS"),
        ("mp3", b"ID3"),
        ("mkv", b"\x1aE\xdf\xa3"),
        ("pcap", b"M<\xb2\xa1"),
    ],
)
def test_every_format_is_made(tmp_path: Path, form: str, magic: bytes) -> None:
    with part_of(tmp_path, "m1", run(LOUD)) as part:
        file, _ = rendered([part], STREAMS[:1], form)
    assert file.startswith(magic)


def test_two_parts_are_one_call_with_a_gap(tmp_path: Path) -> None:
    later = run(LOUD, seq=1100, ts=5000 + 16_000 + 8000, at=3000)
    with part_of(tmp_path, "m1", run(LOUD)) as one, part_of(tmp_path, "m2", later) as two:
        _, report = rendered([one, two], STREAMS[:1], "wav")
        waveform, _ = rendered([one, two], STREAMS[:2], PEAKS)
    assert (report["seconds"], report["streams"][0]["gaps"]) == (5, ((2, 3, ""),))
    shown = json.loads(waveform)
    assert (shown["seconds"], len(shown["channels"])) == (5, 2)
    heard, silent = shown["channels"]
    assert heard["gaps"] == [[2, 3, ""]] and len(heard["peaks"]) == 2000
    assert min(heard["peaks"][:800]) > 0 and max(heard["peaks"][805:1195]) == 0 and min(heard["peaks"][1205:]) > 0
    assert max(silent["peaks"]) == 0


@pytest.mark.parametrize(("finished", "spoil", "torn"), [(False, None, 0), (True, -10, 1)])
def test_an_open_or_torn_part_gives_what_is_genuine(
    tmp_path: Path, finished: bool, spoil: int | None, torn: int
) -> None:
    with part_of(tmp_path, "m1", PIECES, finished=finished, spoil=spoil) as part:
        _, report = rendered([part], STREAMS[:1], "wav")
    assert 3 < report["seconds"] < 4 and report["torn_parts"] == torn


def test_g711_to_wav_starts_without_ffmpeg() -> None:
    late = ("av", "asyncio", "sqlalchemy")
    script = f"import sys, recorder.exports.render_worker; sys.exit(any(m in sys.modules for m in {late!r}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_film_has_its_sound_in_time(tmp_path: Path) -> None:
    silent, loud = [b"\xff" * 160] * 50, noise(1, 50)
    bright = [h264_payloads(data) for data in film("libx264", [40] * 25 + [220] * 25)]
    streams = [STREAMS[0], JobStream(1, "v", {96: Format("H264", 90_000)}, "video")]
    with part_of(tmp_path, "m1", run(silent + loud) + film_stored(bright, stream=1)) as part:
        file, report = rendered([part], streams, "mkv")
    assert report["picture_errors"] == 0
    with av.open(io.BytesIO(file)) as container:
        frames = [(frame.time, bytes(frame.planes[0])[640 + 360 * 1280]) for frame in container.decode(video=0)]
    with av.open(io.BytesIO(file)) as container:
        sound = array("h", b"".join(bytes(f.planes[0])[: 2 * f.samples] for f in container.decode(audio=0)))
    seen = min(at for at, luma in frames if luma > 180)
    heard = next(number for number, sample in enumerate(sound) if abs(sample) > 1000) / 8000
    assert abs(heard - 1.0) < 0.01 and abs(seen - heard) <= 0.04


def through(begin: int, end: int, step: int) -> tuple[bytes, int]:
    """Write 50 bytes piece by piece; return what came out and how much had to be made."""
    file, out, made = bytes(range(50)), bytearray(), 0
    window = ByteRange(out.extend, begin, end)
    try:
        for at in range(0, len(file), step):
            made += len(file[at : at + step])
            window.write(file[at : at + step])
    except EndReached:
        pass
    return bytes(out), made


@pytest.mark.parametrize("step", [1, 7, 50])
def test_a_byte_range_is_exact_whatever_the_pieces(step: int) -> None:
    for begin in range(50):
        for end in range(begin + 1, 51):
            assert through(begin, end, step)[0] == bytes(range(begin, end))


def test_no_piece_is_made_after_the_end_of_a_range() -> None:
    assert through(3, 9, 5) == (bytes(range(3, 9)), 10)
    assert through(3, 10, 5) == (bytes(range(3, 10)), 10)


JOB = Job(
    parts=[
        JobPart(5, bytes(range(32)), b"prefix!", 4096, 12_345, False),
        JobPart(6, bytes(32), bytes(7), 4096, 1, True),
    ],
    streams=[
        JobStream(0, "a_leg", {0: Format("PCMU", 8000), 96: Format("opus", 48_000, 2, "x=1")}),
        JobStream(1, "v", {}, "video"),
    ],
    form=Container.FLAC,
    output=9,
    parent=1,
)


def test_a_job_arrives_as_it_was_sent() -> None:
    assert from_json(to_json(JOB)) == JOB
    line = span_to_json(10**18, 10**19 - 1)
    assert len(line) <= MAX_SPAN and line.endswith(b"\n")
    assert span_from_json(line) == (10**18, 10**19 - 1)


def test_a_key_is_not_shown() -> None:
    assert bytes(range(32)).hex() not in repr(JOB) and "\\x01\\x02" not in repr(JOB)


@given(st.binary(max_size=60) | st.integers(0, 400).map(lambda n: to_json(JOB)[:n]))
def test_anything_else_is_a_bad_job(data: bytes) -> None:
    with pytest.raises(BadJob):
        from_json(data)


@pytest.mark.parametrize("line", [b"", b"[1]\n", b"[1, 2, 3]\n", b'["a", 2]\n', b"7\n", b"\xff"])
def test_anything_else_is_no_range(line: bytes) -> None:
    with pytest.raises(BadJob):
        span_from_json(line)


def test_a_bad_job_repeats_nothing() -> None:
    with pytest.raises(BadJob, match=r"^the render job cannot be read$") as error:
        from_json(to_json(JOB).replace(b'"segment":4096', b'"segment":"secret"'))
    assert error.value.__cause__ is None
