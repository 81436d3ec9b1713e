"""The audit logs of all nodes are copied to the database: shown in one list, and checked without the others' disks."""

import asyncio
import contextlib
import shutil
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from storage.audit import audit_copies
from storage.audit.audit_copies import AuditCopies
from storage.audit.audit_files import AuditFiles, Wanted
from storage.audit.hash_chain import ACCEPT, Act, Checkpoint
from storage.cursors import BadCursor
from storage.customer.customers import Customer, audit_key
from storage.database.database import Database
from storage.database.schema import audit_copies as table
from tests.in_process.storage_node import NOON
from tests.in_process.storage_nodes import NumberedNode, failed_over, first_node, joined, taken_copy

pytestmark = pytest.mark.system
CALL = "6f1c7e0a-2f0b-4c57-9d4e-0b6a4b1f7c11"


@pytest.fixture
def one(tmp_path: Path, postgresql: str, loop: asyncio.Runner) -> NumberedNode:
    """A node that had the database to itself, and wrote two entries then."""
    return loop.run(_first(tmp_path, postgresql))


async def _first(tmp_path: Path, postgresql: str) -> NumberedNode:
    node = await first_node(tmp_path, postgresql, NumberedNode)
    async with node.opened() as acme:
        await write(node, acme, 2)
    node.number = 1
    return node


@pytest.fixture
def two(one: NumberedNode) -> NumberedNode:
    """A node that has joined."""
    return joined(one, 2)


@contextlib.asynccontextmanager
async def both(one: NumberedNode, two: NumberedNode) -> AsyncIterator[tuple[Customer, Customer]]:
    """Open the customer on two nodes."""
    async with one.opened() as first, two.opened() as second:
        yield first, second


async def write(node: NumberedNode, acme: Customer, entries: int, action: str = "call.view") -> None:
    """Write entries, a second apart."""
    for _ in range(entries):
        node.watch.wait(seconds=1)
        act = Act("alice", "listener", action, CALL, reason=node.name)
        await asyncio.wrap_future(acme.audit.append(act))


def copies(acme: Customer) -> AuditCopies:
    """Return the copies of a node that has them."""
    assert acme.audit_copies is not None
    return acme.audit_copies


async def faults(acme: Customer, told: tuple[Checkpoint, ...] = ()) -> dict[int, str]:
    """Check the copies; return what is wrong with each."""
    return {node: verdict.fault for node, (_, verdict) in (await copies(acme).verify(told)).items()}


async def change(acme: Customer, statement: str) -> None:
    """Change the copies as somebody does who can write the database."""
    async with acme.database.writing() as connection:
        await connection.execute(sa.text(statement))


async def test_every_node_shows_the_entries_of_all_by_time(one: NumberedNode, two: NumberedNode) -> None:
    async with both(one, two) as (first, second):
        for _ in range(3):
            await write(one, first, 2)
            await write(two, second, 1)
        await copies(first).push()
        page = await copies(second).read()
        assert await copies(first).read() == page
        assert [item["time"] for item in page.items] == sorted((item["time"] for item in page.items), reverse=True)
        by_hand = [item["node"] for item in page.items if item["action"] == "call.view"]
        assert by_hand == ["rec2", "rec1", "rec1"] * 3 + ["rec1"] * 2
        items, cursor = list[object](), None
        while True:
            some = await copies(second).read(None, cursor, 2)
            items, cursor = [*items, *some.items], some.next_cursor
            if cursor is None:
                break
        assert items == list(page.items)
        await write(two, second, 1, "call.media")
        (media,) = (await copies(second).read(wanted=Wanted(action="call.media"))).items
        assert media["node"] == "rec2", "what this node wrote a moment ago is there"
        late = (await copies(second).read(since=one.watch() - timedelta(seconds=2))).items
        assert [item["action"] for item in late] == ["call.media", "call.view", "call.view"]
        assert [item["node"] for item in await copies(first).about([CALL])][-1] == "rec2"
        for cursor in ("x", "1.2.3", "1.2.3.-4", "1.2.3.4.5"):
            with pytest.raises(BadCursor):
                await copies(first).read(None, cursor)


async def test_a_chain_says_whose_it_is(one: NumberedNode, two: NumberedNode) -> None:
    async with both(one, two) as (first, second):
        await write(one, first, 1)
        await write(two, second, 1)
        await copies(first).push()
        await copies(second).push()
        assert [(item["n"], item["reason"]) for item in first.audit.read().items] == [
            (4, "rec1"), (3, "node 1"), (2, "rec1"), (1, "rec1"),
        ]  # fmt: skip
        assert [item["reason"] for item in second.audit.read().items] == ["rec2", "node 2"]
        assert first.audit.verify().good and second.audit.verify().good
        assert await faults(first) == {1: "", 2: ""}
        await change(second, "UPDATE audit_copies SET node = 3 WHERE node = 2")
        assert (await faults(first))[3] == "is the log of another node"


async def test_copies_that_a_fail_over_lost_are_made_again(one: NumberedNode, two: NumberedNode) -> None:
    async with both(one, two) as (first, second):
        await write(one, first, 3)
        await copies(first).push()
        copy = await taken_copy(one)
        await write(one, first, 3)
        assert await copies(first).push() == 3
        await failed_over(one, copy)
        assert await copies(first).push() == 0 and await copies(first).push(look=True) == 3
        await failed_over(one, copy)
        await write(one, first, 1)
        assert await copies(first).push() == 4
        assert await faults(second) == {1: ""}


async def test_copying_is_resumed_by_another_process(
    one: NumberedNode, two: NumberedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_copies, "BATCH", 4)
    async with one.opened() as first:
        await write(one, first, 19)
        assert await copies(first).push() == 22
    async with both(one, two) as (first, second):
        await write(one, first, 3)
        assert await copies(first).push() == 3 and await copies(first).push() == 0
        assert await faults(second) == {1: ""}


async def test_a_fork_after_a_rollback_of_log_and_keys_is_accepted(one: NumberedNode, two: NumberedNode) -> None:
    async with one.opened() as first:
        await write(one, first, 5)
        await copies(first).push()
    old = one.data.with_name("old")
    shutil.copytree(one.data, old)
    async with one.opened() as first:
        await write(one, first, 4)
        await copies(first).push()
    shutil.rmtree(one.data)
    shutil.copytree(old, one.data)
    files = AuditFiles(one.data / "customers" / "acme", one.data / "keys", "acme")
    async with both(one, two) as (first, second):
        assert first.audit.verify().good, "its keys know nothing else"
        assert await copies(first).push(look=True) == 0
        assert "is missing" in files.verify(first.audit.public_key, await copies(first).marks()).fault
        await write(one, first, 2)
        assert await copies(first).push() == 2
        for acme in (first, second):
            assert "a checkpoint names entry 12" in (await faults(acme))[1]
        shown = [item["n"] for item in (await copies(second).read()).items]
        assert sorted(shown) == [*range(1, 9), 9, 9, 10, 10, 11, 12], "the abandoned entries stay"
        why = Act("cli:root", "operator", ACCEPT, reason="a disk failed")
        marks = await copies(first).marks()
        await asyncio.to_thread(first.audit.accept, why, marks)
        assert await copies(first).push() == 1
        assert await faults(second) == {1: ""}
        ((_, verdict),) = (await copies(second).verify()).values()
        assert [(each.loss.last, each.loss.node) for each in verdict.accepted] == [(12, 1)]
        assert files.verify(first.audit.public_key, await copies(first).marks()).good
        await write(one, first, 5)
        await copies(first).push()
        assert await faults(second) == {1: ""}


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE audit_copies SET line = overlay(line placing '2'::bytea from 20) WHERE n = 4", "was changed"),
        ("DELETE FROM audit_copies WHERE n = 4", "is missing"),
        ("DELETE FROM audit_copies WHERE n > 6 AND mark IS NULL", "is missing"),
        ("UPDATE audit_copies SET mark = NULL", "no signed checkpoint"),
        ("UPDATE audit_copies SET mark = overlay(mark placing '9'::bytea from 30)", "checkpoint"),
        ("UPDATE audit_copies SET n = n + 1 WHERE n = 8", "another number"),
    ],
)
async def test_a_copy_that_was_changed_is_found(
    one: NumberedNode, two: NumberedNode, statement: str, fault: str
) -> None:
    async with both(one, two) as (first, second):
        await write(one, first, 5)
        await copies(first).push()
        assert await faults(second) == {1: ""}
        await change(second, statement)
        assert fault in (await faults(second))[1]


async def test_what_only_a_witness_knows_is_missing(one: NumberedNode, two: NumberedNode) -> None:
    async with both(one, two) as (first, second):
        await write(one, first, 5)
        mark = first.audit.checkpoint()
        assert mark is not None and mark.node == 1
        await copies(first).push()
        await change(second, "DELETE FROM audit_copies WHERE n > 4")
        assert "is missing" in (await faults(second, (mark,)))[1]
        assert await copies(first).push(look=True) == 4
        assert await faults(second, (mark,)) == {1: ""}


async def test_an_acceptance_of_another_node_counts_for_nothing(one: NumberedNode, two: NumberedNode) -> None:
    async with one.opened() as first:
        await write(one, first, 1)
    (line,) = [one.data / "customers/acme/audit.jsonl"]
    early = line.read_bytes()
    async with one.opened() as first:
        await write(one, first, 3)
    line.write_bytes(early)
    async with one.opened() as first:
        await asyncio.to_thread(first.audit.accept, Act("cli:root", "operator", ACCEPT, reason="x"))
        (accepted,) = first.audit.verify().accepted
        other = [replace(accepted.loss, node=2).signed(audit_key(first.keys), "acme")]
        await asyncio.wrap_future(first.audit.append(Act("mallory", "operator", ACCEPT, other[0])))
        assert [each.entry for each in first.audit.verify().accepted] == [accepted.entry]


KILLED = """
    import asyncio, sys
    from pathlib import Path
    from storage.audit import audit_copies
    from storage.audit.audit_files import AuditFiles
    from storage.database.database import Database
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    async def main(url, data, key):
        audit_copies.BATCH = 3
        database = Database(url, "acme", Path(data))
        database.serve()
        files = AuditFiles(Path(data) / "customers/acme", Path(data) / "keys", "acme")
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        copies = audit_copies.AuditCopies(database, files, "acme", 1, public)
        await copies.push()

    asyncio.run(main(*sys.argv[1:]))
"""


async def kill_on_the_way(words: list[str], copied: Callable[[], Awaitable[int]]) -> None:
    """Start a process that copies, and kill it once it has copied something."""
    before = await copied()
    child = await asyncio.create_subprocess_exec(*words, cwd=Path(__file__).parents[3])
    try:
        async with asyncio.timeout(60):
            while await copied() == before:
                await asyncio.sleep(0.01)
    finally:
        child.kill()
        await child.wait()


async def test_copying_that_is_killed_leaves_no_gap_or_duplicate(one: NumberedNode, two: NumberedNode) -> None:
    async with one.opened() as first:
        await asyncio.gather(
            *(asyncio.wrap_future(first.audit.append(Act("a", "b", "call.view"))) for _ in range(3000))
        )
        key = first.audit.public_key.public_bytes_raw().hex()
    words = [sys.executable, "-c", textwrap.dedent(KILLED), one.database, str(one.data), key]
    database = await Database.open(one.database, "acme", one.data, NOON)

    async def copied() -> int:
        async with database.reading() as connection:
            return await connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0

    for _ in range(6):
        await kill_on_the_way(words, copied)
        async with database.reading() as connection:
            found = (await connection.execute(sa.select(sa.func.count(), sa.func.max(table.c.n)))).one()
        assert found[0] == found[1], "in order, without a gap"
    assert await copied() < 3003, "it was killed on the way"
    await database.close()
    async with both(one, two) as (first, second):
        await copies(first).push()
        assert await faults(second) == {1: ""}
        ((_, verdict),) = (await copies(second).verify()).values()
        assert verdict.entries == verdict.proven == 3003
