"""Packets at a real worker process that are not simply the next: forged, foreign, late, repeated, of a wrong key."""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from media.rtp import header
from tests.in_process.worker_call import CALL, Sender, recording


def reasons(figures: dict[str, Any]) -> list[str]:
    return [why for _, _, why in figures["gaps"]]


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


async def test_a_stream_that_brings_nothing_to_store_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sends nothing, one under a wrong key, one stops, one announces its silence; the call lasts a minute."""
    began = time.time_ns()
    async with recording(tmp_path, streams=4) as one:
        one.specs = tuple(replace(spec, payloads=((8, "PCMA", 8000), (13, "CN", 8000))) for spec in one.specs)
        one.workers.change(CALL, one.specs, one.pairs)
        begun = (time.time_ns() - began) // 1_000_000
        wrong = Sender(os.urandom(30), 0x1001)
        for _ in range(100):
            wrong.send(one.pairs[1].port)
            one.senders[2].send(one.pairs[2].port)
            one.senders[3].send(one.pairs[3].port)
            await asyncio.sleep(0.005)
        spoken = (time.time_ns() - began) // 1_000_000
        quiet = one.senders[3]
        noise = header.build(13, quiet.next, quiet.next * 160, quiet.ssrc, b"\x40")
        assert quiet.session is not None
        quiet.socket.sendto(quiet.session.protect(noise), ("127.0.0.1", one.pairs[3].port))
        await one.workers.snapshot(CALL)
        with monkeypatch.context() as patch:
            patch.setattr("recorder.workers.pool.time.time_ns", lambda: began + 60_000_000_000)
            final = await one.close()
        found = [reasons(figures) for figures in final.streams.values()]
        assert found == [["no media"], ["decrypt failure"], ["no media"], []]
        assert all(59_900 - begun < final.streams[stream]["gap_ms"] <= 60_000 for stream in (0, 1))
        assert 59_900 - spoken < final.streams[2]["gap_ms"] < 60_000
        wrong.socket.close()
