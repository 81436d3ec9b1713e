"""Everything of each customer, opened together and closed together.

`data_dir/customers/NAME/` holds vault, database, tokens and audit log; `data_dir/keys/` the forget secrets and the
newest audit checkpoints.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.accounts import Accounts
from storage.annotations import Annotations
from storage.attachments import Attachments
from storage.audit import Audit
from storage.calls import Calls
from storage.candidates import Candidates
from storage.columnsets import ColumnSets
from storage.correlation import Correlation
from storage.credentials import Credentials
from storage.database import Database
from storage.directorypages import DirectoryPages
from storage.erasure import Erasures
from storage.errors import KeysMissing, NoSpace
from storage.exports import FOLDER as EXPORTS
from storage.exports import Exports
from storage.forgetting import Forgetting
from storage.holds import Holds
from storage.journal import Cabinet, Journal
from storage.keys import CustomerKeys
from storage.keytree import LAST_LEAF
from storage.ledger import Ledger
from storage.requests import Requests
from storage.restored import reapply
from storage.retention import Retention
from storage.room import Room
from storage.roots import RootSecret
from storage.rules import Rules
from storage.users import Users
from storage.vault import Vault
from storage.waivers import Waivers

CUSTOMERS = "customers"
KEYS = "keys"
VAULT = "vault"
# The audit log is signed with a key of the tree, so that it stays the same when the root secret is rotated. The last
# leaf belongs to the year 2149: no recording has it and no cut of past days reaches it.
AUDIT_LEAF = LAST_LEAF
AUDIT_LABEL = "audit"


@dataclass(frozen=True, slots=True)
class CustomerSettings:
    """What storage needs to know of a customer."""

    name: str
    """Name, [a-z0-9-]{1,40}."""
    country: str = "DE"
    """How national numbers are read, ISO 3166."""
    retention_days: int | None = 180
    """Default rule of retention, None for ever."""
    approval: bool = False
    """A second person has to approve every request for erasure."""
    extension_digits: int = 0
    """Last digits of the users' numbers that are their extension, 0 where the directory says which it is."""
    purge_users: bool = False
    """An inactive user goes with the last recording."""


@dataclass(frozen=True, slots=True)
class Customer:
    """Everything of one customer."""

    name: str
    """Name of the customer."""
    settings: CustomerSettings
    """Country and default retention."""
    folder: Path
    """Where everything but the keys lies."""
    keys: CustomerKeys
    """Key tree."""
    vault: Vault
    """Media and signalling."""
    database: Database
    """Index and everything that exists nowhere else."""
    calls: Calls
    """Index of calls."""
    credentials: Credentials
    """API tokens."""
    accounts: Accounts
    """Who may sign in to the page."""
    audit: Audit
    """Audit log."""
    holds: Holds
    """Legal holds."""
    waivers: Waivers
    """Permissions for immediate erasure."""
    rules: Rules
    """Retention rules."""
    erasures: Erasures
    """Requests for erasure, and what carries them out."""
    retention: Retention
    """What is due by the rules."""
    annotations: Annotations
    """Corrections beside calls."""
    attachments: Attachments
    """Transcripts and chats of calls."""
    exports: Exports
    """Exports that were asked for."""
    requests: Requests
    """Requests of people who were recorded."""
    candidates: Candidates
    """Finds the calls that may concern somebody who asks."""
    column_sets: ColumnSets
    """Columns of exports, under names."""
    users: Users
    """Directory users."""
    correlation: Correlation
    """Which of them took part in which call."""
    journal: Journal
    """What exists only in the database, written beside it."""
    catch_up: Callable[[], Awaitable[object]]
    """Gives a lost database back what is not in the vault; does again what was erased since an old one."""
    now: Callable[[], datetime]
    """The wall clock."""

    async def open_database(self) -> None:
        """Bring the database up, and up to the ledger of erasures, before anybody is served from it.

        Raises StorageError if it is away or damaged; may be tried again.
        """
        await self.database.prepare(self.now())
        with self.database.opening():
            await self.catch_up()
        self.database.serve()

    async def close(self) -> None:
        """Write what waits and close everything."""
        self.audit.close()
        await self.database.close()


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
        create: bool = True,
        later: bool = False,
    ) -> "Customers":
        """Open every customer, and make what a new one needs if `create`; all or none. Raises StorageError.

        `later`: the databases stay closed; `Customer.open_database` opens each.
        """
        opened: list[Customer] = []
        try:
            for one in settings:
                customer = await open_customer(
                    data_dir, root, one, database=database, now=now, node=node, create=create, later=later
                )
                opened.append(customer)
        except BaseException:
            await cls(opened).close()
            raise
        return cls(opened)

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
    data_dir: Path,
    root: RootSecret,
    settings: CustomerSettings,
    *,
    database: str,
    now: Callable[[], datetime],
    node: int = 0,
    create: bool = True,
    later: bool = False,
) -> Customer:
    """Open one customer; raises StorageError, and never makes new keys where anything of the customer exists."""
    name = settings.name
    folder = customer_folder(data_dir, name)
    keys = open_keys(data_dir, name, root, node=node, create=create)
    index = Database(database, name, folder)
    try:
        customer = _assemble(data_dir, settings, keys, index, now)
        if not later:
            await customer.open_database()
    except BaseException:
        await index.close()
        raise
    return customer


def _assemble(
    data_dir: Path, settings: CustomerSettings, keys: CustomerKeys, index: Database, now: Callable[[], datetime]
) -> Customer:
    """Put a customer together; nothing of the database is touched."""
    name, folder, signer = settings.name, customer_folder(data_dir, settings.name), audit_key(keys)
    vault = Vault(folder / VAULT, name, keys)
    calls = Calls(index, keys, settings.country)
    audit = Audit(folder, data_dir / KEYS, name, signer, now)
    ledger = Ledger(data_dir / KEYS, name)
    forgetting = Forgetting(keys, vault, index, calls, ledger, Room(data_dir))
    forgetting.keep_room()
    journal = Journal(folder, keys)
    cabinet = Cabinet(index, keys, journal, now)
    rules = Rules(cabinet, settings.country, settings.retention_days)
    erasures = Erasures(name, keys, vault, index, calls, audit, forgetting, journal, signer, now)
    holds = Holds(cabinet)
    holds.released = erasures.wanted.set
    users = Users(cabinet, calls)
    users.unfinished = DirectoryPages(folder, keys, "").leaves
    correlation = Correlation(index, keys, calls, users, rules, settings.country, settings.extension_digits)
    exports = Exports(index, keys, Vault(folder / EXPORTS, name, keys), now)
    forgetting.derived = exports.unlink
    return Customer(
        name=name,
        settings=settings,
        folder=folder,
        keys=keys,
        vault=vault,
        database=index,
        calls=calls,
        credentials=Credentials(folder, name),
        accounts=Accounts(folder, name, keys),
        audit=audit,
        holds=holds,
        waivers=Waivers(cabinet),
        rules=rules,
        erasures=erasures,
        retention=Retention(index, keys, calls, rules, erasures, now),
        annotations=Annotations(cabinet),
        attachments=Attachments(cabinet, vault),
        exports=exports,
        requests=Requests(cabinet, name, exports, erasures, signer),
        candidates=Candidates(calls, users, correlation, settings.country),
        column_sets=ColumnSets(cabinet),
        users=users,
        correlation=correlation,
        journal=journal,
        catch_up=partial(_catch_up, name, index, ledger, forgetting, journal, signer, now),
        now=now,
    )


async def _catch_up(
    name: str,
    index: Database,
    ledger: Ledger,
    forgetting: Forgetting,
    journal: Journal,
    signer: Ed25519PrivateKey,
    now: Callable[[], datetime],
) -> None:
    """Give a lost database its papers back, and an old one what was erased and written since."""
    await reapply(name, index, ledger, forgetting, journal, signer, now)
    with suppress(NoSpace):
        await asyncio.to_thread(journal.prepare)


def open_keys(data_dir: Path, name: str, root: RootSecret, *, node: int = 0, create: bool = False) -> CustomerKeys:
    """Open the keys of a customer, or make them for a new one if `create`; raises KeysError."""
    places = (data_dir / KEYS, customer_folder(data_dir, name), name, root)
    try:
        return CustomerKeys.open(*places, node=node)
    except KeysMissing:
        if not create or not _is_new(data_dir, name):
            raise
    return CustomerKeys.create(*places, node=node)


def audit_key(keys: CustomerKeys) -> Ed25519PrivateKey:
    """Give the key that signs a customer's audit log and receipts."""
    return Ed25519PrivateKey.from_private_bytes(keys.secret(AUDIT_LEAF, AUDIT_LABEL))


def customer_folder(data_dir: Path, name: str) -> Path:
    """Name the folder of a customer."""
    return data_dir / CUSTOMERS / name


def _is_new(data_dir: Path, name: str) -> bool:
    """Say whether nothing of this customer exists, so that new keys make nothing unreadable."""
    folder = customer_folder(data_dir, name)
    return not any(path.is_file() for path in folder.rglob("*"))
