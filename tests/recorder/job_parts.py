"""What the jobs of a daemon take, with one customer and without sockets or workers."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import nan
from pathlib import Path
from typing import Any

from recorder.observe.incidents import Incidents
from recorder.observe.metrics import Metrics
from recorder.persist.indexer import Indexer
from recorder.runtime.tasks import Tasks
from storage.customer.customers import Customer
from tests.in_process.waiting import until


@dataclass
class Log:
    """A log that keeps its events."""

    lines: list[str] = field(default_factory=list)

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append(event)

    warning = error = info

    def fault(self, event: str, problem: BaseException, **facts: Any) -> None:
        self.lines.append(event)


class Parts:
    """What a job takes."""

    def __init__(self, folder: Path, acme: Customer) -> None:
        self.folder = folder
        self.customers = {"acme": acme}
        self.log: Any = Log()
        self.metrics = Metrics()
        self.incidents = Incidents(lambda: datetime.now(UTC))
        self.failed: list[BaseException] = []
        self.tasks = Tasks(lambda name, error: self.failed.append(error))
        self.indexer = Indexer(time.monotonic, lambda call, error: self.failed.append(error))

    def kinds(self) -> list[tuple[str, Any]]:
        """Return kind and reason of each incident, the newest first."""
        return [(each["kind"], each.get("reason")) for each in self.incidents.of("acme")]

    def sample(self, name: str) -> float:
        """Return a metric without labels."""
        value = self.metrics.registry.get_sample_value(name)
        return nan if value is None else value

    until = staticmethod(until)
