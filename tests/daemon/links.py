"""Links between a recorder and its servers, which forward connections, keep every byte and can be cut."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

Place = Path | int
"""A Unix socket, or a port of 127.0.0.1."""


class Links:
    """The links of one recorder, which are cut and restored together."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()
        self._refusing = False
        self._count = 0
        self._servers: list[asyncio.Server] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def add(self, listen: Place, server: Place, kept: Path | None = None) -> None:
        """Forward connections made at a place; `kept` is a folder for one file per connection and direction."""

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(reader, writer, server, kept)

        async def begin() -> None:
            if isinstance(listen, Path):
                self._servers.append(await asyncio.start_unix_server(serve, listen))
                listen.chmod(0o777)
            else:
                self._servers.append(await asyncio.start_server(serve, "127.0.0.1", listen))

        asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)

    def cut(self, *, silent: bool) -> None:
        """Block everything: refuse each connection or, if `silent`, pass nothing, like a router that drops packets."""

        def refuse() -> None:
            self._refusing = True
            for each in self._tasks:
                each.cancel()

        self._do(self._open.clear if silent else refuse)

    def mend(self) -> None:
        """Pass everything again; data that was held back arrives now."""
        self._refusing = False
        self._do(self._open.set)

    def close(self) -> None:
        """Close all connections and stop the thread."""

        async def end() -> None:
            for server in self._servers:
                server.close()
            for each in self._tasks:
                each.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._do(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _do(self, step: Callable[[], object]) -> None:
        self._loop.call_soon_threadsafe(step)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: Place, kept: Path | None
    ) -> None:
        self._count += 1
        name = f"{self._count:05d}"
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            if self._refusing:
                return
            await self._open.wait()
            if isinstance(server, Path):
                up, down = await asyncio.open_unix_connection(server)
            else:
                up, down = await asyncio.open_connection("127.0.0.1", server)
            both = (reader, down, f"{name}.to"), (up, writer, f"{name}.from")
            await asyncio.gather(*(self._pass(a, b, None if kept is None else kept / file) for a, b, file in both))
        except (OSError, asyncio.CancelledError):
            return  # either side has closed, or the links are closing
        finally:
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: Path | None) -> None:
        try:
            while data := await reader.read(1 << 16):
                if kept is not None:
                    with kept.open("ab") as file:
                        file.write(data)
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        finally:
            writer.close()


@contextmanager
def captured(listen: Place, server: Place, kept: Path) -> Iterator[None]:
    """Forward connections made at a place, and write each direction of each connection to a file in a folder."""
    kept.mkdir(parents=True, exist_ok=True)
    links = Links()
    try:
        links.add(listen, server, kept)
        yield
    finally:
        links.close()
