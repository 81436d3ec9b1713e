"""Exports are made whole, hold what was asked for and nothing else, and end well whatever happens."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import os
import tracemalloc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest

from admin_api import columns
from media.encode import Container
from recorder import export_job
from recorder.export_job import ExportJob
from recorder.rendering import RenderFailed
from recorder.tasks import Tasks
from recorder.wallclock import WallClock, readings
from storage import wishes
from storage.callrows import CallRow, Query
from storage.customers import Customer
from storage.database import DatabaseAway
from storage.errors import StorageError
from storage.exports import Export, ExportState, Request
from tests.storage.house import House, Watch, permit, record

EVIL = '=HYPERLINK("http://evil")'


@dataclass
class Log:
    lines: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def info(self, event: str, **facts: Any) -> None:
        self.lines.append((event, facts))

    def fault(self, event: str, problem: BaseException, **facts: Any) -> None:
        self.lines.append((event, {"fault": problem, **facts}))


@dataclass
class Parts:
    """What a job needs of a node."""

    customers: dict[str, Customer]
    runtime_dir: Path
    settings: Any
    log: Log = field(default_factory=Log)
    failed: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.tasks = Tasks(lambda name, error: self.failed.append(error))


@dataclass
class FakeRenderer:
    """Writes the names of the streams instead of rendering."""

    problem: str | None = None
    during: Callable[[], Awaitable[object]] | None = None
    asked: list[str] = field(default_factory=list)
    report: dict[str, Any] = field(default_factory=dict)

    async def render(self, parts: Any, streams: Any, form: Container | str, out_fd: int, *_: Any) -> dict[str, Any]:
        self.asked.append(str(form))
        if self.during:
            await self.during()
        if self.problem:
            raise RenderFailed(self.problem)
        os.write(out_fd, f"{form} of {[stream.index for stream in streams]}".encode())
        return self.report


Story = Callable[[Parts, Customer, ExportJob], Awaitable[None]]


def tell(tmp_path: Path, what: Story, renderer: FakeRenderer | None = None) -> None:
    async def run() -> None:
        house = House(tmp_path / "data", watch=Watch(datetime.now(UTC)))
        acme = await house.open()
        node = Parts({"acme": acme}, tmp_path, SimpleNamespace(node=SimpleNamespace(data_dir=tmp_path)))
        job = ExportJob(node, renderer or FakeRenderer())  # type: ignore[arg-type]  # what it needs of both
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
    """Record a call of Mira with somebody else."""
    details = {"streams": [{"label": "1", "party": 0, "media": "audio"}, {"label": "2", "party": 1, "media": "audio"}]}
    row = await record(acme, **{**details, **more})
    other = {"name": "Tove Lind", "number": "+4940777888", "uri": "sip:tove@example.org"}
    both = {**row.details, "parties": [*row.details["parties"], other]}
    row = CallRow(**{f: getattr(row, f) for f in row.__dataclass_fields__} | {"details": both})
    from storage.identity import stored_of

    await acme.calls.put([row], [stored_of(both["parties"], "DE")])
    return row


def test_a_person_gets_her_calls_and_nothing_of_others(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        mine = [await called(acme) for _ in range(3)]
        await record(acme, name="Somebody Else", number="+49301111111")
        for form in ("csv", "json", "xlsx"):
            content = data(acme, await make(acme, job, party="030 123456", format=form))
            if form == "csv":
                head, *rows = table(content)
                assert head == list(columns.usual(True))
                assert {row[0] for row in rows} == {row.id for row in mine}
                assert {row[head.index("party_name")] for row in rows} == {"Mira Okafor"}
            if form == "json":
                document = json.loads(content)
                assert (document["format"], document["version"]) == ("siprec-recorder/export", 1)
                assert {c["id"] for c in document["calls"]} == {row.id for row in mine}
                assert document["calls"][0]["party_number"] == "+4930123456"
            if form == "xlsx":
                with ZipFile(io.BytesIO(content)) as zip:
                    content = zip.read("xl/worksheets/sheet1.xml")
                assert content.count(b"Mira Okafor") == 3
            assert b"Tove" not in content and b"777888" not in content and b"Somebody" not in content

    tell(tmp_path, story)


def test_everything_that_a_search_finds_goes_into_one_file(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        mine = [await called(acme) for _ in range(3)]
        other = await record(acme, name="Somebody Else", number="+49301111111")
        await acme.holds.put(mine[0].id, "court", "paula")

        async def found(query: Query) -> list[list[str]]:
            by_party = query.party is not None
            export = await make(acme, job, query=wishes.written(query), columns=columns.usual(by_party))
            return table(data(acme, export))

        assert {row[0] for row in (await found(Query(hold=False)))[1:]} == {*(row.id for row in mine[1:]), other.id}
        head, *rows = await found(Query(party="Mira Okafor", hold=True))
        assert [(row[0], row[head.index("party_name")]) for row in rows] == [(mine[0].id, "Mira Okafor")]
        assert len(await found(Query(since=mine[0].started_at + timedelta(days=1)))) == 1

    tell(tmp_path, story)


def test_chosen_columns_in_chosen_order(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        names = ("other_name", "id", "party_number", "duration")
        rows = table(data(acme, await make(acme, job, party="Mira Okafor", columns=names)))
        assert rows == [list(names), ["Tove Lind", row.id, "'+4930123456", "0:01:00"]]
        rows = table(data(acme, await make(acme, job, calls=(row.id, row.id, "unknown"), columns=("id", "parties"))))
        assert [row[0] for row in rows] == ["id", row.id] and "Tove" in rows[1][1]

    tell(tmp_path, story)


def test_rows_go_from_batch_to_batch_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        monkeypatch.setattr(export_job, "BATCH", 2)
        for _ in range(5):
            await record(acme)
        by_party = table(data(acme, await make(acme, job, party="Mira Okafor", columns=("id",))))[1:]
        newest = [row.id async for batch in acme.calls.in_batches(export_job.Query(), 9) for row in batch.open()]
        assert [row[0] for row in by_party] == newest
        by_id = table(data(acme, await make(acme, job, calls=tuple(reversed(newest)), columns=("id",))))[1:]
        assert [row[0] for row in by_id] == newest[::-1]

    tell(tmp_path, story)


def test_media_lie_in_a_zip_beside_the_table(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        rows = [await called(acme) for _ in range(2)]
        export = await make(acme, job, calls=tuple(row.id for row in rows), media="opus", format="xlsx")
        content = data(acme, export)
        with ZipFile(io.BytesIO(content)) as zip:
            assert zip.testzip() is None
            assert zip.namelist() == ["calls.xlsx", *(f"media/{row.id}.ogg" for row in rows), "media.json"]
            assert zip.read(f"media/{rows[0].id}.ogg") == b"opus of [0, 1]"
            told = json.loads(zip.read("media.json"))
        assert told["media"][1] == {"call": rows[1].id, "file": f"media/{rows[1].id}.ogg", "problem": None}

    tell(tmp_path, story)


def test_silence_in_place_of_a_codec_that_cannot_be_decoded_is_said(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        with ZipFile(io.BytesIO(data(acme, await make(acme, job, calls=(row.id,), media="wav")))) as zip:
            (told,) = json.loads(zip.read("media.json"))["media"]
        assert told["file"] == f"media/{row.id}.wav"
        assert told["problem"].startswith("Silence stands for what cannot be decoded here: EVS, G728.")

    tell(tmp_path, story, FakeRenderer(report={"streams": [{"unknown": ["G728"]}, {"unknown": ["EVS", "G728"]}]}))


def test_the_others_are_silent_if_wanted_and_a_mixture_is_left_out(tmp_path: Path) -> None:
    mixed = [{"label": "1", "party": [0, 1], "media": "audio"}]

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        apart, together = await called(acme), await called(acme, streams=mixed)
        asked = {"party": "Mira Okafor", "media": "wav", "silence_others": True}
        with ZipFile(io.BytesIO(data(acme, await make(acme, job, **asked)))) as zip:
            told = {each["call"]: each for each in json.loads(zip.read("media.json"))["media"]}
            assert zip.read(f"media/{apart.id}.wav") == b"wav of [0, -2]"
        assert told[together.id]["file"] is None and "cannot be separated" in told[together.id]["problem"]

    tell(tmp_path, story)


def test_a_call_that_cannot_be_rendered_spoils_no_other(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        silent = await record(acme)
        with ZipFile(io.BytesIO(data(acme, await make(acme, job, calls=(row.id, silent.id), media="wav")))) as zip:
            told = json.loads(zip.read("media.json"))["media"]
            assert zip.namelist() == ["calls.csv", "media.json"]
        assert [each["problem"] for each in told] == ["no audio", "This call has no media of this kind."]

    tell(tmp_path, story, FakeRenderer(problem="no audio"))


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await record(acme, name=EVIL)
        asked = {"calls": (row.id,), "columns": ("participant_name", "parties")}
        assert "=HYPERLINK" in data(acme, await make(acme, job, **asked)).decode()
        with ZipFile(io.BytesIO(data(acme, await make(acme, job, **asked, format="xlsx")))) as zip:
            sheet = ElementTree.fromstring(zip.read("xl/worksheets/sheet1.xml"))  # noqa: S314 - our own file
        assert not list(sheet.iter("{http://schemas.openxmlformats.org/spreadsheetml/2006/main}f"))

    tell(tmp_path, story)


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


def test_a_database_that_is_away_is_asked_again(tmp_path: Path) -> None:
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


def test_what_a_restart_finds_is_made(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        filed = await acme.exports.file(Request("csv", ("id",), "x", (row.id,)), "paula")
        acme.exports.sink(await acme.exports.begin(filed.id)).close()  # half a file of the process before
        await job.run()
        await done(acme, filed.id)
        later = await acme.exports.file(Request("json", ("id",), "x", (row.id,)), "paula")
        await done(acme, later.id)
        assert node.tasks.names() == ["exports"]
        acts = [entry["action"] for entry in acme.audit.read().items]
        assert acts.count("export.done") == 2

    tell(tmp_path, story)


async def done(acme: Customer, id: str) -> None:
    async with asyncio.timeout(20):
        while (found := await acme.exports.get(id)) is None or found.state is not ExportState.DONE:
            await asyncio.sleep(0.01)


def test_progress_is_told_while_it_lasts(tmp_path: Path) -> None:
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
        assert list(Path("/dev/shm").glob(f"{job.scratch._prefix}*")) == []

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
        job = ExportJob(node, FakeRenderer(), clock)  # type: ignore[arg-type]  # what it needs of both
        await called(acme)
        filed = await make(acme, job, party="Mira Okafor")
        acme.now.at += timedelta(days=30)  # type: ignore[attr-defined]  # the watch of the house
        assert await acme.exports.get(filed.id) is None, "by the clock alone it has expired"
        await job.run()
        assert await acme.exports.tidy() == 0
        found = await acme.exports.get(filed.id)
        assert found and data(acme, found) and len((await acme.exports.listed(9))[0]) == 1

    tell(tmp_path, story)
