"""Time and memory for an export of many calls: `python -m bench.exports [CALLS]`."""

from __future__ import annotations

import asyncio
import resource
import shutil
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

from recorder.config.model import Node
from recorder.exports.export_job import ExportJob
from recorder.runtime.tasks import Tasks
from recorder.service.gc_policy import Garbage
from storage.calls.call_row import CallRow, CallState
from storage.customer.customers import Customer, Customers, CustomerSettings
from storage.exports import columns
from storage.exports.exports import Request
from storage.keys.root_secret import RootSecret
from storage.search_forms import stored

PARTY = {"role": "caller", "name": "=Jörg 😀", "number": "+4930123456", "uri": "sip:+4930123456@example.com"}
FIRST = datetime(2026, 1, 15, tzinfo=UTC)
A_DAY = 5_000  # calls


def row(customer: Customer, number: int) -> CallRow:
    """Return the row of a call between one person and somebody else."""
    other = {**PARTY, "role": "callee", "number": f"+4989{number:07}", "uri": f"sip:+4989{number:07}@example.com"}
    stream = {"label": "1", "party": 0, "media": "audio", "codec": "PCMA", "packets": 1, "lost": 0, "gap_ms": 0}
    begin = FIRST + timedelta(seconds=number * 86_400 // A_DAY)
    details = {"session_id": "s", "parties": [PARTY, other], "streams": [stream, {**stream, "party": 1}]}
    leaf = customer.keys.allocate((begin - datetime(1970, 1, 1, tzinfo=UTC)).days)
    return CallRow(str(uuid.uuid4()), leaf, CallState.COMPLETE, begin, begin, 1, 1, details=details)


async def measure(folder: Path, count: int) -> None:
    """Fill a customer, export everything in each format and print the figures."""
    opened = await Customers.open(
        folder, RootSecret(bytes(32)), [CustomerSettings("acme")], database="sqlite", now=lambda: datetime.now(UTC)
    )
    acme, forms = opened["acme"], stored(PARTY, "DE")
    for start in range(0, count, 1000):
        rows = [row(acme, number) for number in range(start, min(count, start + 1000))]
        await acme.calls.put(rows, [forms] * len(rows))
    quiet = SimpleNamespace(info=lambda *_, **__: None, fault=lambda *_, **__: None)
    node = Node(data_dir=folder, runtime_dir=folder)
    job = ExportJob(opened, Tasks(lambda name, error: None), quiet, node)  # type: ignore[arg-type]  # as much of a log as it uses
    Garbage(time.monotonic, lambda: 0).begin()
    for form in ("xlsx", "csv", "json"):
        before = resource.getrusage(resource.RUSAGE_SELF)
        began = time.monotonic()
        asked = Request(form, columns.usual(True), "bench", None, PARTY["number"])
        export = await acme.exports.file(asked, "bench")
        await job.make(acme, export.id)
        done = await acme.exports.get(export.id)
        after = resource.getrusage(resource.RUSAGE_SELF)
        print(
            f"{form}: {done.size_bytes if done else 0:,} bytes, "
            f"{time.monotonic() - began:.1f} s, {after.ru_utime - before.ru_utime:.1f} s user, "
            f"{after.ru_stime - before.ru_stime:.1f} s system, {(after.ru_maxrss - before.ru_maxrss) >> 10} MB more"
        )
    await opened.close()


def main() -> None:
    """Measure with as many calls as asked for."""
    folder = Path(tempfile.mkdtemp(prefix="bench-exports-"))
    try:
        asyncio.run(measure(folder, int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
