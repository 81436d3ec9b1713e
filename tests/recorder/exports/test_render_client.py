"""The daemon's side: workers are started, heard, limited and ended."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from media.codecs.decoders import Format
from media.export.encoder import Container
from recorder.exports.render_client import Renderer, RenderFailed, RenderStream, render, undecoded
from recorder.exports.wav_stream import open_stream
from tests.in_process.rendered_calls import PCMU, expand, noise, run
from tests.recorder.sealed import Part, output, part_of

pytestmark = pytest.mark.anyio
LOUD = noise(1, 100)
STREAMS = [RenderStream(0, "0", {0: PCMU})]

Workers = Callable[[], list[int]]


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    with part_of(tmp_path, "m1", run(LOUD)) as made:
        yield made


@pytest.fixture
def out(tmp_path: Path) -> Iterator[int]:
    with output(tmp_path) as (fd, _):
        yield fd


@pytest.fixture
def full() -> Iterator[int]:
    """Open a file that takes no byte."""
    with Path("/dev/full").open("wb") as file:
        yield file.fileno()


async def test_a_file_is_made_and_reported(tmp_path: Path, part: Part, out: int) -> None:
    steps: list[float] = []
    report = await render([part], STREAMS, "wav", out, steps.append)
    assert (report["seconds"], steps) == (2, [0.5, 1])
    assert (tmp_path / "out").read_bytes()[44:] == expand(b"".join(LOUD)).tobytes()


@pytest.mark.parametrize(
    ("form", "streams", "spoil", "status", "words"),
    [
        ("wav", 1, 5000, 1, "The recording is damaged. `recorder verify` names what is damaged."),
        ("mp3", 3, None, 1, "mp3 holds at most 2 channels and this call has 3; choose wav or mkv"),
        ("aiff", 1, None, 2, "wav, flac, opus, mp3, mkv, pcap"),
        ("wav", 1, None, 3, "the file could not be written or a part could not be read: No space left on device"),
    ],
)
async def test_a_render_error_of_the_worker_reaches_the_caller(
    tmp_path: Path, full: int, form: str, streams: int, spoil: int | None, status: int, words: str
) -> None:
    called = [RenderStream(number, str(number), {0: PCMU}) for number in range(streams)]
    kind = Container(form) if form in list(Container) else form
    with part_of(tmp_path, "m1", run(LOUD), spoil=spoil) as part, pytest.raises(RenderFailed) as error:
        await render([part], called, kind, full)
    assert error.value.status == status and words in error.value.sentence()


async def test_undecodable_audio_is_reported_silence(tmp_path: Path, out: int) -> None:
    streams = [RenderStream(0, "0", {0: PCMU, 96: Format("EVS", 16_000), 2: Format("G726-32", 8000)})]
    spoken = run(LOUD) + run([bytes(80)] * 50, pt=2, seq=1100, ts=5000 + 16_000, at=2)
    with part_of(tmp_path, "m1", spoken) as part:
        assert undecoded(await render([part], streams, "wav", out)) is None
    spoken += run([bytes(60)] * 50, pt=96, seq=1150, ts=5000 + 24_000, at=3)
    with part_of(tmp_path, "m2", spoken) as part:
        told = undecoded(await render([part], streams, "opus", out))
    assert told == "Silent because it cannot be decoded here: EVS. The recording keeps it as received."
    assert undecoded({"packets": 3, "torn_parts": 0}) is None


async def test_a_call_of_a_day_is_rendered_from_all_its_parts(tmp_path: Path, out: int) -> None:
    """A part every five minutes is 288 a day."""
    with ExitStack() as opened:
        parts = [
            opened.enter_context(
                part_of(
                    tmp_path,
                    f"m{number + 1}",
                    run(LOUD[:10], seq=1000 + 10 * number, ts=5000 + 1600 * number, at=200 * number),
                )
            )
            for number in range(288)
        ]
        report = await render(parts, [RenderStream(0, "0", {0: PCMU})], "wav", out)
    assert (report["seconds"], report["streams"][0]["gaps"], report["torn_parts"]) == (pytest.approx(57.6), [], 0)


async def test_few_workers_run_at_once(tmp_path: Path, part: Part, workers: Workers) -> None:
    seen, renderer = [], Renderer(at_once=2)

    async def file(name: str) -> bytes:
        with output(tmp_path, name) as (fd, path):
            await renderer.render([part], STREAMS, "wav", fd, lambda _: seen.append(len(workers())))
        return path.read_bytes()

    files = await asyncio.gather(*(file(f"o{number}") for number in range(4)))
    assert 1 <= max(seen) <= 2 and len(set(files)) == 1


async def test_a_worker_that_takes_too_long_is_ended(part: Part, out: int, workers: Workers) -> None:
    with pytest.raises(RenderFailed, match=r"longer than 0\.001 s"):
        await Renderer(time_out=0.001).render([part], STREAMS, "wav", out)
    assert workers() == []


async def test_a_worker_gets_no_environment_and_ends_with_its_caller(
    part: Part, out: int, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLANTED", "secret")
    task = asyncio.create_task(Renderer().render([part], STREAMS, "wav", out))
    while not workers():
        await asyncio.sleep(0)
    (child,) = workers()  # it waits for its job, which the loop has not sent yet
    if os.geteuid() == 0:  # only root can look into a worker
        while not (environment := Path(f"/proc/{child}/environ").read_bytes()):  # empty until the program is loaded
            await asyncio.sleep(0)
        assert b"PYTHONPATH" in environment and b"PLANTED" not in environment
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert workers() == []


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("head -c 5000000 /dev/zero | tr '\\0' x", "sent more output than allowed"),
        ("exec yes '{}'", "sent more output than allowed"),
        ("head -c 200000 /dev/zero | tr '\\0' '['", "no message"),
        ("""echo '{"progress": []}'; echo '{"progress": 1e99}'; echo '{"progress": NaN}'; echo 7""", "no message"),
        ("""echo '{"report": 3}'""", "no message"),
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
async def test_any_output_of_a_compromised_worker_is_a_failed_render(
    tmp_path: Path, part: Part, out: int, monkeypatch: pytest.MonkeyPatch, said: str, why: str
) -> None:
    shell = tmp_path / "python"
    shell.write_text(f"#!/bin/sh\nread job\nexec >&2\n{said}\n")
    shell.chmod(0o700)
    monkeypatch.setattr("recorder.runtime.python_command.sys.executable", str(shell))
    steps: list[float] = []
    longest = 0.0
    rendering = asyncio.create_task(render([part], STREAMS, "wav", out, steps.append))
    while not rendering.done():
        before = time.thread_time()  # neighbours cost none of it
        await asyncio.sleep(0)
        longest = max(longest, time.thread_time() - before)
    with pytest.raises(RenderFailed, match=why):
        await rendering
    with pytest.raises(RenderFailed):
        await open_stream([part], STREAMS)
    assert steps == [] and longest < 1
