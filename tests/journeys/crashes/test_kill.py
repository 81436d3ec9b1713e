"""Any process may die at any time: its calls go on in the same recordings, and every frame is accounted for."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from tests.daemon.api import running
from tests.daemon.coded_calls import held, in_order, nothing_lost, place, reasons, wishes
from tests.daemon.kills import RESTART, kill, kill_main, worker_of
from tests.daemon.other_version import change_messages, same_files

CALLS = 8
LENGTH, HOLD = 8.0, 0.8  # seconds: a busy machine may need half of it until all calls speak
FRAME_MS = 20
SECOND = 50
"""Frames a second, which is what a kill may cost where nobody keeps the sockets."""


@pytest.mark.parametrize(("number", "reason"), [(signal.SIGKILL, "exit"), (signal.SIGSTOP, "hang")])
def test_a_lost_worker_is_replaced_and_loses_nothing(tmp_path: Path, number: int, reason: str) -> None:
    with running(tmp_path, calls=CALLS) as it:

        async def meanwhile() -> None:
            await it.talking(CALLS)
            os.kill(worker_of(it), number)
            await it.until(lambda: "media.resumed" in it.one.events())

        noticed = {"exit": 2.5, "hang": 8.0}[reason]
        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH + noticed, HOLD), meanwhile))
        (died,) = [line for line in it.one.lines() if line.get("event") == "media.worker_died"]
        resumed = it.one.events().count("media.resumed")
        assert 0 < resumed <= died["calls"] <= CALLS  # on a busy machine some may have ended before
        assert died["reason"] == reason
        in_order(it)


def test_with_a_descriptor_store_a_kill_of_main_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, calls=CALLS, kept=True) as it:
        finished = [call["id"] for call in it.over(place(wishes(it.one, 2, 1.0))).values()]
        before = it.prints(finished)

        async def meanwhile() -> None:
            await it.talking(CALLS)
            await kill_main(it)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        assert it.prints(finished) == before
        assert it.one.store.heard("READY=1") == 2
        asyncio.run(it.until(lambda: sorted(it.one.store.names()) == ["api0", "sip0", "sip1", "sip2"]))
        in_order(it)


def test_a_regular_restart_hands_the_calls_on(tmp_path: Path) -> None:
    with running(tmp_path, calls=CALLS, kept=True) as it:

        async def meanwhile() -> None:
            await it.talking(CALLS)
            assert await asyncio.to_thread(it.one.stop) == 0
            await asyncio.sleep(RESTART)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        in_order(it)


def test_without_a_store_a_kill_of_main_costs_a_marked_second(tmp_path: Path) -> None:
    with running(tmp_path, calls=CALLS) as it:
        finished = [call["id"] for call in it.over(place(wishes(it.one, 2, 1.0))).values()]
        before, away = it.prints(finished), 0.0

        async def meanwhile() -> None:
            nonlocal away
            await it.talking(CALLS)
            killed = time.monotonic()
            await kill_main(it)
            await asyncio.to_thread(it.one.start)
            away = time.monotonic() - killed

        seen = held(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        for _, mine, lacks in seen:
            for stream, lack in zip(mine["streams"], lacks, strict=True):
                assert lack <= (1 + away) * SECOND  # a busy machine starts a process late
                assert stream["gap_ms"] >= FRAME_MS * lack
                assert not lack or reasons(stream) == {"restart"}
            marked = any(reasons(stream) for stream in mine["streams"])  # also where nobody was about to speak
            assert mine["state"] == ("interrupted" if marked else "complete")
        assert sum(sum(lacks) for _, _, lacks in seen) > 0
        assert it.prints(finished) == before
        in_order(it)


def test_a_worker_of_new_files_ends_its_old_main_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, node = tmp_path / "files", tmp_path / "node"
    files.mkdir()
    node.mkdir()
    monkeypatch.chdir(same_files(files))
    with running(node, calls=CALLS, kept=True) as it:

        async def meanwhile() -> None:
            assert it.one.process
            await it.talking(CALLS)
            change_messages(files)
            kill(worker_of(it))
            assert await asyncio.to_thread(it.one.process.wait, 30) == 3
            await asyncio.sleep(RESTART)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        events = it.one.events()
        seen = [events.count(each) for each in ("media.worker_died", "media.other_version", "recorder.ready")]
        assert seen == [1, 1, 2]
        assert "media.call_fault" not in events
        in_order(it)
