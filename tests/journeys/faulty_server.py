"""A server in trouble: calls on it that are over, calls that run, and what must hold of both."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

from recorder.simulate.report import CallReport
from tests.daemon.coded_calls import Watched, own_place, place, verified, wishes
from tests.daemon.fault_injection import Trouble
from tests.daemon.server import server
from tests.journeys.test_floods import nothing_missing
from tests.journeys.test_full_disk import IN_TIME, Asker, health, refused_at_once

CALLS = 6
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

    def invited(self) -> None:
        """INVITEs are refused, and at once."""
        assert all(refused_at_once(self.asker) for _ in range(3))

    async def well(self) -> None:
        """All is well soon; mostly within a second or two, but a busy machine or one that stands still adds to that."""
        await self.it.until(self.taken, 3 * IN_TIME)

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


def limited(pid: int, kind: int, soft: int) -> tuple[int, int]:
    """Limit what a process may take; give what it might before."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, before[1]))
    return before


def memory_of(pid: int) -> int:
    """Bytes of addresses that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * resource.getpagesize()
