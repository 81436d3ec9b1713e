"""A database of weeks ago, put back beside the journal of today, or beside one that is older."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from personal import Personal
from storage.calls.call_row import Query
from storage.customer.customers import Customer
from storage.database import schema
from storage.directory.user import Person
from storage.erasure.erasure_rows import State
from storage.journal import replay
from storage.retention.policy import Wins
from storage.retention.rules import RuleSpec
from tests.in_process.storage_node import NOON, StorageNode, opens, permit, record
from tests.storage.journal_rows import FILE, compacted_anyhow, copied, dump, fill, put_back, reopened, without_calls


async def go_on(acme: Customer, asked: str) -> None:
    """Change everything that `fill` left, and ask for more."""
    (held,) = [row.id for row in (await acme.calls.find(Query(party=Personal("Mira Okafor")))).items]
    await acme.holds.remove(held)
    later = await record(acme, name="Uwe Brandt", number="+4940111222")
    await acme.holds.put(later.id, "court", "paula")
    await acme.annotations.add(held, "and again", "paula")
    await acme.rules.put([RuleSpec(7, name="newest")], by="ada", default_days=11, wins=Wins.LONGEST)
    await acme.users.carry_out(await acme.users.plan([Person(object_id="k2", first_name="Tova")], "csv", whole=True))
    (gone,) = [user for user in (await acme.users.listed(9))[0] if user.state == "inactive"]
    assert await acme.users.delete(gone.id)
    await acme.column_sets.delete("for the court")
    await permit(acme)
    await acme.erasures.approve(asked, by="anton")
    await acme.erasures.work()
    waiting = await acme.erasures.file(party="Uwe Brandt", reason="his wish", by="paula")
    await acme.erasures.work()
    assert (await acme.erasures.get(waiting.id)).state == State.WAITING


@pytest.mark.parametrize("compacted", [False, True])
async def test_an_old_database_restored_alone_catches_up(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch, compacted: bool
) -> None:
    asked = await fill(acme)
    old = await copied(acme)
    await go_on(acme, asked)
    if compacted:
        await compacted_anyhow(acme, monkeypatch)
    today = await dump(acme)
    (waiting,) = await acme.erasures.open()
    receipts = {row[0]: row for row in today["erasures"]}
    await acme.close()
    await put_back(node, old)
    async with node.opened() as again:
        await again.erasures.work()  # it waits again
        assert without_calls(await dump(again), waiting.id) == without_calls(today, waiting.id)
        assert {row[0]: row for row in (await dump(again))["erasures"]} == receipts, "receipts are the original ones"
        assert again.journal.replayed
        assert await replay.differences(again.journal, again.database) == {}
        assert (await again.calls.find(Query(party=Personal("Mira Okafor")))).items == ()
        async with again.database.reading() as connection:
            assert not set(await connection.scalars(sa.select(schema.calls.c.id).where(schema.calls.c.hold)))
            assert all(map(again.keys.keeps, await connection.scalars(sa.select(schema.calls.c.leaf))))
    async with node.opened() as once_more:
        assert not once_more.journal.replayed


async def test_a_replay_that_is_killed_is_done_again(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = await fill(acme)
    old = await copied(acme)
    await go_on(acme, asked)
    today = await dump(acme)
    (waiting,) = await acme.erasures.open()
    await acme.close()
    for place in ("changed_rows", "forget_dead", "set_mark"):
        await put_back(node, old)

        def killed(*_: object) -> None:
            raise RuntimeError("killed here")

        with monkeypatch.context() as patch:
            patch.setattr(replay, place, killed)
            with pytest.raises(RuntimeError):
                await node.open()
        async with node.opened() as again:
            await again.erasures.work()
            assert without_calls(await dump(again), waiting.id) == without_calls(today, waiting.id)


async def test_a_journal_older_than_its_database_is_written_anew(node: StorageNode, acme: Customer) -> None:
    await permit(acme)
    old = (node.data / FILE).read_bytes()
    asked = await fill(acme)
    before = without_calls(await dump(acme), asked)
    await acme.close()
    (node.data / FILE).write_bytes(old)
    await (await node.open()).close()
    async with reopened(node) as again:
        assert await dump(again) == before


async def test_retention_under_way_in_an_old_database_is_left_to_it(
    node: StorageNode, acme: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = await record(acme, ended=NOON - timedelta(days=400))
    await permit(acme)
    await acme.retention.sweep(node.watch(), 100)
    old = await copied(acme)
    await acme.annotations.add(row.id, "a note", "paula")
    await compacted_anyhow(acme, monkeypatch)
    await acme.close()
    await put_back(node, old)
    async with node.opened() as again:
        await again.erasures.work()
        assert not opens(again, row)
