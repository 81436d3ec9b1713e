"""The disk fills while calls run: new ones are refused, running ones kept or marked, all is normal with the space."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from recorder.simulate.plan import Plan
from tests.daemon.api import Api, running, until
from tests.daemon.coded_calls import in_order, place, whole_or_marked, wishes
from tests.journeys.trouble.disks import asked, fill, refused_at_once, small_disk

__all__ = ["small_disk"]

IN_TIME = 40.0
"""Seconds until a full disk is told, and until it is forgotten; it takes 5 unless the machine is busy with others."""
FULL = 8.0
"""Seconds without space: longer than the memory for calls of eight streams lasts, shorter than for those of two."""


def lasting(it: Api) -> list[Plan]:
    """Calls that end while the disk is full, calls that outlive it, and such that have much to keep meanwhile."""
    short, long = wishes(it.one, 8, 4.0)
    return [short, replace(long, seconds=7 + FULL), replace(long, seconds=7 + FULL, calls=2, streams=8)]


def test_a_full_disk_refuses_new_calls_and_harms_no_recording(small_disk: Path, tmp_path: Path) -> None:
    with running(tmp_path, small_disk, calls=20) as it:
        one, full = it.one, 0.0
        finished = [call["id"] for call in it.over(place(wishes(one, 4, 1.0))).values()]
        before = it.prints(finished)

        def refused() -> bool:
            fill(small_disk)
            return (asked(one, "OPTIONS")[0].status, it.health("/readyz")) == (503, 503)

        def taken() -> bool:
            return (asked(one, "OPTIONS")[0].status, it.health("/readyz")) == (200, 200)

        async def meanwhile() -> None:
            nonlocal full
            await it.talking(10, 1000)
            await it.until(taken, IN_TIME)
            began = time.monotonic()
            await it.until(refused, IN_TIME)
            assert refused_at_once(one)
            assert it.health("/healthz") == 200
            await it.until(lambda: refused() and time.monotonic() > began + FULL)
            assert it.prints(finished) == before
            (small_disk / "filler").unlink()
            full = time.monotonic() - began
            await it.until(taken, IN_TIME)

        calls = place(lasting(it), meanwhile)
        assert [call.faults for call in calls if call.number < 4 and len(call.streams) == 8] == [[], []]
        states = whole_or_marked(it, calls)
        assert "interrupted" in states
        assert states.count("complete") >= 4 or full > FULL + 2  # it took a busy machine too long for the memory
        assert it.prints(finished) == before
        after = place(wishes(one, 4, 1.0))
        assert [call.well for call in after] == [True] * 4
        assert whole_or_marked(it, after) == ["complete"] * 4
        until(lambda: it.figure("recorder_calls_active") == 0)
        in_order(it)
