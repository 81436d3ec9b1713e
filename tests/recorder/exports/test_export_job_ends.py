"""Exports end well whatever happens: erasures, restarts, full disks, faults, clocks."""

from __future__ import annotations

import asyncio
import os
import tracemalloc
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from media.export.encoder import Container
from recorder.exports import export_job
from recorder.exports.export_job import ExportJob
from recorder.persist.indexer import NO_THREAD
from recorder.runtime.trusted_clock import WallClock, readings
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.errors import StorageError
from storage.exports.exports import ExportState, Request
from tests.in_process.storage_node import permit
from tests.recorder.export_jobs import FakeRenderer, Parts, called, data, make, tell


def test_an_erasure_under_way_ends_the_export(tmp_path: Path) -> None:
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)

        async def erase() -> None:
            await permit(acme)
            await acme.erasures.file(calls=[row.id], reason="x", by="paula")
            await acme.erasures.work()

        renderer.during = erase
        filed = await acme.exports.file(Request("csv", ("id",), "x", (row.id,), None, "wav"), "paula")
        await job.make(acme, filed.id)
        assert await acme.exports.get(filed.id) is None
        assert [p for p in (acme.folder / "exports").rglob("*") if p.is_file()] == []
        assert node.log.lines == []

    tell(tmp_path, story, renderer)


def test_cancelling_ends_it(tmp_path: Path) -> None:
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        rows = [await called(acme), await called(acme)]
        filed = await acme.exports.file(Request("csv", ("id",), "x", tuple(r.id for r in rows), None, "wav"), "paula")
        renderer.during = lambda: acme.exports.cancel(filed.id)
        await job.make(acme, filed.id)
        found = await acme.exports.get(filed.id)
        assert found and found.state is ExportState.CANCELLED
        assert len(renderer.asked) == 1

    tell(tmp_path, story, renderer)


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        monkeypatch.setattr(export_job, "LEAST_FREE", 1 << 60)
        monkeypatch.setattr(export_job, "LEAST_SHARE", 1)
        export = await make(acme, job, calls=(row.id,))
        assert export.state is ExportState.FAILED and "no room" in (export.problem or "")

    tell(tmp_path, story)


def test_a_fault_of_ours_ends_that_export_only(tmp_path: Path) -> None:
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)

        async def fault() -> None:
            raise RuntimeError("Mira Okafor")

        renderer.during = fault
        export = await make(acme, job, calls=(row.id,), media="wav")
        assert export.state is ExportState.FAILED and "Mira" not in (export.problem or "")
        assert [event for event, _ in node.log.lines] == ["export.fault", "export.failed"]

    tell(tmp_path, story, renderer)


def test_an_export_is_kept_while_the_database_is_unavailable(tmp_path: Path) -> None:
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)

        async def away() -> None:
            raise DatabaseAway("the database is away")

        renderer.during = away
        with pytest.raises(StorageError):
            await make(acme, job, calls=(row.id,), media="wav")
        assert len(await acme.exports.unfinished()) == 1

    tell(tmp_path, story, renderer)


def test_an_unfinished_export_is_made_after_a_restart(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        filed = await acme.exports.file(Request("csv", ("id",), "x", (row.id,)), "paula")
        acme.exports.sink(await acme.exports.begin(filed.id)).close()  # half a file of the process before
        await job.run()
        await done(acme, filed.id)
        later = await acme.exports.file(Request("json", ("id",), "x", (row.id,)), "paula")
        await done(acme, later.id)
        assert node.tasks.names() == ["exports"]
        async with asyncio.timeout(30):  # the audit log is written after the state
            while [entry["action"] for entry in acme.audit.read().items].count("export.done") < 2:
                await asyncio.sleep(0.01)

    tell(tmp_path, story)


async def done(acme: Customer, id: str) -> None:
    async with asyncio.timeout(20):
        while (found := await acme.exports.get(id)) is None or found.state is not ExportState.DONE:
            await asyncio.sleep(0.01)


def test_export_progress_is_reported_until_the_end(tmp_path: Path) -> None:
    renderer = FakeRenderer()
    seen: list[dict[str, Any]] = []

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        rows = [await called(acme), await called(acme)]

        async def look() -> None:
            seen.append(dict(acme.exports.progress))

        renderer.during = look
        export = await make(acme, job, calls=tuple(r.id for r in rows), media="wav")
        assert seen == [{export.id: (2, 2)}, {export.id: (1, 2)}]
        assert acme.exports.progress == {}

    tell(tmp_path, story, renderer)


def test_nothing_in_the_clear_is_left_anywhere(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        await make(acme, job, calls=(row.id,), media="wav", format="xlsx", columns=("id", "parties"))
        await make(acme, job, party="Mira Okafor", format="json")
        everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        assert b"Okafor" not in everything and b"wav of" not in everything

    tell(tmp_path, story)


def test_a_zip_of_many_takes_the_memory_of_a_few(tmp_path: Path) -> None:
    class Loud(FakeRenderer):
        async def render(self, parts: Any, streams: Any, form: Container | str, out_fd: int, *_: Any) -> dict[str, Any]:
            for _ in range(8):
                os.write(out_fd, os.urandom(1 << 20))
            return {}

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        rows = [await called(acme) for _ in range(12)]
        tracemalloc.start()
        try:
            export = await make(acme, job, calls=tuple(row.id for row in rows), media="wav")
            most = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert export.size_bytes and export.size_bytes > 96 << 20
        assert most < 24 << 20

    tell(tmp_path, story, Loud())


def test_a_clock_that_is_set_ahead_ends_no_export(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, _: ExportJob) -> None:
        clock = WallClock(tmp_path / "clock", "boot", *readings())
        job = node.job(FakeRenderer(), clock)
        await called(acme)
        filed = await make(acme, job, party="Mira Okafor")
        acme.now.at += timedelta(days=30)  # type: ignore[attr-defined]  # the watch of the house
        assert await acme.exports.get(filed.id) is None, "by the clock alone it has expired"
        await job.run()
        assert await acme.exports.tidy() == 0
        found = await acme.exports.get(filed.id)
        assert found and data(acme, found) and len((await acme.exports.listed(9))[0]) == 1

    tell(tmp_path, story)


def test_a_thread_that_cannot_be_had_ends_no_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_job, "AGAIN_SECONDS", 0.01)

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        tidy, tried = acme.exports.tidy, list[int]()

        async def short() -> int:
            tried.append(1)
            if len(tried) < 3:
                raise RuntimeError(NO_THREAD)
            return await tidy()

        monkeypatch.setattr(acme.exports, "tidy", short)
        row = await called(acme)
        filed = await acme.exports.file(Request("csv", ("id",), "x", (row.id,)), "paula")
        await job.run()
        await done(acme, filed.id)

    tell(tmp_path, story)
