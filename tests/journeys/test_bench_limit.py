"""The bench that sets the worker beside a loop in C: the loop does the same work, and what was lost is told."""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import socket
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bench import limit, media_plane
from bench.flows import FLOWS, SSRC
from bench.media_load import Load, Spent, key_of
from bench.media_plane import Plan, Row
from media.receive import sockets
from media.records import record_format
from media.rtp import header
from media.srtp.context import SUITES, LibEngine
from storage.vault.container import PartSecret, Reader
from tests.daemon.server import free_span

SUITE = "AES_CM_128_HMAC_SHA1_80"
SECOND = 50  # packets of a stream
PLAN = Plan(FLOWS["G.711"], SUITE, 2, 8.0, 1.0, rtcp=True)


def counters_in(folder: Path) -> limit.Counters:
    (folder / "counters").write_bytes(bytes(ctypes.sizeof(limit.Counters)))
    return limit.Counters.shared(folder / "counters")


def packets(stream: int, first: int, count: int = SECOND) -> list[bytes]:
    """Packets of 20 ms that differ in every byte of their payload; their numbers pass 65535."""
    return [
        header.build(8, (65_500 + n) & 0xFFFF, (160 * n) & 0xFFFFFFFF, SSRC + stream, bytes([stream, n % 256]) * 80)
        for n in range(first, first + count)
    ]


class Client:
    """Two streams to the ports of one call."""

    def __init__(self, base: int) -> None:
        self._ports = (base, base + 2)
        self._sockets = [socket.socket(type=socket.SOCK_DGRAM) for _ in self._ports]
        self._engines = [LibEngine(SUITES[SUITE], key_of(SUITE), inbound=False) for _ in self._ports]

    def send(self, stream: int, plain: list[bytes], flipped: int = 0) -> None:
        for packet in plain:
            sealed = bytearray(self._engines[stream].protect(packet))
            sealed[-1] ^= flipped
            self._sockets[stream].sendto(sealed, ("127.0.0.1", self._ports[stream]))

    def close(self) -> None:
        for each in self._sockets:
            each.close()


def read(part: Path, secret: PartSecret) -> list[record_format.Record]:
    """Open what is sealed of a part so far."""
    data = part.read_bytes()
    return list(record_format.read(Reader(secret, len(data), lambda at, n: data[at : at + n]).chunks(live=True)))


def test_the_c_loop_stores_exactly_what_was_sent(tmp_path: Path) -> None:
    counters, base = counters_in(tmp_path), free_span()
    pairs = [sockets.open_pair("127.0.0.1", base + 2 * stream) for stream in range(2)]
    loop, client = limit.Loop(limit.build(tmp_path), counters), Client(base)
    part, secret = media_plane.open_part(tmp_path, 7)
    loop.add(part, secret, pairs, SUITE)
    begun = time.time_ns()
    for second in range(3):
        for stream in range(2):
            client.send(stream, packets(stream, second * SECOND))
        loop.tick(second)
    ended = time.time_ns()
    runs = read(tmp_path / "7.m1", secret)
    assert [run.stream for run in runs if isinstance(run, record_format.Run)] == [
        0,
        1,
        0,
        1,
        0,
    ]  # the sixth is not whole yet
    for second, run in zip((0, 0, 1, 1, 2), runs, strict=True):
        assert isinstance(run, record_format.Run)
        assert [packet for _, _, packet in run.packets()] == packets(run.stream, second * SECOND)
        assert run.sequence == 65_500 + second * SECOND
        assert begun <= run.arrivals[0] <= run.arrivals[-1] <= ended
    assert (counters.packets, counters.failed) == (6 * SECOND, 0)

    client.send(0, packets(0, 3 * SECOND), flipped=1)
    client.send(1, packets(1, 3 * SECOND)[1:])  # one is missing
    loop.tick(3)
    client.send(1, [*packets(1, 4 * SECOND, 9), packets(1, 4 * SECOND + 9, 1)[0][:-1]])  # the last is of another size
    loop.tick(4)
    last = packets(1, 4 * SECOND + 19, 1)[0]
    client.send(1, [*packets(1, 4 * SECOND + 10, 9), last[:7] + bytes([last[7] ^ 1]) + last[8:]])  # of another time
    loop.tick(5)
    assert counters.packets == 6 * SECOND  # so the table says that they are lost
    client.send(1, packets(1, 10 * SECOND, 2 * SECOND))  # more than one batch takes
    loop.tick(6)
    assert counters.packets == 8 * SECOND
    os.close(part)
    client.close()
    for pair in pairs:
        pair.close()


def test_a_loop_delayed_at_the_end_reports_no_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = replace(PLAN, calls=1, base=free_span())
    client = Client(plan.base)

    async def spend(_load: Load, pid: int, _tick: float, stored: Callable[[], Awaitable[int]]) -> Spent:
        os.kill(pid, signal.SIGSTOP)
        for stream in range(2):
            client.send(stream, packets(stream, 0))
        asyncio.get_running_loop().call_later(0.1, os.kill, pid, signal.SIGCONT)
        return Spent(0.0, 1.0, 0)

    monkeypatch.setattr(Load, "spend", spend)
    row = asyncio.run(limit.measure(plan, tmp_path, limit.build(tmp_path)))
    assert row.stored == 2 * SECOND
    client.close()


def test_worker_and_loop_take_turns_and_lose_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--calls", "2", "--rounds", "1", "--seconds", "4", "--port", str(free_span())]
    (both,) = limit.main(words)
    assert both.worker.stored == both.worker.sent == both.loop.stored == both.loop.sent == 2 * 2 * 4 * SECOND
    assert both.worker.spent.cpu > 0
    assert both.loop.spent.cpu > 0
    shown = capsys.readouterr().out
    assert "worker / C" in shown
    assert "VOID" not in shown


def test_a_row_with_losses_is_void() -> None:
    def row(micros: float, lost: int = 0) -> Row:
        return Row(PLAN, 1_000, Spent(micros / 1e3, 8.0, 0), 1_000 + lost, 1_000)

    rounds = [limit.Round(row(each), row(2.0), 0.5) for each in (3.0, 9.0, 2.0)]
    assert limit.cells(rounds)[2:5] == ("3.00 (2.00 to 9.00)", "2.00 (2.00 to 2.00)", "1.50 (1.00 to 4.50)")
    assert limit.cells([*rounds, limit.Round(row(3.0), row(2.0, lost=4), 0.5)])[4:7] == (
        "1.50 (1.00 to 4.50) VOID", 0, 4,
    )  # fmt: skip


def test_without_gcc_the_bench_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install gcc"):
        limit.build(tmp_path)


def test_a_worker_that_dies_ends_its_row(tmp_path: Path) -> None:
    """Nobody gives its calls to the next one, and a bench that asks for them would wait for ever."""
    plan = Plan(FLOWS["G.711"], SUITE, 1, 60.0, 1.0, free_span())

    async def killed() -> None:
        while not (tmp_path / "0.m1").exists():  # the call was given away
            await asyncio.sleep(0.01)
        (region,) = (tmp_path / "run").glob("worker-*.raw")
        os.kill(int.from_bytes(region.read_bytes()[64:68], "little"), signal.SIGKILL)

    async def story() -> None:
        killing = asyncio.create_task(killed())
        await media_plane.measure(plan, tmp_path)
        await killing

    with pytest.raises(SystemExit, match="VOID: <WorkerDied>"):
        asyncio.run(story())
