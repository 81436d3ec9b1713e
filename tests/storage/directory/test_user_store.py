"""A user is mapped, unmapped, deletable, gone: and what it was known by is never lost before."""

import asyncio
from contextlib import suppress
from dataclasses import replace

import pytest

from storage.calls.call_row import CallRow
from storage.customer.customers import Customer
from storage.database.schema import users as table
from storage.directory.user import Person, UserState
from storage.directory.user_store import Mapped, Plan, Referred
from storage.exports.exports import Request
from tests.in_process.storage_node import StorageNode, finish, permit, record
from tests.storage.directory.people import MIRA, TOVE, imported

pytestmark = pytest.mark.both_databases


async def planned(acme: Customer, *people: Person, source: str = "csv", whole: bool = True) -> Plan:
    return await acme.users.plan(people, source, whole=whole)


async def test_people_become_users_and_nothing_of_them_is_on_the_disk(node: StorageNode, acme: Customer) -> None:
    plan = await planned(acme, MIRA, TOVE, MIRA)
    assert (len(plan.added), plan.same) == (2, 0)
    users = await imported(acme, MIRA, TOVE, MIRA)
    assert users["Mira"].person == MIRA and users["Mira"].state is UserState.ACTIVE
    assert await acme.users.get(users["Tove"].id) == users["Tove"]
    raw = node.raw()
    assert not any(word in raw for word in (b"Mira", b"Okafor", b"30123456", b"oid-1", b"mira@"))
    assert (await planned(acme, TOVE, MIRA)).same == 2


async def test_a_renamed_person_stays_the_same_user(node: StorageNode, acme: Customer) -> None:
    before = (await imported(acme, MIRA))["Mira"]
    node.watch.wait(days=1)
    after = (await imported(acme, replace(MIRA, last_name="Lind", email="lind@x.example", numbers=("+4930999",))))[
        "Mira"
    ]
    assert after.id == before.id and after.person.last_name == "Lind"
    assert {(f.kind, f.value, f.until[:10]) for f in after.former} == {
        ("last_name", "Okafor", "2026-03-02"),
        ("email", "mira@x.example", "2026-03-02"),
        ("numbers", "+4930123456", "2026-03-02"),
    }
    assert {"+4930123456", "+4930999", "lind@x.example"} <= set(after.known_by)


async def test_who_left_is_inactive_and_who_comes_back_is_the_same(acme: Customer) -> None:
    first = (await imported(acme, MIRA, TOVE))["Mira"]
    plan = await planned(acme, TOVE)
    assert plan.asks(0) and not plan.asks(49)
    gone = (await imported(acme, TOVE))["Mira"]
    assert gone.state is UserState.INACTIVE and gone.unmapped_at is not None
    for more in (await planned(acme, TOVE), await planned(acme, whole=False), await planned(acme, source="entra")):
        assert more.unmapped == []
    back = (await imported(acme, MIRA, TOVE))["Mira"]
    assert (back.id, back.state, back.unmapped_at) == (first.id, UserState.ACTIVE, None)


async def test_a_user_goes_only_when_directory_and_recordings_let_go(acme: Customer, row: CallRow) -> None:
    user = (await imported(acme, MIRA))["Mira"]
    assert await acme.users.calls_of(user) == (row.id,)
    with pytest.raises(Mapped):
        await acme.users.delete(user.id)
    unmapped = await acme.users.unmap(user.id)
    assert unmapped and unmapped.state is UserState.INACTIVE
    assert await acme.users.unmap(user.id) == unmapped
    with pytest.raises(Referred):
        await acme.users.delete(user.id)
    await permit(acme)
    await finish(acme, calls=[row.id])
    assert await acme.users.delete(user.id)
    assert await acme.users.get(user.id) is None and not acme.keys.keeps(user.leaf)
    assert not await acme.users.delete(user.id) and await acme.users.unmap(user.id) is None


async def test_reports_with_a_user_go_with_the_user(acme: Customer) -> None:
    user = (await imported(acme, MIRA))["Mira"]
    wanted = Request("json", ("id",), "x", calls=())
    mine, other = await acme.exports.file(wanted, "paula"), await acme.exports.file(wanted, "paula")
    await acme.exports.admit(mine.id, [user.id])
    await acme.users.unmap(user.id)
    assert await acme.users.delete(user.id)
    assert await acme.exports.get(mine.id) is None and await acme.exports.get(other.id) == other
    assert await acme.exports.tidy() == 1


async def test_a_user_restored_during_deletion_is_kept(acme: Customer) -> None:
    user = (await imported(acme, MIRA))["Mira"]
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
    again = (await imported(acme, MIRA))["Mira"]
    assert (again.person, again.state) == (MIRA, UserState.ACTIVE) and again.id != user.id
    assert not acme.keys.keeps(user.leaf) and acme.keys.keeps(again.leaf)


async def test_a_number_of_before_is_a_reason_to_stay(acme: Customer) -> None:
    await record(acme)
    await imported(acme, MIRA)
    user = (await imported(acme, replace(MIRA, numbers=(), addresses=())))["Mira"]
    await acme.users.unmap(user.id)
    with pytest.raises(Referred):
        await acme.users.delete(user.id)


async def test_a_user_can_return_after_an_interrupted_deletion(acme: Customer) -> None:
    user = (await imported(acme, MIRA))["Mira"]
    acme.keys.cut(user.leaf)  # the process ends here
    assert await acme.users.get(user.id) is None and await imported(acme) == {}
    assert (await imported(acme, MIRA))["Mira"].id != user.id
    async with acme.database.reading() as connection:
        assert len(list(await connection.execute(table.select()))) == 1


async def test_who_is_taken_back_before_the_deletion_stays(acme: Customer) -> None:
    user = (await imported(acme, MIRA))["Mira"]
    await acme.users.unmap(user.id)
    plan = await planned(acme, MIRA)
    found = await asyncio.gather(acme.users.carry_out(plan), acme.users.delete(user.id), return_exceptions=True)
    kept = (await imported(acme, MIRA))["Mira"]
    assert kept.state is UserState.ACTIVE and acme.keys.keeps(kept.leaf)
    assert found[0] is None and (isinstance(found[1], Mapped) or kept.id != user.id)
