"""A node looks about once a second at what the others have changed: one statement, and whoever it concerns is woken."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from recorder.maintenance import poll_job
from recorder.maintenance.poll_job import PollJob
from storage.customer.customers import Customer
from tests.in_process.shared_keys import settled
from tests.in_process.storage_node import permit, record
from tests.recorder.job_parts import Parts

pytestmark = pytest.mark.system
Two = tuple[Customer, Customer]
LOOKS = 20


@asynccontextmanager
async def polling(folder: Path, *customers: Customer) -> AsyncIterator[Parts]:
    """Have nodes look."""
    all_parts = [Parts(folder, each) for each in customers]
    for parts in all_parts:
        await PollJob(parts.customers, parts.tasks, parts.log, parts.indexer.note).run()
    try:
        yield all_parts[0]
    finally:
        for parts in all_parts:
            await parts.tasks.close()
            assert parts.failed == []


@contextmanager
def statements(customer: Customer) -> Iterator[list[str]]:
    """Collect what a node asks of the database."""
    found: list[str] = []

    def asked(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        found.append(statement)

    engine = customer.database._engine.sync_engine
    sa.event.listen(engine, "before_cursor_execute", asked)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", asked)


def woken(customer: Customer) -> list[str]:
    """Return who was told to do something."""
    assert customer.holder and customer.shared
    events = {"holder": customer.holder.wanted, "access": customer.shared.wanted, "erasures": customer.erasures.wanted}
    return [name for name, event in events.items() if event.is_set()]


async def quiet(*customers: Customer) -> None:
    """Let nodes do what is left of opening, and nobody have been told anything."""
    await settled(*customers)
    for each in customers:
        assert each.holder and each.shared
        await each.shared.refresh()
        for event in (each.holder.wanted, each.shared.wanted, each.erasures.wanted):
            event.clear()


async def test_a_quiet_node_polls_in_one_statement_and_rarely_writes(
    two_nodes: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_nodes
    await quiet(one, other)
    monkeypatch.setattr(poll_job, "LOOK_SECONDS", 0.02)
    with statements(one) as asked:
        async with polling(tmp_path, one) as parts:
            await parts.until(lambda: sum("AS newest" in each for each in asked) == LOOKS)
    written = [each for each in asked if "AS newest" not in each]
    assert len(written) == 2 and written[-1].startswith("UPDATE nodes SET indexed_until"), "the first look notes"
    assert woken(one) == []


async def test_a_quiet_node_says_it_has_indexed_if_another_waits(two_nodes: Two, tmp_path: Path) -> None:
    one, other = two_nodes
    async with polling(tmp_path, other):
        for _ in range(2):  # the first note is that of the start
            assert await one.indexed.reached(4.0)


async def test_a_change_by_another_node_wakes_whoever_must_act(two_nodes: Two, tmp_path: Path) -> None:
    one, other = two_nodes
    row = await record(one)
    await quiet(one, other)
    async with polling(tmp_path, other) as parts:
        await one.cutter.cut(row.leaf)
        await parts.until(lambda: woken(other) == ["holder"])
        await quiet(one, other)
        await asyncio.to_thread(one.credentials.create, "sbc", ["admin"], datetime.now(UTC))
        await parts.until(lambda: woken(other) == ["access"])


async def test_an_erasure_that_another_node_leaves_is_taken_over(
    two_nodes: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two_nodes
    row = await record(one)
    await permit(one)
    await quiet(one, other)
    monkeypatch.setattr(poll_job, "LOOK_FOR_OTHERS_SECONDS", 2.5)
    async with polling(tmp_path, other) as parts:
        await one.erasures.file(calls=[row.id], reason="x", by="paula")
        begun = asyncio.get_running_loop().time()
        await parts.until(lambda: woken(other) == ["erasures"])
        assert asyncio.get_running_loop().time() - begun > 2.4, "it is left to the node that was asked at first"
