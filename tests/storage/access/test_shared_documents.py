"""Several nodes have the same tokens and accounts: what one changes counts everywhere, nothing revoked returns."""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime

import pytest
import sqlalchemy as sa

from storage.access.account import Account
from storage.access.shared_documents import Event, News
from storage.customer.customers import Customer
from storage.database.schema import shared_files
from storage.errors import NoSpace, StorageError
from storage.keys.key_tree import LAST_LEAF
from tests.storage.access.conftest import Installation

pytestmark = pytest.mark.system
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Two = tuple[Installation, Installation]


def create(node: Customer, name: str) -> "asyncio.Future[str]":
    """Make a token in a thread, as a command does."""
    return asyncio.ensure_future(asyncio.to_thread(lambda: node.credentials.create(name, ["admin"], NOW).token))


def revoke(node: Customer, name: str) -> "asyncio.Future[int]":
    return asyncio.ensure_future(asyncio.to_thread(node.credentials.revoke, name))


def names(node: Customer) -> list[str]:
    return [each.name for each in node.credentials.list()]


async def news(node: Customer) -> list[News]:
    assert node.shared
    return await node.shared.documents.refresh()


async def begun(node: Customer, seconds: float = 30.0) -> list[News]:
    """Tell what the opening found, once it has found something; nothing if it has not within so many seconds."""
    found, told = list[News](), asyncio.Event()
    assert node.shared

    def tell(news: Sequence[News]) -> None:
        found.extend(news)
        told.set()

    following = asyncio.ensure_future(node.shared.follow(tell, lambda problem: None))
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await told.wait()
    following.cancel()
    return found


async def poll(node: Customer) -> None:
    """Have a node look once, as recorder.maintenance.poll_job does; it must see that something has changed."""
    assert node.shared
    assert not node.shared.documents.current((await node.poll.look()).versions)
    node.shared.wanted.set()


async def test_tokens_reach_other_nodes_and_work_without_the_database(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        assert second.shared
        following = asyncio.ensure_future(second.shared.follow(lambda found: None, lambda problem: None))
        token = await create(first, "a")
        assert first.credentials.check(token, NOW), "where it was made, it counts at once"
        await poll(second)
        async with asyncio.timeout(30):
            while not second.credentials.check(token, NOW):
                await asyncio.sleep(0.01)
        assert await revoke(first, "a") == 1
        await poll(second)
        async with asyncio.timeout(30):
            while second.credentials.check(token, NOW):
                await asyncio.sleep(0.01)
        kept = await create(first, "b")
        await news(second)
        following.cancel()
    alone = other.closed()  # the database is not open
    assert alone.credentials.check(kept, NOW)
    with pytest.raises(StorageError, match="not open yet"):
        alone.credentials.create("c", ["admin"], NOW)
    await alone.close()


async def test_what_a_node_had_alone_is_taken_over_once(two: Two) -> None:
    one, other = two
    token = Installation(one.data, "sqlite", 0).closed().credentials.create("alone", ["admin"], NOW).token
    Installation(other.data, "sqlite", 0).closed().credentials.create("other's", ["admin"], NOW)
    async with one.opened() as first, other.opened() as second:
        assert await begun(first) == [News(Event.TAKEN_OVER, "tokens.json")]
        assert await begun(second) == [News(Event.REPLACED, "tokens.json")]
        assert names(first) == names(second) == ["alone"]
        assert second.credentials.check(token, NOW)
        aside = json.loads((other.folder / "tokens.json.replaced").read_text())
        assert [each["name"] for each in aside["tokens"]] == ["other's"]
        await create(second, "later")
    async with one.opened() as first:
        assert await begun(first, 0.25) == []
        assert names(first) == ["alone", "later"]


async def test_a_node_that_was_alone_again_brings_its_changes_back(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        for name in ("a", "b"):
            await create(first, name)
        await news(second)
    alone = Installation(one.data, "sqlite", 0).closed()
    alone.credentials.revoke("a")
    alone.credentials.create("c", ["admin"], NOW)
    async with other.opened() as second:
        assert names(second) == ["a", "b"]
        async with one.opened() as first:
            assert await begun(first) == [News(Event.PUT_BACK, "tokens.json")]
            await news(second)
            assert names(first) == names(second) == ["b", "c"]


async def rewind(node: Customer, version: int, content: bytes) -> None:
    """Have the database forget, as a promoted standby or a restored backup does."""
    async with node.database.writing() as connection:
        await connection.execute(sa.update(shared_files).values(version=version, content=content))


async def test_no_revoked_token_returns_with_an_older_database(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        token = await create(first, "a")
        async with first.database.reading() as connection:
            old = (await connection.execute(sa.select(shared_files))).one()
        await revoke(first, "a")
        await news(second)
        await rewind(first, old.version, old.content)
        assert await news(second) == [News(Event.PUT_BACK, "tokens.json")]
        assert await news(first) == []
        await rewind(first, old.version, old.content)
        await create(first, "b")  # before anybody looked
        await news(second)
        assert names(first) == names(second) == ["b"]
        assert not second.credentials.check(token, NOW)


async def test_whoever_writes_to_the_database_alone_lets_nobody_in(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        token = await create(first, "a")
        await news(second)
        async with first.database.reading() as connection:
            old = (await connection.execute(sa.select(shared_files))).one()
        assert b"tokens" not in old.content, "names of tokens are sealed, too"
        for version, content in ((old.version + 1, old.content), (old.version + 1, b'{"tokens": []}')):
            await rewind(first, version, content)
            with pytest.raises(StorageError, match="altered"):
                await news(second)
            with pytest.raises(StorageError, match="altered"):
                await create(second, "b")
            assert second.credentials.check(token, NOW), "what is known goes on"


async def test_a_damaged_copy_is_given_to_nobody(two: Two) -> None:
    one, other = two
    async with one.opened() as first:
        await create(first, "a")
    (one.folder / "tokens.json").write_bytes(b'{"tok')
    async with one.opened() as first, other.opened() as second:
        assert names(first) == names(second) == ["a"]


async def test_a_damaged_file_of_a_node_alone_is_kept_as_it_is(two: Two) -> None:
    one, _ = two
    (one.folder / "tokens.json").write_bytes(b'{"tok')
    async with one.opened() as first:
        assert await begun(first, 0.25) == []
        with pytest.raises(StorageError, match="cannot be read"):
            await create(first, "a")
        async with first.database.reading() as connection:
            assert (await connection.execute(sa.select(shared_files))).all() == []
    assert (one.folder / "tokens.json").read_bytes() == b'{"tok'


async def test_an_account_changes_once_and_stays_removed_everywhere(two: Two) -> None:
    one, other = two
    async with one.opened() as first, other.opened() as second:
        made = await asyncio.to_thread(first.accounts.create, "anna", ["admin"], NOW)
        await news(second)
        async with first.database.reading() as connection:
            old = (await connection.execute(sa.select(shared_files))).one()
        steps: list[int] = []

        def take(account: Account) -> Account:
            steps.append(account.totp_step)
            return account if account.totp_step else account.ended(totp_step=7)

        await asyncio.gather(*(node.accounts.changing(made.account.id, take) for node in (first, second) * 3))
        assert sorted(steps) == [0, 7, 7, 7, 7, 7], "one of six saw that the code was unused"
        assert await asyncio.to_thread(first.accounts.remove, made.account.id)
        await news(second)
        assert second.accounts.all() == ()
        await rewind(first, 99, sealed_again(first, old, 99))
        await news(first)
        assert first.accounts.all() == (), "its key is gone, in a database of before too"


def sealed_again(node: Customer, old: sa.Row[tuple[object, ...]], version: int) -> bytes:
    """Seal an older content as a new version, as nobody but a node can."""
    assert node.shared
    content = node.keys.unseal(LAST_LEAF, "shared", old.content, f"{old.name}\0{old.version}".encode())
    return node.keys.seal(LAST_LEAF, "shared", content, f"{old.name}\0{version}".encode())


async def test_a_full_disk_delays_the_copy_and_nothing_else(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = two
    async with one.opened() as first:
        await create(first, "a")
        with monkeypatch.context() as broken:
            broken.setattr("storage.access.shared_documents.SharedDocument.copy", _no_space)
            await create(first, "b")
            assert names(first) == ["a"]
        await news(first)
        assert names(first) == ["a", "b"]


def _no_space(self: object, new: object, *, aside: bool = False) -> None:
    raise NoSpace("the disk is full")
