"""Processors, descriptors, ports and memory run short while calls run: new calls are refused, these lose nothing."""

from __future__ import annotations

import asyncio
import itertools
import os
import resource
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from recorder.calls.admission import BUSY_LIMIT, BUSY_SECONDS
from recorder.runtime.sandbox import ADDRESS_SPACE
from tests.daemon.coded_calls import nothing_missing, place, verified, wishes
from tests.daemon.fault_injection import troublemaker  # noqa: F401 - a fixture is used by its name
from tests.daemon.kills import worker_of
from tests.in_process.offers import sdp
from tests.journeys.trouble.disks import asked
from tests.journeys.trouble.scene import CALLS, LONG, limited, memory_of, played, scene

pytestmark = pytest.mark.alone  # how busy a worker is

MANY = 24
"""Calls that keep a slowed worker busy."""


def busy_workers_take_no_more(folder: Path, library: Path) -> None:
    """Every write of a worker takes so long that its rounds fill the second they have."""
    with scene(folder, library, ports=4 * MANY + 40) as on:

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


def no_descriptors_left(folder: Path, library: Path) -> None:
    with scene(folder, library) as on:

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


def a_worker_without_memory_has_a_successor(folder: Path, library: Path) -> None:
    with scene(folder, library, ports=2000) as on:

        def died() -> bool:
            """New calls make it want more."""
            assert asked(on.it.one, "INVITE", sdp(*["sendonly"] * 4))[0].status in (200, 503)
            return "media.worker_died" in on.it.one.events()

        async def meanwhile() -> None:
            pid = worker_of(on.it)
            limited(pid, resource.RLIMIT_AS, memory_of(pid) // 2)
            await on.it.until(died)
            assert worker_of(on.it) != pid
            await on.well()

        nothing_missing(on.it, on.place(meanwhile))
        on.in_order()


def a_render_worker_without_memory_fails_alone(folder: Path, library: Path) -> None:
    with scene(folder, library) as on:
        call = on.finished[0]

        def starve(asked: Future[httpx2.Response]) -> None:
            """Take the memory of the one who renders, once it has set limits of its own."""
            children = Path(f"/proc/{on.main}/task/{on.main}/children")
            while not asked.done():
                for pid in map(int, children.read_text().split()):
                    with suppress(OSError):
                        if resource.prlimit(pid, resource.RLIMIT_AS)[0] == ADDRESS_SPACE:
                            limited(pid, resource.RLIMIT_AS, memory_of(pid) // 2)

        async def meanwhile() -> None:
            with ThreadPoolExecutor(1) as pool:
                asked = pool.submit(on.it.ask, "GET", f"/calls/{call}/media?format=opus")
                await asyncio.to_thread(starve, asked)
                answer = asked.result()
            assert answer.status_code in (409, 503), answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert on.it.get(f"/calls/{call}/media?format=opus").status_code == 200
            await on.well()

        nothing_missing(on.it, on.place(meanwhile))
        assert "media.worker_died" not in on.it.one.events()
        on.in_order()


def no_ports_left(folder: Path, library: Path) -> None:
    with scene(folder, library, ports=4 * (CALLS + 2)) as on:

        async def meanwhile() -> None:
            await on.it.until(lambda: asked(on.it.one, "OPTIONS")[0].status == 200)
            on.invited()

        nothing_missing(on.it, on.place(meanwhile, 4.0))
        listed = [(each["status"], each["reason"]) for each in on.it.get("/incidents").json()["items"]]
        assert (503, "no-port") in listed
        assert on.it.prints(on.finished) == on.before
        assert on.it.one.stop() == 0
        assert verified(on.it.one) == []


SCENES = (busy_workers_take_no_more, no_descriptors_left, no_ports_left)
LONGER = (a_worker_without_memory_has_a_successor, a_render_worker_without_memory_fails_alone)


playing = played(*SCENES, *LONGER)


@pytest.mark.parametrize(
    "scene",
    [*SCENES, *(pytest.param(scene, marks=pytest.mark.torture) for scene in LONGER)],
    ids=lambda scene: scene.__name__,
)
def test_in_want(scene: Callable[..., None], playing: dict[Callable[..., None], Future[None]]) -> None:
    playing[scene].result()
