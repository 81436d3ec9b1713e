"""What a media worker that was broken into can have main do: nothing to the calls of others, nothing to main itself."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec import msgpack

from recorder.workers import codec, messages, pool
from recorder.workers.pool import Workers
from recorder.workers.version_check import GREETING
from recorder.workers.worker_handle import Process
from tests.in_process.waiting import until
from tests.in_process.worker_call import run

MINE, THEIRS = "0a64dd1c-0000-4000-8000-000000000001", "0a64dd1c-0000-4000-8000-000000000002"
FIGURES: tuple[messages.StreamFigures, ...] = (
    {
        "stream": 0, "packets": 5, "gaps": ((1, 2, "loss"),), "sources": ((1, 2, 3),), "mos": None, "srtp": None,
        "codec": "x" * 1000, "last_arrival": 1 << 63,
    },
)  # fmt: skip
COUNTS = (messages.Counts(0, 1, 2, 3, 4, 5, 6, 7, 8, 9),)


class Liar:
    """Two workers with a call each, both in the hands of the test: what they say goes into `ends`."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[Any] = []
        self.ends: list[socket.socket] = []
        self.workers = Workers(2, folder, self.events.append)
        monkeypatch.setattr(pool, "spawn", self._spawn)

    def _spawn(self, number: int, raw: Path, tick: float, start: float, ready: asyncio.Event | None) -> Process:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        theirs.send(GREETING)
        self.ends.append(theirs)
        child = os.posix_spawn("/bin/sleep", ["sleep", "100"], {})
        now = time.monotonic()
        return Process(number, child, ours, raw, now, now + start, ready=ready or asyncio.Event())

    async def begin(self) -> socket.socket:
        """Start the workers and give each its call; return the end of the one that lies."""
        await self.workers.start()
        nothing = os.open("/dev/null", os.O_RDWR)
        for call in (MINE, THEIRS):
            self.workers.add(messages.NewCall(call, messages.Part("m1", b""), (), b""), {}, nothing, nothing)
        os.close(nothing)
        return self.ends[0]

    def seen(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def stop(self) -> None:
        await self.workers.stop()
        for end in self.ends:
            end.close()


def of(call: str, token: int) -> list[Any]:
    """Everything that a worker says of a call."""
    return [
        messages.Stats({call: COUNTS}),
        messages.Figures(call, token, FIGURES),
        messages.Final(call, "m1", 5, (("m0", None),), FIGURES, True),
        messages.Resumed(call, "m2", (("m1", 5),)),
        messages.DiskTrouble(call, 28),
        messages.CallFault(call, "tape.py:1 ValueError"),
        messages.RefusedPackets(call, 0, 5, 5),
        messages.Keyed(call, 0, False, "AES_CM_128_HMAC_SHA1_80", b"k", b"k", ("sha-256 " + "A" * 1000,) * 80),
        messages.Unkeyed(call, 0, "timeout"),
        messages.Severed(call, 0),
    ]


async def test_a_worker_is_believed_of_its_own_calls_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = Liar(tmp_path, monkeypatch)
    end = await liar.begin()
    asked = asyncio.ensure_future(liar.workers.snapshot(THEIRS))
    await asyncio.sleep(0)
    for event in [*of(THEIRS, 1), of(MINE, 1)[0], messages.DiskWell(MINE)]:
        end.send(codec.encode(event))
    await until(lambda: liar.seen(messages.DiskWell) != [])  # main has taken everything
    assert [event for event in liar.events if getattr(event, "call", "") == THEIRS] == []
    assert [event.calls for event in liar.seen(messages.Stats) if event.calls] == [{MINE: COUNTS}]
    assert THEIRS in liar.workers and not asked.done()
    asked.cancel()
    for event in of(MINE, 1)[3:]:
        end.send(codec.encode(event))
    await until(lambda: liar.seen(messages.CallFault) != [])
    await liar.stop()


def changed(event: Any, **fields: Any) -> bytes:
    said = msgpack.decode(codec.encode(event))
    for name, value in fields.items():
        said[1 + event.__struct_fields__.index(name)] = value
    return msgpack.encode(said)


FINAL = messages.Final(MINE, "m1", 5, (), FIGURES, True)
HUGE = 1e40
LIES = {
    "noise": b"\xff",
    "deep": b"\x91" * 100_000,
    "no text": b"\x92\xa8DiskWell\xa2\xff\xfe",
    "a billion figures": b"\x94\xa7Figures\xa1x\x01\xdd\x3b\x9a\xca\x00",
    "an order": codec.encode(messages.Drop(MINE)),
    "a value": msgpack.encode(["Part", "m1", b"", b"", 5]),
    "of main alone": msgpack.encode(["NeedPart", MINE]),
    "busy text": changed(messages.Beat(0.5), busy="x"),
    "busy nan": changed(messages.Beat(0.5), busy=float("nan")),
    "busy much": changed(messages.Beat(0.5), busy=HUGE),
    "busy negative": changed(messages.Beat(0.5), busy=-0.1),
    "call a list": changed(FINAL, call=[MINE]),
    "call long": changed(FINAL, call="x" * 1000),
    "committed text": changed(FINAL, committed="5"),
    "committed huge": changed(FINAL, committed=HUGE),
    "committed true": changed(FINAL, committed=True),
    "clean a number": changed(FINAL, clean=1),
    "part a path": changed(FINAL, part="m1/../../x"),
    "part with a line": changed(FINAL, part="m1\n"),
    "part other digits": changed(FINAL, part="m\u0663"),
    "parts": changed(FINAL, parts=[["../x", 5]]),
    "parts flat": changed(FINAL, parts=["m1"]),
    "figures none": changed(FINAL, figures=None),
    "figures without stream": changed(FINAL, figures=[{"packets": 5}]),
    "figures of text": changed(FINAL, figures=[{"stream": 0, "packets": "5"}]),
    "figures infinite": changed(FINAL, figures=[{"stream": 0, "mos": float("inf")}]),
    "figures nan": changed(FINAL, figures=[{"stream": 0, "mos": float("nan")}]),
    "gaps": changed(FINAL, figures=[{"stream": 0, "gaps": [[1, 2]]}]),
    "sources": changed(FINAL, figures=[{"stream": 0, "sources": [["x", 2, 3]]}]),
    "counts of text": changed(messages.Stats({}), calls={MINE: [["x"] * 10]}),
    "counts huge": changed(messages.Stats({}), calls={MINE: [[HUGE] * 10]}),
    "part number": changed(messages.Resumed(MINE, "m2", ()), part="m99999999999"),
    "errno": changed(messages.DiskTrouble(MINE, 28), errno="x"),
    "reason": changed(messages.Unkeyed(MINE, 0, "timeout"), reason="a label of a metric"),
    "keys": changed(messages.Keyed(MINE, 0, False, "S", b"", b""), theirs="text"),
    "long key": changed(messages.Keyed(MINE, 0, False, "S", b"", b""), theirs=b"k" * 65),
    "more fields": msgpack.encode(["Beat", 0.5, 1]),
    "fewer fields": msgpack.encode(["Beat"]),
    "more behind": codec.encode(messages.Beat(0.5)) + b"\0",
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_invalid_worker_message_is_refused(lie: bytes) -> None:
    with pytest.raises(codec.WireError):
        codec.decode_report(lie)


def test_worker_messages_survive_encoding() -> None:
    for event in [*of(MINE, 1), messages.Beat(0.5), messages.DiskWell(MINE), FINAL]:
        assert codec.decode_report(codec.encode(event)) == event


async def test_a_worker_that_talks_nonsense_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    liar = Liar(tmp_path, monkeypatch)
    end = await liar.begin()
    end.send(LIES["busy text"])
    await until(lambda: liar.seen(messages.NeedPart) != [])
    assert liar.seen(messages.NeedPart) == [messages.NeedPart(MINE)]
    assert len(liar.ends) == 3
    await until(lambda: liar.workers.well)
    await liar.stop()


@pytest.mark.parametrize(
    ("event", "most"),
    [
        (messages.RefusedPackets(MINE, 0, 1, 1), 5_000),
        (messages.Figures(MINE, 1, ({"stream": 0, "sources": ((1, 2, 3),) * 22_000},)), 500),
    ],
    ids=["short", "long"],
)
def test_a_worker_that_floods_main_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, event: Any, most: int
) -> None:
    monkeypatch.setattr("recorder.workers.worker_handle.SAID_AT_ONCE", most)  # a part, for the sake of the test

    async def story(folder: Path) -> float:
        liar = Liar(folder, monkeypatch)
        end = await liar.begin()
        message, longest = codec.encode(event), 0.0

        def talk() -> None:
            end_of_talk = time.monotonic() + 60
            try:
                while time.monotonic() < end_of_talk:
                    end.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, bytes(4))])
            except OSError:
                pass  # main closed its end

        held = os.listdir("/proc/self/fd")
        talker = threading.Thread(target=talk)
        talker.start()
        while talker.is_alive():
            before = time.thread_time()  # neighbours cost none of it
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)
        await until(lambda: liar.seen(messages.WorkerDied) != [])
        assert len(os.listdir("/proc/self/fd")) <= len(held) + 2  # what it sends along is not taken
        await liar.stop()
        return longest

    assert run(story(tmp_path)) < 1
