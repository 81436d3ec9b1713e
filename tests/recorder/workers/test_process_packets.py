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
from tests.in_process.worker_call import CALL, Sender, WorkerCall, run


def reasons(figures: dict[str, Any]) -> list[str]:
    return [why for _, _, why in figures["gaps"]]


def test_forged_and_foreign_packets_change_nothing(tmp_path: Path) -> None:
    """Duty C1."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        stranger = Sender(os.urandom(30), 0x1000, 65500)
        port = worker_call.pairs[0].port
        for size in (0, 1, 11, 12, 21, 22, 383, 384, 385, 1500, 2048, 2049, 65507):
            stranger.socket.sendto(b"\x80" * size, ("127.0.0.1", port))
        stranger.send(port, 30)
        stranger.socket.sendto(b"\0\1" + bytes(18), ("127.0.0.1", port))
        await asyncio.sleep(0.1)
        worker_call.send(30)
        await asyncio.sleep(0.1)
        stranger.send(port, 30)
        worker_call.send(30)
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        assert worker_call.frames(found, 0) == worker_call.frames(found, 1) == list(range(60))
        assert final.streams[0]["rejected"] >= 30
        assert final.streams[0]["foreign"] >= 3
        stranger.socket.close()
        await worker_call.end()

    run(story())


def test_a_flood_of_forgeries_injects_nothing_and_loses_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, tick=0.05)
        await worker_call.recording(3)
        genuine, stranger = worker_call.senders[0], Sender(os.urandom(30), 0x1000, 65503)
        recorded, began = genuine.packet(), time.monotonic()
        for _ in range(40):
            worker_call.senders[1].send(worker_call.pairs[1].port, 5)
            genuine.send(worker_call.pairs[0].port, 5)
            for forged in (
                recorded[:-1] + b"\0", recorded[:20], recorded[:11], b"\x80\xcb\0\1\0\0\x10\0", b"\0\1\0\0" + bytes(16),
                b"\x16\xfe\xfd" + bytes(40), stranger.packet(), b"", os.urandom(3000),
            ):  # fmt: skip
                for port in (worker_call.pairs[0].port, worker_call.pairs[0].port + 1):
                    genuine.socket.sendto(forged, ("127.0.0.1", port))  # even from the right address
                    stranger.socket.sendto(forged, ("127.0.0.1", port))
            await asyncio.sleep(0.01)
        worker_call.send(5)
        final = await worker_call.workers.close(CALL)
        frames = worker_call.frames(worker_call.read(final), 0)
        assert frames == [n for n in range(genuine.sent) if n != 3]  # 3 was only shown to the forger
        told = [event for event in worker_call.events if isinstance(event, messages.RefusedPackets)]
        assert len(told) <= 3 + time.monotonic() - began  # once a second
        assert not [event for event in worker_call.events if isinstance(event, messages.CallFault)]
        stranger.socket.close()
        await worker_call.end()

    run(story())


def test_reordered_and_repeated_packets_are_stored_once(tmp_path: Path) -> None:
    async def story() -> None:
        chance = random.Random(5)
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(2)
        for sender, pair in zip(worker_call.senders, worker_call.pairs.values(), strict=True):
            packets = [sender.packet() for _ in range(400)]
            order = sorted(range(400), key=lambda n: n + (chance.randrange(25) if chance.random() < 0.3 else 0))
            late = order.pop(150)
            for at, number in enumerate(order):
                for _ in range(2 if chance.random() < 0.1 else 1):
                    sender.socket.sendto(packets[number], ("127.0.0.1", pair.port))
                if at % 25 == 0:
                    await asyncio.sleep(0.005)
                if at == 250:  # 100 packets later: 2 s
                    sender.socket.sendto(packets[late], ("127.0.0.1", pair.port))
        final = await worker_call.workers.close(CALL)
        found = worker_call.read(final)
        for stream in (0, 1):
            assert worker_call.frames(found, stream) == list(range(402))
            figures = final.streams[stream]
            assert (figures["packets"], figures["lost"], figures["gap_ms"]) == (402, 0, 0)
        await worker_call.end()

    run(story())


def test_a_packet_overtaken_by_a_thousand_is_late(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path)
        await worker_call.workers.start()
        worker_call.begin()
        worker_call.send(10)
        held_back = [sender.packet() for sender in worker_call.senders]
        for _ in range(WINDOW // 50 + 1):
            worker_call.send(50)
            await worker_call.workers.snapshot(CALL)
        for stream, packet in enumerate(held_back):
            worker_call.senders[stream].socket.sendto(packet, ("127.0.0.1", worker_call.pairs[stream].port))
        final = await worker_call.workers.close(CALL)
        for stream, sender in enumerate(worker_call.senders):
            figures = final.streams[stream]
            assert reasons(figures) == ["late"]
            assert (figures["gap_ms"], figures["lost"], figures["late"], figures["rejected"]) == (20, 1, 1, 0)
            assert worker_call.frames(worker_call.read(final), stream) == [n for n in range(sender.sent) if n != 10]
        await worker_call.end()

    run(story())


def test_packets_under_an_unknown_key_are_a_decrypt_failure(tmp_path: Path) -> None:
    async def story() -> None:
        worker_call = WorkerCall(tmp_path, streams=1)
        await worker_call.workers.start()
        worker_call.begin()
        (sender,), other = worker_call.senders, Sender(os.urandom(30), 0x1000, 65500)
        worker_call.send(10)
        for _ in range(30):
            sender.packet()
            sender.socket.sendto(other.packet(), ("127.0.0.1", worker_call.pairs[0].port))
        worker_call.send(10)
        final = await worker_call.workers.close(CALL)
        assert reasons(final.streams[0]) == ["decrypt failure"]
        assert (final.streams[0]["gap_ms"], final.streams[0]["rejected"]) == (30 * 20, 30)
        other.socket.close()
        await worker_call.end()

    run(story())


def test_a_stream_that_brings_nothing_to_store_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sends nothing, one under a wrong key, one stops, one announces its silence; the call lasts a minute."""

    async def story() -> None:
        worker_call = WorkerCall(tmp_path, streams=4)
        worker_call.specs = tuple(
            replace(spec, payloads=((8, "PCMA", 8000), (13, "CN", 8000))) for spec in worker_call.specs
        )
        await worker_call.workers.start()
        began = time.time_ns()
        worker_call.begin()
        await worker_call.workers.snapshot(CALL)
        begun = (time.time_ns() - began) // 1_000_000
        wrong = Sender(os.urandom(30), 0x1001)
        for _ in range(100):
            wrong.send(worker_call.pairs[1].port)
            worker_call.senders[2].send(worker_call.pairs[2].port)
            worker_call.senders[3].send(worker_call.pairs[3].port)
            await asyncio.sleep(0.005)
        spoken = (time.time_ns() - began) // 1_000_000
        quiet = worker_call.senders[3]
        noise = header.build(13, quiet.next, quiet.next * 160, quiet.ssrc, b"\x40")
        quiet.socket.sendto(quiet.session.protect(noise), ("127.0.0.1", worker_call.pairs[3].port))
        await worker_call.workers.snapshot(CALL)
        monkeypatch.setattr("recorder.workers.pool.time.time_ns", lambda: began + 60_000_000_000)
        final = await worker_call.workers.close(CALL)
        monkeypatch.undo()
        said = [reasons(figures) for figures in final.streams.values()]
        assert said == [["no media"], ["decrypt failure"], ["no media"], []]
        assert all(59_900 - begun < final.streams[stream]["gap_ms"] <= 60_000 for stream in (0, 1))
        assert 59_900 - spoken < final.streams[2]["gap_ms"] < 60_000
        wrong.socket.close()
        await worker_call.end()

    run(story())
