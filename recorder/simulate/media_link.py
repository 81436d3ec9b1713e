"""Start the media process, send it commands and read its replies."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from recorder.errors import RecorderError

_LINE_LIMIT = 64 << 20
"""The longest reply: 20,000 calls of two streams are 8 MB of JSON."""


class MediaLost(RecorderError):
    """The media process ended unexpectedly."""


class MediaLink:
    """One media process."""

    async def start(self) -> None:
        """Start it from our own files: -P ignores those in the current folder."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-P", "-m", "recorder.simulate.engine",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=_LINE_LIMIT,
        )  # fmt: skip
        self._lock = asyncio.Lock()

    async def do(self, what: str, **words: Any) -> Any:
        """Send a command and return its reply; raise MediaLost."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise MediaLost("The media process has no pipes.")
        async with self._lock:
            process.stdin.write(json.dumps({"do": what, **words}).encode() + b"\n")
            try:
                await process.stdin.drain()
                line = await process.stdout.readline()
            except ConnectionError:
                line = b""
        if not line:
            raise MediaLost("The media process ended unexpectedly.")
        return json.loads(line)

    async def stop(self) -> None:
        """End it."""
        if self._process.returncode is None and self._process.stdin is not None:
            self._process.stdin.close()
            await self._process.wait()
