"""What the page remembers for a while is the same on every node, ends, and opens to nobody without its name."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from storage.access.shared_rows import SharedRows, Written
from storage.customer.customers import Customer
from storage.database.schema import page_sessions
from tests.storage.access.conftest import Installation

pytestmark = pytest.mark.system
Two = tuple[Installation, Installation]


def rows(node: Customer) -> SharedRows:
    assert node.shared
    return node.shared.rows


async def put(node: Customer, name: str, value: Any, seconds: float) -> None:
    await rows(node).change((name,), lambda values, now: Written(None, {name: (value, now + seconds)}))


async def get(node: Customer, name: str) -> Any:
    return (await rows(node).look(name))[0].get(name)


async def test_a_row_is_seen_everywhere_taken_once_and_ends(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        await put(first, "session x", {"name": "Änne"}, 60)
        assert await get(second, "session x") == {"name": "Änne"}
        assert await get(second, "session y") is None
        taken = await asyncio.gather(*(rows(node).take("session x") for node in (first, second) * 4))
        assert [each for each in taken if each] == [{"name": "Änne"}]
        await put(first, "short", 1, -1)
        await put(first, "long", 1, 60)
        assert [await get(second, name) for name in ("short", "long")] == [None, 1]
        ends = await rows(second).ends([rows(first).key("long"), rows(first).key("none")])
        assert list(ends) == [rows(second).key("long")]
        await rows(second).purge()
        async with first.database.reading() as connection:
            assert await connection.scalar(sa.select(sa.func.count()).select_from(page_sessions)) == 1
        await rows(second).drop(rows(first).key("long"))
        assert await get(first, "long") is None


async def test_changes_of_one_row_wait_for_each_other(two: Two) -> None:
    def more(values: Mapping[str, Any], now: float) -> Written[int]:
        count = {name: values.get(name, 0) + 1 for name in ("a", "b")}
        return Written(count["a"], {name: (value, now + 60) for name, value in count.items()})

    one, other = two
    async with one.opened() as first, other.opened() as second:
        orders = (("a", "b"), ("b", "a"))
        work = [rows(node).change(orders[turn % 2], more) for turn in range(6) for node in (first, second)]
        assert sorted(await asyncio.gather(*work)) == list(range(1, 13))
        assert await get(first, "b") == 12


async def test_only_the_name_opens_a_row(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        secret = rows(first).secret()
        assert rows(second).genuine(secret)
        for odd in ("", "x", secret[:-1], secret[:-1] + ("0" if secret[-1] != "0" else "1"), secret + "0", "\ud800"):
            assert not rows(second).genuine(odd)
        await put(first, secret, "what is secret", 60)
        await put(first, "other", "nothing", 60)
        async with first.database.writing() as connection:
            found = {row.key: row.content for row in await connection.execute(sa.select(page_sessions))}
            swapped = page_sessions.update().where(page_sessions.c.key == bytes.fromhex(rows(first).key("other")))
            await connection.execute(swapped.values(content=found[bytes.fromhex(rows(first).key(secret))]))
        assert b"secret" not in b"".join((*found, *found.values()))
        assert await get(second, "other") is None, "a row that was altered is missing"
        assert await get(second, secret) == "what is secret"


async def test_the_accounts_are_as_new_as_a_row(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        now = datetime(2026, 1, 1, tzinfo=UTC)
        await asyncio.to_thread(first.accounts.create, "anna", ["admin"], now)
        assert second.accounts.all() == ()
        await put(first, "session x", 1, 60)
        assert await get(second, "session x") == 1
        assert [each.name for each in second.accounts.all()] == ["anna"]
