"""Two object stores on this machine, neither of them complete, and a proxy that injects faults.

`moto` has versions, locks, create-only and ranges, and takes any credentials; `rclone serve s3` checks credentials and
keeps its objects on a real disk, without versions, without create-only.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from storage.objects.store import Features, StoreSettings
from tests.ports import spans, unused

KEY, SECRET, BUCKET, LOCKED = "ACCESSKEYOFTESTS", "secret-of-the-tests", "parts", "locked"
STORES = ("rclone", "moto")
PORTS = spans(30_100, 32_700, 1)
START_SECONDS = 60.0


@dataclass
class Server:
    """A running object store and how to reach it."""

    kind: str
    port: int
    folder: Path
    tls: tuple[Path, Path] | None = None  # certificate and key; rclone only
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the store, for the first time or after `kill`; moto then has lost its objects, rclone has not."""
        env = {**os.environ, "RCLONE_AUTH_KEY": f'"{KEY},{SECRET}"', "RCLONE_CONFIG": os.devnull}
        tool = shutil.which(_TOOLS[self.kind], path=os.path.dirname(sys.executable))
        if self.kind == "rclone":
            command = [tool, "serve", "s3", "--addr", f"127.0.0.1:{self.port}", str(self.folder)]
            if self.tls is not None:
                command += ["--cert", str(self.tls[0]), "--key", str(self.tls[1])]
        else:
            command = [tool, "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(
            [str(each) for each in command], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"{self.kind} did not start") from None
                time.sleep(0.05)
        if self.kind == "moto":
            for bucket in (BUCKET, LOCKED):
                headers = {"x-amz-bucket-object-lock-enabled": "true"} if bucket == LOCKED else {}
                url = f"http://127.0.0.1:{self.port}/{bucket}"
                urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()

    def kill(self) -> None:
        """Kill the store, as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def settings(self, bucket: str = BUCKET, port: int | None = None, **more: Any) -> StoreSettings:
        """Return the recorder's settings for it."""
        endpoint = f"{'http' if self.tls is None else 'https'}://127.0.0.1:{port or self.port}"
        return StoreSettings(
            **{"endpoint": endpoint, "bucket": bucket, "secrets": lambda: (KEY, SECRET), "path_style": True, **more}
        )


_TOOLS = {"rclone": "rclone", "moto": "moto_server"}


@contextmanager
def object_store(kind: str, folder: Path, tls: tuple[Path, Path] | None = None) -> Iterator[Server]:
    """Run a store with its bucket."""
    for bucket in (BUCKET, LOCKED):
        (folder / bucket).mkdir(parents=True, exist_ok=True)
    server = Server(kind, unused(PORTS), folder, tls)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Proxy:
    """A proxy that forwards requests to a store or plays a fault, the next of `faults`, and keeps what it saw.

    A fault is a status, `slow` with seconds, `reset` (in the middle of the body), `lost` (stored, but the answer never
    arrives), `flip` (of one bit of the body), `swallow` (answered, not stored), or `pass`.
    """

    def __init__(self, up: int) -> None:
        self.port, self.up = unused(PORTS), up
        self.faults: list[str] = []
        self.always = "pass"
        self.seen: list[tuple[str, dict[str, str], str]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 17), self._loop
        ).result()

    def play(self, *faults: str, always: str = "pass") -> None:
        """Play these faults, one for each request, then `always`."""
        self.faults, self.always, self.seen = list(faults), always, []

    def close(self) -> None:
        """End everything."""

        async def end() -> None:
            self._server.close()
            mine = [each for each in asyncio.all_tasks() if each is not asyncio.current_task()]
            for each in mine:
                each.cancel()
            await asyncio.gather(*mine, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.CancelledError, OSError):
            pass  # the client has gone, or the proxy is closing
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, headers = await _head(reader)
        size = int(headers.get("content-length", 0))
        fault = self.faults.pop(0) if self.faults else self.always
        self.seen.append((first, dict(headers), fault))
        if headers.pop("expect", None):
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if fault == "reset":
            await reader.readexactly(size // 2)
            return _reset(writer)
        body = await reader.readexactly(size)
        if fault.startswith("slow"):
            await asyncio.sleep(float(fault[4:]))
        if fault.isdigit():
            writer.write(_packed(f"HTTP/1.1 {fault} No", {"content-length": "4"}, b"Slow"))
            return True
        if fault == "swallow":
            writer.write(_packed("HTTP/1.1 200 OK", {"content-length": "0", "etag": '"00"'}, b""))
            return True
        if fault == "flip":
            body = body[:-1] + bytes([body[-1] ^ 1]) if body else body
        answer, told, content = await self._pass_on(first, headers, body)
        if fault == "lost":
            return _reset(writer)
        writer.write(_packed(answer, told, content))
        await writer.drain()
        return True

    async def _pass_on(self, first: str, headers: dict[str, str], body: bytes) -> tuple[str, dict[str, str], bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.up, limit=1 << 17)
        try:
            writer.write(_packed(first, {**headers, "connection": "close"}, body))
            answer, told = await _head(reader)
            length = told.get("content-length")
            if first.startswith("HEAD"):
                content = b""
            elif length:
                content = await reader.readexactly(int(length))
            else:
                content = await reader.read()
                if told.pop("transfer-encoding", ""):
                    content = _joined(content)
        finally:
            writer.close()
        told.setdefault("content-length", str(len(content)))
        told.pop("connection", None)
        return answer, told, content


async def _head(reader: asyncio.StreamReader) -> tuple[str, dict[str, str]]:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
    return first, {name.lower(): value for name, value in (x.split(": ", 1) for x in lines if ": " in x)}


def _packed(first: str, headers: dict[str, str], body: bytes) -> bytes:
    return (first + "\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n").encode("latin1") + body


def _joined(chunked: bytes) -> bytes:
    content = b""
    while chunked:
        size, _, chunked = chunked.partition(b"\r\n")
        content, chunked = content + chunked[: int(size, 16)], chunked[int(size, 16) + 2 :]
    return content


def _reset(writer: asyncio.StreamWriter) -> bool:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False


SEEN = Features(**{**dict.fromkeys((each.name for each in fields(Features)), True), "checksum": False})
"""The features that the recorder must detect in a store with versions and locks."""


def client(settings: StoreSettings) -> Any:
    """Return a client, independent of the recorder's own, to inspect a store."""
    import boto3  # slow to import, and few tests need it

    key, secret = settings.secrets()
    return boto3.client(
        "s3", endpoint_url=settings.endpoint, aws_access_key_id=key, aws_secret_access_key=secret, region_name="none"
    )
