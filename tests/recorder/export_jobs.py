"""Where exports are made in this process: storage, a renderer that says what it was asked, a log that keeps lines."""

from __future__ import annotations

import asyncio
import csv
import io
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from admin_api.exports import columns
from media.export.encoder import Container
from recorder.config.model import Node
from recorder.exports.export_job import ExportJob
from recorder.exports.render_client import RenderFailed
from recorder.runtime.tasks import Tasks
from recorder.runtime.trusted_clock import WallClock
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.exports.exports import Export, ExportState, Request
from storage.search_forms import stored_of
from tests.in_process.storage_node import StorageNode, Watch, record


@dataclass
class Log:
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    def fault(self, event: str, problem: BaseException, **facts: Any) -> None:
        self.lines.append((event, {"fault": problem, **facts}))


@dataclass
class Parts:
    """What the job takes."""

    customers: dict[str, Customer]
    folder: Path
    log: Log = field(default_factory=Log)
    failed: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tasks = Tasks(lambda name, error: self.failed.append(error))

    def job(self, renderer: FakeRenderer, clock: WallClock | None = None) -> ExportJob:
        node = Node(data_dir=self.folder, runtime_dir=self.folder)
        return ExportJob(self.customers, self.tasks, self.log, node, renderer, clock)  # type: ignore[arg-type]  # as much as it uses


@dataclass
class FakeRenderer:
    """Writes the names of the streams instead of rendering."""

    problem: str | None = None
    during: Callable[[], Awaitable[object]] | None = None
    asked: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)

    async def render(self, parts: Any, streams: Any, form: Container | str, out_fd: int, *_: Any) -> dict[str, Any]:
        self.asked.append(str(form))
        self.titles = [stream.label for stream in streams]
        if self.during:
            await self.during()
        if self.problem:
            raise RenderFailed(self.problem)
        heard = [stream.index if stream.heard is None else -1 - stream.index for stream in streams]  # silent: below 0
        os.write(out_fd, f"{form} of {heard}".encode())
        return self.report


Story = Callable[[Parts, Customer, ExportJob], Awaitable[None]]


def tell(tmp_path: Path, what: Story, renderer: FakeRenderer | None = None) -> None:
    async def run() -> None:
        storage_node = StorageNode(tmp_path / "data", watch=Watch(datetime.now(UTC)))
        acme = await storage_node.open()
        node = Parts({"acme": acme}, tmp_path)
        job = node.job(renderer or FakeRenderer())
        try:
            await what(node, acme, job)
        finally:
            await node.tasks.close()
            await acme.close()
        assert node.failed == []

    asyncio.run(run())


async def make(acme: Customer, job: ExportJob, **asked: Any) -> Export:
    """Ask for an export and make it; return what became of it."""
    by_party = asked.get("party") is not None
    wanted = {"format": "csv", "columns": columns.usual(by_party), "reason": "Art. 15", **asked}
    filed = await acme.exports.file(Request(**wanted), "paula")
    await job.make(acme, filed.id)
    found = await acme.exports.get(filed.id)
    assert found is not None
    return found


def data(acme: Customer, export: Export) -> bytes:
    assert export.state is ExportState.DONE, export.problem
    found = b"".join(acme.exports.read(export))
    assert len(found) == export.size_bytes
    return found


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


async def called(acme: Customer, **more: Any) -> CallRow:
    """Record a call of Mira with somebody else; it has no files."""
    details = {"streams": [{"label": "1", "party": 0, "media": "audio"}, {"label": "2", "party": 1, "media": "audio"}]}
    row = await record(acme, **{**details, **more})
    other = {"name": "Tove Lind", "number": "+4940777888", "uri": "sip:tove@example.org"}
    parties: Any = [*row.details["parties"], other]
    row = replace(row, details={**row.details, "parties": parties}, size_bytes=0)
    await acme.calls.put([row], [stored_of(parties, "DE")])
    return row
