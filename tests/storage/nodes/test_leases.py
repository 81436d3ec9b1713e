"""One of several nodes does a job for all; another one when its time is over."""

from datetime import timedelta

import pytest
import sqlalchemy as sa

from storage.customer.customers import Customer
from storage.database.schema import job_leases
from storage.nodes.leases import agrees
from storage.turns import Turn
from tests.in_process.storage_node import StorageNode

pytestmark = pytest.mark.system
Two = tuple[Customer, Customer]


async def age(acme: Customer, seconds: float) -> None:
    """Let all turns be older."""
    async with acme.database.writing() as connection:
        await connection.execute(job_leases.update().values(until=job_leases.c.until - int(seconds * 1e6)))


async def test_a_turn_is_one_nodes_until_its_time_is_over(two_nodes: Two) -> None:
    one, other = two_nodes
    assert await one.turns.hold("purge", 120) and await one.turns.hold("purge", 120)
    assert not await other.turns.hold("purge", 120)
    assert await other.turns.hold("retention", 120)
    await age(one, 121)
    assert await other.turns.hold("purge", 120)
    assert not await one.turns.hold("purge", 120)


async def test_a_turn_ends_with_its_block_unless_a_rest_is_set(two_nodes: Two) -> None:
    one, other = two_nodes
    async with one.turns.turn("erasures") as mine:
        assert mine is not None
        async with other.turns.turn("erasures") as theirs:
            assert theirs is None
    async with other.turns.turn("erasures") as theirs:
        assert theirs is not None
        theirs.rest = 3600
    async with one.turns.turn("erasures") as mine:
        assert mine is None
    async with other.turns.turn("erasures") as theirs:
        assert theirs is not None


async def test_a_failure_lets_another_node_have_the_turn_at_once(two_nodes: Two) -> None:
    one, other = two_nodes
    with pytest.raises(ZeroDivisionError):
        async with one.turns.turn("erasures"):
            raise ZeroDivisionError
    async with other.turns.turn("erasures") as theirs:
        assert theirs is not None


async def test_a_turn_that_is_over_moves_nothing(two_nodes: Two) -> None:
    one, other = two_nodes

    async def still(turn: Turn) -> bool:
        async with one.database.writing() as connection:
            return await turn.still(connection)

    async with one.turns.turn("retention") as turn:
        assert turn is not None and await still(turn)
        await age(one, 61)  # the process was held up
        assert not await still(turn)
        async with other.turns.turn("retention") as theirs:
            assert theirs is not None and not await still(turn)
            assert (await one.retention.sweep(one.now(), 5.0, turn.still)).filed == ()


async def test_clocks_agree_within_a_minute(two_nodes: Two) -> None:
    one, _ = two_nodes
    async with one.database.reading() as connection:
        there = (await connection.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    assert await agrees(one.database, there)
    for seconds in (70, -70):
        assert not await agrees(one.database, there + timedelta(seconds=seconds))


async def test_a_node_that_is_alone_has_every_turn(node: StorageNode) -> None:
    async with node.opened() as acme, acme.turns.turn("retention") as mine, acme.turns.turn("retention") as again:
        assert mine is not None and again is not None and await acme.turns.hold("purge", 1)
        async with acme.database.writing() as connection:
            assert await mine.still(connection)
