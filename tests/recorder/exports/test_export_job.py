"""Exports hold what was asked for and nothing else, and end well whatever happens."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from personal import Personal
from recorder.exports import export_job
from recorder.exports.export_job import ExportJob, remove_left_folders
from recorder.exports.media_zip import NOTHING, UNFINISHED
from recorder.exports.render_client import RenderFailed
from recorder.exports.render_job import INCOMPLETE
from recorder.persist.indexer import NO_THREAD
from recorder.runtime.trusted_clock import WallClock, readings
from storage.calls import stored_query
from storage.calls.call_row import CallState, Query
from storage.customer.customers import Customer
from storage.database.database import DatabaseAway
from storage.exports import columns
from storage.exports.exports import Export, ExportState, Request
from tests.in_process.storage_node import permit, record
from tests.recorder.export_jobs import FakeRenderer, called, data, job_of, make, table, unpacked
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.anyio
SHEET = "xl/worksheets/sheet1.xml"


def media_of(acme: Customer, export: Export) -> dict[str, tuple[str | None, str | None]]:
    """Return file and problem of each call, as media.json says."""
    told = json.loads(unpacked(data(acme, export))["media.json"])["media"]
    return {each["call"]: (each["file"], each["problem"]) for each in told}


async def test_a_person_gets_her_calls_and_nothing_of_others(acme: Customer, job: ExportJob) -> None:
    mine = {(await called(acme)).id for _ in range(3)}
    await record(acme, name="Somebody Else", number="+49301111111")
    text, document, sheet = [
        data(acme, await make(acme, job, party="030 123456", format=form)) for form in ("csv", "json", "xlsx")
    ]
    head, *rows = table(text)
    assert head == list(columns.usual(True))
    assert {(row[0], row[head.index("party_name")]) for row in rows} == {(id, "Mira Okafor") for id in mine}
    told = json.loads(document)
    assert (told["format"], told["version"]) == ("siprec-recorder/export", 1)
    assert {(call["id"], call["party_number"]) for call in told["calls"]} == {(id, "+4930123456") for id in mine}
    assert unpacked(sheet)[SHEET].count(b"Mira Okafor") == 3
    for content in (text, document, unpacked(sheet)[SHEET]):
        assert not [word for word in (b"Tove", b"777888", b"Somebody") if word in content]


async def test_everything_that_a_search_finds_goes_into_one_file(acme: Customer, job: ExportJob) -> None:
    mine = [await called(acme) for _ in range(3)]
    other = await record(acme, name="Somebody Else", number="+49301111111")
    await acme.holds.put(mine[0].id, "court", "paula")

    async def found(query: Query) -> list[list[str]]:
        by_party = query.party is not None
        export = await make(acme, job, query=stored_query.written(query), columns=columns.usual(by_party))
        return table(data(acme, export))

    assert {row[0] for row in (await found(Query(hold=False)))[1:]} == {*(row.id for row in mine[1:]), other.id}
    head, *rows = await found(Query(party=Personal("Mira Okafor"), hold=True))
    assert [(row[0], row[head.index("party_name")]) for row in rows] == [(mine[0].id, "Mira Okafor")]
    assert len(await found(Query(since=mine[0].started_at + timedelta(days=1)))) == 1


async def test_chosen_columns_in_chosen_order(acme: Customer, job: ExportJob) -> None:
    row = await called(acme)
    names = ("other_name", "id", "party_number", "duration")
    rows = table(data(acme, await make(acme, job, party="Mira Okafor", columns=names)))
    assert rows == [list(names), ["Tove Lind", row.id, "'+4930123456", "0:01:00"]]
    rows = table(data(acme, await make(acme, job, calls=(row.id, row.id, "unknown"), columns=("id", "parties"))))
    assert [row[0] for row in rows] == ["id", row.id] and "Tove" in rows[1][1]


async def test_rows_go_from_batch_to_batch_in_order(
    acme: Customer, job: ExportJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export_job, "BATCH", 2)
    for _ in range(5):
        await record(acme)
    newest = [row.id async for batch in acme.calls.in_batches(Query(), 9) for row in batch.open()]
    asked: Any = (({"party": "Mira Okafor"}, newest), ({"calls": tuple(newest[::-1])}, newest[::-1]))
    for whose, expected in asked:
        rows = table(data(acme, await make(acme, job, **whose, columns=("id",))))
        assert [row[0] for row in rows[1:]] == expected


async def test_media_lie_in_a_zip_beside_the_table(acme: Customer, job: ExportJob) -> None:
    rows = [await called(acme) for _ in range(2)]
    export = await make(acme, job, calls=tuple(row.id for row in rows), media="opus", format="xlsx")
    files = unpacked(data(acme, export))
    names = [f"media/{row.id}.ogg" for row in rows]
    assert [name for name in files if "calls.xlsx/" not in name] == ["calls.xlsx", *names, "media.json"]
    assert files[names[0]] == b"opus of [0, 1]"
    assert media_of(acme, export) == {row.id: (name, None) for row, name in zip(rows, names, strict=True)}


@pytest.mark.parametrize(
    ("report", "problem", "caveat"),
    [
        (
            {"streams": [{"unknown": ["G728"]}, {"unknown": ["EVS", "G728"]}]},
            "Silent because it cannot be decoded here: EVS, G728.",
            "1 of 1 calls",
        ),
        ({"torn_parts": 1}, INCOMPLETE, "1 of 1 calls"),
    ],
)
async def test_what_a_file_lacks_stands_in_the_export(
    acme: Customer, job: ExportJob, renderer: FakeRenderer, report: dict[str, Any], problem: str, caveat: str
) -> None:
    renderer.report = report
    row = await called(acme)
    export = await make(acme, job, calls=(row.id,), media="wav")
    file, said = media_of(acme, export)[row.id]
    assert file == f"media/{row.id}.wav" and (said or "").startswith(problem)
    assert caveat in (export.problem or "")


async def test_a_call_that_cannot_be_rendered_spoils_no_other(
    acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    renderer.problem = RenderFailed("no audio")
    row, silent = await called(acme), await record(acme)
    export = await make(acme, job, calls=(row.id, silent.id), media="wav")
    assert list(unpacked(data(acme, export))) == ["calls.csv", "media.json"]
    assert media_of(acme, export) == {row.id: (None, "no audio"), silent.id: (None, NOTHING)}
    assert (export.problem or "").startswith("Media missing or not whole: 2 of 2 calls.")
    assert (await make(acme, job, calls=(row.id,))).problem is None


async def test_the_end_of_a_live_call_is_silent_for_a_single_party(acme: Customer, job: ExportJob) -> None:
    row = await called(acme, state=CallState.RECORDING)
    for silence, heard, problem in ((False, b"wav of [0, 1]", None), (True, b"wav of [-1, -2]", UNFINISHED)):
        export = await make(acme, job, party="Mira Okafor", media="wav", silence_others=silence)
        assert unpacked(data(acme, export))[f"media/{row.id}.wav"] == heard  # below 0: not all of it
        assert media_of(acme, export)[row.id][1] == problem


LABELLED: list[dict[str, Any]] = [
    {"label": "mira.okafor", "party": 0, "media": "audio", "codec": "PCMA"},
    {"label": "tove.lind", "party": 1, "media": "audio", "codec": "PCMA"},
    {"label": "4711", "party": None, "media": "audio", "codec": "PCMA"},
    {"label": "guessed", "party": 0, "inferred": True, "media": "audio", "codec": "PCMA"},
    {"label": "20", "party": 1, "media": "video", "codec": "H264"},
    {"label": "conference", "party": [0, 1], "media": "audio", "codec": "PCMA"},
    {"label": "handed over", "party": 0, "earlier": [1], "media": "audio", "codec": "PCMA"},
]
NOBODY = [*[None] * 4, "20", None, None]


@pytest.mark.parametrize(
    ("whose", "shown"),
    [
        ({"party": "Mira Okafor"}, ["mira.okafor", *NOBODY[1:]]),
        ({"party": "Tove Lind"}, [None, "tove.lind", *NOBODY[2:]]),
        ({}, NOBODY),
        ({"columns": ("stream_labels",)}, [stream["label"] for stream in LABELLED]),
    ],
)
async def test_labels_that_may_name_others_are_hidden_by_default(
    acme: Customer, job: ExportJob, renderer: FakeRenderer, whose: dict[str, Any], shown: list[str | None]
) -> None:
    """A client may send a name as the label of a stream: it is in a column, and the title of a track."""
    row = await called(acme, streams=LABELLED)
    asked: dict[str, Any] = {"columns": ("streams",), **({} if "party" in whose else {"calls": (row.id,)}), **whose}
    export = await make(acme, job, **asked, format="json", media="mkv")
    (call,) = json.loads(unpacked(data(acme, export))["calls.json"])["calls"]
    labels = call.get("stream_labels") or [stream["label"] for stream in call["streams"]]
    assert labels == shown
    assert renderer.titles == [label or str(number) for number, label in enumerate(shown, 1)]


async def filed(acme: Customer, **more: Any) -> Any:
    """Ask for two calls; return the export."""
    calls = ((await called(acme)).id, (await called(acme)).id)
    return await acme.exports.file(Request("csv", ("id",), "x", calls, **more), "paula")


async def done(acme: Customer, id: str) -> bool:
    found = await acme.exports.get(id)
    return found is not None and found.state is ExportState.DONE


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
    assert node.log.lines == ["export.fault", "export.failed"]


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

    async def short(*, expired: bool = True) -> int:
        tried.append(1)
        if len(tried) < 3:
            raise RuntimeError(NO_THREAD)
        return await tidy(expired=expired)

    monkeypatch.setattr(acme.exports, "tidy", short)
    export = await filed(acme)
    acme.exports.sink(await acme.exports.begin(export.id)).close()  # half a file of the process before
    await job.run()
    await node.until(lambda: done(acme, export.id))
    later = await filed(acme)
    await node.until(lambda: done(acme, later.id))
    assert node.tasks.names() == ["exports"]
    await node.until(lambda: [entry["action"] for entry in acme.audit.read().items].count("export.done") == 2)


async def test_no_content_lies_unencrypted_on_the_disk(acme: Customer, job: ExportJob, tmp_path: Path) -> None:
    row = await called(acme)
    await make(acme, job, calls=(row.id,), media="wav", format="xlsx", columns=("id", "parties"))
    await make(acme, job, party="Mira Okafor", format="json")
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
    assert b"Okafor" not in everything and b"wav of" not in everything


async def test_a_clock_that_is_set_ahead_ends_no_export(node: Parts, acme: Customer, tmp_path: Path) -> None:
    job = job_of(node, FakeRenderer(), WallClock(tmp_path / "clock", "boot", *readings()))
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
