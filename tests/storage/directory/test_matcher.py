"""Who took part in a call: found when it is written or later, kept as it was then, shown where it cannot be told."""

import asyncio
import os
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from personal import Personal
from storage.calls.call_document import wrapped
from storage.calls.call_row import CallRow, CallState, Query
from storage.customer.customers import Customer
from storage.database.schema import call_tokens
from storage.directory.matcher import UserMatcher
from storage.directory.user import User
from storage.directory.user_lookup import UserLookup
from storage.directory.user_store import Referred
from storage.ids import new_id
from storage.retention.rules import RuleSpec
from storage.search_forms import stored_of
from storage.timestamps import day_of
from tests.in_process.storage_node import NOON, StorageNode, record
from tests.storage.directory.people import HERS, HIS, MIRA, TOVE, imported
from tests.storage.index_lists import damage

pytestmark = pytest.mark.both_databases


async def matched(acme: Customer, **more: Any) -> int:
    if not acme.user_matcher.ready:
        await acme.user_matcher.load()
    return await acme.user_matcher.settle(**more)


async def parties(acme: Customer, call: str) -> list[tuple[str | None, list[str]]]:
    row = await acme.calls.get(call)
    return [(party.get("user_id"), party.get("user_candidates", [])) for party in row.details["parties"]]


async def found(acme: Customer, party: str) -> set[str]:
    return {row.id for row in (await acme.calls.find(Query(party=Personal(party)))).items}


class Killed(Exception):
    """Stands for SIGKILL."""


async def test_a_first_import_matches_all_existing_calls(acme: Customer) -> None:
    hers, his, other = await record(acme), await record(acme, number=HIS), await record(acme, number="+491111111")
    users = await imported(acme, MIRA, TOVE)
    assert await acme.user_matcher.outstanding()
    told: list[tuple[int, int]] = []
    assert await matched(acme, told=lambda done, of: told.append((done, of))) == 2
    assert told[-1] == (3, 3) and not await acme.user_matcher.outstanding()
    assert await parties(acme, hers.id) == [(users["Mira"].id, [])]
    assert await found(acme, users["Mira"].id) == {hers.id}
    assert await acme.users.calls_of(users["Tove"]) == (his.id,) and await acme.users.settled(users["Tove"])
    assert await parties(acme, other.id) == [(None, [])]
    assert await matched(acme) == 0


async def test_it_rests_once_the_users_are_known_and_not_worn(acme: Customer, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not await acme.user_matcher.at_rest()
    await acme.user_matcher.load()
    assert await acme.user_matcher.at_rest()
    monkeypatch.setattr(UserLookup, "worn", True)
    assert not await acme.user_matcher.at_rest()


async def test_a_call_is_matched_when_it_is_written(acme: Customer) -> None:
    users = await imported(acme, MIRA)
    early = await written(acme, HERS)
    assert await parties(acme, early) == [(None, [])] and await acme.user_matcher.outstanding()
    await acme.user_matcher.load()
    late = await written(acme, HERS)
    assert await parties(acme, late) == [(users["Mira"].id, [])]
    assert await found(acme, users["Mira"].id) == {late}
    assert await matched(acme) == 1
    assert await found(acme, users["Mira"].id) == {early, late}


async def test_a_call_written_after_a_foreign_match_is_matched(acme: Customer) -> None:
    await acme.user_matcher.load()
    other = UserMatcher(acme.database, acme.keys, acme.calls, acme.users, acme.rules, "DE")
    users = await imported(acme, MIRA)
    await other.load()
    await other.settle()
    assert not await acme.user_matcher.outstanding()
    await notice(acme)
    late = await written(acme, HERS)
    assert await parties(acme, late) == [(None, [])] and not await acme.users.settled(users["Mira"])
    assert await matched(acme) == 1 and await parties(acme, late) == [(users["Mira"].id, [])]
    await notice(acme)
    await written(acme, HERS)
    assert not await acme.user_matcher.outstanding()


async def written(acme: Customer, *numbers: str, at: datetime = NOON) -> str:
    """Write a call as the indexer does."""
    id, leaf = new_id(os.urandom), acme.keys.allocate(day_of(at))
    parties: Any = [{"name": None, "number": number, "uri": f"sip:{number}@pbx.example"} for number in numbers]
    end = at + timedelta(minutes=1)
    row = CallRow(
        id, leaf, CallState.COMPLETE, at, end, 60_000, 1, details=wrapped({"parties": parties, "streams": []})
    )
    row, forms = acme.user_matcher.applied(row, stored_of(parties, "DE"))
    await acme.calls.put([row], [forms])
    return id


async def test_the_call_keeps_who_it_was_then(node: StorageNode, acme: Customer) -> None:
    await imported(acme, MIRA, TOVE)
    await acme.user_matcher.load()
    before = await written(acme, HERS)
    node.watch.wait(days=10)  # she marries and moves; he gets her number
    married = replace(MIRA, last_name="Lind", email="mira.lind@x.example", numbers=("+4930999",))
    users = await imported(acme, married, replace(TOVE, numbers=(HERS,)))
    await matched(acme)
    after = await written(acme, HERS, at=node.watch.at + timedelta(hours=1))
    assert await parties(acme, before) == [(users["Mira"].id, [])]
    assert await parties(acme, after) == [(users["Tove"].id, [])]
    node.watch.wait(days=10)  # and she leaves
    await imported(acme, replace(TOVE, numbers=(HERS,)))
    assert await matched(acme) == 0
    assert await acme.users.calls_of(users["Mira"]) == (before,)
    assert await acme.users.calls_of(users["Tove"]) == (after,)


async def test_a_match_found_late_is_corrected(node: StorageNode, acme: Customer) -> None:
    users = await imported(acme, MIRA)
    await matched(acme)
    node.watch.wait(hours=1)
    await acme.users.unmap(users["Mira"].id)
    call = await written(acme, HERS, at=NOON + timedelta(hours=2))  # nobody has told the index yet
    assert await parties(acme, call) == [(users["Mira"].id, [])]
    assert await matched(acme) == 1
    assert await parties(acme, call) == [(None, [])] and await found(acme, users["Mira"].id) == set()
    await imported(acme, MIRA)  # out of the recycle bin
    assert await matched(acme) == 1
    assert await parties(acme, call) == [(users["Mira"].id, [])]


async def test_several_are_shown_and_each_of_them_is_referred_to(node: StorageNode, acme: Customer) -> None:
    call = await record(acme)
    users = await imported(acme, MIRA, replace(TOVE, numbers=("030 123456",)))
    await matched(acme)
    both = sorted(user.id for user in users.values())
    assert await parties(acme, call.id) == [(None, both)]
    for user in users.values():
        assert await found(acme, user.id) == set()  # nobody says that it was this one
        assert await acme.users.calls_of(user) == (call.id,) and await acme.users.sure_calls_of(user) == ()
    node.watch.wait(days=1)
    await imported(acme, MIRA, replace(TOVE, numbers=()))  # too late to tell: it was so at the time
    assert await matched(acme) == 0


async def test_a_walk_that_breaks_off_goes_on_where_it_was(node: StorageNode, acme: Customer) -> None:
    for _ in range(7):
        await record(acme)
    await matched(acme)
    users = await imported(acme, MIRA)

    async def die() -> None:
        if looked:
            raise Killed

    looked: list[int] = []
    with pytest.raises(Killed):
        await matched(acme, told=lambda done, of: looked.append(done), pause=die, batch=3)
    assert looked == [3] and (await acme.user_matcher.outstanding()).calls == 4
    assert not await acme.users.settled(users["Mira"])
    await acme.close()
    async with node.opened() as again:
        more: list[int] = []
        assert await matched(again, told=lambda done, of: more.append(done), batch=3) == 4
        assert more == [3, 4] and len(await again.users.calls_of(users["Mira"])) == 7


async def test_a_change_during_matching_is_matched_too(acme: Customer) -> None:
    for number in range(120):
        await record(acme, number=f"+49301{number:05}")
    hers, his = await record(acme), await record(acme, number=HIS)
    await matched(acme)
    await imported(acme, MIRA)
    came: list[dict[str, User]] = []

    async def comes() -> None:
        if not came:
            came.append(await imported(acme, TOVE, whole=False))

    async with asyncio.timeout(30):
        assert await matched(acme, pause=comes) == 2
    mira = await acme.users.known("csv", MIRA)
    assert mira is not None and await parties(acme, hers.id) == [(mira.id, [])]
    assert await parties(acme, his.id) == [(came[0]["Tove"].id, [])]
    assert not await acme.user_matcher.outstanding()


async def test_damaged_and_erased_calls_are_skipped(acme: Customer) -> None:
    damaged, erased, well = await record(acme), await record(acme), await record(acme)
    await damage(acme.database, damaged)
    acme.keys.cut(erased.leaf)
    users = await imported(acme, MIRA)
    assert await matched(acme) == 1
    assert not await acme.user_matcher.outstanding()
    assert await acme.users.calls_of(users["Mira"]) == (well.id,)


async def test_a_call_cut_during_matching_gets_no_new_tokens(acme: Customer) -> None:
    """That key stays when the erasure is done, and a copy of the database could be asked who took part."""
    gone, stays = await record(acme), await record(acme)
    users = await imported(acme, MIRA)
    await acme.user_matcher.load()
    index = await acme.calls.index_leaf(gone.day)
    assert index is not None

    async def cut() -> None:
        acme.keys.cut(gone.leaf, index)

    assert await acme.user_matcher.settle(pause=cut) == 1
    async with acme.database.reading() as connection:
        assert set(await connection.scalars(sa.select(call_tokens.c.leaf))) == {stays.leaf}
    assert await found(acme, users["Mira"].id) == {stays.id}


async def test_a_rule_about_a_user_counts_from_the_match_on(acme: Customer) -> None:
    call = await record(acme)
    user = (await imported(acme, MIRA))["Mira"]
    await acme.rules.put([RuleSpec(7, party=user.id, name="leaver")], by="ada", default_days=90)
    await matched(acme)
    row = await acme.calls.get(call.id)
    assert row is not None and row.erase_after == NOON + timedelta(days=7)


async def test_a_user_is_not_deleted_before_all_calls_were_looked_at(acme: Customer) -> None:
    await record(acme)
    user = (await imported(acme, MIRA))["Mira"]
    await acme.users.unmap(user.id)
    with pytest.raises(Referred):
        await acme.users.delete(user.id)
    await matched(acme)
    with pytest.raises(Referred):
        await acme.users.delete(user.id)


async def notice(acme: Customer) -> None:
    async with acme.database.reading() as connection:
        await acme.user_matcher.notice_in(connection)
