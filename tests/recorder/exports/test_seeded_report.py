"""A customer of 1,000 calls, 37 of one person under many names: all of hers and none else, in a report in seconds."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import jsonschema_rs
import pytest

from recorder.exports.export_job import ExportJob
from storage.customer.customers import Customer
from storage.subject_requests.cases import Asked, Case, Kind, Selection
from tests.in_process.seeded_customer import NEW, OLD, Seeded, seed
from tests.recorder.exports.test_dsar_report import reported

REPORT_SECONDS = 5.0  # of the processor, without media (issue 6)
FORMAT = Path(__file__).parents[3] / "docs/formats/subject-report.md"
pytestmark = pytest.mark.anyio
LETTER = ("Anna Berger-Novak", "030 5550200", OLD)


async def confirmed(acme: Customer, made: Seeded) -> Case:
    """File the letter, look for calls, and confirm what nobody doubts."""
    asked = Asked(LETTER, made.person)
    case = await acme.requests.file((Kind.ACCESS,), asked, received_at=acme.now(), by="paula")
    found = await acme.candidates.find(asked)
    sure = {each.row.id: each.parties for each in found if each.sure}
    assert sure == {id: (place,) for id, (place, _) in made.calls.items()}, "recall and precision"
    assert not made.colleagues & {each.row.id for each in found}
    return await acme.requests.select(case.id, Selection(sure))


@pytest.mark.parametrize(("at_once", "calls"), [(True, 1000), (False, 120)])
async def test_every_call_of_hers_and_nothing_of_anybody_else(
    acme: Customer, job: ExportJob, at_once: bool, calls: int
) -> None:
    made = await seed(acme, acme.now, at_once=at_once, calls=calls)  # type: ignore[arg-type]  # a clock that is set
    case = await confirmed(acme, made)
    began = time.process_time()
    report = await reported(acme, job, case)
    assert time.process_time() - began < REPORT_SECONDS
    assert len(made.calls) == 37 and {call["id"] for call in report.calls} == set(made.calls)
    names = {call["person"][0]["known_as"] for call in report.calls}
    assert names == {"Anna Berger", "Anna Novak", "Anna Berger-Novak"}
    assert NEW in json.loads(report.files["user.json"])["numbers"]
    others = {spelt for other in made.others for spelt in _spellings(other)} - {"Anna Novak"}
    assert len(others) > calls and report.naming(*(spelt.encode() for spelt in others)) == []

    schema = json.loads(re.search(r"```json\n(.*?)\n```", FORMAT.read_text(), re.S)[1])  # type: ignore[index]  # it is there
    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
    named = await reported(acme, job, case, other_parties=True)
    for each in (report, named):
        validator.validate(json.loads(each.files["calls.json"]))
    assert named.calls[0].pop("other_parties")
    assert not validator.is_valid({**json.loads(named.files["calls.json"]), "calls": [{"id": "x"}]})


def _spellings(other: str) -> tuple[str, ...]:
    """Return the ways in which a name or number would be seen in a report."""
    return (other, other[1:], f"0{other[3:]}") if other.startswith("+49") else (other,)
