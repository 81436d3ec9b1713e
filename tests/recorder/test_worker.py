"""A real worker process under real packets: killed whenever, every frame is stored exactly once."""

import asyncio
import os
import random
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from media.spec import StreamSpec
from recorder import wire
from tests.recorder.studio import CALL, SUITE, Sender, Studio, run


@pytest.mark.parametrize("seed", range(3))
def test_kills_at_any_moment_lose_and_repeat_nothing(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        studio = Studio(tmp_path)
        await studio.workers.start()
        studio.begin()
        for kill in range(1, 7):
            for _ in range(chance.randrange(5, 40)):
                studio.send(chance.randrange(1, 5))
                await asyncio.sleep(chance.random() / 250)
            studio.kill()
            studio.send(3)
            await studio.heard(wire.Resumed, kill)
        studio.send(20)
        final = await studio.workers.close(CALL)
        found = studio.read(final)
        for stream, sender in enumerate(studio.senders):
            assert studio.frames(found, stream) == list(range(sender.sent))
            assert final.streams[stream]["packets"] == sender.sent
            assert (
                final.streams[stream]["lost"]
                == final.streams[stream]["gap_ms"]
                == final.streams[stream]["rejected"]
                == 0
            )
        assert final.clean
        await studio.end()

    run(story())


def test_pause_keeps_nothing_of_what_arrives_in_between(tmp_path: Path) -> None:
    async def story() -> None:
        studio = Studio(tmp_path, tick=5.0)
        await studio.workers.start()
        studio.begin()
        studio.send(10)
        studio.workers.pause(CALL)
        studio.send(7)
        studio.workers.resume_call(CALL)
        studio.send(5)
        final = await studio.workers.close(CALL)
        found = studio.read(final)
        kept = [*range(10), *range(17, 22)]
        for stream in (0, 1):
            assert studio.frames(found, stream) == kept
            assert final.streams[stream]["lost"] == final.streams[stream]["gap_ms"] == 0
        await studio.end()

    run(story())


def test_forged_and_foreign_packets_change_nothing(tmp_path: Path) -> None:
    """Duty C1."""
    async def story() -> None:
        studio = Studio(tmp_path)
        await studio.workers.start()
        studio.begin()
        stranger = Sender(os.urandom(30), 0x1000, 65500)
        port = studio.pairs[0].port
        for size in (0, 1, 11, 12, 21, 22, 383, 384, 385, 1500, 2048, 2049, 65507):
            stranger.socket.sendto(b"\x80" * size, ("127.0.0.1", port))
        stranger.send(port, 30)
        stranger.socket.sendto(b"\0\1" + bytes(18), ("127.0.0.1", port))
        await asyncio.sleep(0.1)
        studio.send(30)
        await asyncio.sleep(0.1)
        stranger.send(port, 30)
        studio.send(30)
        final = await studio.workers.close(CALL)
        found = studio.read(final)
        assert studio.frames(found, 0) == studio.frames(found, 1) == list(range(60))
        assert final.streams[0]["rejected"] >= 30
        assert final.streams[0]["foreign"] >= 3
        stranger.socket.close()
        await studio.end()

    run(story())


def test_a_full_disk_keeps_what_comes_until_there_is_space(tmp_path: Path) -> None:
    async def story() -> None:
        studio = Studio(tmp_path)
        await studio.workers.start()
        new, fd = studio.new()
        os.close(fd)
        full = os.open("/dev/full", os.O_WRONLY)
        studio.workers.add(new, studio.pairs, full, studio.spool)
        os.close(full)
        studio.send(60)
        await studio.heard(wire.DiskTrouble)
        studio.send(60)
        second, fd = studio.new()
        studio.workers.next_part(CALL, fd, second.part)
        os.close(fd)
        studio.send(60)
        final = await studio.workers.close(CALL)
        found = studio.read(wire.Final(CALL, final.part, final.committed, (), (), True))
        assert studio.frames(found, 0) == studio.frames(found, 1) == list(range(180))
        await studio.end()

    run(story())


def test_a_reoffer_with_a_new_key_goes_on_in_the_same_track(tmp_path: Path) -> None:
    """Duty C7."""
    async def story() -> None:
        studio = Studio(tmp_path)
        await studio.workers.start()
        studio.begin()
        studio.send(20)
        await studio.workers.snapshot(CALL)
        key = os.urandom(30)
        studio.specs = tuple(StreamSpec(n, SUITE, key, payloads=((8, "PCMA", 8000),)) for n in (0, 1))
        studio.workers.change(CALL, studio.specs, studio.pairs)
        studio.send(5)  # still under the old key
        for sender in studio.senders:
            sender.session = Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND))
        studio.send(20)
        final = await studio.workers.close(CALL)
        found = studio.read(final)
        assert studio.frames(found, 0) == studio.frames(found, 1) == list(range(45))
        assert final.streams[0]["rejected"] == 0
        await studio.end()

    run(story())
