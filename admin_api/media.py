"""Play a call: rendered into a descriptor without a name, sent in chunks or ranges (RFC 9110 section 14)."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from itertools import count

from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from admin_api import ranges, schemas
from admin_api.calls import find
from admin_api.errors import conflict, not_found, unavailable
from admin_api.ports import CannotRender
from admin_api.request import DONE, FAILED, REFUSED, Asked
from admin_api.shelf import Full, Shelf
from storage.calls import CallRow

CHUNK = 256 << 10  # bytes read at once, away from the loop: 8 s of stereo G.711 as WAV
MAX_PLAYS = 8  # rendered files of one customer at once: an hour of stereo WAV takes 115 MB of memory while it is sent
SLOW_SECONDS = 60.0  # a client that takes no chunk for so long is left, for it holds that memory
MEDIA = (schemas.FORMAT,)
CONTENT_TYPES = (
    "audio/wav",
    "audio/flac",
    "audio/ogg",
    "audio/mpeg",
    "video/x-matroska",
    "application/vnd.tcpdump.pcap",
)


class Source:
    """A descriptor that threads read and that is closed once, never under a reader."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.size = size
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._closed = False

    def read(self, length: int, offset: int) -> bytes:
        """Read; nothing after the end or once closed."""
        with self._lock:
            return b"" if self._closed else os.pread(self._descriptor, length, offset)

    def tag(self) -> str:
        """Make a strong validator of the content: a live call grows, and encoders change with versions."""
        digest = hashlib.sha256()
        for offset in range(0, self.size, CHUNK):
            digest.update(self.read(CHUNK, offset))
        return f'"{digest.hexdigest()[:32]}"'

    def close(self) -> None:
        """Close, also twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._descriptor)

    async def chunks(self, begin: int, end: int) -> AsyncIterator[bytes]:
        """Give the bytes from begin to end, read away from the loop."""
        while begin < end:
            data = await asyncio.to_thread(self.read, min(CHUNK, end - begin), begin)
            if not data:
                return
            begin += len(data)
            yield data


class Sent(StreamingResponse):
    """An answer out of a source that is given up whatever happens."""

    def __init__(self, content: AsyncIterator[bytes], status: int, headers: dict[str, str], end: Callable[[], None]):
        super().__init__(content, status, headers)
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a client that stops reading is left."""

        async def patiently(message: Message) -> None:
            async with asyncio.timeout(SLOW_SECONDS):
                await send(message)

        try:
            await super().__call__(scope, receive, patiently)
        except TimeoutError:
            return  # uvicorn breaks the connection off: the answer is incomplete
        finally:
            self._end()


@dataclass(frozen=True, slots=True)
class Ready:
    """A rendered call that can be sent."""

    source: Source
    """Its bytes."""
    content_type: str
    """What they are."""
    tag: str
    """Their validator."""


class Player:
    """Answers GET and HEAD /calls/{id}/media."""

    def __init__(self) -> None:
        self._shelf: Shelf[Ready] = Shelf(lambda: MAX_PLAYS, lambda ready: ready.source.close())
        self._live = count()

    async def play(self, asked: Asked) -> Response:
        """Render a call and send it, or the range of it that was asked for."""
        form = schemas.read(MEDIA, asked.http.query_params.multi_items())["format"]
        row, live = await find(asked)
        if row is None:  # live for a moment only, and not in the index yet
            await asked.note(REFUSED, "not found")
            raise not_found()
        # a live call has grown when it is asked for again, so what was rendered of it is nobody else's
        key = (asked.customer.name, row.id, form if live is None else f"{form} {next(self._live)}")
        ready = await self._ready(asked, row, form, key)
        ends: list[Callable[[], None]] = [lambda: self._shelf.leave(key, keep=live is None)]
        try:
            await asked.note(DONE)
            return _answer(asked, ready, f"{row.id}.{form}", lambda: _all(ends))
        except BaseException:
            _all(ends)
            raise

    async def _ready(self, asked: Asked, row: CallRow, form: str, key: tuple[str, str, str]) -> Ready:
        async def make() -> Ready:
            rendered = await asked.desk.render(asked.customer, row, form)
            source = Source(rendered.descriptor, rendered.size)
            try:
                return Ready(source, rendered.content_type, await asyncio.to_thread(source.tag))
            except BaseException:
                source.close()
                raise

        try:
            return await self._shelf.take(key, make)
        except Full:
            await asked.note(REFUSED, "too many plays at once")
            raise unavailable(f"{MAX_PLAYS} plays of this customer are under way; wait until one has ended.") from None
        except CannotRender as problem:
            await asked.note(FAILED, "cannot be rendered")
            raise conflict(str(problem)) from None


def _answer(asked: Asked, ready: Ready, name: str, end: Callable[[], None]) -> Response:
    source, tag = ready.source, ready.tag
    header, reading = asked.http.headers.getlist, asked.http.method == "GET"
    chosen = ranges.wanted(header("range"), header("if-range"), source.size, tag) if reading else None
    begin, until = chosen or (0, source.size)
    headers = {
        "Content-Type": ready.content_type,
        "Content-Disposition": f'attachment; filename="{name}"',
        "Accept-Ranges": "bytes",
        "ETag": tag,
        "Content-Length": str(until - begin),
    }
    if chosen:
        headers["Content-Range"] = f"bytes {begin}-{until - 1}/{source.size}"
    return Sent(source.chunks(begin, until if reading else begin), 206 if chosen else 200, headers, end)


def _all(ends: list[Callable[[], None]]) -> None:
    """Call what has to be called at the end, once."""
    while ends:
        ends.pop()()
