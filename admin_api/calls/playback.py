"""The media of a call as an answer, whole or in ranges (RFC 9110 section 14).

The call is rendered into an unnamed file; long WAV is sent while it is rendered.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count
from typing import Annotated

from msgspec import Meta
from starlette.responses import Response, StreamingResponse
from starlette.types import Message as ASGIMessage
from starlette.types import Receive, Scope, Send

from admin_api.calls import ranges
from admin_api.calls.calls import OVER, find
from admin_api.calls.render_cache import Full, RenderCache
from admin_api.http.authorised_request import DONE, AuthorisedRequest
from admin_api.http.endpoint import Endpoint, endpoint
from admin_api.http.messages import Message
from admin_api.http.permissions import HEARERS, Action
from admin_api.http.ports import ABORT, BrokenOff, Rendered, Streamed
from admin_api.http.problems import REFUSED, Problem, unavailable
from admin_api.http.types import FORMATS, Given, word
from storage.calls.call_index import CallRow
from storage.errors import Forgotten

CHUNK = 256 << 10  # bytes read at once, away from the loop: 8 s of stereo G.711 as WAV
MAX_PLAYS = 8  # rendered files of one customer at once; an hour of FLAC takes 60 MB of memory while it is sent
MAX_STREAMS = 16  # streams of one customer at once; each has a worker of 30 MB, whatever the length
TURN_SECONDS = 5.0  # a request over either limit waits this long; an hour of audio is sent in about 1 s
LOOK_SECONDS = 0.05  # seconds between a waiting request's checks for room
SLOW_SECONDS = 60.0  # a client that reads no chunk for this long is dropped: it holds that memory
CONTENT_TYPES = (
    "audio/wav",
    "audio/flac",
    "audio/ogg",
    "audio/mpeg",
    "video/x-matroska",
    "application/vnd.tcpdump.pcap",
)


class RenderedFile:
    """A rendered call, which threads read; it is closed once, never during a read."""

    tag = ""
    """A strong ETag: a live call grows, and encoders change with versions."""

    def __init__(self, rendered: Rendered) -> None:
        self.size = rendered.size
        self.content_type = rendered.content_type
        self._descriptor = rendered.descriptor
        self._lock = threading.Lock()
        self._closed = False

    def read(self, length: int, offset: int) -> bytes:
        """Read bytes; empty past the end or after close."""
        with self._lock:
            return b"" if self._closed else os.pread(self._descriptor, length, offset)

    def set_tag(self) -> None:
        """Derive the tag from the content."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, CHUNK):
            digest.update(self.read(CHUNK, offset))
        self.tag = f'"{digest.hexdigest()[:32]}"'

    def close(self) -> None:
        """Close; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)

    async def chunks(self, begin: int, end: int) -> AsyncIterator[bytes]:
        """Yield the bytes from begin to end, read in a thread."""
        while begin < end:
            data = await asyncio.to_thread(self.read, min(CHUNK, end - begin), begin)
            if not data:
                return
            begin += len(data)
            yield data


Reading = Callable[[], AbstractAsyncContextManager[Callable[[], bool]]]
"""A context for reading a recording; its body ends with Forgotten soon after the recording is erased. Yields a function
that returns whether the recording is kept (storage.vault.leaves_in_use).
"""


@asynccontextmanager
async def _always() -> AsyncIterator[Callable[[], bool]]:
    """Read data that no erasure concerns."""
    yield lambda: True


async def blocks(data: bytes) -> AsyncIterator[bytes]:
    """Yield data from memory in chunks, so that an erasure can take effect between two of them."""
    for at in range(0, len(data), CHUNK):
        yield data[at : at + CHUNK]


class Sent(StreamingResponse):
    """A streaming answer whose source is always released."""

    def __init__(
        self,
        content: AsyncIterator[bytes],
        headers: dict[str, str],
        status: int = 200,
        end: Callable[[], None] = lambda: None,
        reading: Reading = _always,
    ) -> None:
        """Send `content` until it is complete or `reading` ends; then call `end`."""
        super().__init__(content, status, headers)
        self._content = content
        self._end = end
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; drop a client that stops reading.

        If the call is erased, also while the client is slow, drop the connection with what was not sent yet.
        """
        try:
            async with self._reading() as keeps:

                async def with_time_limit(message: ASGIMessage) -> None:
                    if message.get("body") and not keeps():
                        raise BrokenOff
                    async with asyncio.timeout(SLOW_SECONDS):
                        await send(message)

                try:
                    await super().__call__(scope, receive, with_time_limit)
                finally:  # an erasure waits for it
                    if not keeps():
                        scope["state"][ABORT]()
                    await self._release()
        except (TimeoutError, BrokenOff, Forgotten):
            return  # uvicorn closes the connection: the answer is incomplete

    async def _release(self) -> None:
        try:
            if isinstance(self._content, AsyncGenerator):
                await self._content.aclose()  # the garbage collector may close it twice at once
        finally:
            self._end()


Playable = RenderedFile | Streamed


class MediaQuery(Given):
    """The format of the media."""

    format: Annotated[str, word(FORMATS, f"one of {', '.join(FORMATS)}"), Meta(examples=["wav"])] = "wav"


class Player:
    """A renderer and sender of the media of calls."""

    def __init__(self) -> None:
        self._cache: RenderCache[RenderedFile] = RenderCache(
            lambda: MAX_PLAYS, lambda file: file.close(), lambda file: file.size
        )
        self._live = count()
        self._streams: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(MAX_STREAMS))
        # by customer

    async def play(self, request: AuthorisedRequest, form: str) -> Response:
        """Render a call and send it, or the requested range."""
        row, live = await find(request)
        ends: list[Callable[[], None]] = []
        try:
            if request.daemon.is_long(request.customer, row, form):
                sound: Playable = await self._streamed(request, row, ends)
            else:
                sound = await self._whole(request, row, form, is_live=live is not None, ends=ends)
            await request.note(DONE)
            return _answer(request, sound, f"{row.id}.{form}", row.leaf, lambda: _all(ends))
        except BaseException:
            _all(ends)
            raise

    async def _streamed(self, request: AuthorisedRequest, row: CallRow, ends: list[Callable[[], None]]) -> Playable:
        """Open a stream that is rendered while it is sent, once there is room."""
        turn = self._streams[request.customer.name]
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await turn.acquire()
        except TimeoutError:
            raise _too_many() from None
        ends.append(turn.release)
        stream = await request.daemon.stream(request.customer, row)
        ends.append(stream.close)
        return stream

    async def _whole(
        self, request: AuthorisedRequest, row: CallRow, form: str, *, is_live: bool, ends: list[Callable[[], None]]
    ) -> Playable:
        """Return the recently rendered file, or render it."""
        # a live call grows, so a file rendered from it is not shared with later requests
        key = (request.customer.name, row.id, f"{form} {next(self._live)}" if is_live else form)

        async def make() -> RenderedFile:
            file = RenderedFile(await request.daemon.render(request.customer, row, form))
            try:
                await asyncio.to_thread(file.set_tag)
            except BaseException:
                file.close()
                raise
            return file

        def keep() -> bool:
            return not is_live and request.customer.keys.keeps(row.leaf)

        loop = asyncio.get_running_loop()
        patient_until = loop.time() + TURN_SECONDS
        while True:
            try:
                file = await self._cache.take(key, make)
                ends.append(lambda: self._cache.leave(key, keep=keep))
                return file
            except Full:
                if loop.time() >= patient_until:
                    raise _too_many() from None
            await asyncio.sleep(LOOK_SECONDS)


def media(player: Player) -> Endpoint[..., Response]:
    """Declare the media of a call, which this player sends."""

    @endpoint("GET", "/calls/{id}/media", Action.PLAY, HEARERS, files=CONTENT_TYPES, ranges=True, conflict=OVER)
    async def media(request: AuthorisedRequest, id: str, query: MediaQuery) -> Response:
        """Decrypted media of a call; channel i is the i-th audio stream."""
        return await player.play(request, query.format)

    return media


def _too_many() -> Problem:
    return unavailable(
        Message(
            "problem.too-many-playbacks", "This customer has as many playbacks as may run at once; wait until one ends."
        ),
        "too many plays at once",
        REFUSED,
    )


def _answer(request: AuthorisedRequest, sound: Playable, name: str, leaf: int, end: Callable[[], None]) -> Response:
    size, tag = sound.size, sound.tag
    header, reading = request.http.headers.getlist, request.http.method == "GET"
    if ranges.unchanged(header("if-match"), header("if-none-match"), tag):
        end()
        return Response(status_code=304, headers={"ETag": tag})
    chosen = ranges.wanted(header("range"), header("if-range"), size, tag) if reading else None
    begin, until = chosen or (0, size)
    headers = {
        "Content-Type": sound.content_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Length": str(until - begin),
    }
    if chosen:
        headers["Content-Range"] = f"bytes {begin}-{until - 1}/{size}"
    chunks = sound.chunks(begin, until if reading else begin)
    return Sent(chunks, headers, 206 if chosen else 200, end, partial(request.customer.vault.in_use.reading, leaf))


def _all(ends: list[Callable[[], None]]) -> None:
    """Call the function that releases an answer's source, at most once."""
    while ends:
        ends.pop()()
