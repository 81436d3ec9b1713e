"""Audio that is sent while it is rendered: a worker behind a pipe, slowed down by the reader of the audio.

A long call as WAV has hundreds of megabytes, and no browser takes them at once. So the worker reads the call once to
learn its length, which is reported before the first byte, and then renders no faster than the audio is read: memory
holds only what is in the pipe, whatever the length. A separate worker renders each range that a player requests.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from importlib import metadata
from typing import Any

from admin_api.http.ports import BrokenOff
from media.export.encoder import Container
from recorder.exports.render_client import (
    TIME_OUT,
    OpenPart,
    RenderFailed,
    RenderStream,
    end_worker,
    failure,
    job_part,
    lines,
    read_message,
    start_worker,
)
from recorder.exports.render_job import Job, span_to_json, to_json

GRACE_SECONDS = 2.0  # a worker without a reader ends within milliseconds of its next packet
LONGEST = 1 << 40  # bytes of a call as WAV: a year of stereo at 16 kHz
CHUNK = 256 << 10  # bytes read from the pipe at once
MAKERS = ("siprec-recorder", "av")
"""Distributions whose versions affect how the same call sounds as WAV."""


class Stream:
    """A call as WAV whose length is known and that is made while it is read; must be closed."""

    content_type = "audio/wav"

    def __init__(self, worker: Process, size: int, tag: str, out: int) -> None:
        """`out`: the reading end of the worker's pipe, which this closes."""
        self.size = size
        self.tag = tag
        self._worker = worker
        self._out: int | None = out
        self._pipe: asyncio.ReadTransport | None = None
        self._ending: asyncio.TimerHandle | None = None

    async def chunks(self, begin: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from begin to end, once. Raises BrokenOff if no more can be made."""
        reader = await self._begin(begin, end)
        left = end - begin
        while left:
            try:
                async with asyncio.timeout(TIME_OUT):
                    data = await reader.read(CHUNK)
            except TimeoutError:
                raise BrokenOff("the render worker has stopped sending audio") from None
            if not data or len(data) > left:
                raise BrokenOff("the render worker ended before the audio was complete")
            left -= len(data)
            yield data

    def close(self) -> None:
        """Stop; may be called halfway and repeatedly. The worker ends because its reader is gone, or is killed soon."""
        if self._pipe is not None:
            self._pipe.close()
        if self._out is not None:
            os.close(self._out)
            self._out = None
        if self._worker.stdin is not None:
            self._worker.stdin.close()
        if self._worker.returncode is None and not self._ending:
            self._ending = asyncio.get_running_loop().call_later(GRACE_SECONDS, _kill, self._worker)

    async def _begin(self, begin: int, end: int) -> asyncio.StreamReader:
        if self._out is None or self._worker.stdin is None:
            raise BrokenOff("the audio was cancelled or already read")
        loop, reader = asyncio.get_running_loop(), asyncio.StreamReader(limit=CHUNK)
        pipe, self._out = os.fdopen(self._out, "rb", buffering=0), None
        self._pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        self._worker.stdin.write(span_to_json(begin, end))
        return reader


async def open_stream(parts: Sequence[OpenPart], streams: Sequence[RenderStream]) -> Stream:
    """Start a worker and learn from it how long the call is as WAV; the parts may be closed then.

    Raises RenderFailed.
    """
    out, inwards = os.pipe2(os.O_CLOEXEC)
    try:
        worker = await _started(parts, streams, inwards)
    except BaseException:
        os.close(out)
        raise
    finally:
        os.close(inwards)
    try:
        async with asyncio.timeout(TIME_OUT):
            size = await _size(worker)
    except BaseException as error:
        os.close(out)
        await end_worker(worker)
        if isinstance(error, TimeoutError):
            raise RenderFailed(f"rendering took longer than {TIME_OUT:g} s and was stopped") from None
        raise
    return Stream(worker, size, _tag(parts, streams, size), out)


def _kill(worker: Process) -> None:
    """Kill a worker, but not by its own method, after which asyncio may not learn the exit status (and logs that)."""
    if worker.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)


async def _started(parts: Sequence[OpenPart], streams: Sequence[RenderStream], out: int) -> Process:
    sealed = [job_part(part) for part in parts]
    job = Job(sealed, streams, Container.WAV, out, os.getpid(), on_demand=True)
    worker = await start_worker([out, *(part.fd for part in sealed)])
    if worker.stdin is not None:
        worker.stdin.write(to_json(job))
    return worker


async def _size(worker: Process) -> int:
    """Wait until the worker has read the call once."""
    if worker.stderr is None:
        raise RenderFailed("the render worker has no pipes")
    last: dict[str, Any] = {}
    async for raw in lines(worker.stderr):
        last = read_message(raw)
        if type(size := last.get("size")) is int and 0 <= size <= LONGEST:
            return size
    raise failure(last, await worker.wait())


def _tag(parts: Sequence[OpenPart], streams: Sequence[RenderStream], size: int) -> str:
    """Make a strong validator of audio that is not rendered yet, from its inputs and the versions that render it."""
    digest = hashlib.sha256()
    for part in parts:  # each part has its own salt, and nothing in the middle of a part ever changes
        digest.update(b"%d %b %d\n" % (len(part.secret.prefix), part.secret.prefix, part.size))
    digest.update(repr((size, streams, [_version(maker) for maker in MAKERS])).encode())
    return f'"{digest.hexdigest()[:32]}"'


def _version(maker: str) -> str:
    """Return the version of a distribution; a source tree that is not installed has none."""
    try:
        return metadata.version(maker)
    except metadata.PackageNotFoundError:
        return ""
