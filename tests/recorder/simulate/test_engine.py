import ctypes
import errno
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from recorder.simulate import batch, coded
from recorder.simulate.engine import REPORT_TICKS, Engine
from recorder.simulate.outgoing import SLOTS
from recorder.simulate.plan import TICK


async def run_ticks(engine: Engine, count: int) -> None:
    for _ in range(count):
        await engine.begin(engine.tick + 1)
        for slot in range(SLOTS):
            await engine.send(slot, coded.frame_mask(engine.tick))


@pytest.fixture
def places() -> Iterator[list[socket.socket]]:
    """Have somewhere to send to."""
    made = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(4)]
    for place in made:
        place.bind(("127.0.0.1", 0))
    yield made
    for place in made:
        place.close()


@pytest.fixture(params=["batched", "singly"])
def batched(request: pytest.FixtureRequest) -> bool:
    """Send both ways."""
    return bool(request.param == "batched")


@asynccontextmanager
async def sending(places: list[socket.socket], batched: bool) -> AsyncIterator[Engine]:
    """Have an engine with a stream to each place."""
    engine = Engine()
    assert len((await engine.do({"do": "open", "address": "127.0.0.1", "lanes": 2}))["ports"]) == 2
    words = [
        {
            "id": i, "lane": i % 2, "codec": "PCMA", "sound": 0, "run": 1, "call": i // 2, "stream": i % 2,
            "ssrc": 100 + i, "suite": None, "key": "", "peer_key": "", "host": "127.0.0.1", "batched": batched,
            "port": place.getsockname()[1], "rtcp_port": place.getsockname()[1],
        }
        for i, place in enumerate(places)
    ]  # fmt: skip
    await engine.do({"do": "add", "streams": words})
    try:
        yield engine
    finally:
        await engine.close()


def received(place: socket.socket, count: int = 1) -> list[bytes]:
    """Return all that has come, once it is so much: a busy kernel delivers a datagram later than it was sent."""
    found, end = list[bytes](), time.monotonic() + 30
    while True:
        try:
            found.append(place.recv(2048, socket.MSG_DONTWAIT))
        except BlockingIOError:
            if len(found) >= count or time.monotonic() > end:
                return found
            time.sleep(0.001)


async def test_each_stream_sends_one_packet_a_tick_while_it_is_on(places: list[socket.socket], batched: bool) -> None:
    async with sending(places, batched) as engine:
        await run_ticks(engine, 3)
        begun = (await engine.do({"do": "on", "ids": [0, 1]}))["tick"]
        await run_ticks(engine, 5)
        stopped = (await engine.do({"do": "off", "ids": [0]}))["tick"]
        assert (await engine.do({"do": "time"}))["tick"] == stopped - 1  # the last packet may be in a slot to come
        await run_ticks(engine, 2)
        sent = 5, 7, 0, 0
        found = [
            received(place, count + bool(count)) for place, count in zip(places, sent, strict=True)
        ]  # and a report
        assert [len([p for p in each if not 200 <= p[1] <= 204]) for each in found] == [*sent]
        reply = (await engine.do({"do": "drop", "ids": [0, 1, 2]}))["streams"]
        assert [s["sent"] for s in reply] == [[(begun, begun + 5)], [(begun, begun + 7)], []]
        assert (await engine.do({"do": "count"}))["packets"] == 12  # of removed streams too


async def test_a_late_sound_still_begins_with_its_first_frame(places: list[socket.socket], batched: bool) -> None:
    """A decoder that lacks what came before the first frame, as of Opus, makes another sound of it."""
    async with sending(places, batched) as engine:
        await engine.do({"do": "sound", "id": 1, "frames": ["a0", "a1", "a2"]})
        words = {
            "id": 8, "lane": 0, "codec": "PCMA", "sound": 1, "run": 1, "call": 4, "stream": 0, "ssrc": 108,
            "suite": None, "key": "", "peer_key": "", "host": "127.0.0.1", "port": places[0].getsockname()[1],
            "rtcp_port": 9, "batched": batched,
        }  # fmt: skip
        await engine.do({"do": "add", "streams": [words]})
        await run_ticks(engine, 4)
        await engine.do({"do": "on", "ids": [8]})
        await run_ticks(engine, 2)
        await engine.do({"do": "off", "ids": [8]})
        await run_ticks(engine, 1)
        await engine.do({"do": "on", "ids": [8]})
        await run_ticks(engine, 2)
        sounds = [packet[12:].hex() for packet in received(places[0], 4)]
        assert sounds == ["a0", "a1", "a0", "a1"]  # a2 fell into the pause


async def test_sender_reports_go_out_every_five_seconds(places: list[socket.socket], batched: bool) -> None:
    async with sending(places, batched) as engine:
        await engine.do({"do": "on", "ids": [0, 1]})
        await run_ticks(engine, 2)
        assert [p[1] for p in received(places[0], 3)] == [8, 200, 8]
        await run_ticks(engine, REPORT_TICKS)
        assert len([p for p in received(places[0], REPORT_TICKS + 1) if p[1] == 200]) == 1
        await engine.do({"do": "drop", "ids": [0, 1]})
        assert received(places[0])[-1][-8:-4] == bytes([0x81, 203, 0, 1])


async def test_a_sender_report_sent_late_has_the_right_clock(
    places: list[socket.socket], batched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a report says of the wall clock fits its timestamp, however late it leaves."""
    async with sending(places, batched) as engine:
        began, lateness = time.time(), {250: 0.011, 500: 0.150}
        monkeypatch.setattr(time, "time", lambda: began + engine.tick * TICK + lateness.get(engine.tick, 0.0))
        await engine.do({"do": "on", "ids": [0]})
        for tick in (0, 1, 250, 500):
            await engine.begin(tick)
        monkeypatch.undo()
        reports = [struct.unpack_from("!III", p, 8) for p in received(places[0], 3) if p[1] == 200]
        errors = {round(s + f / 2**32 - (reports[0][0] + reports[0][1] / 2**32) - (ts - reports[0][2]) / 8000, 4)
                  for s, f, ts in reports}  # fmt: skip
        assert (len(reports), errors) == (3, {0.0})


async def test_packets_are_numbered_and_timed_as_they_leave(places: list[socket.socket], batched: bool) -> None:
    async with sending(places, batched) as engine:
        await engine.do({"do": "on", "ids": [0]})
        await run_ticks(engine, 5)
        packets = [p for p in received(places[0], 6) if p[1] == 8]
        heads = [struct.unpack_from("!HII", packet, 2) for packet in packets]
        number, clock, _ = heads[0]
        assert heads == [(number + i & 0xFFFF, clock + 160 * i & 0xFFFFFFFF, 100) for i in range(5)]
        frames = [coded.payload("PCMA", 1, 0, 0, tick) for tick in range(1, 6)]
        assert [packet[12:] for packet in packets] == frames


async def test_a_full_socket_delays_a_batch_and_loses_nothing(
    places: list[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    really, full = batch._libc.sendmmsg, iter([True, True])

    def once_full(*words: Any) -> int:
        if next(full, False):
            ctypes.set_errno(errno.EAGAIN)
            return -1
        return int(really(*words))

    async with sending(places, True) as engine:
        monkeypatch.setattr(batch, "_libc", SimpleNamespace(sendmmsg=once_full))
        await engine.do({"do": "on", "ids": [0]})
        await run_ticks(engine, 3)
        assert len([p for p in received(places[0], 4) if p[1] == 8]) == 3
        assert (await engine.do({"do": "count"}))["errors"] == 0
