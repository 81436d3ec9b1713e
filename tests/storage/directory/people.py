"""Two people, and how they come into the directory of a customer."""

from storage.customer.customers import Customer
from storage.directory.user import Person, User

HERS, HIS = "+4930123456", "+4940777888"
MIRA = Person("Mira", "Okafor", "mira", "mira@x.example", "mira@x.example", "oid-1", (HERS,))
TOVE = Person("Tove", "Lind", "tove", "tove@x.example", object_id="oid-2", numbers=(HIS,))


async def imported(acme: Customer, *people: Person, whole: bool = True) -> dict[str, User]:
    """Import people; return all users by their first names."""
    plan = await acme.users.plan(people, "csv", whole=whole)
    await acme.users.carry_out(plan)
    if whole:
        await acme.users.completed(plan)
    found, more = await acme.users.listed(100)
    assert more is None
    return {user.person.first_name: user for user in found}
