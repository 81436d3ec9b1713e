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
from tests.daemon.api import Api, running
from tests.daemon.coded_calls import nothing_missing, place, verified, wishes
from tests.daemon.fault_injection import Trouble
from tests.journeys.trouble.disks import asked, refused_at_once

CALLS = 4
LONG = 3.0
"""Seconds of any other trouble."""
IN_TIME = 40.0
"""Seconds until all is well again; mostly one or two, but a busy machine or one that stands still adds to that."""


@dataclass
class Scene:
    """A server in trouble, calls on it that are over, and such that run."""

    it: Api
    trouble: Trouble
    finished: list[str]
    before: dict[str, Any] = field(default_factory=dict)

    @property
    def main(self) -> int:
        assert self.it.one.process
        return self.it.one.process.pid

    def answered(self) -> tuple[int, int]:
        """Return the statuses of OPTIONS and /readyz."""
        return asked(self.it.one, "OPTIONS")[0].status, self.it.health("/readyz")

    def refused(self) -> bool:
        return self.answered() == (503, 503)

    def ready(self) -> str:
        """What /readyz says."""
        return httpx2.get(f"{self.it.url}/readyz", timeout=30).text

    def invited(self) -> None:
        """INVITEs are refused, and at once."""
        assert all(refused_at_once(self.it.one) for _ in range(3))

    async def well(self) -> None:
        """All is well soon."""
        await self.it.until(lambda: self.answered() == (200, 200), IN_TIME)

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
    with running(folder, data, calls=CALLS + 6, environment=trouble.environment, **more) as it:
        one = it.one
        finished = [call["id"] for call in it.over(place(wishes(one, 2, 1.0))).values()]
        try:
            yield Scene(it, trouble, finished, it.prints(finished))
        finally:
            trouble.set(write_errno=0, syncfs_fails=0, fsync_fails=0, stalled=0, slow_us=0, ahead=0)


def limited(pid: int, kind: int, soft: int) -> tuple[int, int]:
    """Limit what a process may take; give what it might before."""
    before = resource.prlimit(pid, kind)
    resource.prlimit(pid, kind, (soft, before[1]))
    return before
