"""Make requested exports and reports, one at a time for each customer; a restart starts an unfinished one again.

    job = ExportJob(customers, tasks, log, settings.node); tasks.start(job.run(), "exports")

Rows are read in batches, and opened and written outside the event loop. Output goes through
storage.exports.exports.Sink: plaintext exists in memory, in descriptors without a name, and for rows of xlsx in a
private folder on tmpfs while the file is assembled.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from admin_api.calls.call_views import call as shown
from admin_api.exports.column_sets import others
from admin_api.exports.exports import OTHER
from admin_api.http.messages import Message
from personal import Personal
from recorder.calls.databases import open_databases
from recorder.config.model import Node
from recorder.errors import RecorderError
from recorder.exports.dsar_report import ReportDependencies, SubjectReport
from recorder.exports.media_zip import Archive, add_media, add_table
from recorder.exports.render_client import Renderer
from recorder.observe.logs import Log
from recorder.runtime.folders import SHARED_MEMORY
from recorder.runtime.tasks import Tasks, is_set_within
from recorder.runtime.trusted_clock import WallClock, readings
from storage.access.actor import RECORDER
from storage.audit.hash_chain import Act
from storage.batches import batches
from storage.calls import stored_query
from storage.calls.call_index import CallRow, Query
from storage.customer.customers import Customer
from storage.errors import Forgotten, NoSpace, StorageError
from storage.exports import columns, table_writers
from storage.exports.exports import Export, ExportState, Gone, Request
from storage.exports.subject_filter import Subject
from storage.files.reserved_space import Space
from storage.timestamps import rfc3339
from storage.vault.sealed_file import Sink

BATCH = 2_000  # rows between two commits, and between two checks whether the export is still wanted: 0.2 s
AGAIN_SECONDS = 5.0  # an unavailable database is retried this often
TIDY_SECONDS = 600.0  # how often expired exports are looked for
LEAST_FREE = 512 << 20  # bytes: an export must not take the space that recordings need
LEAST_SHARE = 10  # or this fraction of a small disk
NO_ROOM = Message("export-problem.no-room", "There is no room on the disk for it.")
FAULT = Message("export-problem.fault", "The recorder failed; the fault was logged.")
NODE_GONE = Message("export-problem.node-gone", "The node that was to make it has left. Ask for it again.")
LACKING = Message(
    "export-problem.lacking",
    "Media missing or not whole: {n} of {of} calls. media.json in the file says of which, and why.",
)


class ExportJob:
    """Runs the exports of every customer."""

    def __init__(
        self, customers: Mapping[str, Customer], tasks: Tasks, log: Log, node: Node, renderer: Renderer | None = None,
        clock: WallClock | None = None,
    ) -> None:  # fmt: skip
        self._customers = customers
        self._tasks = tasks
        self._log = log
        self._data_dir = node.data_dir
        self._clock = clock or WallClock.of(node.runtime_dir)
        self._renderer = renderer or Renderer(at_once=1)  # playback has its own queue
        self._runtime_dir = node.runtime_dir

    async def run(self) -> None:
        """Start the work for every customer; owned by recorder.runtime.tasks."""
        remove_left_folders(self._runtime_dir)
        for customer in self._customers.values():
            self.begin(customer)

    def begin(self, customer: Customer) -> None:
        """Start the work for one customer, which may have been away when the others were begun."""
        self._tasks.start(self._serve(customer), "exports")

    def _now(self) -> datetime:
        return self._clock.read(*readings())

    async def _serve(self, customer: Customer) -> None:
        """Run for ever: tidy up, make waiting exports, wait."""
        await open_databases(customer)
        customer.exports.expire_by(self._now)  # a clock that is set ahead expires none
        wanted = customer.exports.wanted
        while True:
            wanted.clear()
            well = await self._round(customer)
            await is_set_within(wanted, TIDY_SECONDS if well else AGAIN_SECONDS)

    async def _round(self, customer: Customer) -> bool:
        """Make everything that waits; False if something must be retried."""
        try:
            await self._tidy(customer)
            for id in await customer.exports.unfinished():
                await self.make(customer, id)
        except Exception as problem:  # without this task no export of the customer would be made any more
            self._log.fault("export.storage", problem, customer=customer.name)
            return False
        return True

    async def _tidy(self, customer: Customer) -> None:
        """Remove what is over, on one of several nodes; each removes its own files."""
        async with customer.turns.turn("exports") as turn:
            await customer.exports.tidy(expired=turn is not None)
            if turn is None:
                return
            await customer.requests.tidy()
            if customer.nodes is not None:
                nodes = await customer.nodes.all()
                for id, number in await customer.exports.unfinished_elsewhere():
                    if number not in nodes or nodes[number].retired:
                        await self._failed(customer, id, NODE_GONE)

    async def make(self, customer: Customer, id: str) -> None:
        """Make one export, or record why it cannot be made; raises StorageError if it must be retried."""
        exports = customer.exports
        try:
            export = await exports.begin(id)
            count, size, facts = await self._make(customer, export)
            await exports.finish(id, size, facts)
        except (Gone, Forgotten):
            await exports.tidy()
            return
        except NoSpace:
            await self._failed(customer, id, NO_ROOM)
        except RecorderError as problem:
            await self._failed(customer, id, OTHER.of(text=problem.sentence()))
        except StorageError:
            found = await exports.get(id)
            if found is not None and found.state is ExportState.RUNNING:
                raise
            await exports.tidy()  # its file was deleted with a call that was erased
        except Exception as problem:  # a bug in one export ends only that export
            self._log.fault("export.fault", problem, customer=customer.name, export=id)
            await self._failed(customer, id, FAULT)
        else:
            await _note(customer, id, "export.done", "done", f"{count} calls")
            self._log.info("export.done", customer=customer.name, export=id, calls=count, bytes=size)
        finally:
            exports.progress.pop(id, None)

    async def _make(self, customer: Customer, export: Export) -> tuple[int, int, Mapping[str, Any]]:
        """Write the file; return how many calls it holds, its bytes, and its facts."""
        if export.case is not None:
            tools = ReportDependencies(self._renderer, self.room)
            return await SubjectReport(customer, export, tools).run()
        return await _Making(self, customer, export).run()

    async def _failed(self, customer: Customer, id: str, why: Message) -> None:
        await customer.exports.fail(id, str(why), why.stored)
        await _note(customer, id, "export.fail", "failed", str(why))
        self._log.info("export.failed", customer=customer.name, export=id)

    def room(self) -> None:
        """Refuse while the disk is short of space; raises NoSpace."""
        if Space.of(self._data_dir).is_short(LEAST_FREE, LEAST_SHARE):
            raise NoSpace("there is no room for an export")

    @property
    def renderer(self) -> Renderer:
        """Return the renderer."""
        return self._renderer


class _Making:
    """One export in progress."""

    def __init__(self, job: ExportJob, customer: Customer, export: Export) -> None:
        if export.request is None:
            raise Gone("the export is no longer wanted")
        self._job = job
        self._customer = customer
        self._export = export
        self._asked: Request = export.request
        self._columns = columns.named(export.request.columns)
        self._query = stored_query.read(self._asked.query) if self._asked.query else None
        self._party = None if self._asked.party is None else Personal(self._asked.party)
        whose = self._party if self._query is None else self._query.party
        self._subject = Subject(whose, customer.settings.country) if whose else None
        self._held: list[str] = []
        self._lacking = 0  # calls whose media are missing or incomplete

    async def run(self) -> tuple[int, int, Mapping[str, Any]]:
        """Write the file; return how many calls it holds, its bytes, and its facts."""
        with self._customer.exports.sink(self._export, self._job.room) as sink:
            if self._asked.media is None:
                await self._table(sink.write)
            else:
                await self._archive(sink)
            size = await asyncio.to_thread(sink.finish)
        if not self._lacking:
            return len(self._held), size, {}
        lacking = LACKING.of(n=self._lacking, of=len(self._held))
        return len(self._held), size, {"problem": str(lacking), "said": lacking.stored}

    async def _table(self, put: Callable[[bytes], object]) -> None:
        """Write the rows; csv and JSON go straight to their destination."""
        if self._asked.format != "xlsx":
            await self._rows(self._writer(put))
            return
        with _unnamed() as out:
            await self._rows(table_writers.XlsxTable(out, self._asked.columns))
            out.flush()
            await asyncio.to_thread(_copy, out.fileno(), put)

    def _writer(self, put: Callable[[bytes], object]) -> table_writers.Writer:
        if self._asked.format == "csv":
            return table_writers.CsvTable(put, self._asked.columns)
        about = {
            "customer": self._customer.name,
            "created_at": rfc3339(datetime.now(UTC)),
            "columns": list(self._asked.columns),
        }
        return table_writers.JsonTable(put, self._asked.columns, about)

    async def _rows(self, writer: table_writers.Writer) -> None:
        async for rows, total in self._batches():
            fit = await self._customer.exports.admit(self._export.id, [row.id for row in rows])
            chosen = [row for row in rows if row.id in fit]
            self._held += [row.id for row in chosen]
            await asyncio.to_thread(lambda rows: writer.add(map(self._values, rows)), chosen)
            self._customer.exports.progress[self._export.id] = (len(self._held), total)
        await asyncio.to_thread(writer.close)

    def _values(self, row: CallRow) -> Sequence[object]:
        document = shown(row, None)
        subject = self._subject.of(document.get("parties") or ()) if self._subject else ()
        return columns.values(self._columns, document, subject)

    async def _batches(self) -> AsyncIterator[tuple[list[CallRow], int]]:
        """Yield the requested calls, opened, and how many there may be in all."""
        calls = self._customer.calls
        if self._asked.calls is None:
            query = self._query or Query(party=self._party, exact=True)
            async for batch in calls.in_batches(query, BATCH):
                yield await asyncio.to_thread(batch.open), batch.total
            return
        wanted = list(dict.fromkeys(self._asked.calls))
        for some in batches(wanted, BATCH):
            found = [await calls.get(id) for id in some]
            yield [row for row in found if row is not None], len(wanted)

    async def _archive(self, sink: Sink) -> None:
        """Write a zip: the table, a file for each call, and a list of those files."""
        form = self._asked.media or ""
        zip = Archive(sink)
        with _unnamed() as table:
            await self._table(table.write)
            table.flush()
            await asyncio.to_thread(add_table, zip, self._asked.format, table.fileno())
        silent = self._subject.of if self._subject and self._asked.silence_others else None
        named = None if others(self._asked.columns) else self._subject.of if self._subject else lambda _: ()
        for done, id in enumerate(self._held):
            await self._customer.exports.admit(self._export.id, [])  # is it still wanted?
            added = await add_media(zip, self._customer, id, form, self._job.renderer, silent, named)
            self._lacking += added.problem is not None
            zip.told(added)
            self._customer.exports.progress[self._export.id] = (done + 1, len(self._held))
        await asyncio.to_thread(zip.close)


def _unnamed() -> IO[bytes]:
    """Open an empty file that has no name on any file system."""
    return os.fdopen(os.memfd_create("export", os.MFD_CLOEXEC), "w+b")


async def _note(customer: Customer, id: str, action: str, outcome: str, reason: str) -> None:
    await asyncio.wrap_future(customer.audit.append(Act.of(RECORDER, "system", action, id, outcome, reason)))


def _copy(fd: int, put: Callable[[bytes], object]) -> None:
    """Copy a whole file."""
    at = 0
    while data := os.pread(fd, 1 << 20, at):
        put(data)
        at += len(data)


def remove_left_folders(runtime_dir: Path, others: Sequence[Path] = (SHARED_MEMORY,)) -> None:
    """Remove folders of plaintext rows that an older version left in memory when it was killed during an export.

    This version writes rows to no file that has a name.
    """
    prefix = f"recorder-{hashlib.sha256(str(runtime_dir.resolve()).encode()).hexdigest()[:12]}-"
    for place in (runtime_dir, *others):
        for left in place.glob(f"{prefix}*"):
            shutil.rmtree(left, ignore_errors=True)
