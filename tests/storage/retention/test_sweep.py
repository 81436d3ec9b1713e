"""Retention files exactly what the preview shows, asks before it takes much, and leaves held and live calls alone."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from storage.calls.call_row import CallState, Direction
from storage.customer.customers import Customer
from storage.erasure.erasure_rows import State
from storage.erasure.erasures import NoErasure
from storage.retention.policy import Wins
from storage.retention.rules import RuleSpec
from storage.retention.sweep import Preview, Swept
from storage.timestamps import from_micros
from tests.in_process.storage_node import NOON, record
from tests.storage.index_lists import damage

pytestmark = pytest.mark.both_databases

LONG_AGO = NOON - timedelta(days=200)


async def left(acme: Customer, *rows: object) -> list[bool]:
    return [await acme.calls.get(row.id) is not None for row in rows]  # type: ignore[attr-defined]  # call rows


async def test_a_sweep_takes_only_due_calls(acme: Customer) -> None:
    due = await record(acme, ended=NOON - timedelta(days=180))
    edge = await record(acme, ended=NOON - timedelta(days=180) + timedelta(microseconds=1))
    held = await record(acme, ended=LONG_AGO)
    live = await record(acme, ended=LONG_AGO, state=CallState.RECORDING)
    await acme.holds.put(held.id, "court", "paula")
    preview = await acme.retention.preview(NOON, 5)
    assert [d.id for d in preview.due] == [due.id]
    swept = await acme.retention.sweep(NOON, 5)
    assert len(swept.filed) == 1 and acme.erasures.wanted.is_set()
    assert (await acme.retention.preview(NOON, 5)).due == ()
    assert (await acme.retention.sweep(NOON, 5)).filed == ()
    await acme.erasures.work()
    assert await left(acme, due, edge, held, live) == [False, True, True, True]
    done = await acme.erasures.get(swept.filed[0])
    assert done and done.receipt and (done.receipt["cause"], done.receipt["calls"]) == ("retention", [due.id])
    await acme.holds.remove(held.id)
    assert [d.id for d in (await acme.retention.preview(NOON, 5)).due] == [held.id]


async def test_a_call_recorded_with_a_slow_clock_is_kept_long_enough(acme: Customer) -> None:
    early = await record(acme, ended=NOON - timedelta(days=187))
    true_end = NOON - timedelta(days=180)
    row = replace(early, kept_from=true_end + timedelta(seconds=1))
    await acme.calls.put([row], [["w:mira"]])
    assert (await acme.calls.get(row.id)) == row
    assert (await acme.retention.preview(NOON, 100)).due == ()
    await acme.retention.refresh()
    kept = await acme.calls.get(row.id)
    assert kept and kept.erase_after == NOON + timedelta(seconds=1)
    (due,) = (await acme.retention.preview(NOON + timedelta(seconds=1), 100)).due
    assert due.id == row.id and from_micros(due.ended) == row.ended_at


async def test_rules_by_party_direction_and_source_decide(acme: Customer) -> None:
    ago = NOON - timedelta(days=40)
    mira = await record(acme, ended=ago)
    inbound = await record(acme, name="T", number="+4940777888", ended=ago, direction="inbound")
    sbc = await record(acme, name="T", number="+4940777888", ended=ago, source="192.0.2.9")
    plain = await record(acme, name="T", number="+4940777888", ended=ago, direction="sideways")
    stored = await acme.rules.put(
        [
            RuleSpec(30, party="030/123456"),
            RuleSpec(30, direction=Direction.INBOUND),
            RuleSpec(30, source="192.0.2.0/24"),
        ],
        by="ada",
    )
    due = {d.id: d.rule for d in (await acme.retention.preview(NOON, 100)).due}
    assert due == dict(zip((mira.id, inbound.id, sbc.id), (r.id for r in stored.rules), strict=True))
    swept = await acme.retention.sweep(NOON, 100)
    assert len(swept.filed) == 3
    await acme.erasures.work()
    rules = {e.receipt["rule"] for e in [await acme.erasures.get(id) for id in swept.filed] if e and e.receipt}
    assert rules == {r.id for r in stored.rules} and await left(acme, plain) == [True]


async def test_with_a_rule_about_a_party_nothing_may_be_due(acme: Customer) -> None:
    await acme.rules.put([RuleSpec(30, party="030/123456")], by="ada")
    await record(acme, ended=NOON)
    assert not (await acme.retention.preview(NOON, 100)).due
    assert not (await acme.retention.sweep(NOON, 100)).filed


async def test_a_row_that_cannot_be_opened_hides_no_other(acme: Customer) -> None:
    ago = NOON - timedelta(days=40)
    rows = [await record(acme, ended=ago + timedelta(seconds=n)) for n in range(5)]
    acme.keys.cut(rows[3].leaf)  # of a row that an old database brought back
    await damage(acme.database, rows[1])
    await acme.rules.put([RuleSpec(30, party="030/123456")], by="ada")
    due = {each.id for each in (await acme.retention.preview(NOON, 100)).due}
    assert due == {rows[n].id for n in (0, 2, 4)}


async def test_a_preview_of_other_rules_changes_nothing(acme: Customer) -> None:
    row = await record(acme, ended=NOON - timedelta(days=2))
    wished = acme.rules.policy_of([], 1, Wins.LONGEST)
    assert [d.id for d in (await acme.retention.preview(NOON, 5, wished)).due] == [row.id]
    forever = acme.rules.policy_of([RuleSpec(None)], None, Wins.LONGEST)
    assert (await acme.retention.preview(NOON, 5, forever)).due == ()
    assert (await acme.retention.preview(NOON, 5)).due == ()


async def test_the_brake_asks_once_and_an_approver_answers(acme: Customer) -> None:
    rows = [await record(acme, ended=LONG_AGO) for _ in range(3)]
    preview = await acme.retention.preview(NOON, 5)
    assert preview.asks and len(preview.due) == 3
    first = await acme.retention.sweep(NOON, 5)
    again = await acme.retention.sweep(NOON, 5)
    assert first.asked == again.asked and first.filed == again.filed == ()
    await acme.erasures.work()
    assert await left(acme, *rows) == [True] * 3
    assert [e.state for e in await acme.erasures.open()] == [State.APPROVAL]
    await acme.erasures.approve(first.asked or "", by="anton")
    await acme.erasures.work()
    done = await acme.erasures.get(first.asked or "")
    assert done and done.receipt and done.receipt["approved_by"] == "anton"
    assert await left(acme, *rows) == [False] * 3


async def test_a_question_is_taken_back_when_the_rules_change(acme: Customer) -> None:
    rows = [await record(acme, ended=LONG_AGO) for _ in range(3)]
    question = (await acme.retention.sweep(NOON, 5)).asked
    assert question is not None
    await acme.rules.put([], by="ada", default_days=None)
    with pytest.raises(NoErasure):
        await acme.erasures.approve(question, by="anton")
    assert (await acme.retention.sweep(NOON, 5)).asked is None
    assert await acme.erasures.open() == () and await left(acme, *rows) == [True] * 3
    await acme.rules.put([], by="ada", default_days=180)
    assert len((await acme.retention.sweep(NOON, 100)).filed) == 1


async def test_rules_changed_during_a_sweep_count(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    row = await record(acme, ended=LONG_AGO)
    preview, seen = acme.retention.preview, list[Preview]()

    async def meanwhile(*asked: Any) -> Preview:
        seen.append(await preview(*asked))
        if len(seen) == 1:
            await acme.rules.put([RuleSpec(None, party="Mira Okafor")], by="ada")
        return seen[-1]

    monkeypatch.setattr(acme.retention, "preview", meanwhile)
    assert await acme.retention.sweep(NOON, 100) == Swept((), None, 0)
    await acme.erasures.work()
    assert [len(each.due) for each in seen] == [1, 0] and await left(acme, row) == [True]


async def test_more_than_a_page_is_decided_in_order(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.retention.decisions.PAGE", 2)
    rows = [await record(acme, ended=LONG_AGO + timedelta(days=n)) for n in range(7)]
    found = (await acme.retention.preview(NOON, 100)).due
    assert [d.id for d in found] == [row.id for row in rows]


async def test_erase_after_follows_the_rules(acme: Customer) -> None:
    row, live = await record(acme), await record(acme, state=CallState.RECORDING)

    async def dates() -> list[datetime | None]:
        return [found.erase_after for each in (row, live) if (found := await acme.calls.get(each.id))]

    assert await acme.retention.refresh() == 1
    assert await dates() == [NOON + timedelta(180), None]
    assert await acme.retention.refresh() == 0
    await acme.rules.put([RuleSpec(None, party="Mira Okafor")], by="ada")
    await acme.retention.refresh()
    assert await dates() == [None, None]
