"""The settings of a customer that storage needs, and the places of the customer's files."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.keys.key_store import CustomerKeys
from storage.keys.key_tree import LAST_LEAF
from storage.nodes.identity import Identity

if TYPE_CHECKING:
    from storage.objects.store import ObjectStore

CUSTOMERS = "customers"
KEYS = "keys"
VAULT = "vault"
REMOVED = "removed"
PLAN = "removal.json"
# The audit log is signed with a key of the tree, so that it stays the same when the root secret is rotated. The last
# leaf belongs to the year 2149: no recording has it and no cut of past days reaches it.
AUDIT_LEAF = LAST_LEAF
AUDIT_LABEL = "audit"


@dataclass(frozen=True, slots=True)
class CustomerSettings:
    """The settings of a customer that storage needs."""

    name: str
    """Name, [a-z0-9-]{1,40}."""
    country: str = "DE"
    """Country by which national numbers are read, ISO 3166."""
    retention_days: int | None = 180
    """Default days of retention, None for ever."""
    approval: bool = False
    """Whether a second person must approve every request for erasure."""
    extension_digits: int = 0
    """Number of last digits of a user's number that are the extension; 0 if the directory marks extensions."""
    purge_users: bool = False
    """Whether an inactive user is deleted once no recording refers to it."""
    title: str = ""
    """Name that people see; "" if that is `name`."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files and databases of customers are, and the clock."""

    data_dir: Path
    """Folder of the node."""
    database: str
    """"sqlite", or the URL of a database."""
    now: Callable[[], datetime]
    """The wall clock."""
    objects: "ObjectStore | None" = None
    """The object store of finished parts, None if they stay in the folder of the node."""
    node: str = ""
    """Name of the node."""
    instance: str = ""
    """Random id of this boot of this machine (storage.nodes.registry)."""
    claims: bool = False
    """Whether to keep other nodes from the databases while they are open, as the daemon does."""
    several: bool = False
    """Whether several nodes may share the databases."""


def customer_folder(data_dir: Path, name: str) -> Path:
    """Return the folder of a customer."""
    return data_dir / CUSTOMERS / name


def removed_folder(data_dir: Path, name: str) -> Path:
    """Return the folder of the files kept of a removed customer."""
    return data_dir / REMOVED / name


def audit_key(keys: CustomerKeys) -> Ed25519PrivateKey:
    """Return the key that signs a customer's audit log and receipts."""
    return Ed25519PrivateKey.from_private_bytes(keys.secret(AUDIT_LEAF, AUDIT_LABEL))


def identity(place: Place, keys: CustomerKeys) -> Identity:
    """Return the identity of this node in a customer's database."""
    public = audit_key(keys).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return Identity(keys.customer, keys.node, place.node, place.instance, hashlib.sha256(public).hexdigest()[:32])
