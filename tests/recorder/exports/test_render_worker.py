"""The worker process, as the daemon starts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import wave
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import pytest

from media.codecs.decoders import Format
from media.export.encoder import Container
from recorder.exports.render_job import PEAKS, Job, JobPart, JobStream, to_json
from tests.in_process.films import film, h264_payloads
from tests.in_process.films import stored as film_stored
from tests.in_process.rendered_calls import PCMU, noise, run
from tests.recorder.sealed import Part, output, part_of

LOUD = noise(1, 100)


def job_of(form: Container | str, out: int, *parts: Part, streams: int = 1) -> Job:
    sealed = [JobPart(p.fd, p.secret.key, p.secret.prefix, p.secret.segment, p.size, not p.finished) for p in parts]
    return Job(sealed, [JobStream(i, str(i), {0: PCMU}) for i in range(streams)], form, out, os.getpid())


def work(job: Job | bytes) -> tuple[int, list[dict[str, Any]]]:
    """Run a worker; return its exit status and what it told."""
    data = job if isinstance(job, bytes) else to_json(job)
    open_ones = () if isinstance(job, bytes) else (job.output, *(part.fd for part in job.parts))
    command = [sys.executable, "-m", "recorder.exports.render_worker"]
    done = subprocess.run(command, input=data, capture_output=True, pass_fds=open_ones, check=False)
    assert done.stdout == b""
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_it_writes_the_file_and_tells_how_it_goes(tmp_path: Path) -> None:
    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, path):
        status, told = work(job_of(Container.WAV, fd, part, streams=2))
    assert status == 0
    assert [line["progress"] for line in told[:-1]] == [0.5, 1]
    assert told[-1]["report"]["streams"][0]["sound_seconds"] == 2
    with wave.open(str(path)) as sound:
        assert (sound.getnchannels(), sound.getnframes()) == (2, 16_000)


@pytest.mark.parametrize("form", list(Container))
def test_every_format_is_made(tmp_path: Path, form: Container) -> None:
    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, path):
        status, told = work(job_of(form, fd, part))
    magic = {
        "wav": b"RIFF",
        "flac": b"fLaC",
        "opus": b"OggS",
        "mp3": b"ID3",
        "mkv": b"\x1aE\xdf\xa3",
        "pcap": b"M<\xb2\xa1",
    }
    assert (status, "report" in told[-1]) == (0, True)
    assert path.read_bytes().startswith(magic[form])


def test_a_waveform_shows_peaks_and_gaps_of_each_channel(tmp_path: Path) -> None:
    later = run(LOUD, seq=1100, ts=5000 + 16_000 + 8000, at=3000)
    with (
        part_of(tmp_path, "m1", run(LOUD)) as one,
        part_of(tmp_path, "m2", later) as two,
        output(tmp_path) as (fd, path),
    ):
        status, _ = work(job_of(PEAKS, fd, one, two, streams=2))
    shown = json.loads(path.read_bytes())
    assert (status, shown["seconds"], len(shown["channels"])) == (0, 5, 2)
    heard, silent = shown["channels"]
    assert heard["gaps"] == [[2, 3, ""]] and len(heard["peaks"]) == 2000
    assert min(heard["peaks"][:800]) > 0 and max(heard["peaks"][805:1195]) == 0 and min(heard["peaks"][1205:]) > 0
    assert max(silent["peaks"]) == 0


def test_two_parts_are_one_call(tmp_path: Path) -> None:
    later = run(LOUD, seq=1100, ts=5000 + 16_000 + 8000, at=3000)
    with part_of(tmp_path, "m1", run(LOUD)) as one, part_of(tmp_path, "m2", later) as two, output(tmp_path) as (fd, _):
        _, told = work(job_of(Container.WAV, fd, one, two))
    assert told[-1]["report"]["seconds"] == 5
    assert told[-1]["report"]["streams"][0]["gaps"] == [[2, 3, ""]]


def test_a_render_of_an_open_part_gives_what_is_stored(tmp_path: Path) -> None:
    stored = b"".join(run(LOUD[:5], seq=1000 + 5 * i, ts=5000 + 800 * i, at=100 * i) for i in range(40))
    with part_of(tmp_path, "m1", stored, finished=False) as part, output(tmp_path) as (fd, _):
        status, told = work(job_of(Container.WAV, fd, part))
    assert status == 0
    assert 3 < told[-1]["report"]["seconds"] < 4
    assert told[-1]["report"]["torn_parts"] == 0


def test_a_torn_part_gives_its_genuine_media(tmp_path: Path) -> None:
    stored = b"".join(run(LOUD[:5], seq=1000 + 5 * i, ts=5000 + 800 * i, at=100 * i) for i in range(40))
    with part_of(tmp_path, "m1", stored, spoil=-10) as part, output(tmp_path) as (fd, _):
        status, told = work(job_of(Container.WAV, fd, part))
    assert (status, told[-1]["report"]["torn_parts"]) == (0, 1)


def test_an_altered_part_is_refused(tmp_path: Path) -> None:
    with part_of(tmp_path, "m1", run(LOUD), spoil=5000) as part, output(tmp_path) as (fd, _):
        status, told = work(job_of(Container.WAV, fd, part))
    assert (status, told[-1]) == (1, {"error": "The recording is damaged."})


def test_an_impossible_render_gives_one_sentence(tmp_path: Path) -> None:
    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, _):
        status, told = work(job_of(Container.MP3, fd, part, streams=3))
    assert (status, told[-1]["error"]) == (1, "mp3 holds at most 2 channels and this call has 3; choose wav or mkv")


def test_a_job_that_is_none_is_refused() -> None:
    assert work(b"{}") == (2, [{"error": "the render job cannot be read"}])


def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with part_of(tmp_path, "m1", run(LOUD)) as part:
        full = os.open("/dev/full", os.O_WRONLY)
        try:
            status, told = work(job_of(Container.WAV, full, part))
        finally:
            os.close(full)
    assert status == 3
    assert "No space left on device" in told[-1]["error"]


def test_hostile_payloads_end_in_silence(tmp_path: Path) -> None:
    junk = [bytes([i, 255 - i]) * 30 for i in range(100)]
    stored = run(junk, pt=96, step=960)
    with part_of(tmp_path, "m1", stored) as part, output(tmp_path) as (fd, _):
        job = job_of(Container.FLAC, fd, part)
        opus = JobStream(0, "0", {96: Format("opus", 48_000, 2)})
        status, told = work(Job(job.parts, [opus], job.form, job.output, job.parent))
    assert status == 0
    assert told[-1]["report"]["streams"][0]["packets"] == 100


def test_g711_to_wav_starts_without_ffmpeg() -> None:
    late = ("av", "asyncio", "sqlalchemy")
    script = f"import sys, recorder.exports.render_worker; sys.exit(any(m in sys.modules for m in {late!r}))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_a_film_has_its_sound_in_time(tmp_path: Path) -> None:
    silent, loud = [b"\xff" * 160] * 50, noise(1, 50)
    bright = [h264_payloads(data) for data in film("libx264", [40] * 25 + [220] * 25)]
    stored = run(silent + loud) + film_stored(bright, stream=1)
    streams = [JobStream(0, "a", {0: PCMU}), JobStream(1, "v", {96: Format("H264", 90_000)}, "video")]
    with part_of(tmp_path, "m1", stored) as part, output(tmp_path) as (fd, path):
        job = replace(job_of(Container.MKV, fd, part), streams=streams)
        status, told = work(job)
    assert status == 0 and told[-1]["report"]["picture_errors"] == 0
    with av.open(str(path)) as container:
        frames = [(frame.time, bytes(frame.planes[0])[640 + 360 * 1280]) for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = array("h", b"".join(bytes(f.planes[0])[: 2 * f.samples] for f in container.decode(audio=0)))
    seen = min(at for at, luma in frames if luma > 180)
    heard = next(number for number, sample in enumerate(sound) if abs(sample) > 1000) / 8000
    assert abs(heard - 1.0) < 0.01 and abs(seen - heard) <= 0.04
