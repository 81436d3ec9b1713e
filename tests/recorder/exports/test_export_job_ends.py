"""Exports end well whatever happens: erasures, restarts, full disks, faults, clocks."""

from __future__ import annotations

import asyncio
import hashlib
import os
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from media.export.encoder import Container
from recorder.exports import export_job
from recorder.exports.export_job import ExportJob, remove_left_folders
from recorder.persist.indexer import NO_THREAD
from recorder.runtime.trusted_clock import WallClock, readings
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.exports.exports import ExportState, Request
from tests.in_process.storage_node import permit
from tests.recorder.export_jobs import FakeRenderer, Parts, called, data, make

pytestmark = pytest.mark.anyio


async def filed(acme: Customer, **more: Any) -> Any:
    """Ask for two calls; return the export."""
    calls = ((await called(acme)).id, (await called(acme)).id)
    return await acme.exports.file(Request("csv", ("id",), "x", calls, **more), "paula")


async def done(acme: Customer, id: str) -> None:
    async with asyncio.timeout(20):
        while (found := await acme.exports.get(id)) is None or found.state is not ExportState.DONE:
            await asyncio.sleep(0.01)


async def test_an_erasure_under_way_ends_the_export(
    node: Parts, acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    export = await filed(acme, media="wav")

    async def erase() -> None:
        await permit(acme)
        await acme.erasures.file(calls=export.request.calls[:1], reason="x", by="paula")
        await acme.erasures.work()

    renderer.during = erase
    await job.make(acme, export.id)
    assert await acme.exports.get(export.id) is None
    assert [p for p in (acme.folder / "exports").rglob("*") if p.is_file()] == []
    assert node.log.lines == []


async def test_cancelling_ends_it(acme: Customer, job: ExportJob, renderer: FakeRenderer) -> None:
    export = await filed(acme, media="wav")
    renderer.during = lambda: acme.exports.cancel(export.id)
    await job.make(acme, export.id)
    found = await acme.exports.get(export.id)
    assert found and found.state is ExportState.CANCELLED
    assert len(renderer.asked) == 1


async def test_a_full_disk_fails_the_export(acme: Customer, job: ExportJob, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_job, "LEAST_FREE", 1 << 60)
    monkeypatch.setattr(export_job, "LEAST_SHARE", 1)
    export = await make(acme, job, party="Mira Okafor")
    assert export.state is ExportState.FAILED and "no room" in (export.problem or "")


async def test_a_fault_of_ours_ends_that_export_only(
    node: Parts, acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    renderer.problem = RuntimeError("Mira Okafor")
    await called(acme)
    export = await make(acme, job, party="Mira Okafor", media="wav")
    assert export.state is ExportState.FAILED and "Mira" not in (export.problem or "")
    assert [event for event, _ in node.log.lines] == ["export.fault", "export.failed"]


async def test_an_export_is_kept_while_the_database_is_unavailable(
    acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    renderer.problem = DatabaseAway("the database is away")
    await called(acme)
    with pytest.raises(DatabaseAway):
        await make(acme, job, party="Mira Okafor", media="wav")
    assert len(await acme.exports.unfinished()) == 1


async def test_exports_are_made_after_a_restart_or_a_failed_attempt(
    node: Parts, acme: Customer, job: ExportJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "AGAIN_SECONDS", 0.01)
    tidy, tried = acme.exports.tidy, list[int]()

    async def short() -> int:
        tried.append(1)
        if len(tried) < 3:
            raise RuntimeError(NO_THREAD)
        return await tidy()

    monkeypatch.setattr(acme.exports, "tidy", short)
    export = await filed(acme)
    acme.exports.sink(await acme.exports.begin(export.id)).close()  # half a file of the process before
    await job.run()
    await done(acme, export.id)
    await done(acme, (await filed(acme)).id)
    assert node.tasks.names() == ["exports"]
    async with asyncio.timeout(30):  # the audit log is written after the state
        while [entry["action"] for entry in acme.audit.read().items].count("export.done") < 2:
            await asyncio.sleep(0.01)


async def test_export_progress_is_reported_until_the_end(
    acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    seen: list[dict[str, Any]] = []

    async def look() -> None:
        seen.append(dict(acme.exports.progress))

    renderer.during = look
    export = await filed(acme, media="wav")
    await job.make(acme, export.id)
    assert seen == [{export.id: (2, 2)}, {export.id: (1, 2)}]
    assert acme.exports.progress == {}


async def test_no_content_lies_unencrypted_on_the_disk(acme: Customer, job: ExportJob, tmp_path: Path) -> None:
    row = await called(acme)
    await make(acme, job, calls=(row.id,), media="wav", format="xlsx", columns=("id", "parties"))
    await make(acme, job, party="Mira Okafor", format="json")
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"Okafor" not in everything and b"wav of" not in everything


class Loud(FakeRenderer):
    """Renders much more than fits the memory that is allowed."""

    async def render(self, parts: Any, streams: Any, form: Container | str, out_fd: int, *_: Any) -> dict[str, Any]:
        os.write(out_fd, bytes(16 << 20))
        return {}


async def test_a_zip_of_many_takes_the_memory_of_a_few(node: Parts, acme: Customer) -> None:
    for _ in range(4):
        await called(acme)
    tracemalloc.start()
    try:
        export = await make(acme, node.job(Loud()), party="Mira Okafor", media="wav")
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert export.size_bytes and export.size_bytes > 64 << 20
    assert most < 24 << 20


async def test_a_clock_that_is_set_ahead_ends_no_export(node: Parts, acme: Customer, tmp_path: Path) -> None:
    job = node.job(FakeRenderer(), WallClock(tmp_path / "clock", "boot", *readings()))
    export = await make(acme, job, party="Mira Okafor")
    acme.now.at += timedelta(days=30)  # type: ignore[attr-defined]  # the watch of the story
    assert await acme.exports.get(export.id) is None, "by the clock alone it has expired"
    await job.run()
    assert await acme.exports.tidy() == 0
    found = await acme.exports.get(export.id)
    assert found and data(acme, found) and len((await acme.exports.listed(9))[0]) == 1


def test_only_folders_of_a_killed_older_process_are_swept(tmp_path: Path) -> None:
    run, other, shared = tmp_path / "run", tmp_path / "other", tmp_path / "shared"
    for place in (run, shared):
        for whose in (run, other):
            folder = place / f"recorder-{hashlib.sha256(str(whose).encode()).hexdigest()[:12]}-abc"
            folder.mkdir(parents=True)
            (folder / "rows").write_text("Mira Okafor")
    remove_left_folders(run, (shared,))
    left = list(tmp_path.rglob("rows"))
    assert len(left) == 2
    assert all(hashlib.sha256(str(other).encode()).hexdigest()[:12] in str(path) for path in left)
