"""Sound that is sent while it is rendered: the same bytes as the file, in any part, by a worker that waits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from admin_api.http.ports import BrokenOff
from recorder.exports import wav_stream
from recorder.exports.render_client import RenderFailed, RenderStream, render
from recorder.exports.wav_stream import Stream, open_stream
from tests.in_process.rendered_calls import PCMU, noise, run
from tests.in_process.waiting import until
from tests.recorder.sealed import Part, output, part_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("workers")]
LOUD = noise(1, 1500)  # 30 s: 960,044 bytes of stereo, more than a pipe holds
SIZE = 44 + 30 * 8000 * 4
STORED = b"".join(run(LOUD[at : at + 25], seq=1000 + at, ts=160 * at, at=20 * at) for at in range(0, 1500, 25))
STREAMS = [RenderStream(0, "0", {0: PCMU}), RenderStream(1, "1", {0: PCMU})]

Workers = Callable[[], list[int]]


@pytest.fixture
def part(tmp_path: Path) -> Iterator[Part]:
    with part_of(tmp_path, "m1", STORED) as made:
        yield made


def sound(stream: Stream) -> aclosing[Any]:
    """Iterate over the whole sound, until the context is left."""
    chunks: Any = stream.chunks(0, stream.size)
    return aclosing(chunks)


async def taken(stream: Stream, begin: int, end: int) -> bytes:
    """Take a part of the sound."""
    try:
        return b"".join([chunk async for chunk in stream.chunks(begin, end)])
    finally:
        stream.close()


async def test_any_part_is_that_of_the_file(tmp_path: Path, part: Part) -> None:
    with output(tmp_path) as (fd, path):
        await render([part], STREAMS, "wav", fd)
    whole = path.read_bytes()
    assert len(whole) == SIZE
    for begin, end in ((0, SIZE), (0, 44), (43, 47), (123_457, 700_001), (SIZE - 1, SIZE)):
        stream = await open_stream([part], STREAMS)
        assert stream.size == SIZE
        assert await taken(stream, begin, end) == whole[begin:end]


async def test_the_render_worker_waits_for_its_reader(part: Part, workers: Workers) -> None:
    stream = await open_stream([part], STREAMS)
    async with sound(stream) as chunks:
        first = await anext(chunks)
        await asyncio.sleep(0.2)  # long enough to render all of it, if nothing held it back
        assert workers() and len(first) < stream.size / 2
    stream.close()


async def test_an_abandoned_render_leaks_no_descriptor_or_worker(part: Part, workers: Workers) -> None:
    before = os.listdir("/proc/self/fd")
    (await open_stream([part], STREAMS)).close()
    stream = await open_stream([part], STREAMS)
    async with sound(stream) as chunks:
        await anext(chunks)
    stream.close()
    with pytest.raises(BrokenOff):
        await anext(stream.chunks(0, 1))
    await until(lambda: not workers() and len(os.listdir("/proc/self/fd")) <= len(before))


async def test_a_worker_that_does_not_end_by_itself_is_killed(
    part: Part, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wav_stream, "GRACE_SECONDS", 0.01)
    stream = await open_stream([part], STREAMS)
    os.kill(workers()[0], signal.SIGSTOP)
    stream.close()
    stream.close()
    await until(lambda: not workers())


async def test_a_worker_that_dies_ends_the_sound_with_an_error(part: Part, workers: Workers) -> None:
    stream = await open_stream([part], STREAMS)
    async with sound(stream) as chunks:
        await anext(chunks)
        os.kill(workers()[0], signal.SIGKILL)
        with pytest.raises(BrokenOff):
            _ = [chunk async for chunk in chunks]
    stream.close()


async def test_an_altered_call_is_refused_before_its_first_byte(tmp_path: Path) -> None:
    with (
        part_of(tmp_path, "m1", STORED, spoil=50_000) as altered,
        pytest.raises(RenderFailed, match="damaged") as error,
    ):
        await open_stream([altered], STREAMS)
    assert error.value.status == 1


async def test_the_validator_is_that_of_the_call_as_it_is_now(tmp_path: Path, part: Part) -> None:
    tags = []
    with part_of(tmp_path, "m2", STORED) as other:
        for parts, streams in ((part, STREAMS), (part, STREAMS), (other, STREAMS), (part, STREAMS[:1])):
            stream = await open_stream([parts], streams)
            stream.close()
            tags.append(stream.tag)
    assert tags[0] == tags[1] and len(set(tags)) == 3
