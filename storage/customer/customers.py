"""The customers of a node, opened together and closed together.

`data_dir/customers/NAME/` holds vault, database, tokens and audit log; `data_dir/keys/` the forget secrets and the
newest audit checkpoints.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from storage.customer.customer import Customer
from storage.customer.settings import CUSTOMERS, KEYS, VAULT, CustomerSettings, Place, audit_key, customer_folder
from storage.errors import KeysMissing
from storage.keys.key_store import CustomerKeys, KeyOptions
from storage.keys.root_secret import RootSecret

if TYPE_CHECKING:
    from storage.objects.store import ObjectStore

__all__ = [
    "CUSTOMERS",
    "KEYS",
    "VAULT",
    "Customer",
    "CustomerSettings",
    "Customers",
    "Place",
    "audit_key",
    "customer_folder",
    "open_keys",
]


NOWHERE: "Mapping[str, ObjectStore | None]" = {}
"""All recordings stay in the folder of the node."""


class Customers(Mapping[str, Customer]):
    """All customers of this node by name."""

    def __init__(self, customers: Sequence[Customer]) -> None:
        self._customers = {customer.name: customer for customer in customers}

    @classmethod
    async def open(
        cls,
        data_dir: Path,
        root: RootSecret,
        settings: Sequence[CustomerSettings],
        *,
        database: str,
        now: Callable[[], datetime],
        node: int = 0,
        name: str = "",
        instance: str = "",
        create: bool = True,
        later: bool = False,
        objects: "Mapping[str, ObjectStore | None]" = NOWHERE,
    ) -> "Customers":
        """Open every customer, all or none; if `create`, make keys for new ones. Raises StorageError.

        `later`: the databases stay closed until `Customer.open_database`. `node`, `name`: number and name
        of the node. `instance`, and `objects` of each customer: as in Place.
        """
        opened: list[Customer] = []
        try:
            for one in settings:
                own = objects.get(one.name)
                place = Place(data_dir, database, now, own, node=name, instance=instance, several=node > 0)
                customer = await open_customer(place, root, one, node=node, create=create, later=later)
                opened.append(customer)
        except BaseException:
            await cls(opened).close()
            raise
        return cls(opened)

    def add(self, customer: Customer) -> None:
        """Add a customer that could not be opened with the others; an iteration under way does not see it."""
        self._customers = {**self._customers, customer.name: customer}

    def __getitem__(self, name: str) -> Customer:
        return self._customers[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._customers)

    def __len__(self) -> int:
        return len(self._customers)

    async def close(self) -> None:
        """Close all customers."""
        for customer in self._customers.values():
            await customer.close()


async def open_customer(
    place: Place,
    root: RootSecret,
    settings: CustomerSettings,
    *,
    node: int = 0,
    create: bool = True,
    later: bool = False,
) -> Customer:
    """Open one customer; make no new keys if anything of the customer exists. Raises StorageError."""
    customer = open_closed(settings, place, root, node=node, create=create)
    if not later:
        try:
            await customer.open_database()
        except BaseException:
            await customer.close()
            raise
    return customer


def open_closed(
    settings: CustomerSettings, place: Place, root: RootSecret, *, node: int = 0, create: bool = False
) -> Customer:
    """Open one customer without its database; raises StorageError."""
    keys = open_keys(place.data_dir, settings.name, root, node=node, create=create, now=place.now)
    return Customer(settings, keys, place)


def open_keys(
    data_dir: Path, name: str, root: RootSecret, *, create: bool = False, **means: Unpack[KeyOptions]
) -> CustomerKeys:
    """Open the keys of a customer, or make them for a new one if `create`; raises KeysError."""
    places = (data_dir / KEYS, customer_folder(data_dir, name), name, root)
    try:
        return CustomerKeys.open(*places, **means)
    except KeysMissing:
        if not create or not is_new(data_dir, name):
            raise
    return CustomerKeys.create(*places, **means)


def is_new(data_dir: Path, name: str) -> bool:
    """Return whether nothing of this customer exists, so that new keys make nothing unreadable."""
    folder = customer_folder(data_dir, name)
    return not any(path.is_file() for path in folder.rglob("*"))
