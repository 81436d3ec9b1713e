"""Exports are made whole and hold what was asked for and nothing else."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from zipfile import ZipFile

import pytest

from admin_api.exports import columns
from personal import Personal
from recorder.exports import export_job
from recorder.exports.export_job import ExportJob
from recorder.exports.media_zip import UNFINISHED
from recorder.exports.render_job import INCOMPLETE
from storage.calls import stored_query
from storage.calls.call_row import CallState, Query
from storage.customer.customers import Customer
from tests.in_process.storage_node import record
from tests.recorder.export_jobs import FakeRenderer, Parts, called, data, make, table, tell

EVIL = '=HYPERLINK("http://evil")'


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
            export = await make(acme, job, query=stored_query.written(query), columns=columns.usual(by_party))
            return table(data(acme, export))

        assert {row[0] for row in (await found(Query(hold=False)))[1:]} == {*(row.id for row in mine[1:]), other.id}
        head, *rows = await found(Query(party=Personal("Mira Okafor"), hold=True))
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


def test_silence_for_an_undecodable_codec_is_noted(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        with ZipFile(io.BytesIO(data(acme, await make(acme, job, calls=(row.id,), media="wav")))) as zip:
            (told,) = json.loads(zip.read("media.json"))["media"]
        assert told["file"] == f"media/{row.id}.wav"
        assert told["problem"].startswith("Silent because it cannot be decoded here: EVS, G728.")

    tell(tmp_path, story, FakeRenderer(report={"streams": [{"unknown": ["G728"]}, {"unknown": ["EVS", "G728"]}]}))


def test_an_export_reports_lost_parts_of_a_call(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        export = await make(acme, job, calls=(row.id,), media="wav")
        with ZipFile(io.BytesIO(data(acme, export))) as zip:
            assert zip.namelist() == ["calls.csv", f"media/{row.id}.wav", "media.json"]
            assert json.loads(zip.read("media.json"))["media"][0]["problem"] == INCOMPLETE
        assert export.problem and "1 of 1 calls" in export.problem

    tell(tmp_path, story, FakeRenderer(report={"torn_parts": 1}))


def test_others_are_silenced_on_request_and_mixtures_left_out(tmp_path: Path) -> None:
    mixed = [{"label": "1", "party": [0, 1], "media": "audio"}]

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        apart, together = await called(acme), await called(acme, streams=mixed)
        asked = {"party": "Mira Okafor", "media": "wav", "silence_others": True}
        with ZipFile(io.BytesIO(data(acme, await make(acme, job, **asked)))) as zip:
            told = {each["call"]: each for each in json.loads(zip.read("media.json"))["media"]}
            assert zip.read(f"media/{apart.id}.wav") == b"wav of [0, -2]"
        assert told[together.id]["file"] is None and "cannot be separated" in told[together.id]["problem"]

    tell(tmp_path, story)


def test_the_end_of_a_live_call_is_silent_for_a_single_party(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme, state=CallState.RECORDING)
        asked = {"party": "Mira Okafor", "media": "wav"}
        for silence, heard, problem in ((False, b"wav of [0, 1]", None), (True, b"wav of [-1, -2]", UNFINISHED)):
            with ZipFile(io.BytesIO(data(acme, await make(acme, job, **asked, silence_others=silence)))) as zip:
                assert zip.read(f"media/{row.id}.wav") == heard  # below 0: not all of it
                assert json.loads(zip.read("media.json"))["media"][0]["problem"] == problem

    tell(tmp_path, story)


def test_a_call_that_cannot_be_rendered_spoils_no_other(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        silent = await record(acme)
        export = await make(acme, job, calls=(row.id, silent.id), media="wav")
        with ZipFile(io.BytesIO(data(acme, export))) as zip:
            told = json.loads(zip.read("media.json"))["media"]
            assert zip.namelist() == ["calls.csv", "media.json"]
        assert [each["problem"] for each in told] == ["no audio", "This call has no media of this kind."]
        assert export.problem and export.problem.startswith("Media missing or not whole: 2 of 2 calls.")
        assert (await make(acme, job, calls=(row.id,))).problem is None

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


LABELLED = [
    {"label": "mira.okafor", "party": 0, "media": "audio", "codec": "PCMA"},
    {"label": "tove.lind", "party": 1, "media": "audio", "codec": "PCMA"},
    {"label": "4711", "party": None, "media": "audio", "codec": "PCMA"},
    {"label": "guessed", "party": 0, "inferred": True, "media": "audio", "codec": "PCMA"},
    {"label": "20", "party": 1, "media": "video", "codec": "H264"},
    {"label": "conference", "party": [0, 1], "media": "audio", "codec": "PCMA"},
    {"label": "handed over", "party": 0, "earlier": [1], "media": "audio", "codec": "PCMA"},
]


def test_labels_that_may_name_others_go_out_only_if_asked_for(tmp_path: Path) -> None:
    """A client may send a name as the label of a stream: it is in a column, and the title of a track."""
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme, streams=LABELLED)
        hers, nobody = ["mira.okafor", *[None] * 3, "20", None, None], [*[None] * 4, "20", None, None]
        every = [stream["label"] for stream in LABELLED]
        asked: list[tuple[dict[str, Any], list[str | None]]] = [
            ({"party": "Mira Okafor"}, hers), ({"calls": (row.id,)}, nobody),
            ({"party": "Tove Lind"}, [None, "tove.lind", *nobody[2:]]),
        ]  # fmt: skip
        for whose, shown in asked:
            export = await make(acme, job, **whose, format="json", columns=("streams",), media="mkv")
            with ZipFile(io.BytesIO(data(acme, export))) as zip:
                (call,) = json.loads(zip.read("calls.json"))["calls"]
            assert [stream["label"] for stream in call["streams"]] == shown
            assert renderer.titles == [label or str(number) for number, label in enumerate(shown, 1)]
        export = await make(acme, job, calls=(row.id,), format="json", columns=("stream_labels",), media="mkv")
        with ZipFile(io.BytesIO(data(acme, export))) as zip:
            assert json.loads(zip.read("calls.json"))["calls"] == [{"stream_labels": every}]
        assert renderer.titles == every

    tell(tmp_path, story, renderer)
