"""The daemon's side: workers are started, heard, limited and ended."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from media.codecs.decoders import Format
from media.export.encoder import Container
from recorder.exports.render_client import Renderer, RenderFailed, RenderStream, render, undecoded
from recorder.exports.wav_stream import open_stream
from tests.in_process.rendered_calls import PCMU, expand, noise, run
from tests.recorder.sealed import Part, output, part_of

LOUD = noise(1, 100)
STREAMS = [RenderStream(0, "0", {0: PCMU})]


def offspring() -> list[str]:
    """Return the process ids of all our children."""
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


BEFORE: set[str] = set()
"""Children that were there before the story began: another file's browser may live until the last test."""


@pytest.fixture(autouse=True)
def _only_ours() -> None:
    BEFORE.clear()
    BEFORE.update(offspring())


def children() -> list[str]:
    """Return the process ids of the children of this story."""
    return [child for child in offspring() if child not in BEFORE]


def test_a_file_is_made_and_reported(tmp_path: Path) -> None:
    steps: list[float] = []
    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, path):
        report = asyncio.run(render([part], STREAMS, "wav", fd, steps.append))
    assert report["seconds"] == 2
    assert steps == [0.5, 1]
    assert path.read_bytes()[44:] == expand(b"".join(LOUD)).tobytes()


def test_a_render_error_of_the_worker_reaches_the_caller(tmp_path: Path) -> None:
    with (
        part_of(tmp_path, "m1", run(LOUD), spoil=5000) as part,
        output(tmp_path) as (fd, _),
        pytest.raises(RenderFailed, match="damaged") as error,
    ):
        asyncio.run(render([part], STREAMS, Container.WAV, fd))
    assert error.value.status == 1
    assert error.value.sentence() == "The recording is damaged. `recorder verify` names what is damaged."


def test_undecodable_audio_is_reported_silence(tmp_path: Path) -> None:
    streams = [RenderStream(0, "0", {0: PCMU, 96: Format("EVS", 16_000), 2: Format("G726-32", 8000)})]
    spoken = run(LOUD) + run([bytes(80)] * 50, pt=2, seq=1100, ts=5000 + 16_000, at=2)
    with part_of(tmp_path, "m1", spoken) as part, output(tmp_path) as (fd, _):
        assert undecoded(asyncio.run(render([part], streams, "wav", fd))) is None
    spoken += run([bytes(60)] * 50, pt=96, seq=1150, ts=5000 + 24_000, at=3)
    with part_of(tmp_path, "m2", spoken) as part, output(tmp_path) as (fd, _):
        told = undecoded(asyncio.run(render([part], streams, "opus", fd)))
    assert told == ("Silent because it cannot be decoded here: EVS. The recording keeps it as received.")
    assert undecoded({"packets": 3, "torn_parts": 0}) is None


def test_an_unknown_format_is_wrong_use() -> None:
    with pytest.raises(RenderFailed, match="wav, flac, opus, mp3, mkv, pcap") as error:
        asyncio.run(render([], STREAMS, "aiff", 1))
    assert error.value.status == 2


def test_few_workers_run_at_once(tmp_path: Path) -> None:
    most = 0

    def look(_: float) -> None:
        nonlocal most
        most = max(most, len(children()))

    async def all_of(part: Part) -> None:
        renderer = Renderer(at_once=2)
        outs = [os.open(tmp_path / f"o{i}", os.O_RDWR | os.O_CREAT) for i in range(5)]
        await asyncio.gather(*(renderer.render([part], STREAMS, "wav", out, look) for out in outs))
        for out in outs:
            os.close(out)

    with part_of(tmp_path, "m1", run(LOUD)) as part:
        asyncio.run(all_of(part))
    assert 1 <= most <= 2
    assert len({(tmp_path / f"o{i}").read_bytes() for i in range(5)}) == 1


def test_a_worker_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    async def hurried(part: Part, fd: int) -> None:
        await Renderer(time_out=0.001).render([part], STREAMS, "wav", fd)

    with (
        part_of(tmp_path, "m1", run(LOUD)) as part,
        output(tmp_path) as (fd, _),
        pytest.raises(RenderFailed, match=r"longer than 0\.001 s"),
    ):
        asyncio.run(hurried(part, fd))
    assert children() == []


def test_a_caller_that_goes_away_ends_its_worker(tmp_path: Path) -> None:
    async def impatient(part: Part, fd: int) -> None:
        task = asyncio.create_task(Renderer().render([part], STREAMS, "wav", fd))
        while not children():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert children() == []

    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, _):
        asyncio.run(impatient(part, fd))


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("head -c 5000000 /dev/zero | tr '\\0' x", "sent more output than allowed"),
        ("""echo '{"progress": []}'; echo '{"progress": 1e99}'; echo '{"progress": NaN}'; echo 7""", "no message"),
        ("""echo '{"report": 3}'""", "no message"),
        ("head -c 200000 /dev/zero | tr '\\0' '['", "no message"),
        ("exec yes '{}'", "sent more output than allowed"),
        ("""echo '{"report": {"streams": 5}}'""", "no message"),
        ("""echo '{"report": {"streams": [5]}}'""", "no message"),
        ("""echo '{"report": {"streams": [{"unknown": [[]]}]}}'""", "no message"),
        ("""echo '{"report": {"streams": [{"unknown": 5}]}}'""", "no message"),
        ("""echo '{"error": ["x"]}'""", "no message"),
        ("""printf '{"error": "%0900d"}' 0""", "^0{200}$"),
        (
            """echo '{"size": -1}'; echo '{"size": 1e3}'; echo '{"size": true}'; """
            """echo '{"size": 9999999999999999999}'""",
            "no message",
        ),
    ],
)
def test_a_worker_that_is_broken_into_may_say_what_it_likes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    shell = tmp_path / "python"
    shell.write_text(f"#!/bin/sh\nread job\nexec >&2\n{said}\n")
    shell.chmod(0o700)
    monkeypatch.setattr("recorder.runtime.python_command.sys.executable", str(shell))
    steps: list[float] = []
    longest = 0.0

    async def story(part: Part, fd: int) -> None:
        nonlocal longest
        rendering = asyncio.create_task(render([part], STREAMS, "wav", fd, steps.append))
        while not rendering.done():
            before = time.monotonic()
            await asyncio.sleep(0)
            longest = max(longest, time.monotonic() - before)
        await rendering

    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, _):
        with pytest.raises(RenderFailed, match=why):
            asyncio.run(story(part, fd))
        with pytest.raises(RenderFailed):
            asyncio.run(open_stream([part], STREAMS))
    assert steps == []
    assert longest < 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look into a worker")
def test_a_worker_gets_nothing_of_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLANTED", "secret")

    async def seen(part: Part, fd: int) -> bytes:
        task = asyncio.create_task(render([part], STREAMS, "wav", fd))
        while not children():
            await asyncio.sleep(0)
        (child,) = children()  # it waits for its job, which the loop has not sent yet
        environment = Path(f"/proc/{child}/environ").read_bytes()
        await task
        return environment

    with part_of(tmp_path, "m1", run(LOUD)) as part, output(tmp_path) as (fd, _):
        environment = asyncio.run(seen(part, fd))
    assert b"PYTHONPATH" in environment and b"PLANTED" not in environment
