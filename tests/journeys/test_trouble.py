"""Disk, memory, descriptors, ports, processes and clock misbehave while calls run (DESIGN section 9, "disk").

Nothing that is finished is damaged, running calls lose nothing that the kernel can hold or say what they lack, refusals
come at once with their reason, and all is well soon after the cause has gone.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recorder.confine import ADDRESS_SPACE
from recorder.housekeeping import BUSY_LIMIT, BUSY_SECONDS
from recorder.simulate.report import CallReport
from sip.message import Response
from tests.journeys.coded_calls import Watched, missing, own_place, place, verified, wishes
from tests.journeys.server import server
from tests.journeys.test_floods import nothing_missing
from tests.journeys.test_forgetting import WAIVER, WHY
from tests.journeys.test_full_disk import AT_ONCE, IN_TIME, Asker, health, whole_or_marked
from tests.journeys.test_kill import worker_of
from tests.journeys.trouble import Trouble, troublemaker  # noqa: F401 - a fixture is used by its name
from tests.recorder.offers import sdp

CALLS = 6
STALL = 4.0
"""Seconds that a disk may stand still at no cost."""
MANY = 24
"""Calls that keep a slowed worker busy."""
LONG = 3.0
"""Seconds of any other trouble."""


@dataclass
class Scene:
    """A server in trouble, calls on it that are over, and such that run."""

    it: Watched
    trouble: Trouble
    asker: Asker
    finished: list[str]
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> int:
        assert self.it.one.process
        return self.it.one.process.pid

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        base = f"http://{self.it.one.host}:{self.it.one.api}/api/v1/customers/acme"
        return httpx2.request(
            method, base + path, headers={"Authorization": f"Bearer {self.it.token}"}, timeout=30, **more
        )

    def refused(self) -> bool:
        return (self.asker.ask("OPTIONS")[0].status, health(self.it, "/readyz")) == (503, 503)

    def ready(self) -> str:
        """What /readyz says."""
        return httpx2.get(f"http://{self.it.one.host}:{self.it.one.api}/readyz", timeout=30).text

    def taken(self) -> bool:
        return (self.asker.ask("OPTIONS")[0].status, health(self.it, "/readyz")) == (200, 200)

    def invited(self, status: int) -> None:
        """Three INVITEs are refused, at least one of them at once; the first may find out what is wrong."""
        answers = [self.asker.ask("INVITE", sdp("sendonly", "sendonly")) for _ in range(3)]
        assert [(answer.status, bool(answer.headers.get("Retry-After"))) for answer, _ in answers] == [
            (status, True)
        ] * 3
        assert min(took for _, took in answers) < AT_ONCE

    async def well(self) -> None:
        """All is well in time."""
        began = time.monotonic()
        await self.it.until(self.taken, 4 * IN_TIME)
        assert time.monotonic() - began < IN_TIME

    def place(self, meanwhile: Callable[[], Any], seconds: float = 9.0) -> list[CallReport]:
        async def story() -> None:
            await self.it.talking(CALLS)
            await meanwhile()

        return place(wishes(self.it.one, CALLS, seconds), story)

    def left_open(self) -> list[str]:
        """What lies in the vault as if it were being written."""
        return [path.name for path in (self.it.one.data / "customers/acme/vault/open").iterdir()]

    def in_order(self) -> None:
        """What was finished is as it was, a new call is whole, and everything on the disk is genuine."""
        assert self.it.prints(self.finished) == self.before
        after = place(wishes(self.it.one, 2, 1.0))
        nothing_missing(self.it, after)
        assert "Traceback" not in self.it.one.log.read_text()
        assert self.it.one.stop() == 0
        assert verified(self.it.one) == []


@contextmanager
def scene(folder: Path, library: Path, data: Path | None = None, **more: Any) -> Iterator[Scene]:
    trouble = Trouble(folder, library, data or folder / "data")
    place_of = {**own_place(CALLS + 6), **more}
    with server(folder, data, level="info", environment=trouble.environment, **place_of) as one:
        it = Watched(one, one.init())
        one.start()
        finished = [call["id"] for call in it.over(place(wishes(one, 2, 1.0))).values()]
        try:
            yield Scene(it, trouble, Asker(one.host), finished, it.prints(finished))
        finally:
            trouble.set(write_errno=0, syncfs_fails=0, fsync_fails=0, stalled=0, slow_us=0, ahead=0)


def a_disk_that_stands_still_costs_nothing(folder: Path, library: Path) -> None:
    with scene(folder, library) as on:

        answers: list[tuple[Response, float]] = []

        def ask_on(until: float) -> None:
            while time.monotonic() < until:
                answers.append(on.asker.ask("INVITE", sdp("sendonly")))
                time.sleep(0.1)

        async def meanwhile() -> None:
            on.trouble.set(stalled=1)
            end = time.monotonic() + STALL
            asking = asyncio.create_task(asyncio.to_thread(ask_on, end - 0.5))
            await on.it.until(lambda: len(answers) > 2 and on.refused(), 4 * IN_TIME)
            assert health(on.it, "/healthz") == 200
            await asking
            await asyncio.sleep(max(0.0, end - time.monotonic()))
            on.trouble.set(stalled=0)
            await on.well()

        nothing_missing(on.it, on.place(meanwhile))
        assert {(a.status, a.headers.get("Retry-After")) for a, _ in answers} == {(503, "30")}
        assert len(answers) > 10
        assert sorted(took for _, took in answers)[len(answers) // 2] < AT_ONCE  # one may wait for a processor instead
        assert answers[0][1] < 2 * AT_ONCE
        assert on.trouble.hit > 0
        assert on.left_open() == []
        on.in_order()


def busy_workers_take_no_more(folder: Path, library: Path) -> None:
    """Every write of a worker takes so long that its rounds fill the second they have."""
    with scene(folder, library, ports=4 * MANY + 40) as on:

        async def meanwhile() -> None:
            await on.it.talking(MANY)
            on.trouble.set(slow_us=int(1.2e6 / MANY))
            await on.it.until(lambda: "workers busy" in on.ready())
            on.invited(503)
            assert on.refused()
            assert on.it.figure('recorder_worker_busy_ratio{worker="0"}') > BUSY_LIMIT
            on.trouble.set(slow_us=0)
            await on.well()
            assert on.asker.ask("INVITE", sdp("sendonly"))[0].status == 200

        began = time.monotonic()
        calls = place(wishes(on.it.one, MANY, 20.0), meanwhile)
        assert time.monotonic() - began > BUSY_SECONDS  # a moment's load refuses nobody
        nothing_missing(on.it, calls)
        on.in_order()


def failing(code: int) -> Callable[[Path, Path], None]:
    def a_disk_that_fails(folder: Path, library: Path) -> None:
        with scene(folder, library) as on:
            assert on.ask("PUT", "/waiver", json=WAIVER).status_code < 300
            victim = on.finished.pop()

            async def meanwhile() -> None:
                on.trouble.set(write_errno=code, sync_errno=code, fsync_fails=1_000_000)
                began = time.monotonic()
                await on.it.until(on.refused, IN_TIME)
                on.invited(503)
                assert health(on.it, "/healthz") == 200
                asked = await asyncio.to_thread(on.ask, "POST", "/erasures", json={"calls": [victim], **WHY})
                assert asked.status_code in (202, 503)
                await asyncio.sleep(max(0.0, LONG - (time.monotonic() - began)))
                on.trouble.set(write_errno=0, fsync_fails=0)
                await on.well()

            calls = on.place(meanwhile)
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
    end = time.monotonic() + 20
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
                await on.it.until(refused, IN_TIME)
                on.invited(503)
                for path in heap.iterdir():
                    path.unlink()
                heap.rmdir()
                await on.well()

            nothing_missing(on.it, on.place(meanwhile, 8.0))
            on.in_order()
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def limited(pid: int, kind: int, soft: int) -> tuple[int, int]:
    """Limit what a process may take; give what it might before."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, before[1]))
    return before


def no_descriptors_left(folder: Path, library: Path) -> None:
    with scene(folder, library) as on:

        async def meanwhile() -> None:
            used = max(int(name) for name in os.listdir(f"/proc/{on.main}/fd"))
            before = limited(on.main, resource.RLIMIT_NOFILE, used + 2)
            on.invited(503)
            await asyncio.sleep(LONG)
            resource.prlimit(on.main, resource.RLIMIT_NOFILE, before)
            await on.well()

        nothing_missing(on.it, on.place(meanwhile, 8.0))
        on.in_order()


def no_memory_left(folder: Path, library: Path) -> None:
    with scene(folder, library, ports=2000) as on:

        async def meanwhile() -> None:
            before = limited(on.main, resource.RLIMIT_AS, memory_of(on.main) // 2)
            answers = [on.asker.ask("INVITE", sdp(*["sendonly"] * 4)) for _ in range(100)]
            statuses = {answer.status for answer, _ in answers}
            assert statuses <= {200, 500, 503}
            await asyncio.sleep(LONG)
            felt = statuses != {200} or on.it.figure("recorder_oldest_unindexed_seconds") > LONG / 2
            resource.prlimit(on.main, resource.RLIMIT_AS, before)
            assert felt
            await on.well()

        nothing_missing(on.it, on.place(meanwhile, 8.0))
        on.in_order()


def memory_of(pid: int) -> int:
    """Bytes of addresses that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()


def a_worker_without_memory_has_a_successor(folder: Path, library: Path) -> None:
    with scene(folder, library, ports=2000) as on:

        def died() -> bool:
            """New calls make it want more."""
            assert on.asker.ask("INVITE", sdp(*["sendonly"] * 4))[0].status in (200, 503)
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
                asked = pool.submit(on.ask, "GET", f"/calls/{call}/media?format=opus")
                await asyncio.to_thread(starve, asked)
                answer = asked.result()
            assert answer.status_code in (409, 503), answer.text
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert on.ask("GET", f"/calls/{call}/media?format=opus").status_code == 200
            await on.well()

        nothing_missing(on.it, on.place(meanwhile))
        assert "media.worker_died" not in on.it.one.events()
        on.in_order()


def no_ports_left(folder: Path, library: Path) -> None:
    with scene(folder, library, ports=4 * (CALLS + 2)) as on:

        async def meanwhile() -> None:
            await on.it.until(lambda: on.asker.ask("OPTIONS")[0].status == 200)
            on.invited(503)

        nothing_missing(on.it, on.place(meanwhile, 4.0))
        listed = [(each["status"], each["reason"]) for each in on.it.ask("/incidents").json()["items"]]
        assert (503, "no-port") in listed
        assert on.it.prints(on.finished) == on.before
        assert on.it.one.stop() == 0
        assert verified(on.it.one) == []


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
            moved = timedelta(days=days)

            async def meanwhile() -> None:
                on.trouble.set(ahead=round(moved.total_seconds()))
                await asyncio.sleep(LONG)
                await on.well()

            calls = on.place(meanwhile, 8.0)
            recorded = on.it.over(calls)
            nothing_missing_but_time(on, calls, recorded)
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


def nothing_missing_but_time(on: Scene, calls: Sequence[CallReport], recorded: dict[str, dict[str, Any]]) -> None:
    """Lengths come from the clock that nobody sets, and every frame is there."""
    for call in calls:
        mine = recorded[call.session_id]
        assert abs(mine["duration_ms"] - 8000) < 1500
        assert mine["state"] == "complete"
        found = on.it.channels(mine["id"])
        assert [missing(s, f) for s, f in zip(call.streams, found, strict=True)] == [(), ()]


SCENES = (
    a_disk_that_stands_still_costs_nothing,
    busy_workers_take_no_more,
    failing(errno.EIO),
    a_sync_that_failed_is_never_taken_for_success,
    no_descriptors_left,
    no_ports_left,
    standing(lambda on: on.main, "main"),
    set_by(400),
)
LONGER = (
    failing(errno.EROFS),
    no_inodes_left,
    no_memory_left,
    a_worker_without_memory_has_a_successor,
    a_render_worker_without_memory_fails_alone,
    standing(lambda on: worker_of(on.it), "a_worker"),
    set_by(-400),
)


@pytest.fixture(scope="module")
def playing(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    troublemaker: Path,  # noqa: F811 - the fixture that is imported above
) -> Iterator[dict[Callable[..., None], Future[None]]]:
    """Play every scene that is asked for, four at a time: they mostly wait."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    asked = [item.callspec.params.get("scene") for item in here]
    with ThreadPoolExecutor(4) as pool:
        yield {
            s: pool.submit(s, tmp_path_factory.mktemp(s.__name__[:20]), troublemaker)
            for s in (*SCENES, *LONGER)
            if s in asked
        }


@pytest.mark.parametrize(
    "scene",
    [*SCENES, *(pytest.param(scene, marks=pytest.mark.torture) for scene in LONGER)],
    ids=lambda scene: scene.__name__,
)
@pytest.mark.timeout(300)
def test_in_trouble(scene: Callable[..., None], playing: dict[Callable[..., None], Future[None]]) -> None:
    playing[scene].result()
