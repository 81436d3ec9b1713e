"""Open customers with the configured root secret, for the daemon and for commands."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.config.model import Customer as Configured
from recorder.config.model import Settings
from recorder.errors import WrongUse
from recorder.persist import instance
from recorder.persist.object_store import configured_store
from recorder.runtime.service_user import acting_as_owner
from storage.customer import customers
from storage.customer.customers import Customer, Customers, CustomerSettings, Place
from storage.customer.settings import PLAN, removed_folder
from storage.errors import KeysError
from storage.keys.root_secret import RootSecret, load_root

if TYPE_CHECKING:
    from storage.access.accounts import Accounts
    from storage.access.api_tokens import Credentials
    from storage.access.documents import Document, FileDocument
    from storage.access.shared_documents import SharedDocuments

DEFAULT_COUNTRY = "DE"
"""Country by which national numbers are read if the configuration names none."""


def storage_settings(configured: Configured) -> CustomerSettings:
    """Return what storage needs to know about a customer."""
    country = configured.country or DEFAULT_COUNTRY
    return CustomerSettings(
        configured.name,
        country,
        configured.retention_days,
        configured.approve_erasures,
        configured.extension_digits,
        configured.purge_users,
        configured.title or "",
    )


def _now() -> datetime:
    return datetime.now(UTC)


def open_each(settings: Settings, but: Container[str] = ()) -> tuple[Customers, dict[str, Exception]]:
    """Open every customer except its database; return also, by name, what is wrong with those that cannot be opened.

    `but`: customers that are left out. Creates no keys. Raises StorageError if the root secret cannot be used.
    """
    root = load_root(settings.keys.root)
    opened: list[Customer] = []
    away: dict[str, Exception] = {}
    for configured in settings.customers:
        if configured.name in but:
            continue
        try:
            opened.append(open_one(settings, configured, root))
        except Exception as problem:  # any failure affects this customer alone
            away[configured.name] = problem
    return Customers(opened), away


def reopen(settings: Settings, name: str) -> Customer:
    """Try again to open one customer except its database; raises StorageError."""
    (configured,) = (each for each in settings.customers if each.name == name)
    return open_one(settings, configured, load_root(settings.keys.root))


def open_one(settings: Settings, configured: Configured, root: RootSecret) -> Customer:
    """Open one customer except its database, which it then claims for this node; raises StorageError."""
    node = settings.node
    place = Place(
        node.data_dir, settings.storage.database, _now, configured_store(settings, configured),
        node=node.name, instance=instance.read(node.runtime_dir), claims=True,
        several=node.number > 0,
    )  # fmt: skip
    return customers.open_closed(storage_settings(configured), place, root, node=settings.node.number)


async def open_customers(settings: Settings, wanted: Sequence[Configured] | None = None) -> Customers:
    """Open customers with their databases; never creates keys. Raises StorageError with a hint."""
    chosen = settings.customers if wanted is None else wanted
    return await Customers.open(
        settings.node.data_dir,
        load_root(settings.keys.root),
        [storage_settings(c) for c in chosen],
        database=settings.storage.database,
        now=_now,
        node=settings.node.number,
        name=settings.node.name,
        instance=instance.read(settings.node.runtime_dir),
        create=False,
        objects={each.name: configured_store(settings, each) for each in chosen},
    )


async def open_customer(settings: Settings, configured: Configured) -> Customer:
    """Open one customer."""
    return (await open_customers(settings, [configured]))[configured.name]


def customer_exists(settings: Settings, configured: Configured) -> bool:
    """Return whether a customer already has keys."""
    return (settings.node.data_dir / customers.KEYS / f"{configured.name}.forget").exists()


def is_new(settings: Settings, configured: Configured) -> bool:
    """Return whether nothing of a customer exists yet."""
    return not customer_exists(settings, configured) and customers.is_new(settings.node.data_dir, configured.name)


def unconfigured(settings: Settings) -> list[Path]:
    """Return the folders of customers that the configuration does not name; none if they cannot be listed."""
    known = {customer.name for customer in settings.customers}
    try:
        found = list((settings.node.data_dir / customers.CUSTOMERS).iterdir())
    except OSError:
        return []
    return sorted(each for each in found if each.is_dir() and each.name not in known)


def to_be_removed(settings: Settings, name: str) -> bool:
    """Return whether the removal of a customer was requested, so that its folder needs no table any more."""
    return (removed_folder(settings.node.data_dir, name) / PLAN).exists()


def check_keys(settings: Settings, configured: Configured) -> None:
    """Check that the keys of a customer fit the root secret; raises KeysError."""
    customers.open_keys(settings.node.data_dir, configured.name, load_root(settings.keys.root))


def create_customer(settings: Settings, configured: Configured, root: RootSecret | None = None) -> None:
    """Create the keys of a new customer; raises KeysError if any of its files exist, WrongUse if it was removed."""
    check_not_removed(settings, configured.name)
    customers.open_keys(settings.node.data_dir, configured.name, root or load_root(settings.keys.root), create=True)


def check_not_removed(settings: Settings, name: str) -> None:
    """Raise WrongUse if a customer of this name was removed.

    Receipts and audit logs name their customer, so two customers of one name could be taken for each other; and an old
    backup of the first would lie in the folder of the second.
    """
    folder = removed_folder(settings.node.data_dir, name)
    if folder.exists():
        raise WrongUse(
            f"A customer {name} was removed; its receipt and audit log are in {folder}.", "Choose another name."
        )


def load_root_of(settings: Settings) -> RootSecret:
    """Read the root secret for a command that root may run: as the owner of data_dir, else as root itself."""
    try:
        with acting_as_owner(settings.node.data_dir):
            return load_root(settings.keys.root)
    except KeysError:  # a credential that only root can read
        return load_root(settings.keys.root)


def open_credentials(settings: Settings, name: str, *, alone: bool = False) -> Credentials:
    """Return the API tokens of a customer; `alone`: those that this node has before it serves for the first time."""
    from storage.access.api_tokens import FILE_NAME, WHAT, Credentials
    from storage.access.documents import FileDocument

    folder = _folder(settings, name)
    if alone or settings.node.number == 0:
        return Credentials(folder, name)
    copy = FileDocument(folder, FILE_NAME, WHAT)
    return Credentials(folder, name, document=_shared(settings, name, copy, lambda documents: documents.tokens))


def open_accounts(settings: Settings, name: str) -> Accounts:
    """Return the accounts of a customer."""
    from storage.access.accounts import FILE_NAME, WHAT, Accounts
    from storage.access.documents import FileDocument

    folder = _folder(settings, name)
    root, number = load_root(settings.keys.root), settings.node.number
    keys = customers.open_keys(settings.node.data_dir, name, root, node=number)
    if number == 0:
        return Accounts(folder, name, keys)
    copy = FileDocument(folder, FILE_NAME, WHAT)
    document = _shared(settings, name, copy, lambda documents: documents.accounts)
    return Accounts(folder, name, keys, document=document)


def _shared(
    settings: Settings, name: str, copy: FileDocument, which: Callable[[SharedDocuments], Document]
) -> Document:
    """Return a document that several nodes share, for a command."""
    from recorder.persist.shared_document import CommandDocument

    (configured,) = (each for each in settings.customers if each.name == name)
    return CommandDocument(copy, partial(open_customer, settings, configured), which)


def _folder(settings: Settings, name: str) -> Path:
    if settings.customer(name) is None:
        known = ", ".join(c.name for c in settings.customers) or "none"
        raise WrongUse(f"There is no customer {name!r}.", f"Configured are: {known}.")
    folder = customers.customer_folder(settings.node.data_dir, name)
    if not folder.is_dir():
        raise WrongUse(f"Customer {name} has no keys yet.", "Run recorder init first.")
    return folder
