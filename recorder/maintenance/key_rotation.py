"""The life of the keys beyond a cut: another root secret, a backup, and what brings it back."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.config.model import Settings
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance import bootstrap, key_backup
from recorder.maintenance.cli_audit import note
from recorder.persist.backup_time import mark
from storage.access.accounts import Accounts
from storage.customer import customers
from storage.erasure.cut_log import Ledger
from storage.errors import KeysError, KeysMissing, KeysOutdated, KeysWrong, StorageError
from storage.exports.exports import FOLDER as EXPORTS
from storage.files.durable_files import Disk, disk_errors
from storage.journal.journal import Journal
from storage.keys.root_secret import RootSecret, load_root
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.keys.key_store import CustomerKeys

PROOFS = ("erasures", "audit", "audit.broken")
"""Files of `keys/` that are no keys: they only grow, so one that is there is never replaced by an older one."""

COUNTER = "leaves"
SPARE_BLOCKS = 64
"""Of 1,024 numbers, left out behind the last that is known: the keys of a day's search tokens have numbers too, which
stand in the database alone. Every process takes a block."""
STAGE = ".restore-"
"""Folder in which keys are tried before they are put in place."""
LAST = "forget"
"""Written last: without it the keys do not open, and the restore is repeated."""


def rotate(settings: Settings, before: RootSecret, after: RootSecret) -> list[str]:
    """Move every customer's keys under another root secret; returns whose were moved. Safe to repeat after a crash."""
    if before.secret == after.secret:
        raise WrongUse("Both root secrets are the same.", "Give the old one with --from or the new one with --to.")
    names = [customer.name for customer in settings.customers]
    opened = [_under(settings, name, before, after) for name in names]
    moved = []
    for name, keys in zip(names, opened, strict=True):
        if keys is None:
            continue
        note(settings, name, "keys.rotate", root=before)
        keys.rotate(after)
        moved.append(name)
    return moved


def _under(settings: Settings, name: str, before: RootSecret, after: RootSecret) -> CustomerKeys | None:
    """Open keys under the old root secret; None if they are under the new one already."""
    data = settings.node.data_dir
    try:
        return customers.open_keys(data, name, before)
    except KeysOutdated:
        raise
    except KeysWrong:
        customers.open_keys(data, name, after).settle()
        return None


def gather(settings: Settings, root: RootSecret) -> dict[str, bytes]:
    """Read the keys of all customers, each at one moment, and what else lies beside them."""
    folder = settings.node.data_dir / customers.KEYS
    found: dict[str, bytes] = {}
    for customer in settings.customers:
        found.update(customers.open_keys(settings.node.data_dir, customer.name, root).snapshot())
        for kind in PROOFS:
            with suppress(FileNotFoundError):
                found[f"{customer.name}.{kind}"] = (folder / f"{customer.name}.{kind}").read_bytes()
    return found


def backup(settings: Settings, recipients: Sequence[str], to: Path, at: int) -> list[str]:
    """Write the keys of all customers and the root secret, encrypted; returns whose. The daemon may run."""
    if to.exists():
        raise WrongUse(f"{to} exists already.", "Choose another file.")
    key_backup.encrypt(b"", recipients)  # a wrong recipient is said before anything is told or read
    root = load_root(settings.keys.root)
    for customer in settings.customers:
        note(settings, customer.name, "keys.backup", reason=f"{len(recipients)} recipients", root=root)
    data = key_backup.encrypt(key_backup.pack(root.secret, gather(settings, root), at), recipients)
    if not bootstrap.write_new(to, data):
        raise WrongUse(f"{to} exists already.", "Choose another file.")
    mark(settings.node.data_dir, datetime.fromtimestamp(at, UTC), Disk())
    return [customer.name for customer in settings.customers]


def restore(settings: Settings, data: bytes, *, older: bool) -> tuple[list[str], list[str]]:
    """Bring back the keys that do not open; returns (whose were brought back, whose opened and were left alone).

    `older`: take keys that are older than the data if nothing newer is left. Raises Negative, NotPossible, KeysError.
    """
    secret, files = key_backup.unpack(data)
    root = RootSecret(secret, "the backup")
    configured = _configured(settings, root)
    done, kept = [], []
    for customer in settings.customers:
        if _opens(settings, customer.name, configured):
            _keep_root(settings, configured, root)
            kept.append(customer.name)
            continue
        mine = {name: content for name, content in files.items() if name.split(".")[0] == customer.name}
        if not mine:
            raise Negative(f"The backup has no keys of customer {customer.name}.", "Look for a newer one.")
        if not _opens(settings, customer.name, root):  # else a restore was interrupted, or the root secret is new
            _bring_back(settings, customer.name, mine, root, older=older)
        _keep_root(settings, configured, root)
        _finish(settings, customer.name, root, configured, older=older)
        done.append(customer.name)
    return done, kept


def _configured(settings: Settings, root: RootSecret) -> RootSecret:
    """Return the configured root secret; that of the backup itself where a file of it is lost."""
    try:
        return load_root(settings.keys.root)
    except KeysMissing:
        if not settings.keys.root.startswith("file:"):
            hint = 'Set root = "file:PATH" in [keys]: it is written there, and systemd-creds makes a credential of it.'
            raise NotPossible("The configured root secret is not there.", hint) from None
        return root


def _keep_root(settings: Settings, configured: RootSecret, root: RootSecret) -> None:
    """Write the root secret of the backup where it is lost, now that it opens keys; one that is there stays."""
    if configured is root:
        bootstrap.write_new(Path(settings.keys.root.removeprefix("file:")), root.secret)


def _opens(settings: Settings, name: str, root: RootSecret) -> bool:
    try:
        customers.open_keys(settings.node.data_dir, name, root)
    except KeysError:
        return False
    return True


def _bring_back(settings: Settings, name: str, files: Mapping[str, bytes], root: RootSecret, *, older: bool) -> None:
    """Try the keys aside and bring them up to what was recorded and erased since, then put them in place.

    Whoever is stopped before has changed nothing, and begins again.
    """
    data = settings.node.data_dir
    folder, copy = data / customers.KEYS, customers.customer_folder(data, name) / "tree.state"
    Disk().make_folder(folder)
    Disk().make_folder(copy.parent)
    for left in folder.glob(f"{STAGE}*"):  # by a restore that was killed
        _clear(left)
    with disk_errors("restore the keys"):
        stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))  # no backup of the data directory takes it along
    try:
        staged = {**files, **_own_counter(folder, name, files)}
        keys = _try(stage, name, staged, root, None if older else copy)
        _skip_numbers(data, name, keys)
        _cut_again(keys, Ledger(folder if (folder / f"{name}.erasures").exists() else stage / customers.KEYS, name))
        if older:
            Disk().remove(copy)  # of a cut that these keys do not know; `settle` makes it anew
        _place(folder, name, {file: (stage / customers.KEYS / file).read_bytes() for file in files})
    finally:
        _clear(stage)


def _clear(stage: Path) -> None:
    """Take away where keys were tried; they are overwritten where they lay, as a forget secret is."""
    for path in stage.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with suppress(StorageError):  # a disk that takes nothing: the names go at least
                Disk().overwrite(path, bytes(path.stat().st_size))
    shutil.rmtree(stage, ignore_errors=True)


def _own_counter(folder: Path, name: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the counter of recordings that is there if it can go on: it is newer than that of any backup."""
    file = f"{name}.{COUNTER}"
    there, other = Disk().read(folder / file), files.get(file, b"")
    fits = there is not None and len(there) == len(other) and there[:8] == other[:8]
    return {file: there} if there is not None and fits else {}


def _skip_numbers(data: Path, name: str, keys: CustomerKeys) -> None:
    """See that no recording number is given twice."""
    folder = customers.customer_folder(data, name)
    for each in (customers.VAULT, EXPORTS):
        keys.skip((ref.leaf for ref in Vault(folder / each, name, keys).walk()), SPARE_BLOCKS)
    keys.skip(Journal(folder, keys).leaves(), SPARE_BLOCKS)
    keys.skip(Accounts(folder, name, keys).leaves(), SPARE_BLOCKS)


def _cut_again(keys: CustomerKeys, ledger: Ledger) -> None:
    """Forget what was erased since the backup, by the ledger: a database of today would not ask for it."""
    entries = list(ledger.entries())
    keys.cut_days(*{day for entry in entries for day in entry.days})
    keys.cut(*{leaf for entry in entries for leaf in entry.leaves})


def _finish(settings: Settings, name: str, root: RootSecret, configured: RootSecret, *, older: bool) -> None:
    """See that the configured root secret is the one that counts, and write down what was done."""
    keys = customers.open_keys(settings.node.data_dir, name, root)
    keys.settle()
    note(settings, name, "keys.restore", reason="older than the data" if older else "", root=root)
    if root.secret != configured.secret:
        keys.rotate(configured)


def _try(stage: Path, name: str, files: Mapping[str, bytes], root: RootSecret, copy: Path | None) -> CustomerKeys:
    """Open the keys of a backup in a folder of their own; raises KeysError if they do not fit the data."""
    (stage / customers.KEYS).mkdir(mode=0o700)
    beside = customers.customer_folder(stage, name)
    beside.mkdir(mode=0o700, parents=True)
    for file, content in files.items():
        bootstrap.write_new(stage / customers.KEYS / file, content)
    if copy is not None and copy.exists():
        bootstrap.write_new(beside / copy.name, copy.read_bytes())
    return customers.open_keys(stage, name, root)


def _place(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Put files in place, each whole, the forget secret last."""
    disk = Disk()
    for file in sorted(files, key=lambda f: f == f"{name}.{LAST}"):
        path, kind = folder / file, file.removeprefix(f"{name}.")
        if kind in PROOFS and path.exists():
            continue
        disk.replace(path, files[file])
        os.chmod(path, 0o600)
