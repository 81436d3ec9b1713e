"""A customer of 1,000 calls, 37 of one person under many names: all of hers and none else, in a report in seconds."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from zipfile import ZipFile

import jsonschema_rs
import pytest

from recorder.exports.export_job import ExportJob
from storage.customer.customers import Customer
from storage.subject_requests.cases import Asked, Case, Kind, Selection
from tests.in_process.seeded_customer import NEW, OLD, Seeded, seed
from tests.in_process.storage_node import Watch
from tests.recorder.exports.test_dsar_report import reported, unpacked
from tests.recorder.exports.test_export_job import Parts, tell

REPORT_SECONDS = 5.0  # of the processor, without media (issue 6)
FORMAT = Path(__file__).parents[3] / "docs/formats/subject-report.md"
LETTER = ("Anna Berger-Novak", "030 5550200", OLD)


async def confirmed(acme: Customer, made: Seeded) -> Case:
    """File the letter, look for calls, and confirm what nobody doubts."""
    asked = Asked(LETTER, made.person)
    case = await acme.requests.file((Kind.ACCESS,), asked, received_at=acme.now(), by="paula")
    found = await acme.candidates.find(asked)
    sure = {each.row.id: each.parties for each in found if each.sure}
    assert set(sure) == set(made.calls), "recall and precision"
    assert sure == {id: (place,) for id, (place, _) in made.calls.items()}
    assert not made.colleagues & {each.row.id for each in found}
    return await acme.requests.select(case.id, Selection(sure))


@pytest.mark.parametrize("at_once", [False, True])
def test_every_call_of_hers_and_nothing_of_anybody_else(tmp_path: Path, at_once: bool) -> None:
    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        watch = acme.now
        assert isinstance(watch, Watch)
        made = await seed(acme, watch, at_once=at_once)
        assert len(made.calls) == 37
        began = time.process_time()
        _, data = await reported(acme, job, await confirmed(acme, made))
        assert time.process_time() - began < REPORT_SECONDS
        files = unpacked(data)
        document = json.loads(files["calls.json"])
        assert {call["id"] for call in document["calls"]} == set(made.calls)
        assert {call["person"][0]["known_as"] for call in document["calls"]} == {
            "Anna Berger", "Anna Novak", "Anna Berger-Novak",
        }  # fmt: skip
        assert NEW in json.loads(files["user.json"])["numbers"]
        everything = b"\n".join(files.values())
        numbers = {spelt for other in made.others for spelt in _spellings(other)} - {"Anna Novak"}
        assert len(numbers) > 1000 and not [spelt for spelt in numbers if spelt.encode() in everything]

    tell(tmp_path, story)


def test_calls_json_is_as_described(tmp_path: Path) -> None:
    schema = json.loads(re.search(r"```json\n(.*?)\n```", FORMAT.read_text(), re.S)[1])  # type: ignore[index]  # it is there
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)

    async def story(node: Parts, acme: Customer, job: ExportJob) -> None:
        watch = acme.now
        assert isinstance(watch, Watch)
        made = await seed(acme, watch, calls=120)
        case = await confirmed(acme, made)
        for others in (False, True):
            _, data = await reported(acme, job, case, other_parties=others)
            with ZipFile(io.BytesIO(data)) as zip:
                document = json.loads(zip.read("calls.json"))
            validator.validate(document)
        assert len(document["calls"]) == 37 and document["calls"][0]["other_parties"]
        del document["calls"][0]["kept"]
        assert not validator.is_valid(document)

    tell(tmp_path, story)


def _spellings(other: str) -> tuple[str, ...]:
    """Return the ways in which a name or number would be seen in a report."""
    return (other, other[1:], f"0{other[3:]}") if other.startswith("+49") else (other,)
