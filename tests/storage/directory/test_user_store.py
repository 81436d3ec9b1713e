"""A user is mapped, unmapped, deletable, gone: and what it was known by is never lost before."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.database.schema import users as table
from storage.directory.user import Person, UserState
from storage.directory.user_store import Mapped, Plan, Referred, User
from storage.exports.exports import Request
from tests.in_process.storage_node import StorageNode, permit, record, story

MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", "mira@x.example", "oid-1", ("+4930123456",), ("sip:m@x",))
TOVE = Person(first_name="Tove", account_name="tove", numbers=("+4940777888",))


async def synced(acme: Customer, *people: Person, whole: bool = True) -> Plan:
    plan = await acme.users.plan(people, "csv", whole=whole)
    await acme.users.carry_out(plan)
    return plan


async def untold() -> None:
    """Write nothing down."""


async def by_name(acme: Customer) -> dict[str, User]:
    found, more = await acme.users.listed(100)
    assert more is None
    return {user.person.first_name: user for user in found}


def test_people_become_users_and_nothing_of_them_is_on_the_disk(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        plan = await synced(acme, MIRA, TOVE, MIRA)
        assert (len(plan.added), plan.same) == (2, 0)
        users = await by_name(acme)
        assert users["Mira"].person == MIRA and users["Mira"].state is UserState.ACTIVE
        assert await acme.users.get(users["Tove"].id) == users["Tove"]
        raw = node.raw()
        assert not any(word in raw for word in (b"Mira", b"Okafor", b"30123456", b"oid-1", b"mira@"))
        assert (await synced(acme, TOVE, MIRA)).same == 2

    story(tmp_path, tell)


def test_a_renamed_person_stays_the_same_user(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, MIRA)
        before = (await by_name(acme))["Mira"]
        node.watch.wait(days=1)
        await synced(acme, replace(MIRA, last_name="Lind", email="lind@x.example", numbers=("+4930999",)))
        after = (await by_name(acme))["Mira"]
        assert after.id == before.id and after.person.last_name == "Lind"
        assert {(f.kind, f.value, f.until[:10]) for f in after.former} == {
            ("last_name", "Okafor", "2026-03-02"),
            ("email", "mira@x.example", "2026-03-02"),
            ("numbers", "+4930123456", "2026-03-02"),
        }
        assert {"+4930123456", "+4930999", "lind@x.example"} <= set(after.known_by)

    story(tmp_path, tell)


def test_who_left_is_inactive_and_who_comes_back_is_the_same(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, MIRA, TOVE)
        first = (await by_name(acme))["Mira"]
        plan = await synced(acme, TOVE)
        assert plan.asks(0) and not plan.asks(49)
        gone = (await by_name(acme))["Mira"]
        assert gone.state is UserState.INACTIVE and gone.unmapped_at is not None
        assert (await acme.users.plan([TOVE], "csv", whole=True)).unmapped == []
        assert (await acme.users.plan([], "csv", whole=False)).unmapped == []
        assert (await acme.users.plan([], "entra", whole=True)).unmapped == []
        await synced(acme, MIRA, TOVE)
        back = (await by_name(acme))["Mira"]
        assert (back.id, back.state, back.unmapped_at) == (first.id, UserState.ACTIVE, None)

    story(tmp_path, tell)


def test_a_user_goes_only_when_directory_and_recordings_let_go(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        row = await record(acme)
        await synced(acme, MIRA)
        user = (await by_name(acme))["Mira"]
        assert await acme.users.calls_of(user) == (row.id,)
        with pytest.raises(Mapped):
            await acme.users.delete(user.id)
        unmapped = await acme.users.unmap(user.id)
        assert unmapped and unmapped.state is UserState.INACTIVE
        assert await acme.users.unmap(user.id) == unmapped
        with pytest.raises(Referred):
            await acme.users.delete(user.id)
        await permit(acme)
        await acme.erasures.file(calls=[row.id], reason="x", by="paula")
        await acme.erasures.work()
        assert await acme.users.delete(user.id)
        assert await acme.users.get(user.id) is None and not acme.keys.keeps(user.leaf)
        assert not await acme.users.delete(user.id) and await acme.users.unmap(user.id) is None

    story(tmp_path, tell)


def test_reports_with_a_user_go_with_the_user(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, MIRA)
        user = (await by_name(acme))["Mira"]
        wanted = Request("json", ("id",), "x", calls=())
        mine, other = await acme.exports.file(wanted, "paula"), await acme.exports.file(wanted, "paula")
        await acme.exports.admit(mine.id, [user.id])
        await acme.users.unmap(user.id)
        assert await acme.users.delete(user.id)
        assert await acme.exports.get(mine.id) is None and await acme.exports.get(other.id) == other
        assert await acme.exports.tidy() == 1

    story(tmp_path, tell)


def test_a_user_restored_during_deletion_is_kept(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, MIRA)
        user = (await by_name(acme))["Mira"]
        await acme.users.unmap(user.id)
        plan = await acme.users.plan([MIRA], "csv", whole=True)
        back = asyncio.Event()

        async def take_back() -> None:
            await acme.users.carry_out(plan)
            back.set()

        tasks = []

        async def told() -> None:
            tasks.append(asyncio.create_task(take_back()))
            with suppress(TimeoutError):
                await asyncio.wait_for(back.wait(), 0.2)

        assert await acme.users.delete(user.id, told)
        await asyncio.gather(*tasks)
        again = (await by_name(acme))["Mira"]
        assert (again.person, again.state) == (MIRA, UserState.ACTIVE) and again.id != user.id
        assert not acme.keys.keeps(user.leaf) and acme.keys.keeps(again.leaf)
        assert (await synced(acme, MIRA)).same == 1

    story(tmp_path, tell)


def test_who_is_taken_back_before_the_deletion_stays(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, MIRA)
        user = (await by_name(acme))["Mira"]
        await acme.users.unmap(user.id)
        plan = await acme.users.plan([MIRA], "csv", whole=True)
        found = await asyncio.gather(
            acme.users.carry_out(plan), acme.users.delete(user.id, untold), return_exceptions=True
        )
        kept = (await by_name(acme))["Mira"]
        assert kept.state is UserState.ACTIVE and acme.keys.keeps(kept.leaf)
        assert found[0] is None and (isinstance(found[1], Mapped) or kept.id != user.id)

    story(tmp_path, tell)


def test_a_number_of_before_is_a_reason_to_stay(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await record(acme)
        await synced(acme, MIRA)
        await synced(acme, replace(MIRA, numbers=(), addresses=()))
        user = (await by_name(acme))["Mira"]
        await acme.users.unmap(user.id)
        with pytest.raises(Referred):
            await acme.users.delete(user.id)

    story(tmp_path, tell)


def test_an_interrupted_deletion_is_in_nobodys_way(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, MIRA)
        user = (await by_name(acme))["Mira"]
        acme.keys.cut(user.leaf)  # the process ends here
        assert await acme.users.get(user.id) is None and await by_name(acme) == {}
        await synced(acme, MIRA)
        assert (await by_name(acme))["Mira"].id != user.id
        async with acme.database.reading() as connection:
            assert len(list(await connection.execute(table.select()))) == 1

    story(tmp_path, tell)


def test_pages(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        await synced(acme, *(Person(account_name=f"a{n}") for n in range(7)))
        seen: list[str] = []
        after: str | None = ""
        while after is not None:
            found, after = await acme.users.listed(3, after)
            seen += [user.id for user in found]
        assert len(seen) == len(set(seen)) == 7

    story(tmp_path, tell)
