"""A listener that passes a stream on to a server and keeps every byte that went either way."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

Place = Path | int
"""A Unix socket, or a port of 127.0.0.1."""


class _Capture:
    def __init__(self, listen: Place, server: Place, kept: Path) -> None:
        self._listen, self._server, self._kept = listen, server, kept
        self._count = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> asyncio.Server:
        if isinstance(self._listen, Path):
            made = await asyncio.start_unix_server(self._serve, self._listen)
            self._listen.chmod(0o777)
            return made
        return await asyncio.start_server(self._serve, "127.0.0.1", self._listen)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._count += 1
        name = f"{self._count:05d}"
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            if isinstance(self._server, Path):
                up, down = await asyncio.open_unix_connection(self._server)
            else:
                up, down = await asyncio.open_connection("127.0.0.1", self._server)
            await asyncio.gather(
                _pass(reader, down, self._kept / f"{name}.to"), _pass(up, writer, self._kept / f"{name}.from")
            )
        except (OSError, asyncio.CancelledError):
            return  # either side has gone, or the capture ends
        finally:
            writer.close()

    def end(self) -> None:
        for each in self._tasks:
            each.cancel()


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: Path) -> None:
    with kept.open("ab") as file:
        try:
            while data := await reader.read(1 << 16):
                file.write(data)
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@contextmanager
def captured(listen: Place, server: Place, kept: Path) -> Iterator[None]:
    """Pass on what connects at a place; a file for each direction of each connection is in a folder at the end."""
    kept.mkdir(parents=True, exist_ok=True)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    one = _Capture(listen, server, kept)
    serving = asyncio.run_coroutine_threadsafe(one.open(), loop).result(10)

    async def end() -> None:
        serving.close()
        one.end()
        await asyncio.sleep(0.1)

    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(end(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
