"""Two or three nodes hold the keys of a customer: what one erases, none opens, and it is done when all have cut it."""

import asyncio
import time
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.calls.call_row import CallState
from storage.customer.customers import Customer
from storage.cuts.holder_steps import Table
from storage.cuts.lines import Acknowledgement
from storage.database.database_clock import MICROS
from storage.database.schema import erasure_calls, erasures, journal_mark, nodes, waivers
from storage.errors import Forgotten, StorageError
from storage.holders import cut_table
from storage.holders.holder import CutsBehind
from storage.holders.return_file import ReturnFile, Standing
from storage.keys.cut_log import Ledger
from storage.timestamps import to_micros
from tests.in_process.storage_node import NOON, opens, permit, record
from tests.storage.holders.cluster import Cluster

pytestmark = pytest.mark.system


async def ask(acme: Customer, *calls: str) -> str:
    """Ask for an erasure and let this node do its part."""
    await permit(acme)
    filed = await acme.erasures.file(calls=calls, reason="she asked us to", by="paula")
    await acme.erasures.work()
    return filed.id


async def state(acme: Customer, id: str) -> tuple[str, tuple[str, ...]]:
    found = await acme.erasures.get(id)
    assert found is not None
    return found.state.value, found.waiting_for


async def test_a_call_erased_on_one_node_opens_on_none(two: Cluster) -> None:
    one, other = two.nodes["rec1"], two.nodes["rec2"]
    row, kept = await record(one), await record(one, number="+4930777")
    assert await other.calls.get(row.id) is not None and other.keys.keeps(row.leaf)
    id = await ask(one, row.id)
    assert not one.keys.keeps(row.leaf) and not opens(one, row) and opens(one, kept)
    await two.turn("rec1")
    assert await state(one, id) == ("waiting", ("rec2",))  # no node of this test says that it is there
    assert other.keys.keeps(row.leaf)
    assert await other.calls.get(row.id) is None and not other.keys.keeps(row.leaf)  # a look at the index is enough
    assert other.keys.keeps(kept.leaf) and await other.calls.get(kept.id) is not None


async def test_an_erasure_waits_for_all_holders_and_names_them(two: Cluster) -> None:
    one = two.nodes["rec1"]
    row = await record(one)
    id = await ask(one, row.id)
    for _ in range(3):
        await two.turn("rec1")
        await one.erasures.work()
    assert (await state(one, id))[0] == "waiting"
    await two.settle()
    await one.erasures.work()
    assert await state(one, id) == ("done", ())
    done = await one.erasures.get(id)
    assert done and done.receipt and done.receipt["version"] == 2
    assert done.receipt["holders"] == [{"node": "rec1", "retired": False}, {"node": "rec2", "retired": False}]
    assert two.nodes["rec1"].keys.state() == two.nodes["rec2"].keys.state()


async def test_every_other_cut_is_a_line_too(two: Cluster) -> None:
    one, other = two.nodes["rec1"], two.nodes["rec2"]
    await one.column_sets.put("for Mira Okafor", ["id"], by="paula")
    assert await one.column_sets.delete("for Mira Okafor")
    await two.settle()
    assert one.keys.state() == other.keys.state()


async def test_keys_are_cut_through_the_lines_only(two: Cluster) -> None:
    with pytest.raises(StorageError):
        two.nodes["rec1"].keys.cut(7)


async def test_nothing_opens_before_the_lines_were_read_after_a_start(two: Cluster) -> None:
    row = await record(two.nodes["rec1"])
    await two.close("rec2")
    await ask(two.nodes["rec1"], row.id)
    other = await two.open("rec2")
    assert not other.keys.keeps(row.leaf)


async def test_older_keys_open_nothing_until_all_others_have_spoken(two: Cluster, tmp_path: Path) -> None:
    one = two.nodes["rec1"]
    row, kept = await record(one), await record(one, number="+4930777")
    two.copy_keys("rec2", "copy")
    await ask(one, row.id)
    await two.settle()
    await two.close("rec2")
    two.copy_keys("copy", "rec2")
    (tmp_path / "rec2" / "keys" / "acme.holder").unlink()
    (tmp_path / "rec2" / "customers" / "acme" / "tree.state").unlink()
    other = await two.open("rec2")
    assert not other.keys.keeps(row.leaf)  # the table still has the line
    with pytest.raises(CutsBehind, match="older copy"):
        await other.calls.get(kept.id)
    await two.settle()
    assert await other.calls.get(kept.id) is not None


@pytest.mark.parametrize("away", [0.5, 2.0])
async def test_a_clock_days_behind_hides_no_day_of_absence(two: Cluster, away: float) -> None:
    kept = await record(two.nodes["rec1"])
    await two.settle()
    await two.close("rec2")
    now = datetime.now(UTC)  # of the database
    ReturnFile(two.keys("rec2"), "acme").write(Standing(None, now - timedelta(days=away)))
    two.watch.at = now - timedelta(days=3)
    other = await two.open("rec2")
    if away > 1:
        with pytest.raises(CutsBehind, match="was away"):
            await other.calls.get(kept.id)
        await two.settle()
    assert await other.calls.get(kept.id) is not None


async def test_an_erasure_by_a_clock_days_ahead_is_done(two: Cluster) -> None:
    row = await record(two.nodes["rec1"])
    two.watch.wait(days=3)
    await two.settle()  # both were away, by their clocks
    id = await ask(two.nodes["rec1"], row.id)
    await two.close("rec1")  # before it has removed anything
    two.watch.wait(days=-3)
    one = await two.open("rec1")
    for _ in range(2):
        await two.settle()
    await one.erasures.work()
    assert await state(one, id) == ("done", ())


async def test_a_line_that_a_fail_over_lost_comes_back(two: Cluster) -> None:
    one = two.nodes["rec1"]
    row = await record(one)
    await two.settle()
    id = await ask(one, row.id)
    await forget_lines(one, 1)
    other = two.nodes["rec2"]
    assert await other.calls.get(row.id) is None and other.keys.keeps(row.leaf)  # it cannot know
    with pytest.raises(CutsBehind):
        await one.calls.get(row.id)
    await two.settle()
    assert not other.keys.keeps(row.leaf)
    await one.erasures.work()
    assert await state(one, id) == ("done", ())


async def test_an_erasure_that_the_database_lost_is_done_again_by_all(two: Cluster) -> None:
    one = two.nodes["rec1"]
    row = await record(one)
    await two.settle()
    id = await ask(one, row.id)
    await two.close("rec1")
    other = two.nodes["rec2"]
    await forget_lines(other, 1)
    with other.database.opening():
        async with other.database.writing() as connection:
            for table in (erasures, erasure_calls, waivers, journal_mark):
                await connection.execute(table.delete())
    one = await two.open("rec1")
    assert await other.calls.get(row.id) is None and other.keys.keeps(row.leaf)
    await two.turn("rec1")
    await one.erasures.work()
    assert (await state(one, id))[0] == "waiting"  # for the other one
    await two.settle()
    await one.erasures.work()
    done = await one.erasures.get(id)
    assert done and done.receipt and done.receipt["calls"] == [row.id] and len(done.receipt["holders"]) == 2
    assert not other.keys.keeps(row.leaf)


async def forget_lines(acme: Customer, count: int) -> None:
    """Take the newest lines out of the table, as a standby lacks them that becomes the primary."""
    from sqlalchemy import delete, select

    from storage.database.schema import cut_acknowledgements, cut_erasures, cuts

    with acme.database.opening():
        async with acme.database.writing() as connection:
            newest = select(cuts.c.n).order_by(cuts.c.n.desc()).limit(count)
            gone = list(await connection.scalars(newest))
            await connection.execute(delete(cut_erasures))
            await connection.execute(delete(cuts).where(cuts.c.n.in_(gone)))
            await connection.execute(delete(cut_acknowledgements).where(cut_acknowledgements.c.n.in_(gone)))


@pytest.mark.parametrize("days", [0, 1000], ids=["its clock is behind", "its clock is ahead"])
async def test_an_erasure_waits_for_nodes_that_are_still_indexing(two: Cluster, days: int) -> None:
    """They say how far by the clock of the database; that of the node is far off here."""
    one = two.nodes["rec1"]
    two.watch.wait(days=days)
    await two.settle()
    row = await record(one)
    an_hour_ago = round((time.time() - 3600) * MICROS)
    await told(one, "rec2", indexed_until=an_hour_ago)
    id = await ask(one, row.id)
    await two.settle()
    await one.erasures.work()
    assert await state(one, id) == ("cut", ("rec2",))  # it is there, and about to
    await told(one, "rec2", indexed_until=an_hour_ago + 3700 * MICROS)
    await one.erasures.work()
    assert await state(one, id) == ("done", ())


async def test_a_day_is_cut_whole_once_no_node_can_add_a_call_to_it(two: Cluster) -> None:
    one = two.nodes["rec1"]
    await told(one, "rec2", indexed_until=to_micros(NOON), state="retired")
    for days in (0, 10):
        row = await record(one, ended=two.watch())
        two.watch.wait(days=3)
        await two.settle()
        if days:
            await told(one, "rec2", indexed_until=to_micros(two.watch()), state="retired")
        await ask(one, row.id)
        entry = Ledger(two.keys("rec1"), "acme").last()
        assert entry and bool(entry.days) == bool(days)


async def told(acme: Customer, name: str, *, indexed_until: int, state: str = "active") -> None:
    """Write the row of a node, which was there a moment ago."""
    async with acme.database.writing() as connection:
        seen = int(time.time() * 1_000_000)
        await connection.execute(nodes.delete().where(nodes.c.label == name))
        row = {"node": ord(name[-1]), "label": name, "tree": "", "instance": "", "seen": seen, "state": state}
        await connection.execute(nodes.insert().values(**row, indexed_until=indexed_until))


async def test_parts_on_another_node_are_removed_there(two: Cluster) -> None:
    one, other = two.nodes["rec1"], two.nodes["rec2"]
    row, kept = await record(other), await record(other, number="+4930777")
    id = await ask(one, row.id)
    assert len(other.vault.parts(row.id, row.leaf)) == 2
    await two.settle()
    assert other.vault.parts(row.id, row.leaf) == () and len(other.vault.parts(kept.id, kept.leaf)) == 2
    await one.erasures.work()
    assert await state(one, id) == ("done", ())


async def test_a_command_does_not_take_the_daemons_keys_for_old_ones(
    two: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon, other = two.holder("rec2"), two.nodes["rec2"]
    await ask(two.nodes["rec1"], (await record(two.nodes["rec1"])).id)
    read = cut_table.read

    async def late(connection: AsyncConnection, since: int = 0) -> Table:
        monkeypatch.setattr(cut_table, "read", read)
        await daemon.turn()  # applies a line and acknowledges it, after the command has read the cut log
        return await read(connection, since)

    monkeypatch.setattr(cut_table, "read", late)
    await (await two.open("rec2")).close()
    two.nodes["rec2"] = other
    assert ReturnFile(two.keys("rec2"), "acme").read().returning is None


async def test_a_live_call_ends_on_its_own_node_before_its_key_goes(two: Cluster) -> None:
    one, other = two.nodes["rec1"], two.nodes["rec2"]
    row = await record(other, state=CallState.RECORDING)
    ended: list[tuple[str, bool]] = []

    async def stop(call: str) -> None:
        ended.append((call, other.keys.keeps(row.leaf)))
        for part in ("c1", "m1"):
            other.vault.finish(call, row.leaf, part)

    await ask(one, row.id)
    with pytest.raises(CutsBehind, match="not yet erased"):
        await other.calls.get(row.id)  # a look at the index ends no call
    assert other.keys.keeps(row.leaf)
    await two.holder("rec2").turn(stop)
    assert ended == [(row.id, True)] and not other.keys.keeps(row.leaf)
    assert other.vault.parts(row.id, row.leaf) == ()


async def test_a_reader_is_stopped_before_its_node_acknowledges(two: Cluster) -> None:
    one, other = two.nodes["rec1"], two.nodes["rec2"]
    row, kept = await record(one), await record(one, number="+4930777")
    stopped: list[int] = []

    async def reads(leaf: int) -> None:
        async with other.vault.in_use.reading(leaf):
            try:
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.1)  # a worker takes a moment to end
                stopped.append(leaf)

    async with asyncio.TaskGroup() as tasks:
        reader = tasks.create_task(ignore(reads(row.leaf)))
        going_on = tasks.create_task(ignore(reads(kept.leaf)))
        await asyncio.sleep(0)
        id = await ask(one, row.id)
        acknowledge = cut_table.acknowledge

        async def noted(connection: AsyncConnection, given: Acknowledgement) -> bool:
            assert stopped == [row.leaf]
            return await acknowledge(connection, given)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cut_table, "acknowledge", noted)
            await two.turn("rec2")
        await reader
        assert not going_on.done()
        going_on.cancel()
    await two.settle()
    await one.erasures.work()
    assert (await state(one, id))[0] == "done"


async def ignore(reading: Coroutine[None, None, None]) -> None:
    """Let a reader be stopped."""
    with suppress(Forgotten):
        await reading
