"""A report holds what was confirmed and nothing of anybody else, is opened by other people's programs, and is whole."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jsonschema_rs
import pyrage
import pytest

from recorder.exports.dsar_report import UNDECIDED
from recorder.exports.export_job import ExportJob
from storage.audit.hash_chain import Act
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow, CallState, Direction
from storage.customer.customers import Customer
from storage.directory.user import Person
from storage.exports.exports import ExportState
from storage.retention.rules import RuleSpec
from storage.search_forms import stored_of
from storage.subject_requests.cases import Asked, Case, Kind, Selection, State, Step, Wanted
from tests.recorder.export_jobs import APART, ME, MIXED, TOVE, FakeRenderer, called, make, unpacked
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.anyio
OTHERS = (b"Tove", b"Lind", b"777888", b"tove.lind", b"secret words", b"+4940")
SECRET = "correct horse battery"


async def confirmed(acme: Customer, *rows: CallRow, user: str | None = None) -> Case:
    """File a request and confirm these calls."""
    asked = Asked(("Mira Okafor", "+49 30 123456"), user, "letter 7", "everything")
    case = await acme.requests.file((Kind.ACCESS,), asked, received_at=acme.now(), by="paula")
    return await acme.requests.select(case.id, Selection({row.id: (0,) for row in rows}))


@dataclass(frozen=True)
class Report:
    """A request after its report, and the file as it is downloaded."""

    case: Case
    data: bytes

    @cached_property
    def files(self) -> dict[str, bytes]:
        return unpacked(self.data)

    @cached_property
    def calls(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.files["calls.json"])["calls"]
        return found

    @property
    def note(self) -> Mapping[str, Any]:
        """Return what the request keeps of the report."""
        return self.case.reports[-1]

    def naming(self, *words: bytes) -> list[str]:
        """Return the files that hold any of these words."""
        return [name for name, content in self.files.items() if any(word in content for word in words)]


async def reported(acme: Customer, job: ExportJob, case: Case, **wanted: Any) -> Report:
    """Ask for a report and make it."""
    case, export = await acme.requests.report(case.id, Wanted(**wanted), by="paula")
    await job.make(acme, export.id)
    made = await acme.exports.get(export.id)
    assert made is not None and made.state is ExportState.DONE, made and made.problem
    found = await acme.requests.get(case.id)
    assert found is not None and found.state is State.REPORTED
    return Report(found, b"".join(acme.exports.read(made)))


async def test_a_report_holds_nothing_of_other_people(acme: Customer, job: ExportJob) -> None:
    row = await called(acme)
    await acme.annotations.add(row.id, "Tove Lind says the name is spelt Okafor.", "paula")
    await acme.attachments.add(row.id, "transcript", "text/vtt", b"WEBVTT\n\nsecret words", "paula", title="Tove Lind")
    made = await reported(acme, job, await confirmed(acme, row), media="opus")
    files, (call,) = made.files, made.calls
    assert [name for name in files if not name.startswith("calls.xlsx/")] == [
        f"media/{row.id}.ogg", "calls.json", "calls.xlsx", "report.html",
    ]  # fmt: skip
    assert made.naming(*OTHERS) == []
    assert call["person"] == [{**ME, "joined_at": None, "left_at": None, "also": [], "known_as": None}]
    assert (call["others"], call["annotations"], call["attachments"]) == (1, 1, 1)
    assert call["media"] == {"file": f"media/{row.id}.ogg", "problem": None}
    assert [stream["of"] for stream in call["streams"]] == ["person", "others"]
    assert b"Mira Okafor" in files["report.html"] and b"Mira Okafor" in files["calls.xlsx/xl/worksheets/sheet1.xml"]
    assert made.note["sha256"] == hashlib.sha256(made.data).hexdigest() and made.note["size_bytes"] == len(made.data)
    assert [made.note[name] for name in ("calls", "without_media", "not_separable")] == [[row.id], [], []]


async def test_the_cover_shows_the_title_and_the_tables_the_name(acme: Customer, job: ExportJob) -> None:
    acme.title = "Acme Ltd"
    files = (await reported(acme, job, await confirmed(acme, await called(acme)))).files
    assert b"Acme Ltd" in files["report.html"] and json.loads(files["calls.json"])["customer"] == "acme"


async def test_others_are_named_if_the_administrator_asks_for_it(acme: Customer, job: ExportJob) -> None:
    row = await called(acme)
    await acme.annotations.add(row.id, "Tove Lind says so.", "paula")
    await acme.attachments.add(row.id, "chat", "application/json", b'["secret words"]', "paula")
    made = await reported(acme, job, await confirmed(acme, row), other_parties=True)
    (call,) = made.calls
    assert call["other_parties"][0]["number"] == TOVE["number"]
    assert call["annotation_texts"][0]["text"] == "Tove Lind says so."
    assert made.files[call["attachment_files"][0]["file"]] == b'["secret words"]'
    assert {"report.html", "calls.xlsx/xl/worksheets/sheet1.xml"} <= set(made.naming(b"Tove Lind"))


async def test_renumbered_parties_show_nobody_else_in_a_report(acme: Customer, job: ExportJob) -> None:
    placeholder: Any = {"role": "participant", "name": None, "number": None, "uri": "sip:pbx.example"}
    row = await called(acme, placeholder, ME, TOVE)
    live = replace(row, state=CallState.RECORDING, ended_at=None)
    case = await confirmed(acme)
    case = await acme.requests.select(case.id, Selection({row.id: (1,)}))
    stories: list[tuple[list[Any], list[str]]] = [([ME, TOVE], []), ([placeholder, ME, TOVE], ["Mira Okafor"])]
    for parties, mine in stories:
        await acme.calls.remove([row.id])
        moved = replace(live, details=wrapped({**row.details, "parties": parties}))
        await acme.calls.put([moved], [stored_of(parties, "DE")])
        made = await reported(acme, job, case)
        assert [[person["name"] for person in call["person"]] for call in made.calls] == [mine]
        assert made.naming(*OTHERS) == []


async def test_others_are_silenced_and_a_mixture_is_named(
    acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    apart, together = await called(acme), await called(acme, streams=MIXED)
    both = await called(acme, streams=[APART[0], {**MIXED[0], "label": "2"}])
    renderer.report = {"streams": [{"unknown": ["EVS"]}]}
    made = await reported(acme, job, await confirmed(acme, apart, together, both), media="wav", silence_others=True)
    assert made.files[f"media/{apart.id}.wav"] == made.files[f"media/{both.id}.wav"] == b"wav of [0, -2]"
    assert f"media/{together.id}.wav" not in made.files
    assert set(made.note["not_separable"]) == {together.id, both.id}
    assert [each["call"] for each in made.note["without_media"]] == [together.id]
    media = {call["id"]: call["media"] for call in made.calls}[together.id]
    assert media["file"] is None and "cannot be separated" in media["problem"]
    assert "lässt sich nicht trennen" in made.files["report.html"].decode()


async def test_a_call_without_a_chosen_party_shows_no_party(acme: Customer, job: ExportJob) -> None:
    row = await called(acme)
    case = await confirmed(acme, row)
    await acme.requests.select(case.id, Selection({row.id: ()}))
    made = await reported(acme, job, case, media="wav", silence_others=True)
    (call,) = made.calls
    assert (call["person"], call["others"], call["media"]) == ([], 2, {"file": None, "problem": UNDECIDED})
    assert made.note["without_media"] == [{"call": row.id, "problem": UNDECIDED}]
    assert set(made.naming(TOVE["number"].encode(), ME["uri"].encode())) <= {"calls.json"}


async def test_the_user_record_and_who_has_seen_what(acme: Customer, job: ExportJob) -> None:
    row, other = await called(acme), await called(acme)
    person = Person("Mira", "Okafor", "mira", "mira@pbx.example", "", "o1", ("+4930123456",), ())
    await acme.users.carry_out(await acme.users.plan([person], "csv", whole=False))
    (user,), _ = await acme.users.listed(9)

    def acts(*made: tuple[str, str, str, str]) -> None:
        for action, object, role, outcome in made:
            acme.audit.append(Act("Kommissar Knut", role, action, object, outcome, "")).result()

    acts(
        ("call.view", row.id, "listener", "done"),
        ("call.media", row.id, "listener", "done"),
        ("call.media", row.id, "listener", "refused"),
        ("call.media", other.id, "listener", "done"),
        ("call.hold", row.id, "listener", "done"),
        ("user.view", user.id, "privacy", "done"),
    )
    export = await make(acme, job, calls=(row.id,))
    case, hers = await confirmed(acme, row), await confirmed(acme, row, user=user.id)
    await reported(acme, job, case)
    await reported(acme, job, hers)
    acts(
        ("export.file", export.id, "admin", "done"),
        ("request.report_file", case.id, "privacy", "done"),
        ("request.report_file", hers.id, "privacy", "done"),
    )
    made = await reported(acme, job, hers)
    assert made.case.export in await acme.exports.holding([user.id])
    (call,) = made.calls
    assert [(each["what"], each["role"]) for each in call["seen"]] == [
        ("viewed", "listener"), ("heard", "listener"), ("exported", "admin"), ("exported", "privacy"),
    ]  # fmt: skip
    shown = json.loads(made.files["user.json"])
    assert shown["email"] == "mira@pbx.example" and shown["seen"][0]["what"] == "viewed"
    assert call["person"][0]["known_as"] == "Mira Okafor"
    assert made.naming(b"Knut", b"paula") == []


async def test_until_when_it_is_kept_and_why(acme: Customer, job: ExportJob) -> None:
    row, inbound = await called(acme), await called(acme, direction="inbound")
    await acme.rules.put([RuleSpec(30, Direction.INBOUND, name="Tove Lind's desk")], by="paula")
    await acme.holds.put(row.id, "court file of Tove Lind", "paula")
    made = await reported(acme, job, await confirmed(acme, row, inbound))
    kept = {call["id"]: call["kept"] for call in made.calls}
    assert (kept[row.id]["by"], kept[row.id]["days"]) == ("default", 180) and kept[row.id]["held_since"]
    assert (kept[inbound.id]["by"], kept[inbound.id]["days"]) == ("rule", 30)
    assert kept[inbound.id]["until"] is not None and kept[inbound.id]["held_since"] is None
    assert made.naming(*OTHERS) == []


@pytest.mark.skipif(shutil.which("age") is None, reason="age is not installed (Debian: apt-get install age)")
@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed (Debian: apt-get install unzip)")
async def test_age_opens_it_and_unzip_unpacks_it(acme: Customer, job: ExportJob, tmp_path: Path) -> None:
    async def run(*words: str | Path) -> str:
        process = await asyncio.create_subprocess_exec(*words, stdout=PIPE, stderr=STDOUT)
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        return out.decode()

    key, sealed, plain = tmp_path / "key", tmp_path / "r.age", tmp_path / "r.zip"
    row, public = await called(acme), await run("age-keygen", "-o", key)
    made = await reported(acme, job, await confirmed(acme, row), media="wav", recipient=public.split()[-1])
    assert made.note["encrypted"] == "recipient" and b"Okafor" not in made.data
    sealed.write_bytes(made.data)
    await run("age", "-d", "-i", key, "-o", plain, sealed)
    await run("unzip", "-d", tmp_path / "to", plain)
    assert (tmp_path / f"to/media/{row.id}.wav").read_bytes() == b"wav of [0, 1]"
    assert "Mira Okafor" in (tmp_path / "to/report.html").read_text()


async def test_a_passphrase_opens_it_and_nothing_is_on_the_disk(acme: Customer, job: ExportJob, tmp_path: Path) -> None:
    made = await reported(acme, job, await confirmed(acme, await called(acme)), media="wav", passphrase=SECRET)
    assert "calls.json" in unpacked(pyrage.passphrase.decrypt(made.data, SECRET))
    export = await acme.exports.get(made.case.export or "")
    assert export is not None and export.request is not None and export.request.passphrase is None
    await acme.requests.report(made.case.id, Wanted(passphrase=SECRET), by="paula")
    await acme.database.scrub()
    raw = b"".join(path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file())
    words = (b"Okafor", b"123456", b"wav of", b"letter 7", b"report.html", SECRET.encode())
    assert not [word for word in words if word in raw]


async def test_a_report_of_nothing_says_so(acme: Customer, job: ExportJob) -> None:
    made = await reported(acme, job, await confirmed(acme))
    assert made.calls == [] and made.note["calls"] == []
    assert "Kein aufgezeichnetes Gespräch" in made.files["report.html"].decode()


async def test_a_call_erased_during_the_report_cancels_the_report(
    acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    rows = [await called(acme) for _ in range(2)]
    case = await confirmed(acme, *rows)
    acme.keys.cut(rows[0].leaf)
    assert (await reported(acme, job, case)).note["calls"] == [rows[1].id]
    renderer.during = lambda: acme.exports.forget([rows[1].id])
    case, export = await acme.requests.report(case.id, Wanted(media="wav"), by="paula")
    await job.make(acme, export.id)
    assert await acme.exports.get(export.id) is None
    found = await acme.requests.get(case.id)
    assert found is not None and found.state is State.CONFIRMED


async def test_a_report_shows_its_progress(acme: Customer, job: ExportJob, renderer: FakeRenderer) -> None:
    rows = [await called(acme) for _ in range(3)]
    _, export = await acme.requests.report((await confirmed(acme, *rows)).id, Wanted(media="wav"), by="paula")
    seen: list[Any] = []

    async def look() -> None:
        seen.append(acme.exports.progress.get(export.id))

    renderer.during = look
    await job.make(acme, export.id)
    assert seen == [None, (1, 3), (2, 3)] and acme.exports.progress == {}


async def test_the_job_finishes_closing_a_request_after_a_crash(
    node: Parts, acme: Customer, job: ExportJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await confirmed(acme, await called(acme))

    def crash(_: int) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(acme.keys, "cut", crash)
        await acme.requests.close(case.id, Step.CLOSED, by="paula")
    assert case.leaf is not None and acme.keys.keeps(case.leaf)
    await job.run()
    await node.until(lambda: not acme.keys.keeps(case.leaf or 0))


async def test_a_label_that_may_be_a_name_is_hidden_from_other_people(
    acme: Customer, job: ExportJob, renderer: FakeRenderer
) -> None:
    named = [{**stream, "label": label} for stream, label in zip(APART, ("mira", "tove"), strict=True)]
    row = await called(acme, streams=named)
    case = await confirmed(acme, row)
    for others, titles in ((False, ["mira", "2"]), (True, ["mira", "tove"])):
        await reported(acme, job, case, media="mkv", other_parties=others)
        assert renderer.titles == titles


FORMAT = Path(__file__).parents[3] / "docs/formats/subject-report.md"


async def test_a_report_has_the_documented_form(acme: Customer, job: ExportJob) -> None:
    schema = json.loads(re.findall(r"```json\n(.*?)\n```", FORMAT.read_text(), re.S)[0])
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    row = await called(acme)
    await acme.annotations.add(row.id, "Tove Lind says so.", "paula")
    case = await confirmed(acme, row)
    for others in (False, True):
        document = json.loads((await reported(acme, job, case, media="wav", other_parties=others)).files["calls.json"])
        validator.validate(document)
    assert not validator.is_valid({**document, "calls": [{"id": "x"}]})
