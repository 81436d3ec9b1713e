"""Processors and descriptors run short while calls run: new calls are refused, these lose nothing."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import time
from pathlib import Path

import pytest

from recorder.calls.admission import BUSY_LIMIT, BUSY_SECONDS
from tests.daemon.coded_calls import nothing_missing, place, wishes
from tests.daemon.fault_injection import troublemaker
from tests.in_process.offers import sdp
from tests.journeys.trouble.disks import asked
from tests.journeys.trouble.scene import LONG, limited, scene

__all__ = ["troublemaker"]

pytestmark = pytest.mark.alone  # how busy a worker is

MANY = 24
"""Calls that keep a slowed worker busy."""


def test_busy_workers_take_no_more_calls(tmp_path: Path, troublemaker: Path) -> None:
    """Every write of a worker takes so long that its rounds fill the second they have."""
    with scene(tmp_path, troublemaker, ports=4 * MANY + 40) as on:

        async def meanwhile() -> None:
            await on.it.talking(MANY)
            on.trouble.set(slow_us=int(1.2e6 / MANY))
            await on.it.until(lambda: "workers busy" in on.ready())
            on.invited()
            await on.it.until(on.refused)
            await on.it.until(lambda: on.it.figure('recorder_worker_busy_ratio{worker="0"}') > BUSY_LIMIT)
            on.trouble.set(slow_us=0)
            await on.well()
            assert asked(on.it.one, "INVITE", sdp("sendonly"))[0].status == 200

        began = time.monotonic()
        calls = place(wishes(on.it.one, MANY, 20.0), meanwhile)
        assert time.monotonic() - began > BUSY_SECONDS  # a moment's load refuses nobody
        nothing_missing(on.it, calls)
        on.in_order()


def test_calls_without_free_descriptors_are_refused(tmp_path: Path, troublemaker: Path) -> None:
    with scene(tmp_path, troublemaker) as on:

        async def meanwhile() -> None:
            held = {int(name) for name in os.listdir(f"/proc/{on.main}/fd")}
            free = next(number for number in itertools.count() if number not in held)  # one for a moment may lie above
            before = limited(on.main, resource.RLIMIT_NOFILE, free + 2)
            on.invited()
            await asyncio.sleep(LONG)
            resource.prlimit(on.main, resource.RLIMIT_NOFILE, before)
            await on.well()

        nothing_missing(on.it, on.place(meanwhile, 8.0))
        on.in_order()
