"""Exports made in this process: a renderer that records, and what to ask for."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from zipfile import ZipFile

from media.export.encoder import Container
from recorder.config.model import Node
from recorder.exports.export_job import ExportJob
from recorder.runtime.trusted_clock import WallClock
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.exports import columns
from storage.exports.exports import Export, ExportState, Request
from storage.search_forms import stored_of
from tests.in_process.storage_node import record
from tests.recorder.job_parts import Parts

ME: Any = {"role": "caller", "name": "Mira Okafor", "number": "+4930123456", "uri": "sip:mira@pbx.example"}
TOVE: Any = {"role": "callee", "name": "Tove Lind", "number": "+4940777888", "uri": "sip:tove.lind@pbx.example"}
APART = [{"label": str(n), "party": n, "media": "audio", "codec": "PCMA"} for n in range(2)]
MIXED = [{"label": "1", "party": [0, 1], "media": "audio", "codec": "PCMA"}]


def job_of(node: Parts, renderer: FakeRenderer, clock: WallClock | None = None) -> ExportJob:
    folders: Any = Node(data_dir=node.folder, runtime_dir=node.folder)
    return ExportJob(node.customers, node.tasks, node.log, folders, renderer, clock)  # type: ignore[arg-type]  # it renders


@dataclass
class FakeRenderer:
    """Writes the names of the streams instead of rendering."""

    problem: Exception | None = None
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
            raise self.problem
        heard = [stream.index if stream.heard is None else -1 - stream.index for stream in streams]  # silent: below 0
        os.write(out_fd, f"{form} of {heard}".encode())
        return self.report


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


def unpacked(content: bytes) -> dict[str, bytes]:
    """Return every file of a zip by name, with those of a spreadsheet in it."""
    found = {}
    with ZipFile(io.BytesIO(content)) as zip:
        assert zip.testzip() is None
        for name in zip.namelist():
            found[name] = zip.read(name)
            if name.endswith(".xlsx"):
                found |= {f"{name}/{part}": inside for part, inside in unpacked(found[name]).items()}
    return found


def table(content: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


async def called(acme: Customer, *parties: Any, **more: Any) -> CallRow:
    """Record a call of these people, or of Mira with Tove; it has no files."""
    row = await record(acme, **{"streams": APART, **more})
    await acme.calls.remove([row.id])
    row = replace(row, details=wrapped({**row.details, "parties": list(parties or (ME, TOVE))}), size_bytes=0)
    await acme.calls.put([row], [stored_of(row.details["parties"], "DE")])
    return row
