"""Sound that is sent while it is rendered: the same bytes as the file, in any part, by a worker that waits."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from admin_api.http.ports import BrokenOff
from recorder.exports import wav_stream
from recorder.exports.render_client import LATER, RenderFailed, RenderStream, render
from recorder.exports.wav_stream import Stream, open_stream
from tests.in_process.rendered_calls import PCMU, noise, run
from tests.recorder.sealed import Part, output, part_of

LOUD = noise(1, 1500)  # 30 s: 960,044 bytes of stereo, more than a pipe holds
STREAMS = [RenderStream(0, "0", {0: PCMU}), RenderStream(1, "1", {0: PCMU})]


def stored() -> bytes:
    """Return the records of 30 s."""
    return b"".join(run(LOUD[at : at + 25], seq=1000 + at, ts=160 * at, at=20 * at) for at in range(0, 1500, 25))


def file_of(folder: Path, part: Part) -> bytes:
    """Return what the call is as a whole file."""
    with output(folder) as (fd, path):
        asyncio.run(render([part], STREAMS, "wav", fd))
    return path.read_bytes()


@asynccontextmanager
async def opened(part: Part) -> AsyncIterator[Stream]:
    """Open a stream and see its worker go."""
    stream = await open_stream([part], STREAMS)
    try:
        yield stream
    finally:
        stream.close()
        await stream._worker.wait()


async def taken(part: Part, begin: int, end: int | None = None) -> bytes:
    """Take a part of the sound."""
    async with opened(part) as stream:
        return b"".join([chunk async for chunk in stream.chunks(begin, stream.size if end is None else end)])


def story(folder: Path, what: Callable[[Part], Awaitable[None]]) -> None:
    """Tell a story about one sealed call."""

    async def told(part: Part) -> None:
        await what(part)

    with part_of(folder, "m1", stored()) as part:
        asyncio.run(told(part))


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_the_length_is_known_and_the_sound_is_that_of_the_file(tmp_path: Path) -> None:
    with part_of(tmp_path, "m1", stored()) as part:
        whole = file_of(tmp_path, part)
        assert asyncio.run(taken(part, 0)) == whole
        assert len(whole) == 44 + 30 * 8000 * 4


@pytest.mark.parametrize(
    "span", [(0, 1), (0, 44), (43, 47), (500_000, 500_001), (123_457, 700_001), (960_043, 960_044)]
)
def test_any_part_is_that_of_the_file(tmp_path: Path, span: tuple[int, int]) -> None:
    with part_of(tmp_path, "m1", stored()) as part:
        assert asyncio.run(taken(part, *span)) == file_of(tmp_path, part)[slice(*span)]


def test_the_render_worker_waits_for_its_reader(tmp_path: Path) -> None:
    async def slow(part: Part) -> None:
        async with opened(part) as stream:
            chunks = stream.chunks(0, stream.size)
            first = await anext(chunks)
            await asyncio.sleep(0.2)  # long enough to render all of it, if nothing held it back
            assert stream._worker.returncode is None and len(first) < stream.size / 2
            await chunks.aclose()

    story(tmp_path, slow)


def test_an_abandoned_render_leaks_no_descriptor_or_worker(tmp_path: Path) -> None:
    async def given_up(part: Part) -> None:
        before = descriptors()
        async with opened(part) as unheard:
            unheard.close()
        async with opened(part) as stream:
            chunks = stream.chunks(0, stream.size)
            await anext(chunks)
            await chunks.aclose()
        with pytest.raises(BrokenOff):
            await anext(stream.chunks(0, 1))
        await until(lambda: descriptors() <= before)

    story(tmp_path, given_up)


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not so():
            await asyncio.sleep(0.01)


def test_a_worker_that_does_not_end_by_itself_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav_stream, "GRACE_SECONDS", 0.01)

    async def stopped(part: Part) -> None:
        stream = await open_stream([part], STREAMS)
        os.kill(stream._worker.pid, signal.SIGSTOP)
        stream.close()
        stream.close()
        async with asyncio.timeout(30):
            assert await stream._worker.wait() == -signal.SIGKILL

    story(tmp_path, stopped)


def test_a_worker_that_dies_breaks_the_sound_off(tmp_path: Path) -> None:
    async def killed(part: Part) -> None:
        async with opened(part) as stream:
            chunks = stream.chunks(0, stream.size)
            await anext(chunks)
            stream._worker.kill()
            with pytest.raises(BrokenOff):
                async for _ in chunks:
                    pass

    story(tmp_path, killed)


def test_an_altered_call_is_refused_before_its_first_byte(tmp_path: Path) -> None:
    with part_of(tmp_path, "m1", stored(), spoil=50_000) as part, pytest.raises(RenderFailed, match="damaged") as error:
        asyncio.run(taken(part, 0))
    assert error.value.status == 1


def test_a_worker_that_never_tells_the_length_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wav_stream, "TIME_OUT", 0.001)

    async def hurried(part: Part) -> None:
        before = descriptors()
        with pytest.raises(RenderFailed, match="longer than") as error:
            await open_stream([part], STREAMS)
        assert error.value.status == LATER
        await until(lambda: descriptors() <= before)

    story(tmp_path, hurried)


def test_the_validator_is_that_of_the_call_as_it_is_now(tmp_path: Path) -> None:
    async def tag(part: Part, streams: list[RenderStream]) -> str:
        stream = await open_stream([part], streams)
        stream.close()
        await stream._worker.wait()
        return stream.tag

    with part_of(tmp_path, "m1", stored()) as one, part_of(tmp_path, "m2", stored()) as other:
        tags = [
            asyncio.run(tag(*each)) for each in ((one, STREAMS), (one, STREAMS), (other, STREAMS), (one, STREAMS[:1]))
        ]
    assert tags[0] == tags[1] and len(set(tags)) == 3
