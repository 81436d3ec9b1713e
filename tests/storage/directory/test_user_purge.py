"""An inactive user goes with the last recording, where the customer wants it so."""

from storage.customer.customers import Customer
from storage.directory import user_purge
from storage.directory.user import Person
from tests.in_process.storage_node import finish, permit, record
from tests.storage.directory.people import MIRA, TOVE, imported

LIV = Person("Liv", account_name="liv")


async def rest() -> None:
    """Go on at once."""


async def test_who_may_go_goes_and_is_written_down_before(acme: Customer) -> None:
    call = await record(acme)
    ids = await imported(acme, MIRA, TOVE, LIV)
    await imported(acme, LIV)
    await acme.user_matcher.load()
    await acme.user_matcher.settle()
    told: list[str] = []

    async def noted(id: str) -> None:
        assert await acme.users.get(id) is not None
        told.append(id)

    before = await user_purge.reason(acme.database)
    assert await user_purge.purge(acme.users, noted, rest) == 1 and told == [ids["Tove"].id]
    assert await user_purge.reason(acme.database) != before
    assert await user_purge.purge(acme.users, noted, rest) == 0  # a recording refers to Mira
    await permit(acme)
    seen = await user_purge.reason(acme.database)
    await finish(acme, calls=[call.id])
    assert await user_purge.reason(acme.database) != seen
    assert await user_purge.purge(acme.users, noted, rest) == 1 and told == [ids["Tove"].id, ids["Mira"].id]
    assert [user.id for user in (await acme.users.listed(9))[0]] == [ids["Liv"].id]
