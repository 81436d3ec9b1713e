"""Forged and foreign packets at a real worker process."""

import asyncio
import os
from pathlib import Path

from tests.in_process.worker_call import Sender, recording


async def test_forged_and_foreign_packets_change_nothing(tmp_path: Path) -> None:
    """Duty C1."""
    async with recording(tmp_path) as one:
        stranger, port = Sender(os.urandom(30), 0x1000, 65500), one.pairs[0].port
        for size in (0, 1, 11, 12, 21, 22, 383, 384, 385, 1500, 2048, 2049, 65507):
            stranger.socket.sendto(b"\x80" * size, ("127.0.0.1", port))
        stranger.send(port, 30)
        stranger.socket.sendto(b"\0\1" + bytes(18), ("127.0.0.1", port))
        await asyncio.sleep(0.1)
        one.send(30)
        await asyncio.sleep(0.1)
        stranger.send(port, 30)
        one.send(30)
        final = await one.whole()
        assert final.streams[0]["rejected"] >= 30
        assert final.streams[0]["foreign"] >= 3
        stranger.socket.close()
