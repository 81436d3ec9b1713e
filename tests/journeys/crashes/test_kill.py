"""Any process may die at any time: its calls go on in the same recordings, and every frame is accounted for."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.daemon.api import running
from tests.daemon.coded_calls import held, in_order, nothing_lost, place, reasons, wishes
from tests.daemon.kills import RESTART, kill, kill_main, worker_of
from tests.daemon.other_version import change_messages, same_files

CALLS, FEWER = 24, 8
LENGTH, HOLD = 8.0, 0.8  # seconds: a busy machine may need half of it until all calls speak
FRAME_MS = 20
SECOND = 50
"""Frames a second, which is what a kill may cost where nobody keeps the sockets."""


def a_worker_that_is_killed_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, calls=CALLS) as it:

        async def meanwhile() -> None:
            await it.talking(CALLS)
            kill(worker_of(it))
            await it.until(lambda: "media.resumed" in it.one.events())

        nothing_lost(it, place(wishes(it.one, CALLS, LENGTH, HOLD), meanwhile))
        (died,) = [line for line in it.one.lines() if line.get("event") == "media.worker_died"]
        resumed = it.one.events().count("media.resumed")
        assert 0 < resumed <= died["calls"] <= CALLS  # on a busy machine some may have ended before
        in_order(it)


def a_worker_that_stands_still_is_replaced_and_loses_nothing(tmp_path: Path) -> None:
    with running(tmp_path, calls=FEWER) as it:

        async def meanwhile() -> None:
            await it.talking(FEWER)
            stuck = worker_of(it)
            os.kill(stuck, signal.SIGSTOP)
            await it.until(lambda: "media.worker_died" in it.one.events())
            assert worker_of(it) != stuck

        nothing_lost(it, place(wishes(it.one, FEWER, LENGTH + 2.5, HOLD), meanwhile))
        (died,) = [line for line in it.one.lines() if line.get("event") == "media.worker_died"]
        assert died["reason"] == "hang"
        in_order(it)


def with_a_descriptor_store_main_may_die_and_nothing_is_lost(tmp_path: Path) -> None:
    with running(tmp_path, calls=FEWER, kept=True) as it:
        finished = [call["id"] for call in it.over(place(wishes(it.one, 2, 1.0))).values()]
        before = it.prints(finished)

        async def meanwhile() -> None:
            await it.talking(FEWER)
            await kill_main(it)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, FEWER, LENGTH, HOLD), meanwhile))
        assert it.prints(finished) == before
        assert it.one.store.heard("READY=1") == 2
        asyncio.run(it.until(lambda: sorted(it.one.store.names()) == ["api0", "sip0", "sip1", "sip2"]))
        in_order(it)


def a_restart_in_order_hands_the_calls_on(tmp_path: Path) -> None:
    with running(tmp_path, calls=FEWER, kept=True) as it:

        async def meanwhile() -> None:
            await it.talking(FEWER)
            assert await asyncio.to_thread(it.one.stop) == 0
            await asyncio.sleep(RESTART)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, FEWER, LENGTH, HOLD), meanwhile))
        in_order(it)


def without_a_store_a_kill_of_main_costs_a_second_that_is_marked(tmp_path: Path) -> None:
    with running(tmp_path, calls=FEWER) as it:
        finished = [call["id"] for call in it.over(place(wishes(it.one, 2, 1.0))).values()]
        before, away = it.prints(finished), 0.0

        async def meanwhile() -> None:
            nonlocal away
            await it.talking(FEWER)
            killed = time.monotonic()
            await kill_main(it)
            await asyncio.to_thread(it.one.start)
            away = time.monotonic() - killed

        seen = held(it, place(wishes(it.one, FEWER, LENGTH, HOLD), meanwhile))
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


SCENES = (
    a_worker_that_is_killed_loses_nothing,
    a_worker_that_stands_still_is_replaced_and_loses_nothing,
    with_a_descriptor_store_main_may_die_and_nothing_is_lost,
    a_restart_in_order_hands_the_calls_on,
    without_a_store_a_kill_of_main_costs_a_second_that_is_marked,
)


@pytest.fixture(scope="module")
def playing(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[Callable[[Path], None], Future[None]]]:
    """Play every scene that is asked for, three at a time: they mostly wait."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    asked = [item.callspec.params.get("scene") for item in here]
    with ThreadPoolExecutor(3) as pool:
        yield {s: pool.submit(s, tmp_path_factory.mktemp(s.__name__[:20])) for s in SCENES if s in asked}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_the_calls_go_on(scene: Callable[[Path], None], playing: dict[Callable[[Path], None], Future[None]]) -> None:
    playing[scene].result()


def test_a_worker_of_new_files_ends_its_old_main_without_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files, node = tmp_path / "files", tmp_path / "node"
    files.mkdir()
    node.mkdir()
    monkeypatch.chdir(same_files(files))
    with running(node, calls=FEWER, kept=True) as it:

        async def meanwhile() -> None:
            assert it.one.process
            await it.talking(FEWER)
            change_messages(files)
            kill(worker_of(it))
            assert await asyncio.to_thread(it.one.process.wait, 30) == 3
            await asyncio.sleep(RESTART)
            await asyncio.to_thread(it.one.start)

        nothing_lost(it, place(wishes(it.one, FEWER, LENGTH, HOLD), meanwhile))
        events = it.one.events()
        seen = [events.count(each) for each in ("media.worker_died", "media.other_version", "recorder.ready")]
        assert seen == [1, 1, 2]
        assert "media.call_fault" not in events
        in_order(it)
