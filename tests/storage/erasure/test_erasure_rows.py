"""The statements that move an erasure: what may begin, how far each call is, and who waits."""

from typing import Any

from storage.customer.customers import Customer
from storage.erasure import erasure_rows as rows
from storage.erasure.erasure_rows import ErasureTarget, State, Step
from storage.timestamps import to_micros
from tests.in_process.storage_node import NOON, record

A, B = "0f8fad5b-d9cb-469f-a165-70867728950e", "00000000-0000-4000-8000-000000000000"


async def filed(connection: Any, id: str, calls: dict[str, int | None], cause: str = "request") -> None:
    values = {"id": id, "state": "running", "cause": cause, "requested_at": to_micros(NOON), "requested_by": "paula"}
    await rows.file(connection, values)
    await rows.add_calls(connection, id, calls)


async def test_only_a_requested_erasure_waits_for_a_hold(acme: Customer) -> None:
    held, free = await record(acme), await record(acme)
    await acme.holds.put(held.id, "court", "paula")
    async with acme.database.writing() as connection:
        await filed(connection, "r", {held.id: held.leaf, free.id: free.leaf, B: None})
        await filed(connection, "s", {held.id: held.leaf, free.id: free.leaf}, "retention:7")
        assert await rows.begin(connection) == [(ErasureTarget(free.id, free.leaf), Step.BEGUN)]
        assert await rows.calls_of(connection, "s") == [free.id]
        counted = {record.id: (waiting, left) for record, waiting, left in await rows.progress(connection)}
        assert counted == {"r": (1, 2), "s": (0, 1)}
        assert await rows.waits(connection, "r", {free.id}) and not await rows.waits(connection, "s", {free.id})
        assert await rows.waits(connection, "s", ()), "what has begun and is not cut waits too"
        await rows.mark(connection, [held.id, free.id, B], Step.VERIFIED)
        counted = {record.id: (waiting, left) for record, waiting, left in await rows.progress(connection)}
        assert counted == {"r": (1, 1), "s": (0, 0)}
        shown = rows.shown(await rows.one(connection, "s"))
        assert (shown.cause, shown.rule, shown.state) == ("retention", "7", State.RUNNING)


async def test_a_step_never_goes_back_and_the_lowest_of_two_counts(acme: Customer) -> None:
    async with acme.database.writing() as connection:
        await filed(connection, "r", {A: 5})
        await rows.begin(connection)
        await rows.mark(connection, [A], Step.REMOVED)
        await rows.mark(connection, [A], Step.UNLINKED)
        assert await rows.begin(connection) == [(ErasureTarget(A, 5), Step.REMOVED)]
        await filed(connection, "second", {A: 5})
        assert await rows.begin(connection) == [(ErasureTarget(A, 5), Step.BEGUN)]
        found = await rows.erasures_of(connection, [A])
        assert [(record.id, [d.call for d in targets]) for record, targets in found] == [("r", [A]), ("second", [A])]
        assert await rows.without_leaf(connection, "r") == []


async def test_a_round_takes_whole_days_oldest_first(acme: Customer) -> None:
    leaves = {day: [(day << 32) + n for n in range(4)] for day in (30, 10, 20)}
    async with acme.database.writing() as connection:
        await filed(connection, "r", {f"{leaf:x}": leaf for some in leaves.values() for leaf in some})
        for round, days in ((1, [10]), (4, [10]), (7, [10]), (8, [10, 20]), (99, [10, 20, 30])):
            taken = sorted(d.leaf for d, _ in await rows.begin(connection, round))
            assert taken == [leaf for day in days for leaf in leaves[day]]
        await rows.mark(connection, [f"{leaf:x}" for leaf in leaves[10]], Step.VERIFIED)
        assert {d.leaf >> 32 for d, _ in await rows.begin(connection, 1)} == {20}
