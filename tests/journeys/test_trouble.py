"""Disk, processes and clock misbehave while calls run.

Nothing that is finished is damaged, running calls lose nothing that the kernel can hold or say what they lack, refusals
come at once with their reason, and all is well soon after the cause has gone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.report import CallReport
from sip.message.message import Response
from tests.daemon.coded_calls import SECONDS, missing, place, wishes
from tests.daemon.fault_injection import played, troublemaker  # noqa: F401 - a fixture is used by its name
from tests.in_process.offers import sdp
from tests.journeys.faulty_server import CALLS, LONG, Scene, scene
from tests.journeys.test_floods import nothing_missing
from tests.journeys.test_forgetting import WAIVER, WHY
from tests.journeys.test_full_disk import AT_ONCE, health, whole_or_marked
from tests.journeys.test_kill import worker_of

STALL = 4.0
"""Seconds that a disk may stand still at no cost."""
ENOUGH = 10
"""Refusals from which the half of them says something."""


def a_disk_that_stands_still_costs_nothing(folder: Path, library: Path) -> None:
    with scene(folder, library) as on:
        answers: list[tuple[Response, float]] = []

        def ask_on(until: float) -> None:
            while time.monotonic() < until or len(answers) <= ENOUGH:
                answers.append(on.asker.ask("INVITE", sdp("sendonly")))
                time.sleep(0.1)

        async def meanwhile() -> None:
            on.trouble.set(stalled=1)
            end = time.monotonic() + STALL
            asking = asyncio.create_task(asyncio.to_thread(ask_on, end - 0.5))
            await on.it.until(lambda: len(answers) > 2 and on.refused())
            assert health(on.it, "/healthz") == 200
            await asking
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            on.trouble.set(stalled=0)
            await on.well()

        nothing_missing(on.it, on.place(meanwhile))
        assert {(a.status, a.headers.get("Retry-After")) for a, _ in answers} == {(503, "30")}
        # none waited for the disk, which stood still until all were there; a few may have waited for a processor
        assert sorted(took for _, took in answers)[len(answers) // 2] < AT_ONCE
        assert on.trouble.hit > 0
        assert on.left_open() == []
        on.in_order()


def failing(code: int) -> Callable[[Path, Path], None]:
    def a_disk_that_fails(folder: Path, library: Path) -> None:
        with scene(folder, library) as on:
            assert on.ask("PUT", "/waiver", json=WAIVER).status_code < 300
            victim = on.finished.pop()

            async def meanwhile() -> None:
                on.trouble.set(write_errno=code, sync_errno=code, fsync_fails=1_000_000)
                began = time.monotonic()
                await on.it.until(on.refused)
                on.invited()
                assert health(on.it, "/healthz") == 200
                asked = await asyncio.to_thread(on.ask, "POST", "/erasures", json={"calls": [victim], **WHY})
                assert asked.status_code in (202, 503)
                await asyncio.sleep(max(0.0, LONG - (time.monotonic() - began)))
                on.trouble.set(write_errno=0, fsync_fails=0)
                await on.well()

            calls = on.place(meanwhile, 16.0)  # whoever hung up in the trouble would lack what the memory held
            states = whole_or_marked(on.it, calls)
            assert states == ["complete"] * CALLS
            assert on.trouble.hit > 0
            erased(on, victim)
            on.before = on.it.prints(on.finished)
            on.in_order()

    a_disk_that_fails.__name__ = f"a_disk_that_fails_with_{errno.errorcode[code]}"
    return a_disk_that_fails


def erased(on: Scene, call: str) -> None:
    """Erasing works again after the trouble, and what was asked for meanwhile is done."""
    answer = on.ask("POST", "/erasures", json={"calls": [call], **WHY})
    assert answer.status_code == 202, answer.text
    end = time.monotonic() + SECONDS
    while on.ask("GET", f"/erasures/{answer.json()['id']}").json()["state"] != "done":
        assert time.monotonic() < end
        time.sleep(0.1)
    assert on.ask("GET", f"/calls/{call}").status_code == 404


def a_sync_that_failed_is_never_taken_for_success(folder: Path, library: Path) -> None:
    with scene(folder, library) as on:

        async def meanwhile() -> None:
            on.trouble.set(sync_errno=errno.EIO, syncfs_fails=1)
            await on.it.until(lambda: "storage.sync_failed" in on.it.one.events())
            await on.well()

        calls = on.place(meanwhile)
        assert [(call.number, call.faults) for call in calls if not call.well] == []
        for call in calls:
            mine = on.it.over(calls)[call.session_id]
            assert mine["state"] == "interrupted"
            assert [note["kind"] for note in mine["notes"]] == ["sync-failed"]
            found = on.it.channels(mine["id"])
            assert [missing(s, f) for s, f in zip(call.streams, found, strict=True)] == [(), ()]
        assert "sync-failed" in [each["kind"] for each in on.it.ask("/incidents").json()["items"]]
        on.in_order()


def no_inodes_left(folder: Path, library: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can mount a file system with few inodes")
    disk = folder / "small"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m,nr_inodes=400", "tmpfs", disk], check=True)
    try:
        with scene(folder, library, disk) as on:
            heap = disk / "heap"

            def fill() -> None:
                heap.mkdir(exist_ok=True)
                try:
                    for number in range(400):
                        (heap / str(time.monotonic_ns() + number)).touch()
                except OSError:
                    return

            def refused() -> bool:
                fill()
                return on.refused()

            async def meanwhile() -> None:
                await on.it.until(refused)
                on.invited()
                for path in heap.iterdir():
                    path.unlink()
                heap.rmdir()
                await on.well()

            nothing_missing(on.it, on.place(meanwhile, 8.0))
            on.in_order()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def standing(which: Callable[[Scene], int], name: str) -> Callable[[Path, Path], None]:
    def a_process_that_stands_still(folder: Path, library: Path) -> None:
        with scene(folder, library) as on:

            async def meanwhile() -> None:
                pid = which(on)
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(LONG)
                os.kill(pid, signal.SIGCONT)
                await on.well()

            nothing_missing(on.it, on.place(meanwhile, 8.0))
            assert "media.worker_died" not in on.it.one.events()
            on.in_order()

    a_process_that_stands_still.__name__ = f"{name}_stands_still_for_three_seconds"
    return a_process_that_stands_still


def set_by(days: int) -> Callable[[Path, Path], None]:
    def a_clock_that_is_set(folder: Path, library: Path) -> None:
        with scene(folder, library) as on:
            moved, began = timedelta(days=days), time.monotonic()

            async def meanwhile() -> None:
                on.trouble.set(ahead=round(moved.total_seconds()))
                await asyncio.sleep(LONG)
                await on.well()

            calls = on.place(meanwhile, 8.0)
            recorded = on.it.over(calls)
            nothing_missing_but_time(on, calls, recorded, time.monotonic() - began)
            assert on.it.prints(on.finished) == on.before  # nothing is erased early, whatever the clock says
            new = list(on.it.over(place(wishes(on.it.one, 2, 1.0))).values())
            now = datetime.now().astimezone() + moved
            assert all(abs(moment(call["started_at"]) - now) < timedelta(minutes=2) for call in new)
            on.trouble.set(ahead=0)
            on.in_order()

    a_clock_that_is_set.__name__ = f"a_clock_that_is_set_by_{days}_days".replace("-", "minus_")
    return a_clock_that_is_set


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def nothing_missing_but_time(
    on: Scene, calls: Sequence[CallReport], recorded: dict[str, dict[str, Any]], took: float
) -> None:
    """Lengths come from the clock that nobody sets, and every frame is there; all together took so many seconds."""
    for call in calls:
        mine = recorded[call.session_id]
        assert 7500 < mine["duration_ms"] < 1000 * took
        assert mine["state"] == "complete"
        found = on.it.channels(mine["id"])
        assert [missing(s, f) for s, f in zip(call.streams, found, strict=True)] == [(), ()]


SCENES = (
    a_disk_that_stands_still_costs_nothing,
    failing(errno.EIO),
    a_sync_that_failed_is_never_taken_for_success,
    standing(lambda on: on.main, "main"),
    set_by(400),
)
LONGER = (
    failing(errno.EROFS),
    no_inodes_left,
    standing(lambda on: worker_of(on.it), "a_worker"),
    set_by(-400),
)


playing = played(*SCENES, *LONGER)


@pytest.mark.parametrize(
    "scene",
    [*SCENES, *(pytest.param(scene, marks=pytest.mark.torture) for scene in LONGER)],
    ids=lambda scene: scene.__name__,
)
def test_in_trouble(scene: Callable[..., None], playing: dict[Callable[..., None], Future[None]]) -> None:
    playing[scene].result()
