"""An inactive user goes with the last recording, where the customer wants it so."""

from pathlib import Path

from storage.customer.customers import Customer
from storage.directory import user_purge
from storage.directory.user import Person
from tests.in_process.storage_node import StorageNode, permit, record, story

MIRA = Person("Mira", account_name="mira", numbers=("+4930123456",))
TOVE = Person("Tove", account_name="tove")
LIV = Person("Liv", account_name="liv")


async def rest() -> None:
    """Go on at once."""


async def imported(acme: Customer, *people: Person) -> dict[str, str]:
    plan = await acme.users.plan(people, "csv", whole=True)
    await acme.users.carry_out(plan)
    return {user.person.first_name: user.id for user in (await acme.users.listed(100))[0]}


def test_who_may_go_goes_and_is_written_down_before(tmp_path: Path) -> None:
    async def tell(node: StorageNode, acme: Customer) -> None:
        call = await record(acme)
        ids = await imported(acme, MIRA, TOVE, LIV)
        await imported(acme, LIV)
        await acme.correlation.load()
        await acme.correlation.settle()
        told: list[str] = []

        async def noted(id: str) -> None:
            assert await acme.users.get(id) is not None
            told.append(id)

        before = await user_purge.reason(acme.database)
        assert await user_purge.purge(acme.users, noted, rest) == 1 and told == [ids["Tove"]]
        assert await user_purge.reason(acme.database) != before
        assert await user_purge.purge(acme.users, noted, rest) == 0  # a recording refers to Mira
        await permit(acme)
        seen = await user_purge.reason(acme.database)
        await acme.erasures.file(calls=[call.id], reason="x", by="paula")
        await acme.erasures.work()
        assert await user_purge.reason(acme.database) != seen
        assert await user_purge.purge(acme.users, noted, rest) == 1 and told == [ids["Tove"], ids["Mira"]]
        assert [user.id for user in (await acme.users.listed(9))[0]] == [ids["Liv"]]

    story(tmp_path, tell)
