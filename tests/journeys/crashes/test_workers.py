"""Workers that hang or cannot be started: noticed, replaced, and the service manager hears nothing that is not so."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from recorder.workers.worker_handle import STARVED, activity
from tests.daemon.api import SECONDS, running
from tests.daemon.coded_calls import in_order, nothing_lost, place, wishes
from tests.daemon.kills import kill_main, worker_of

FEWER, HOLD = 6, 0.8
SPOIL = """
import os, signal, sys, time
if "recorder.workers.process" in sys.orig_argv:
    if os.path.exists({broken!r}):
        os._exit(1)
    try:
        os.rename({broken!r} + ".late", {broken!r} + "." + str(os.getpid()))
    except OSError:
        pass
    else:
        for _ in range(12_000):  # the test may fail before it lets go
            if os.path.exists({broken!r} + ".go"):
                break
            time.sleep(0.01)
    def loop(*_):
        while True:
            pass
    signal.signal(signal.SIGUSR2, loop)
"""
"""Python runs it before anything else: a worker loops for ever once it is told to, does not start at all, or late."""
NOTICED = 5.0
SLACK = 10.0
"""Seconds that the machine may add to that."""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file whose presence keeps every worker from starting."""
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SPOIL.format(broken=str(folder / "broken")))
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
    return folder / "broken"


def test_a_worker_that_loops_is_replaced_and_loses_nothing(tmp_path: Path, broken: Path) -> None:
    with running(tmp_path, calls=FEWER) as it:
        one = it.one

        async def meanwhile() -> None:
            await it.talking(FEWER)
            stuck = worker_of(it)
            used, began, certain = activity(stuck)[1], time.monotonic(), None
            os.kill(stuck, signal.SIGUSR2)
            while "media.worker_died" not in one.events():
                # on a busy machine it may have to wait for a processor; nobody can tell before it had one
                if certain is None and time.monotonic() - began > NOTICED and activity(stuck)[1] - used > STARVED:
                    certain = time.monotonic()
                await asyncio.sleep(0.1)
            assert certain is None or time.monotonic() - certain < SLACK

        nothing_lost(it, place(wishes(one, FEWER, 9.0, HOLD), meanwhile))
        (died,) = [line for line in one.lines() if line.get("event") == "media.worker_died"]
        assert died["reason"] == "hang"
        in_order(it)


def test_a_worker_that_wakes_after_main_died_takes_nothing(tmp_path: Path, broken: Path) -> None:
    """On a busy machine a worker may be at its imports still when main, which has given it calls already, is killed."""
    late, go = broken.with_name("broken.late"), broken.with_name("broken.go")

    with running(tmp_path, calls=FEWER, kept=True) as it:
        one = it.one

        async def meanwhile() -> None:
            await it.talking(FEWER)
            late.touch()
            os.kill(worker_of(it), signal.SIGKILL)
            await it.until(lambda: not late.exists() and "media.worker_died" in one.events())
            (orphan,) = [path.suffix[1:] for path in broken.parent.glob("broken.[0-9]*")]
            await kill_main(it)
            await asyncio.to_thread(one.start)
            await asyncio.sleep(0.7)  # so that something lies in the sockets
            go.touch()
            await it.until(lambda: not os.path.exists(f"/proc/{orphan}"))

        nothing_lost(it, place(wishes(one, FEWER, 8.0, HOLD), meanwhile))
        in_order(it)


def test_the_watchdog_is_fed_only_while_every_worker_is_well(tmp_path: Path, broken: Path) -> None:
    with running(tmp_path, calls=1, kept=True) as it:
        one, store = it.one, it.one.store

        def fed_within(seconds: float) -> bool:
            heard, end = store.heard("WATCHDOG=1"), time.monotonic() + seconds
            while store.heard("WATCHDOG=1") == heard and time.monotonic() < end:
                time.sleep(0.05)
            return store.heard("WATCHDOG=1") > heard

        assert fed_within(SECONDS)
        broken.touch()
        os.kill(worker_of(it), signal.SIGKILL)
        one.until("media.worker_died", seconds=SECONDS)
        time.sleep(1)  # what it had said before is heard by then
        assert not fed_within(4)
        broken.unlink()
        assert fed_within(SECONDS)
