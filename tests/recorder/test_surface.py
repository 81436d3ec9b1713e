"""The admin API answers on a ready-made socket."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from recorder.desk import Desk
from recorder.surface import Surface
from tests.recorder.stage import stage


def test_it_answers_until_it_is_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            surface = Surface(one.node, Desk(one.node, one.live, one.runner))
            await surface.stop()
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            address = listening.getsockname()
            await surface.start(listening)
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            await surface.stop()
            listening.close()

    asyncio.run(story())
