"""What is decided from columns is what would be decided from the opened rows, whatever the rules look at."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from random import Random

import pytest
import sqlalchemy as sa

from storage.calls.call_row import CallRow, CallState, Direction
from storage.customer.customers import Customer
from storage.database.schema import calls as calls_table
from storage.database.schema import days as days_table
from storage.errors import Forgotten
from storage.retention.decisions import Decided, Decisions
from storage.retention.policy import NEVER, Policy, Verdict, Wins, judge
from storage.retention.rules import RuleSpec
from storage.search_forms import stored_of
from storage.timestamps import to_micros
from tests.in_process.storage_node import NOON, record
from tests.storage.index_lists import damage

pytestmark = pytest.mark.both_databases

DAYS = timedelta(days=1)
RULES = (
    RuleSpec(20, direction=Direction.INBOUND),
    RuleSpec(60, source="192.0.2.0/24"),
    RuleSpec(45, party="030/123456"),
    RuleSpec(None, party="+4940777888", direction=Direction.OUTBOUND),
    RuleSpec(10, source="2001:db8::1", party="Mira Okafor"),
    RuleSpec(70),
)
CHOSEN = ((), (0,), (1,), (2,), (0, 1), (2, 3, 4), (0, 1, 2, 3, 4), (5, 2))


async def some_calls(acme: Customer) -> list[CallRow]:
    """Record calls of four days that differ in everything that a rule looks at."""
    random, rows = Random(7), list[CallRow]()
    for number in range(48):
        name, telephone = random.choice((("Mira Okafor", "+4930123456"), ("T", "+4940777888")))
        row = await record(
            acme,
            name=name,
            number=telephone,
            ended=NOON - random.choice((9, 30, 50, 90)) * DAYS,
            state=random.choice((CallState.COMPLETE, CallState.COMPLETE, CallState.INTERRUPTED, CallState.RECORDING)),
            direction=random.choice(("inbound", "outbound", "sideways", None)),
            source=random.choice(("192.0.2.7", "192.0.3.7", "2001:db8::1", None)),
        )
        if number % 5 == 0 and row.ended_at:
            row = replace(row, kept_from=row.ended_at + timedelta(days=random.choice((-3, 15))))
            await acme.calls.put([row], [stored_of(row.details.get("parties") or (), "DE")])
        if number % 7 == 0:
            await acme.holds.put(row.id, "court", "paula")
            row = replace(row, hold=True)
        rows.append(row)
    return rows


def told(row: CallRow, policy: Policy, now: datetime = NOON) -> Decided | None:
    """Decide from the opened row; None while the call runs."""
    forms = stored_of(row.details.get("parties") or (), "DE")
    found = judge(row, forms, policy, now, held=row.hold)
    if found.verdict is Verdict.LIVE or row.ended_at is None:
        return None
    until = NEVER if found.erase_after is None else to_micros(found.erase_after)
    return Decided(row.id, row.leaf, found.rule, to_micros(row.ended_at), until, NEVER)


@pytest.mark.parametrize("filled", [True, False])
async def test_columns_and_tokens_decide_as_the_opened_rows_do(
    acme: Customer, monkeypatch: pytest.MonkeyPatch, filled: bool
) -> None:
    monkeypatch.setattr("storage.retention.decisions.PAGE", 7)
    monkeypatch.setattr("storage.retention.decisions.PAGES", 2)
    rows = await some_calls(acme)
    if not filled:  # as an earlier version wrote them
        async with acme.database.writing() as connection:
            some = calls_table.update().where(calls_table.c.id.in_([row.id for row in rows[::3]]))
            await connection.execute(some.values(direction=sa.null(), source=sa.null()))
    for chosen, default, wins in product(CHOSEN, (None, 40), Wins):
        policy = acme.rules.policy_of([RULES[n] for n in chosen], default, wins)
        decisions = Decisions(acme.database, acme.keys, acme.calls, policy)
        meant = {each.id: each for row in rows if (each := told(row, policy))}
        found = [each._replace(stored=NEVER) async for page in decisions.all() for each in page]
        assert {each.id: each for each in found} == meant
        assert len(found) == len(meant)
        held = {row.id for row in rows if row.hold}
        due = {each.id async for page in decisions.due(NOON) for each in page}
        assert due == {each.id for each in meant.values() if each.until <= to_micros(NOON)} - held


async def test_an_unreadable_row_does_not_hide_the_source_of_others(acme: Customer) -> None:
    rows = [await record(acme, ended=NOON - 40 * DAYS, source="192.0.2.7") for _ in range(4)]
    await damage(acme.database, rows[0])
    acme.keys.cut(rows[3].leaf)
    with pytest.raises(Forgotten):
        acme.keys.secret(rows[3].leaf, "details")
    policy = acme.rules.policy_of([RuleSpec(30, source="192.0.2.0/24")], None, Wins.LONGEST)
    decisions = Decisions(acme.database, acme.keys, acme.calls, policy)
    due = {each.id async for page in decisions.due(NOON) for each in page}
    assert {rows[1].id, rows[2].id} <= due


async def test_a_rule_for_a_party_holds_on_days_without_tokens(acme: Customer) -> None:
    rows = [await record(acme, name="Mira Okafor", number=f"+4930123456{n}", ended=NOON - 40 * DAYS) for n in range(9)]
    policy = acme.rules.policy_of([RuleSpec(None, party="Mira Okafor")], 30, Wins.LONGEST)
    decisions = Decisions(acme.database, acme.keys, acme.calls, policy)
    async with acme.database.reading() as connection:
        (key,) = await connection.scalars(sa.select(days_table.c.leaf))
    acme.keys.cut(key)
    assert [each.id async for page in decisions.due(NOON) for each in page] == []
    async with acme.database.writing() as connection:
        await connection.execute(days_table.delete())
    found = {each.id: each.until async for page in decisions.all() for each in page}
    assert found == {row.id: NEVER for row in rows}
