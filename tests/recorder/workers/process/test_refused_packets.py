"""Packets at a real worker process that are not simply the next: forged, foreign, late, repeated, of a wrong key."""

import asyncio
import os
import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from media.rtp import header
from media.rtp.sequence import WINDOW
from recorder.workers import messages
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


async def test_a_flood_of_forgeries_injects_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async with recording(tmp_path, 3, tick=0.05) as one:
        genuine, stranger = one.senders[0], Sender(os.urandom(30), 0x1000, 65503)
        recorded, began = genuine.packet(), time.monotonic()
        for _ in range(40):
            one.send(5)
            for forged in (
                recorded[:-1] + b"\0", recorded[:20], recorded[:11], b"\x80\xcb\0\1\0\0\x10\0", b"\0\1\0\0" + bytes(16),
                b"\x16\xfe\xfd" + bytes(40), stranger.packet(), b"", os.urandom(3000),
            ):  # fmt: skip
                for port in (one.pairs[0].port, one.pairs[0].port + 1):
                    genuine.socket.sendto(forged, ("127.0.0.1", port))  # even from the right address
                    stranger.socket.sendto(forged, ("127.0.0.1", port))
            await asyncio.sleep(0.01)
        one.send(5)
        found = one.read(await one.close())
        assert one.frames(found, 0) == [n for n in range(genuine.sent) if n != 3]  # 3 was only shown to the forger
        assert len(one.seen(messages.RefusedPackets)) <= 3 + time.monotonic() - began  # once a second
        assert one.seen(messages.CallFault) == []
        stranger.socket.close()


async def test_reordered_and_repeated_packets_are_stored_once(tmp_path: Path) -> None:
    chance = random.Random(5)
    async with recording(tmp_path, 2) as one:
        for sender, pair in zip(one.senders, one.pairs.values(), strict=True):
            packets = [sender.packet() for _ in range(400)]
            order = sorted(range(400), key=lambda n: n + (chance.randrange(25) if chance.random() < 0.3 else 0))
            order.insert(250, order.pop(150))  # 100 packets later: 2 s
            for at, number in enumerate(order):
                for _ in range(2 if chance.random() < 0.1 else 1):
                    sender.socket.sendto(packets[number], ("127.0.0.1", pair.port))
                if at % 25 == 0:
                    await asyncio.sleep(0.005)
        await one.whole()


async def test_a_packet_overtaken_by_a_thousand_is_late(tmp_path: Path) -> None:
    async with recording(tmp_path, 10, streams=1) as one:
        held_back = one.senders[0].packet()
        for _ in range(WINDOW // 50 + 1):
            one.send(50)
            await one.workers.snapshot(CALL)
        one.senders[0].socket.sendto(held_back, ("127.0.0.1", one.pairs[0].port))
        final = await one.close()
        figures = final.streams[0]
        assert reasons(figures) == ["late"]
        assert (figures["gap_ms"], figures["lost"], figures["late"], figures["rejected"]) == (20, 1, 1, 0)
        assert one.frames(one.read(final), 0) == [n for n in range(one.senders[0].sent) if n != 10]


async def test_packets_under_an_unknown_key_are_a_decrypt_failure(tmp_path: Path) -> None:
    async with recording(tmp_path, 10, streams=1) as one:
        (sender,), other = one.senders, Sender(os.urandom(30), 0x1000, 65510)
        for _ in range(30):
            sender.packet()
            sender.socket.sendto(other.packet(), ("127.0.0.1", one.pairs[0].port))
        one.send(10)
        final = await one.close()
        assert reasons(final.streams[0]) == ["decrypt failure"]
        assert (final.streams[0]["gap_ms"], final.streams[0]["rejected"]) == (30 * 20, 30)
        other.socket.close()


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
