"""Hand the keys of all customers to another node, once, in a file that only that node can open.

    recipient = prepare(settings)           on the new node: makes a one-time age identity, returns its recipient
    hand_over(settings, recipient, to)      on a node with the keys, once all others know about the admission
    take(settings, file)                    on the new node: seals the keys under its own root secret, and overwrites
                                            the identity

The file is made like a backup of the keys (recorder.maintenance.key_backup), but under a root secret that is used for
nothing else, and without the proofs of the audit log, because each node has its own audit log. The file opens only with
the identity; once that is overwritten, nobody can open it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from recorder.config.model import Settings
from recorder.errors import NotPossible, WrongUse
from recorder.maintenance import bootstrap, key_backup
from recorder.maintenance.cli_audit import note
from recorder.maintenance.key_rotation import clear_stage, restore, secret_of
from recorder.persist.customers import customer_exists
from recorder.runtime.service_user import acting_as_owner
from storage.customer import customers
from storage.files.durable_files import Disk
from storage.keys.root_secret import RootSecret

IDENTITY = ".admission.key"
"""File with the one-time identity; it lies in keys/, so that no backup of the data directory includes it."""


def prepare(settings: Settings) -> str:
    """Return the recipient of this new node; make its identity if there is none. Raises NotPossible."""
    for customer in settings.customers:
        if customer_exists(settings, customer):
            raise NotPossible(
                f"This node already has keys of customer {customer.name}.",
                "A new node gets its keys from another one: start with an empty data_dir.",
            )
    path = settings.node.data_dir / customers.KEYS / IDENTITY
    settings.node.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with acting_as_owner(settings.node.data_dir):
        if not path.exists():
            Disk().make_folder(path.parent)
            bootstrap.write_new(path, key_backup.new_identity().encode() + b"\n")
        return key_backup.recipient_of(path.read_text())


def check(recipient: str, to: Path) -> None:
    """Raise WrongUse, before anything is written, if the file exists or the recipient is invalid."""
    if to.exists():
        raise WrongUse(f"{to} already exists.", "Choose another file.")
    key_backup.encrypt(b"", [recipient])


def hand_over(settings: Settings, recipient: str, to: Path) -> list[str]:
    """Write the file for a new node; return the customers whose keys are in it.

    May be repeated with another file. Raises WrongUse, StorageError.
    """
    check(recipient, to)
    root, once = secret_of(settings, settings.keys.root), RootSecret(os.urandom(32), "of the admission")
    files: dict[str, bytes] = {}
    with acting_as_owner(settings.node.data_dir):
        for customer in settings.customers:
            note(settings, customer.name, "keys.backup", reason="for another node", root=root)
            files.update(_sealed_anew(settings, customer.name, root, once))
    data = key_backup.pack(once.secret, files, int(datetime.now(UTC).timestamp()))
    if not bootstrap.write_new(to, key_backup.encrypt(data, [recipient])):
        raise WrongUse(f"{to} already exists.", "Choose another file.")
    return [customer.name for customer in settings.customers]


def _sealed_anew(settings: Settings, name: str, root: RootSecret, once: RootSecret) -> Mapping[str, bytes]:
    """Return the files of a customer's keys, sealed under `once`; they are on this disk for a moment only."""
    data = settings.node.data_dir
    folder = data / customers.KEYS
    stage = Path(tempfile.mkdtemp(prefix=".admission-", dir=folder))  # no backup of the data directory includes it
    try:
        (stage / customers.KEYS).mkdir(mode=0o700)
        customers.customer_folder(stage, name).mkdir(mode=0o700, parents=True)
        for file, content in customers.open_keys(data, name, root).snapshot().items():
            bootstrap.write_new(stage / customers.KEYS / file, content)
        keys = customers.open_keys(stage, name, root)
        keys.rotate(once)
        found = dict(keys.snapshot())
    finally:
        clear_stage(stage)
    ledger = folder / f"{name}.erasures"
    if ledger.exists():
        found[ledger.name] = ledger.read_bytes()
    return found


def take(settings: Settings, file: Path) -> list[str]:
    """Install the keys from the file, sealed under this node's root secret; return the customers whose keys they are.

    The daemon must be stopped. Repeatable until the last step, which overwrites the identity. Raises NotPossible,
    Negative, KeysError.
    """
    identity = settings.node.data_dir / customers.KEYS / IDENTITY
    if not identity.exists():
        raise NotPossible("This node has not asked to be admitted.", "Run recorder node admit on it first.")
    kind, _, place = settings.keys.root.partition(":")
    if kind == "file":
        bootstrap.root_key(Path(place))  # keeps one that exists
    with acting_as_owner(settings.node.data_dir):
        secret = identity.read_text()
    done, kept = restore(settings, key_backup.decrypt(file.read_bytes(), secret), older=False)
    with acting_as_owner(settings.node.data_dir):
        Disk().overwrite(identity, bytes(identity.stat().st_size))
        Disk().remove(identity)
    return [*done, *kept]
