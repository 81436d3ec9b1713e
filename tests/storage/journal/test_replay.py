"""A database that is lost or old comes to the state of today, and what was erased stays erased."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.database import schema
from storage.database.database import DatabaseOlder
from storage.directory.user import Person
from storage.erasure import erasure_rows
from storage.erasure.erasure_rows import ErasureTarget, State
from storage.erasure.erasure_steps import ErasureSteps
from storage.errors import NoSpace, SealBroken
from storage.files.append_log import LineFile
from storage.journal import journal, replay
from storage.keys.key_store import CustomerKeys
from storage.retention.policy import Wins
from storage.retention.rules import RuleSpec
from tests.in_process.storage_node import NOON, ROOT, StorageNode, finish, opens, permit, record
from tests.storage.journal_rows import FILE, dump, fill, lose_the_database, reopened, without_calls

pytestmark = pytest.mark.both_databases


async def test_everything_comes_back_as_it_was(node: StorageNode, acme: Customer) -> None:
    asked = await fill(acme)
    before = without_calls(await dump(acme), asked)
    await acme.close()
    async with reopened(node) as again:
        assert await dump(again) == before
        assert all(before.values())
        rules = await again.rules.get()
        assert (rules.default_days, rules.wins, [r.spec.name for r in rules.rules]) == (90, Wins.SHORTEST, ["desk"])
        assert (await again.waivers.current()).signed_by == "Dr. Vera Stamm"
        granted = await again.erasures.approve(asked, by="anton")
        assert granted.state == State.RUNNING
    async with reopened(node) as once_more:
        assert (await once_more.erasures.get(asked)).approved_by == "anton"


async def test_a_hold_stops_an_erasure_after_a_rebuild(node: StorageNode, acme: Customer) -> None:
    row = await record(acme, ended=NOON - timedelta(days=400))
    await permit(acme)
    await acme.holds.put(row.id, "court", "paula")
    await acme.close()
    async with reopened(node) as again:
        assert await again.holds.get(row.id)
        await again.calls.put([row], [["w:mira"]])
        await again.retention.sweep(node.watch(), 100)
        await again.erasures.work()
        assert opens(again, row) and (await again.holds.get(row.id)).reason == "court"


async def test_data_of_an_erased_call_do_not_come_back(node: StorageNode, acme: Customer, row: CallRow) -> None:
    await permit(acme)
    await acme.annotations.add(row.id, "Notary Fettlewick", "paula")
    old = (node.data / FILE).read_bytes()
    await finish(acme, calls=[row.id])
    await acme.close()
    (node.data / FILE).write_bytes(old + (node.data / FILE).read_bytes()[len(old) :])
    async with reopened(node) as again:
        found = await dump(again)
        assert found["annotations"] == [] and len(found["waivers"]) == 1 and len(found["erasures"]) == 1
        assert all(word not in node.raw() for word in (b"Fettlewick", b"divorce", b"Vera Stamm"))


async def test_a_database_older_than_the_journal_is_copied_into_it(node: StorageNode, acme: Customer) -> None:
    asked = await fill(acme)
    before = without_calls(await dump(acme), asked)
    await acme.close()
    (node.data / FILE).unlink()
    await (await node.open()).close()
    async with reopened(node) as again:
        assert await dump(again) == before


async def test_a_missing_journal_continues_the_databases_numbers(
    node: StorageNode, acme: Customer, row: CallRow
) -> None:
    await acme.holds.put(row.id, "court", "paula")
    await acme.holds.remove(row.id)
    await acme.close()
    (node.data / FILE).unlink()
    async with node.opened() as again:
        await permit(again)
        assert [head.number for head, _ in again.journal.lines()] == [2, 3]
        before = await dump(again)
    async with reopened(node) as anew:
        assert await dump(anew) == before


async def test_two_processes_restore_a_lost_database_once(node: StorageNode, acme: Customer) -> None:
    await fill(acme)
    await acme.close()
    await lose_the_database(node)
    both = await asyncio.gather(node.open(), node.open())
    assert await dump(both[0]) == await dump(both[1])
    assert len((await dump(both[0]))["users"]) == 2
    for each in both:
        await each.close()


async def test_a_server_that_lost_commits_gets_no_line_until_reopened(
    node: StorageNode, acme: Customer, row: CallRow
) -> None:
    """After a fail-over to a copy that was behind, a new line would replace that of the hold."""
    await acme.holds.put(row.id, "court", "paula")
    async with acme.database.writing() as connection:  # as the other server has it
        await connection.execute(sa.delete(schema.holds))
        await connection.execute(sa.update(schema.journal_mark).values(line=schema.journal_mark.c.line - 1))
    with pytest.raises(DatabaseOlder):
        await permit(acme)
    await acme.close()
    async with node.opened() as again:
        assert (await again.holds.get(row.id)).reason == "court"
        await permit(again)


@pytest.mark.parametrize("blank", [True, False])
async def test_another_customers_journal_is_refused(
    node: StorageNode, acme: Customer, tmp_path: Path, blank: bool
) -> None:
    if not blank:
        await permit(acme)
    before = await dump(acme)
    foreign = journal.Journal(tmp_path, CustomerKeys.create(tmp_path / "k", tmp_path / "c", "beta", ROOT))
    for _ in range(3):
        await foreign.write([journal.dropped(schema.waivers)])
    await acme.close()
    (node.data / FILE).write_bytes((tmp_path / "papers.journal").read_bytes())
    with pytest.raises(SealBroken, match="another customer's"):
        await node.open()
    (node.data / FILE).unlink()
    async with node.opened() as again:
        assert await dump(again) == before


Killing = Callable[[Customer, str], Awaitable[object]]

KILLED: dict[str, Killing] = {
    "a hold": lambda acme, call: acme.holds.put(call, "court", "paula"),
    "the end of a hold": lambda acme, call: acme.holds.remove(call),
    "a correction": lambda acme, call: acme.annotations.add(call, "her name is Mirah", "paula"),
    "rules": lambda acme, call: acme.rules.put([RuleSpec(30, name="new")], by="ada", default_days=7),
    "a user": lambda acme, call: added(acme),
    "the other name of a user": lambda acme, call: renamed(acme),
}


async def added(acme: Customer) -> None:
    plan = await acme.users.plan([Person(object_id="k9", first_name="Mira")], "csv", whole=False)
    await acme.users.carry_out(plan)


async def renamed(acme: Customer) -> None:
    people = [Person(object_id="k1", first_name="Mirabel"), Person(object_id="k2", first_name="Tove")]
    await acme.users.carry_out(await acme.users.plan(people, "csv", whole=True))


@pytest.mark.parametrize("what", KILLED)
async def test_journalled_changes_are_committed_at_the_next_start(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    await fill(acme)
    row = await record(acme)
    if what == "the end of a hold":
        await acme.holds.put(row.id, "court", "paula")
    write = journal.Journal.write

    async def killed(self: journal.Journal, items: Sequence[journal.Item]) -> None:
        await write(self, items)
        raise RuntimeError("killed here")

    with monkeypatch.context() as patch:
        patch.setattr(LineFile, "take_back", lambda self, line: False)  # who is killed takes nothing back
        patch.setattr(journal.Journal, "write", killed)
        with pytest.raises(RuntimeError):
            await KILLED[what](acme, row.id)
    assert await replay.differences(acme.journal, acme.database)
    await acme.close()
    async with node.opened() as again:
        assert await replay.differences(again.journal, again.database) == {}
        held = await again.holds.get(row.id) is not None
        assert held is (what == "a hold")
        shown = await again.calls.get(row.id)
        assert shown is not None and shown.hold is held
        before = await dump(again)
    async with node.opened() as once_more:
        assert await dump(once_more) == before


async def test_a_mismatched_or_damaged_last_line_is_skipped(node: StorageNode, acme: Customer) -> None:
    await fill(acme)
    before = await dump(acme)
    async with acme.database.reading() as connection:
        (item, *_) = await journal.taken(connection, schema.users)
    await acme.journal.write([replace(item, put={**(item.put or {}), "id": "another"})])
    await acme.close()
    async with node.opened() as again:
        assert await dump(again) == before
    with (node.data / FILE).open("ab") as file:
        file.write(b'{"id":"00","items":[[0,"ffffffffffff","AAAA"]]}\n')
    async with node.opened() as again:
        assert await dump(again) == before


async def test_a_request_that_was_not_audited_does_not_come_back(node: StorageNode, acme: Customer) -> None:
    async def refused(_: str) -> None:
        raise NoSpace("the log takes nothing")

    row = await record(acme)
    await permit(acme)
    with pytest.raises(NoSpace):
        await acme.erasures.file(calls=[row.id], reason="x", by="paula", told=refused)
    asked = (await acme.erasures.file(calls=[row.id], reason="x", by="paula", approval=True)).id
    with pytest.raises(NoSpace):
        await acme.erasures.approve(asked, by="anton", told=refused)
    await acme.close()
    async with reopened(node) as again:
        await again.erasures.work()
        assert [(each.id, each.state) for each in await again.erasures.open()] == [(asked, State.APPROVAL)]
        assert opens(again, row)


async def test_a_long_erasure_resumes_without_its_database(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = [await record(acme, ended=NOON - timedelta(days=days)) for days in (9, 5)]
    await permit(acme)
    await acme.erasures.file(calls=[row.id for row in calls], reason="x", by="paula")
    cut, cuts = ErasureSteps.cut, list[Sequence[ErasureTarget]]()

    async def once(self: ErasureSteps, targets: Sequence[ErasureTarget], now: datetime) -> None:
        cuts.append(targets)
        if len(cuts) > 1:
            raise NoSpace("killed here")
        await cut(self, targets, now)

    with monkeypatch.context() as patch:
        patch.setattr(erasure_rows.begin, "__defaults__", (1,))
        patch.setattr(ErasureSteps, "cut", once)
        with pytest.raises(NoSpace):
            await acme.erasures.work()
    await acme.close()
    assert [len(each) for each in cuts][:2] == [1, 1]
    async with reopened(node) as again:
        await again.erasures.work()
        assert not any(opens(again, row) for row in calls)
