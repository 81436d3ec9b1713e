"""Several nodes on one database: who may start, what a node that lost its row can do, what is noticed of a rollback."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.customer.customers import Customer
from storage.database.database import DatabaseAway, DatabaseOlder
from storage.database.schema import about, nodes
from storage.errors import OtherNode
from storage.nodes import membership, registry
from storage.nodes.fence import FILE_NAME
from storage.nodes.indexed import MARGIN_SECONDS
from storage.nodes.rows import NodeRow, NodeState, listed
from tests.daemon.pgbouncer import pgbouncer
from tests.daemon.postgresql import cluster
from tests.in_process.shared_keys import join
from tests.in_process.storage_node import Watch
from tests.storage.nodes.machines import HOUR, Machine, first

pytestmark = pytest.mark.system
DAY = 24 * HOUR


@pytest.fixture
def rec1(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> Machine:
    """The first of several nodes, which is not running at the moment."""
    return loop.run(first(tmp_path, postgresql, number=1))


@pytest.fixture(autouse=True)
def _long_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the server of the tests be one that has been there for hours."""
    monkeypatch.setattr(registry, "UP_SINCE", sa.literal(1, sa.BigInteger))


@asynccontextmanager
async def serving(*machines: Machine) -> AsyncIterator[list[Customer]]:
    """Let all of them serve."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(machine.serving()) for machine in machines]


async def write(acme: Customer) -> None:
    """Change something in a transaction."""
    async with acme.database.writing() as connection:
        await connection.execute(about.update().values(created_at=about.c.created_at + 1))


async def seen_by(acme: Customer) -> dict[str, NodeRow]:
    return {row.name: row for row, _ in await listed(acme.database)}


async def lose(machine: Machine, transactions: int) -> None:
    """Let the database lose the newest transactions of a node, as a fail-over does."""
    mine = nodes.c.node == machine.number
    await machine.execute(nodes.update().where(mine).values(seq=nodes.c.seq - transactions))


# ---- who may start ----
async def test_the_second_node_starts_once_it_is_admitted(rec1: Machine) -> None:
    rec2 = rec1.joining("rec2", 2)
    async with rec1.serving() as acme:
        why = await rec2.refused()
        assert "node rec2, number 2 is not admitted" in str(why) and "recorder node admit rec2" in why.hint
        await rec1.admit("rec2", 2)
        assert (await seen_by(acme))["rec2"].shown is NodeState.PENDING
        async with rec2.serving() as other:
            await join(acme, other)
            before = {name: row.seq for name, row in (await seen_by(other)).items()}
            await write(acme)
            await write(other)
            both = await seen_by(other)
            assert {name: (row.shown, row.number, row.seq - before[name]) for name, row in both.items()} == {
                "rec1": (NodeState.ACTIVE, 1, 1), "rec2": (NodeState.ACTIVE, 2, 1),
            }  # fmt: skip
            assert await acme.registry.renew() is await other.registry.renew() is NodeState.ACTIVE


async def test_a_cloned_disk_is_refused_while_its_original_is_there(rec1: Machine) -> None:
    clone = replace(
        rec1.copy("clone"), place=replace(rec1.place, data_dir=rec1.data.parent / "clone", instance="clone")
    )
    async with rec1.serving() as acme:
        why = await clone.refused()
        assert "another machine serves" in str(why) and "number 1" in str(why)
        await rec1.admit("rec2", 2)
        for other in (replace(clone, number=2), replace(clone, number=3)):  # with another number, and the same name
            assert "has the same name" in str(await other.refused())
        await write(acme)


async def test_a_number_is_one_nodes_alone(rec1: Machine) -> None:
    async with rec1.serving():
        assert "number 1 is that of node rec1" in str(await rec1.joining("rec2", 1).refused())
        await rec1.admit("rec2", 2)
        await rec1.admit("rec2", 2)  # again, as after a crash
        for name, number in (("rec3", 2), ("rec3", 1), ("rec2", 3), ("rec1", 3)):
            with pytest.raises(OtherNode):
                await rec1.admit(name, number)


async def test_other_keys_are_refused(rec1: Machine, tmp_path: Path) -> None:
    await rec1.admit("rec2", 2)
    other = Machine(tmp_path / "new", replace(rec1.place, data_dir=tmp_path / "new", node="rec2", instance="new"), 2)
    assert "other keys" in str(await other.refused())


async def test_the_only_node_and_several_do_not_mix(rec1: Machine) -> None:
    alone = replace(rec1, number=0)
    await rec1.admit("rec2", 2)
    async with serving(rec1, rec1.joining("rec2", 2)):
        assert "shared by several nodes" in str(await alone.refused())
    await rec1.age(HOUR)  # rec2 is away, and yet has keys that nobody would cut
    assert "node rec2" in str(await alone.refused())
    await rec1.retire("rec2")
    async with alone.serving():
        assert "as the only one" in str(await replace(rec1.rebooted, number=1).refused())
    async with rec1.serving() as acme:  # the same machine is the first of several again, at once
        found = await seen_by(acme)
        assert {name: row.shown for name, row in found.items()} == {
            "rec1": NodeState.ACTIVE, "rec2": NodeState.RETIRED,
        }  # fmt: skip


async def test_a_rebooted_machine_waits_until_its_row_is_old(rec1: Machine) -> None:
    async with rec1.serving():
        await rec1.rebooted.refused()
        await rec1.age(15_000_000)
        await rec1.rebooted.refused()
        await rec1.age(16_000_000)
        async with rec1.rebooted.serving() as acme:
            await write(acme)


async def test_clocks_of_nodes_do_not_count(rec1: Machine) -> None:
    """A node that is a year behind keeps its row, and one that is a year ahead does not take it."""
    behind, ahead = Watch(), Watch()
    behind.wait(days=-365)
    ahead.wait(days=365)
    clone = rec1.copy("clone")
    clone = replace(clone, place=replace(clone.place, node="rec1", now=ahead))
    async with replace(rec1, place=replace(rec1.place, now=behind)).serving() as acme:
        await clone.refused()
        await acme.registry.renew()
        assert abs((await seen_by(acme))["rec1"].age) < 10_000_000


async def test_a_row_of_the_future_keeps_nobody_away_for_long(rec1: Machine) -> None:
    """The clock of the server that took over is an hour behind: the machine that was restarted is not locked out."""
    async with rec1.serving():
        await rec1.age(-HOUR)
        async with rec1.rebooted.serving() as acme:
            assert (await seen_by(acme))["rec1"].fresh


# ---- who lost the row ----
async def test_a_node_whose_row_was_taken_writes_nothing_any_more(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        await write(acme)
        await rec1.age(HOUR)  # it stood still
        async with rec1.rebooted.serving() as other:
            with pytest.raises(DatabaseAway, match="does not serve"):
                await write(acme)
            await write(other)
            with pytest.raises(OtherNode):
                await acme.renew_claim()
            with pytest.raises(DatabaseAway):
                await acme.calls.count()


async def test_a_retired_node_writes_nothing_and_does_not_start(rec1: Machine) -> None:
    rec2 = rec1.joining("rec2", 2)
    await rec1.admit("rec2", 2)
    async with rec1.serving() as acme:
        async with rec2.serving() as other:
            await rec1.retire("rec2")
            with pytest.raises(DatabaseAway):
                await write(other)
            with pytest.raises(OtherNode, match="retired"):
                await other.renew_claim()
        for again in (rec2, rec2.rebooted, rec2.command):
            assert "was retired" in str(await again.refused())
        with pytest.raises(OtherNode):
            await rec1.admit("rec3", 2)  # not before two days
        await rec1.age(2 * DAY)
        await acme.registry.renew()
        with pytest.raises(OtherNode):
            await rec1.admit("rec2", 4)  # nor the same node again: its keys are gone
        await rec1.admit("rec3", 2)
        async with rec1.joining("rec3", 2).serving():
            assert "number 2 is that of node rec3" in str(await rec2.refused())


async def test_retiring_waits_for_a_transaction_that_has_begun(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        async with acme.database.writing() as connection:
            retiring = asyncio.ensure_future(rec1.retire("rec1"))
            await asyncio.sleep(0.2)
            assert not retiring.done()
            await connection.execute(about.update().values(created_at=7))
        await retiring
        with pytest.raises(DatabaseAway):
            await write(acme)


async def test_a_command_writes_beside_its_daemon_and_no_other(rec1: Machine) -> None:
    async with rec1.serving() as acme, rec1.command.serving() as command:
        await write(command)
        await write(acme)
        async with rec1.serving() as after:  # the daemon was restarted
            await write(command)
            await write(after)
            with pytest.raises(DatabaseAway):
                await write(acme)
        await rec1.rebooted.command.refused()
    await rec1.age(HOUR)
    async with rec1.rebooted.command.serving() as command:  # nobody runs: a command may
        await write(command)
        async with rec1.rebooted.rebooted.serving() as after:
            with pytest.raises(DatabaseAway):
                await write(command)
            await write(after)


# ---- what a database has lost ----
async def test_commits_that_a_database_lost_are_noticed_and_restored(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        for _ in range(3):
            await write(acme)
        await lose(rec1, 1)
        with pytest.raises(DatabaseOlder):
            await write(acme)
        with pytest.raises(DatabaseOlder):
            await acme.renew_claim()
        with pytest.raises(DatabaseAway):
            await acme.calls.count()
        await acme.open_database()
        assert not acme.registry.older
        assert (await seen_by(acme))["rec1"].seq == 3
        await write(acme)


async def test_a_start_tells_lost_commits_from_a_crash(rec1: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    older: list[bool] = []
    settle = registry.Registry.settle

    async def noted(self: registry.Registry) -> None:
        older.append(self.older)
        await settle(self)

    async with rec1.serving() as acme:
        for _ in range(5):
            await write(acme)
    monkeypatch.setattr(registry.Registry, "settle", noted)
    for lost in (1, 2):  # a crash between the disk and the commit looks like one
        await lose(rec1, lost)
        async with rec1.serving():
            pass
    assert older == [False, True]


async def test_failed_transactions_do_not_look_like_lost_commits(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                async with acme.database.writing():
                    raise ZeroDivisionError
            await acme.registry.renew()
        await write(acme)
    async with rec1.serving() as acme:
        await write(acme)
        assert (await seen_by(acme))["rec1"].seq == 2


async def test_a_row_that_was_lost_is_written_again_by_its_node_alone(rec1: Machine) -> None:
    rec2, rec3 = rec1.joining("rec2", 2), rec1.joining("rec3", 3)
    await rec1.admit("rec2", 2)
    async with serving(rec1, rec2) as (acme, other):
        await join(acme, other)
        for _ in range(3):
            await write(other)
        before = (await seen_by(acme))["rec2"].seq
        await rec1.execute(nodes.delete().where(nodes.c.node == 2))
        with pytest.raises(DatabaseAway):
            await write(other)
        with pytest.raises(DatabaseOlder):
            await other.renew_claim()
        await other.open_database()
        await write(other)
        assert (await seen_by(acme))["rec2"].seq > before
        await rec3.refused()


async def test_a_start_that_was_lost_is_not_another_machines(rec1: Machine) -> None:
    """The epoch of the lost start is given again, to the machine that takes over: the first one must not write."""
    async with rec1.serving() as acme:
        await rec1.execute(nodes.update().values(epoch=nodes.c.epoch - 1))
        with pytest.raises(DatabaseAway):
            await write(acme)
        await rec1.age(HOUR)
        async with rec1.rebooted.serving() as other:
            await write(other)
            with pytest.raises(DatabaseAway):
                await write(acme)
            await other.give_up_claim()
        await rec1.execute(nodes.update().values(epoch=nodes.c.epoch - 1, instance="rec1"))
        with pytest.raises(DatabaseOlder):
            await acme.renew_claim()
        await acme.open_database()
        await write(acme)


async def test_a_number_that_cannot_be_noted_is_not_committed(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        await write(acme)
        note = acme.folder / FILE_NAME
        note.rename(note.with_name("aside"))
        with pytest.raises(Exception, match="overwrite"):
            await write(acme)
        note.with_name("aside").rename(note)
        await write(acme)
        assert (await seen_by(acme))["rec1"].seq == 2


async def test_behind_pgbouncer_two_nodes_write_but_no_retired_one(tmp_path: Path) -> None:
    with cluster() as server:
        server.start()
        with pgbouncer(server) as between:
            rec1 = await first(tmp_path, between.url, number=1)
            await rec1.admit("rec2", 2)

            async def busy(acme: Customer) -> None:
                for _ in range(20):
                    await write(acme)
                    assert await acme.registry.renew() is NodeState.ACTIVE

            async with serving(rec1, rec1.joining("rec2", 2)) as (acme, other):
                await join(acme, other)
                before = {name: row.seq for name, row in (await seen_by(acme)).items()}
                await asyncio.gather(busy(acme), busy(other))
                assert {row.seq - before[name] for name, row in (await seen_by(acme)).items()} == {20}
                await rec1.retire("rec2")
                with pytest.raises(DatabaseAway):
                    await write(other)
                await busy(acme)


# ---- draining, and how far the index is ----
async def test_draining_outlasts_a_restart_and_can_be_undone(rec1: Machine) -> None:
    async def change(acme: Customer, *, undo: bool) -> None:
        async with acme.database.writing() as connection:
            assert await membership.drain(connection, "rec1", undo=undo)
            assert await membership.drain(connection, "rec9", undo=undo) is None

    async with rec1.serving() as acme:
        await change(acme, undo=False)
        assert await acme.registry.renew() is NodeState.DRAINING
    async with rec1.serving() as acme:
        assert acme.registry.state is NodeState.DRAINING
        await write(acme)
        await change(acme, undo=True)
        assert await acme.registry.renew() is NodeState.ACTIVE


async def test_a_node_says_how_far_its_calls_are_indexed(rec1: Machine) -> None:
    async with rec1.serving() as acme:
        assert acme.indexed is not None
        for moment in (20, 10):
            async with acme.database.writing() as connection:
                await acme.indexed.note(connection, moment, -MARGIN_SECONDS)
        assert (await seen_by(acme))["rec1"].indexed_until == 20
    async with rec1.serving() as acme:
        row = (await seen_by(acme))["rec1"]
        assert (row.indexed_until, row.epoch) == (20, 3)
        assert row.lease_until and abs(row.lease_until.timestamp() * 1e6 - row.seen - 30e6) < 1
        await acme.registry.give_up()
        row = (await seen_by(acme))["rec1"]
        assert (row.shown, row.lease_until) == (NodeState.AWAY, None)
