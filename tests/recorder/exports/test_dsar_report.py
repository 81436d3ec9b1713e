"""A report holds what was confirmed and nothing of anybody else, is opened by other people's programs, and is whole."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from recorder.exports.dsar_report import UNDECIDED
from recorder.exports.export_job import ExportJob
from storage.audit.hash_chain import Act
from storage.calls.call_row import CallRow, CallState, Direction
from storage.customer.customers import Customer
from storage.directory.user import Person
from storage.exports.exports import ExportState
from storage.keys.age import parse
from storage.retention.rules import RuleSpec
from storage.search_forms import stored_of
from storage.subject_requests.cases import Asked, Case, Kind, Selection, State, Step, Wanted
from tests.in_process.storage_node import record
from tests.recorder.exports.test_export_job import FakeRenderer, Parts, tell

ME = {"role": "caller", "name": "Mira Okafor", "number": "+4930123456", "uri": "sip:mira@pbx.example"}
TOVE = {"role": "callee", "name": "Tove Lind", "number": "+4940777888", "uri": "sip:tove.lind@pbx.example"}
APART = [{"label": str(n), "party": n, "media": "audio", "codec": "PCMA"} for n in range(2)]
MIXED = [{"label": "1", "party": [0, 1], "media": "audio", "codec": "PCMA"}]
OTHERS = (b"Tove", b"Lind", b"777888", b"tove.lind", b"secret words", b"+4940")
SECRET = "correct horse battery"

Story = Callable[[Parts, Customer, ExportJob], Awaitable[None]]


async def called(acme: Customer, *parties: dict[str, Any], **details: Any) -> CallRow:
    """Record a call of these people; it has no files."""
    row = await record(acme, **{"streams": APART, **details})
    await acme.calls.remove([row.id])
    row = replace(row, details={**row.details, "parties": list(parties or (ME, TOVE))}, size_bytes=0)
    await acme.calls.put([row], [stored_of(row.details["parties"], "DE")])
    return row


async def confirmed(acme: Customer, *rows: CallRow, user: str | None = None) -> Case:
    """File a request and confirm these calls."""
    asked = Asked(("Mira Okafor", "+49 30 123456"), user, "letter 7", "everything")
    case = await acme.requests.file((Kind.ACCESS,), asked, received_at=acme.now(), by="paula")
    return await acme.requests.select(case.id, Selection({row.id: (0,) for row in rows}))


async def reported(acme: Customer, job: ExportJob, case: Case, **wanted: Any) -> tuple[Case, bytes]:
    """Ask for a report and make it; return the case and the file."""
    case, export = await acme.requests.report(case.id, Wanted(**wanted), by="paula")
    await job.make(acme, export.id)
    made = await acme.exports.get(export.id)
    assert made is not None and made.state is ExportState.DONE, made and made.problem
    found = await acme.requests.get(case.id)
    assert found is not None and found.state is State.REPORTED
    return found, b"".join(acme.exports.read(made))


def unpacked(data: bytes) -> dict[str, bytes]:
    """Return every file of a zip by name, with those of the spreadsheet in it."""
    found = {}
    with ZipFile(io.BytesIO(data)) as zip:
        assert zip.testzip() is None
        for name in zip.namelist():
            found[name] = zip.read(name)
            if name.endswith(".xlsx"):
                with ZipFile(io.BytesIO(found[name])) as inner:
                    found |= {f"{name}/{part}": inner.read(part) for part in inner.namelist()}
    return found


def test_a_report_holds_nothing_of_other_people(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        await acme.annotations.add(row.id, "Tove Lind says the name is spelt Okafor.", "paula")
        await acme.attachments.add(
            row.id, "transcript", "text/vtt", b"WEBVTT\n\nsecret words", "paula", title="Tove Lind"
        )
        case, data = await reported(acme, job, await confirmed(acme, row), media="opus")
        files = unpacked(data)
        assert [name for name in files if not name.startswith("calls.xlsx/")] == [
            f"media/{row.id}.ogg", "calls.json", "calls.xlsx", "report.html",
        ]  # fmt: skip
        assert not [(name, word) for name, content in files.items() for word in OTHERS if word in content]
        (call,) = json.loads(files["calls.json"])["calls"]
        assert call["person"] == [{**ME, "joined_at": None, "left_at": None, "also": [], "known_as": None}]
        assert (call["others"], call["annotations"], call["attachments"]) == (1, 1, 1)
        assert call["media"] == {"file": f"media/{row.id}.ogg", "problem": None}
        assert [stream["of"] for stream in call["streams"]] == ["person", "others"]
        assert b"Mira Okafor" in files["report.html"] and b"Mira Okafor" in files["calls.xlsx/xl/worksheets/sheet1.xml"]
        note = case.reports[0]
        assert note["sha256"] == hashlib.sha256(data).hexdigest() and note["size_bytes"] == len(data)
        assert note["calls"] == [row.id] and note["without_media"] == [] == note["not_separable"]

    tell(tmp_path, story)


def test_others_are_named_if_the_administrator_asks_for_it(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        await acme.annotations.add(row.id, "Tove Lind says so.", "paula")
        await acme.attachments.add(row.id, "chat", "application/json", b'["secret words"]', "paula")
        _, data = await reported(acme, job, await confirmed(acme, row), other_parties=True)
        files = unpacked(data)
        (call,) = json.loads(files["calls.json"])["calls"]
        assert call["other_parties"][0]["number"] == TOVE["number"]
        assert call["annotation_texts"][0]["text"] == "Tove Lind says so."
        assert files[call["attachment_files"][0]["file"]] == b'["secret words"]'
        for name in ("report.html", "calls.xlsx/xl/worksheets/sheet1.xml"):
            assert b"Tove Lind" in files[name]

    tell(tmp_path, story)


def test_renumbered_parties_show_nobody_else_in_a_report(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        placeholder = {"role": "participant", "name": None, "number": None, "uri": "sip:pbx.example"}
        row = await called(acme, placeholder, ME, TOVE)
        live = replace(row, state=CallState.RECORDING, ended_at=None)
        case = await confirmed(acme)
        case = await acme.requests.select(case.id, Selection({row.id: (1,)}))
        for parties, mine in (([ME, TOVE], []), ([placeholder, ME, TOVE], ["Mira Okafor"])):
            await acme.calls.remove([row.id])
            moved = replace(live, details={**row.details, "parties": parties})
            await acme.calls.put([moved], [stored_of(parties, "DE")])
            case, data = await reported(acme, job, case)
            (call,) = json.loads(unpacked(data)["calls.json"])["calls"]
            assert [person["name"] for person in call["person"]] == mine
            assert not [word for content in unpacked(data).values() for word in OTHERS if word in content]

    tell(tmp_path, story)


def test_others_are_silenced_and_a_mixture_is_said(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        apart, together = await called(acme), await called(acme, streams=MIXED)
        case, data = await reported(acme, job, await confirmed(acme, apart, together), media="wav", silence_others=True)
        files = unpacked(data)
        assert files[f"media/{apart.id}.wav"] == b"wav of [0, -2]" and f"media/{together.id}.wav" not in files
        note = case.reports[0]
        assert note["not_separable"] == [together.id]
        assert [each["call"] for each in note["without_media"]] == [together.id]
        told = {call["id"]: call["media"] for call in json.loads(files["calls.json"])["calls"]}
        assert told[together.id]["file"] is None and "cannot be separated" in told[together.id]["problem"]
        assert "lässt sich nicht trennen" in files["report.html"].decode()

    tell(tmp_path, story)


def test_a_call_without_a_chosen_party_shows_no_party(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        case = await confirmed(acme, row)
        await acme.requests.select(case.id, Selection({row.id: ()}))
        case, data = await reported(acme, job, case, media="wav", silence_others=True)
        files = unpacked(data)
        (call,) = json.loads(files["calls.json"])["calls"]
        assert (call["person"], call["others"], call["media"]) == ([], 2, {"file": None, "problem": UNDECIDED})
        assert case.reports[0]["without_media"] == [{"call": row.id, "problem": UNDECIDED}]
        everything = b"".join(content for name, content in files.items() if name != "calls.json")
        assert TOVE["number"].encode() not in everything and ME["uri"].encode() not in everything

    tell(tmp_path, story)


def test_the_user_record_and_who_has_seen_what(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row, other = await called(acme), await called(acme)
        person = Person("Mira", "Okafor", "mira", "mira@pbx.example", "", "o1", ("+4930123456",), ())
        await acme.users.carry_out(await acme.users.plan([person], "csv", whole=False))
        (user,), _ = await acme.users.listed(9)

        async def act(action: str, object: str, outcome: str = "done", role: str = "listener") -> None:
            acme.audit.append(Act("Kommissar Knut", role, action, object, outcome, "")).result()

        await act("call.view", row.id)
        await act("call.media", row.id)
        await act("call.media", row.id, "refused")
        await act("call.media", other.id)
        await act("call.hold", row.id)
        await act("user.view", user.id, role="privacy")
        export = await acme.exports.file(_csv(row.id), "paula")
        await job.make(acme, export.id)
        await act("export.file", export.id, role="admin")
        theirs, _ = await reported(acme, job, await confirmed(acme, row))
        await act("request.report_file", theirs.id, role="privacy")
        mine, _ = await reported(acme, job, await confirmed(acme, row, user=user.id))
        await act("request.report_file", mine.id, role="privacy")
        mine, data = await reported(acme, job, mine)
        assert mine.export in await acme.exports.holding([user.id])
        files = unpacked(data)
        (call,) = json.loads(files["calls.json"])["calls"]
        assert [(each["what"], each["role"]) for each in call["seen"]] == [
            ("viewed", "listener"), ("heard", "listener"), ("exported", "admin"), ("exported", "privacy"),
        ]  # fmt: skip
        shown = json.loads(files["user.json"])
        assert shown["email"] == "mira@pbx.example" and shown["seen"][0]["what"] == "viewed"
        assert call["person"][0]["known_as"] == "Mira Okafor"
        assert not any(b"Knut" in content or b"paula" in content for content in files.values())

    tell(tmp_path, story)


def test_until_when_it_is_kept_and_why(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row, inbound = await called(acme), await called(acme, direction="inbound")
        await acme.rules.put([RuleSpec(30, Direction.INBOUND, name="Tove Lind's desk")], by="paula")
        await acme.holds.put(row.id, "court file of Tove Lind", "paula")
        _, data = await reported(acme, job, await confirmed(acme, row, inbound))
        files = unpacked(data)
        kept = {call["id"]: call["kept"] for call in json.loads(files["calls.json"])["calls"]}
        assert (kept[row.id]["by"], kept[row.id]["days"]) == ("default", 180) and kept[row.id]["held_since"]
        assert (kept[inbound.id]["by"], kept[inbound.id]["days"]) == ("rule", 30)
        assert kept[inbound.id]["until"] is not None and kept[inbound.id]["held_since"] is None
        assert not any(word in content for content in files.values() for word in OTHERS)

    tell(tmp_path, story)


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed (Debian: apt-get install age)")
@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed (Debian: apt-get install unzip)")
def test_age_opens_it_and_unzip_unpacks_it(tmp_path: Path) -> None:
    key = tmp_path / "key"
    said = subprocess.run(["age-keygen", "-o", key], capture_output=True, check=True, text=True).stderr
    made: list[str] = []

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme)
        case = await confirmed(acme, row)
        case, data = await reported(acme, job, case, media="wav", recipient=said.split()[-1])
        assert case.reports[0]["encrypted"] == "recipient" and b"Okafor" not in data
        (tmp_path / "r.age").write_bytes(data)
        made.append(row.id)

    tell(tmp_path, story)
    subprocess.run(["age", "-d", "-i", key, "-o", tmp_path / "r.zip", tmp_path / "r.age"], check=True)
    done = subprocess.run(["unzip", "-d", tmp_path / "to", tmp_path / "r.zip"], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / f"to/media/{made[0]}.wav").read_bytes() == b"wav of [0, 1]"
    assert "Mira Okafor" in (tmp_path / "to/report.html").read_text()


def test_a_passphrase_opens_it_and_is_forgotten(tmp_path: Path) -> None:
    pyrage = pytest.importorskip("pyrage")

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        case, data = await reported(acme, job, await confirmed(acme, await called(acme)), passphrase=SECRET)
        assert "calls.json" in unpacked(pyrage.passphrase.decrypt(data, SECRET))
        export = await acme.exports.get(case.export or "")
        assert export is not None and export.request is not None and export.request.passphrase is None

    tell(tmp_path, story)


def test_nothing_lies_in_the_clear_on_the_disk(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        case, _ = await reported(acme, job, await confirmed(acme, await called(acme)), media="wav")
        await acme.requests.report(case.id, Wanted(passphrase=SECRET), by="paula")
        await acme.database.scrub()
        raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
        for word in (b"Okafor", b"123456", b"wav of", b"letter 7", b"report.html", SECRET.encode()):
            assert word not in raw

    tell(tmp_path, story)


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        case, data = await reported(acme, job, await confirmed(acme))
        files = unpacked(data)
        assert json.loads(files["calls.json"])["calls"] == [] and case.reports[0]["calls"] == []
        assert "Kein aufgezeichnetes Gespräch" in files["report.html"].decode()

    tell(tmp_path, story)


def test_a_call_erased_during_the_report_cancels_the_report(
    tmp_path: Path,
) -> None:
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        rows = [await called(acme) for _ in range(2)]
        case = await confirmed(acme, *rows)
        acme.keys.cut(rows[0].leaf)
        case, _ = await reported(acme, job, case)
        assert case.reports[0]["calls"] == [rows[1].id]

        async def gone() -> None:
            await acme.exports.forget([rows[1].id])

        renderer.during = gone
        case, export = await acme.requests.report(case.id, Wanted(media="wav"), by="paula")
        await job.make(acme, export.id)
        assert await acme.exports.get(export.id) is None
        found = await acme.requests.get(case.id)
        assert found is not None and found.state is State.CONFIRMED

    tell(tmp_path, story, renderer)


def test_a_restarted_report_begins_anew_and_shows_progress(tmp_path: Path) -> None:
    renderer = FakeRenderer()

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        rows = [await called(acme) for _ in range(3)]
        _, export = await acme.requests.report((await confirmed(acme, *rows)).id, Wanted(media="wav"), by="paula")
        seen: list[Any] = []

        async def look() -> None:
            seen.append(acme.exports.progress.get(export.id))

        renderer.during = look
        acme.exports.sink(await acme.exports.begin(export.id)).close()  # half a file of the process before
        await job.make(acme, export.id)
        assert seen == [None, (1, 3), (2, 3)]
        made = await acme.exports.get(export.id)
        assert made is not None and made.state is ExportState.DONE
        acts = [entry["action"] for entry in acme.audit.read().items]
        assert "export.done" in acts

    tell(tmp_path, story, renderer)


def test_the_job_finishes_closing_a_request_after_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        case = await confirmed(acme, await called(acme))

        async def crash(_: Case) -> Case:
            raise RuntimeError

        with monkeypatch.context() as patch, pytest.raises(RuntimeError):
            patch.setattr(acme.requests, "_forget", crash)
            await acme.requests.close(case.id, Step.CLOSED, by="paula")
        assert case.leaf is not None and acme.keys.keeps(case.leaf)
        await job.run()
        async with asyncio.timeout(30):
            while acme.keys.keeps(case.leaf):
                await asyncio.sleep(0.01)

    tell(tmp_path, story)


def test_a_recipient_is_read_before_anything_is_written() -> None:
    assert len(parse("age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p")) == 32


def _csv(call: str) -> Any:
    from storage.exports.exports import Request

    return Request("csv", ("id",), "x", (call,))


def test_a_label_that_may_be_a_name_is_hidden_from_other_people(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        named = [{**stream, "label": label} for stream, label in zip(APART, ("mira", "tove"), strict=True)]
        row = await called(acme, streams=named)
        case = await confirmed(acme, row)
        for others, titles in ((False, ["mira", "2"]), (True, ["mira", "tove"])):
            case, _ = await reported(acme, job, case, media="mkv", other_parties=others)
            assert renderer.titles == titles

    renderer = FakeRenderer()
    tell(tmp_path, story, renderer)


def test_a_mixture_beside_an_own_stream_is_always_listed(tmp_path: Path) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        row = await called(acme, streams=[APART[0], {**MIXED[0], "label": "2"}])
        case, data = await reported(acme, job, await confirmed(acme, row), media="wav", silence_others=True)
        assert unpacked(data)[f"media/{row.id}.wav"] == b"wav of [0, -2]"
        assert (case.reports[0]["not_separable"], case.reports[0]["without_media"]) == ([row.id], [])

    undecoded = {"streams": [{"unknown": ["EVS"]}]}
    tell(tmp_path, story, FakeRenderer(report=undecoded))
