"""A request from the letter to what stays of it: whose name it was is gone, what was handed over is not."""

import asyncio
import json

import pytest

from storage.erasure.erasures import Held, NoWaiver
from storage.erasure.receipts import BadReceipt
from storage.exports.exports import ExportState
from storage.journal import replay
from storage.subject_requests import closing_record
from storage.subject_requests.cases import (
    Asked,
    Extension,
    Kind,
    NoCase,
    Nothing,
    Selection,
    State,
    Step,
    Wanted,
    WrongState,
)
from tests.in_process.storage_node import NOON, StorageNode, permit

NAME, NUMBER, LETTER = "Mira Okafor", "+4930123456", "letter of the seventh"
ASKED = Asked((NAME, NUMBER), None, LETTER, "send me everything")
NOBODY = "00000000-0000-4000-8000-00000000ffff"


async def filed(acme, *kinds):
    return await acme.requests.file(kinds or (Kind.ACCESS,), ASKED, received_at=NOON, by="paula")


async def confirmed(acme, *rows, kind=Kind.ACCESS):
    """File a request and select the first party of some calls."""
    case = await filed(acme, kind)
    return await acme.requests.select(case.id, Selection({row.id: (0,) for row in rows}))


async def made(acme, case, calls=(), digest="ab" * 32):
    """Do what the daemon's job does."""
    export = await acme.exports.begin(case.export)
    await acme.exports.admit(export.id, calls)
    with acme.exports.sink(export) as sink:
        sink.write(b"zip")
        size = sink.finish()
    await acme.exports.finish(export.id, size, {"sha256": digest, "calls": list(calls)})


async def ids_of(acme, *states):
    """List the requests of each state."""
    return [[case.id for case in (await acme.requests.listed(9, state=state))[0]] for state in states]


async def test_a_case_passes_through_all_its_states(node, acme, row):
    case = await filed(acme, Kind.ERASURE, Kind.ACCESS)
    assert (case.state, case.kinds, case.asked) == (State.OPEN, (Kind.ACCESS, Kind.ERASURE), ASKED)
    assert case.due_at == NOON.replace(month=4) and await acme.requests.get(case.id) == case
    node.watch.wait(hours=1)
    case = await acme.requests.select(case.id, Selection({row.id: (0,)}, (NOBODY,)))
    assert case.state is State.CONFIRMED and case.selection.inside == {row.id: (0,)}
    case, export = await acme.requests.report(case.id, Wanted("wav", passphrase="correct horse"), by="paula")
    assert (case.state, case.export, export.case) == (State.REPORTING, export.id, case.id)
    await made(acme, case, [row.id])
    case = await acme.requests.get(case.id)
    assert case.state is State.REPORTED and case.reports[0]["sha256"] == "ab" * 32
    assert (await acme.exports.get(export.id)).request.passphrase is None
    await acme.requests.fetched(case.id, export.id, by="paula")
    await permit(acme)
    erasure = await acme.requests.erase(case.id, reason="Art. 17", by="paula", approval=False)
    assert (await acme.requests.get(case.id)).erasure == erasure.id
    await acme.erasures.work()
    case = await acme.requests.close(case.id, Step.DONE, by="anton")
    assert (case.state, case.asked, case.leaf, case.closed_by) == (State.DONE, None, None, "anton")
    kept = case.noted["record"]
    closing_record.verify(kept, "acme", acme.audit.public_key)
    assert kept["reports"][0]["calls"] == [row.id] and kept["erasure"] == erasure.id
    assert kept["reports"][0]["fetched"][0]["by"] == "paula"
    assert await acme.exports.get(export.id) is None
    assert await acme.requests.get(case.id) == case


async def test_a_closed_request_names_nobody_even_with_a_backup(node, acme, tmp_path):
    case = await filed(acme)
    before = await acme.requests.get(case.id)
    node.backup(tmp_path / "backup")
    case = await acme.requests.close(case.id, Step.REFUSED, "unfounded", by="paula")
    assert not acme.keys.keeps(before.leaf)
    raw = node.raw()
    for text in (NAME, NUMBER, LETTER, "send me everything"):
        assert text.encode() not in raw
    assert await acme.requests.get(case.id) == case and case.ground == "unfounded"
    old = StorageNode(tmp_path / "backup")
    (tmp_path / "backup/keys").mkdir()
    for file in (node.data / "keys").iterdir():
        (tmp_path / "backup/keys" / file.name).write_bytes(file.read_bytes())
    async with old.opened() as again:
        found = await again.requests.get(case.id)
    assert found is not None and found.asked is None


async def test_an_extension_stays_on_record_without_its_reason(acme):
    case = await filed(acme)
    longer = Extension(2, "number", NOON, f"{NAME} has 312 calls")
    case = await acme.requests.extend(case.id, longer, by="paula")
    assert (case.state, case.due_at, case.asked.delay) == (State.OPEN, NOON.replace(month=6), longer.reason)
    assert await replay.differences(acme.journal, acme.database) == {}
    closed = await acme.requests.close(case.id, Step.DONE, by="anton")
    kept = closed.noted["record"]
    closing_record.verify(kept, "acme", acme.audit.public_key)
    assert (kept["extension"]["months"], kept["extension"]["by"]) == (2, "paula")
    with pytest.raises(BadReceipt):
        changed = {**kept, "extension": {**kept["extension"], "months": 1}}
        closing_record.verify(changed, "acme", acme.audit.public_key)
    with pytest.raises(WrongState):
        await acme.requests.extend(case.id, longer, by="paula")
    with pytest.raises(NoCase):
        await acme.requests.extend(NOBODY, longer, by="paula")
    assert NAME not in json.dumps((await acme.requests.get(case.id)).noted)


async def test_a_report_that_fails_or_is_cancelled_leads_back(acme):
    case = await confirmed(acme)
    for end, state in ((acme.exports.cancel, "cancelled"), (lambda id: acme.exports.fail(id, "No room."), "failed")):
        case, export = await acme.requests.report(case.id, Wanted(), by="paula")
        await end(export.id)
        case = await acme.requests.get(case.id)
        assert case.state is State.CONFIRMED and case.reports[-1]["state"] == state
    assert case.reports[-1]["problem"] == "No room."
    case, export = await acme.requests.report(case.id, Wanted(), by="paula")
    await made(acme, case)
    assert (await acme.exports.cancel(export.id)).state is ExportState.CANCELLED
    case = await acme.requests.get(case.id)
    assert case.state is State.REPORTED and case.reports[-1]["sha256"] == "ab" * 32, "it was handed over"


async def test_a_report_that_went_with_an_erased_call_leads_back(acme, row):
    case = await confirmed(acme, row)
    case, export = await acme.requests.report(case.id, Wanted(), by="paula")
    await acme.exports.admit(export.id, [row.id])
    await acme.exports.forget([row.id])
    assert (await acme.requests.get(case.id)).state is State.CONFIRMED
    assert await ids_of(acme, State.CONFIRMED, State.REPORTING) == [[case.id], []]
    case, export = await acme.requests.report(case.id, Wanted(), by="paula")
    assert case.state is State.REPORTING and case.export == export.id
    assert await ids_of(acme, State.CONFIRMED, State.REPORTING) == [[], [case.id]]


async def test_steps_out_of_turn(acme):
    case = await filed(acme)
    with pytest.raises(WrongState) as refused:
        await acme.requests.report(case.id, Wanted(), by="paula")
    assert refused.value.state is State.OPEN and await acme.exports.unfinished() == ()
    case = await confirmed(acme)
    with pytest.raises(Nothing):
        await acme.requests.erase(case.id, reason="r", by="paula", approval=False)
    await acme.requests.report(case.id, Wanted(), by="paula")
    for step in (
        acme.requests.select(case.id, Selection()),
        acme.requests.close(case.id, Step.CLOSED, by="paula"),
        acme.requests.erase(case.id, reason="r", by="paula", approval=False),
    ):
        with pytest.raises(WrongState):
            await step
    with pytest.raises(NoCase):
        await acme.requests.select(NOBODY, Selection())


async def test_two_who_ask_at_once_file_one_erasure(acme, row):
    case = await confirmed(acme, row, kind=Kind.ERASURE)
    await permit(acme)
    asked = [acme.requests.erase(case.id, reason="x", by=by, approval=True) for by in ("paula", "pia")]
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert sorted(type(each).__name__ for each in found) == ["Erasure", "WrongState"]
    (filed_one,) = await acme.erasures.open()
    assert (await acme.requests.get(case.id)).erasure == filed_one.id

    async def unwritten(_):
        raise ValueError("the audit log cannot be written")

    other = await confirmed(acme, row, kind=Kind.ERASURE)
    with pytest.raises(ValueError):
        await acme.requests.erase(other.id, reason="x", by="paula", approval=True, told=unwritten)
    assert (await acme.requests.get(other.id)).state is State.CONFIRMED and len(await acme.erasures.open()) == 1


async def test_an_erasure_needs_what_every_erasure_needs(acme, row):
    case = await confirmed(acme, row)
    with pytest.raises(NoWaiver):
        await acme.requests.erase(case.id, reason="r", by="paula", approval=True)
    await permit(acme)
    await acme.holds.put(row.id, "court", "paula")
    with pytest.raises(Held):
        await acme.requests.erase(case.id, reason="r", by="paula", approval=True)
    assert (await acme.requests.get(case.id)).state is State.CONFIRMED
    await acme.holds.remove(row.id)
    erasure = await acme.requests.erase(case.id, reason="r", by="paula", approval=True)
    assert erasure.state == "approval" and (await acme.requests.get(case.id)).state is State.ERASING


async def test_a_request_step_that_cannot_be_audited_is_not_taken(acme):
    async def refuse(_):
        raise RuntimeError

    case = await confirmed(acme)
    for step in (
        acme.requests.file((Kind.ACCESS,), ASKED, received_at=NOON, by="paula", told=refuse),
        acme.requests.report(case.id, Wanted(), by="paula", told=refuse),
        acme.requests.close(case.id, Step.DONE, by="paula", told=refuse),
    ):
        with pytest.raises(RuntimeError):
            await step
    assert [(each.id, each.state) for each in (await acme.requests.listed(10))[0]] == [(case.id, State.CONFIRMED)]
    assert await acme.exports.unfinished() == ()


async def test_a_closing_that_a_crash_cut_short_is_ended(acme, monkeypatch):
    case = await filed(acme)

    async def crash(_):
        raise RuntimeError

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(acme.cutter, "cut", crash)
        await acme.requests.close(case.id, Step.DONE, by="paula")
    assert acme.keys.keeps(case.leaf)
    assert await acme.requests.tidy() == 1 and await acme.requests.tidy() == 0
    assert not acme.keys.keeps(case.leaf)


async def test_lists_are_paged_newest_first_and_filtered(node, acme):
    ids = []
    for _ in range(3):
        ids.append((await filed(acme)).id)
        node.watch.wait(seconds=1)
    await acme.requests.close(ids[0], Step.CLOSED, by="paula")
    first, after = await acme.requests.listed(2)
    rest, end = await acme.requests.listed(2, after)
    assert [case.id for case in (*first, *rest)] == ids[::-1] and end is None
    assert await ids_of(acme, State.OPEN) == [[ids[2], ids[1]]]
