"""Change the root secret, back up the keys, and restore them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.config.model import Settings
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance import bootstrap, key_backup
from recorder.maintenance.cli_audit import note
from recorder.persist.backup_time import mark
from recorder.runtime.service_user import acting_as_owner, owner_of
from storage.access.accounts import Accounts
from storage.customer import customers
from storage.errors import KeysError, KeysMissing, KeysOutdated, KeysWrong, StorageError
from storage.exports.exports import FOLDER as EXPORTS
from storage.files.durable_files import Disk, disk_errors
from storage.holders.return_file import ReturnFile
from storage.journal.journal import Journal
from storage.keys.cut_log import Ledger
from storage.keys.root_secret import RootSecret, load_root, make_token_root
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.keys.key_store import CustomerKeys

PROOFS = ("erasures", "audit", "audit.broken")
"""Files of `keys/` that are not keys. They only grow, so a restore never replaces an existing one by an older one."""

COUNTER = "leaves"
SPARE_BLOCKS = 64
"""Blocks of 1,024 leaf numbers to skip after the last known one: the keys of a day's search tokens have numbers too,
which are only in the database. Every process takes a block.
"""
STAGE = ".restore-"
"""Folder in which keys are tested before they are installed."""
LAST = "forget"
"""Written last: until it is there the keys do not open, so an interrupted restore is repeated."""


def secret_of(settings: Settings, source: str) -> RootSecret:
    """Read a root secret: if this is root, first as the owner of data_dir, then as root. Raises KeysError."""
    data = settings.node.data_dir
    if owner_of(data) is not None:
        with acting_as_owner(data), suppress(KeysError):
            return load_root(source)
    return load_root(source)


def make_secret(settings: Settings, source: str, before: str) -> bool:
    """Make the root secret that `source` names if it is missing; return whether it was made.

    A file gets the owner of the file that `before` names.
    """
    kind, _, place = source.partition(":")
    if kind == "pkcs11":
        with acting_as_owner(settings.node.data_dir):
            return make_token_root(source)
    if kind != "file" or not bootstrap.root_key(Path(place)):
        return False
    old, _, path = before.partition(":")
    if old == "file" and os.geteuid() == 0:
        whose = os.stat(path)
        os.chown(place, whose.st_uid, whose.st_gid)
    return True


def rotate(settings: Settings, before: RootSecret, after: RootSecret) -> list[str]:
    """Seal every customer's keys under another root secret; return the customers whose keys were under the old one.

    Safe to repeat after a crash.
    """
    if before.secret == after.secret:
        raise WrongUse("Both root secrets are the same.", "Give the old one with --from or the new one with --to.")
    with acting_as_owner(settings.node.data_dir):
        return _rotate(settings, before, after)


def _rotate(settings: Settings, before: RootSecret, after: RootSecret) -> list[str]:
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
    """Read the keys of all customers, each at one moment, and the other files beside them."""
    folder = settings.node.data_dir / customers.KEYS
    found: dict[str, bytes] = {}
    for customer in settings.customers:
        found.update(customers.open_keys(settings.node.data_dir, customer.name, root).snapshot())
        for kind in PROOFS:
            with suppress(FileNotFoundError):
                found[f"{customer.name}.{kind}"] = (folder / f"{customer.name}.{kind}").read_bytes()
    return found


def backup(settings: Settings, recipients: Sequence[str], to: Path, at: int) -> list[str]:
    """Write the root secret and the keys of all customers to a file, encrypted; return the names of the customers.

    The daemon may run.
    """
    if to.exists():
        raise WrongUse(f"{to} already exists.", "Choose another file.")
    key_backup.encrypt(b"", recipients)  # report a wrong recipient before anything is logged or read
    root = secret_of(settings, settings.keys.root)
    with acting_as_owner(settings.node.data_dir):
        for customer in settings.customers:
            note(settings, customer.name, "keys.backup", reason=f"{len(recipients)} recipients", root=root)
        gathered = gather(settings, root)
    data = key_backup.encrypt(key_backup.pack(root.secret, gathered, at), recipients)
    if not bootstrap.write_new(to, data):
        raise WrongUse(f"{to} already exists.", "Choose another file.")
    with acting_as_owner(settings.node.data_dir):
        mark(settings.node.data_dir, datetime.fromtimestamp(at, UTC), Disk())
    return [customer.name for customer in settings.customers]


def restore(settings: Settings, data: bytes, *, older: bool, to: str | None = None) -> tuple[list[str], list[str]]:
    """Restore keys that do not open; return the customers whose keys were restored, and those whose keys open as is.

    `older`: accept keys that are older than the data, if nothing newer is left. `to`: the root secret to use from now
    on instead of the configured one. Raises Negative, NotPossible, KeysError.
    """
    secret, files = key_backup.unpack(data)
    root = RootSecret(secret, "the backup")
    configured = _configured(settings, to or settings.keys.root, root)
    keep = _Keep(configured is root, to or settings.keys.root, None if to else owner_of(settings.node.data_dir))
    done, kept = [], []
    for customer in settings.customers:
        if _opens(settings, customer.name, configured):
            keep.root(root)
            kept.append(customer.name)
            continue
        mine = {name: content for name, content in files.items() if name.split(".")[0] == customer.name}
        if not mine:
            raise Negative(f"The backup has no keys of customer {customer.name}.", "Look for a newer one.")
        if not _opens(settings, customer.name, root):  # they open if a restore was interrupted, or the secret is new
            with acting_as_owner(settings.node.data_dir):
                _bring_back(settings, customer.name, mine, root, older=older)
        keep.root(root)
        with acting_as_owner(settings.node.data_dir):
            _finish(settings, customer.name, root, configured, older=older)
        done.append(customer.name)
    return done, kept


def _configured(settings: Settings, source: str, root: RootSecret) -> RootSecret:
    """Return the configured root secret, or the backup's if its file is lost."""
    try:
        return secret_of(settings, source)
    except KeysMissing:
        if not source.startswith("file:"):
            hint = "Add --to file:PATH. The secret is written there; then make a credential of it."
            raise NotPossible("The configured root secret is missing.", hint) from None
        return root


@dataclass(frozen=True, slots=True)
class _Keep:
    """Writes the backup's root secret to the configured file if that is lost."""

    lost: bool
    """Whether the file is missing."""
    source: str
    """Where the root secret belongs: `file:PATH`."""
    owner: tuple[int, int] | None
    """User and group that own the file; None: those of this process."""

    def root(self, root: RootSecret) -> None:
        """Write the secret, once it has opened keys; an existing file stays as it is."""
        path = Path(self.source.removeprefix("file:"))
        if self.lost and bootstrap.write_new(path, root.secret) and self.owner is not None:
            os.chown(path, *self.owner)


def _opens(settings: Settings, name: str, root: RootSecret) -> bool:
    try:
        with acting_as_owner(settings.node.data_dir):
            customers.open_keys(settings.node.data_dir, name, root)
    except KeysError:
        return False
    return True


def _bring_back(settings: Settings, name: str, files: Mapping[str, bytes], root: RootSecret, *, older: bool) -> None:
    """Test the keys in a separate folder, update them to what was recorded and erased since, then install them.

    If interrupted before that, nothing has changed, and the restore starts again.
    """
    data = settings.node.data_dir
    folder, copy = data / customers.KEYS, customers.customer_folder(data, name) / "tree.state"
    Disk().make_folder(folder)
    Disk().make_folder(copy.parent)
    for left in folder.glob(f"{STAGE}*"):  # left by a restore that was killed
        clear_stage(left)
    with disk_errors("restore the keys"):
        stage = Path(tempfile.mkdtemp(prefix=STAGE, dir=folder))  # no backup of the data directory includes it
    try:
        staged = {**files, **_own_counter(folder, name, files)}
        keys = _try(stage, name, staged, root, None if older else copy)
        _skip_numbers(data, name, keys)
        _cut_again(keys, Ledger(folder if (folder / f"{name}.erasures").exists() else stage / customers.KEYS, name))
        if older:
            Disk().remove(copy)  # it belongs to a cut that these keys do not have; `settle` repeats the cut
        _place(folder, name, {file: (stage / customers.KEYS / file).read_bytes() for file in files})
    finally:
        clear_stage(stage)


def clear_stage(stage: Path) -> None:
    """Delete a folder with copies of keys; overwrite their files in place first, as a forget secret is."""
    for path in stage.rglob("*"):
        if path.is_file() and not path.is_symlink():
            with suppress(StorageError):  # if the disk refuses writes, at least delete the names
                Disk().overwrite(path, bytes(path.stat().st_size))
    shutil.rmtree(stage, ignore_errors=True)


def _own_counter(folder: Path, name: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the existing counter of recordings if it is usable: it is newer than that of any backup."""
    file = f"{name}.{COUNTER}"
    there, other = Disk().read(folder / file), files.get(file, b"")
    fits = there is not None and len(there) == len(other) and there[:8] == other[:8]
    return {file: there} if there is not None and fits else {}


def _skip_numbers(data: Path, name: str, keys: CustomerKeys) -> None:
    """Make sure that no recording number is used twice."""
    folder = customers.customer_folder(data, name)
    for each in (customers.VAULT, EXPORTS):
        keys.skip((ref.leaf for ref in Vault(folder / each, name, keys).walk()), SPARE_BLOCKS)
    keys.skip(Journal(folder, keys).leaves(), SPARE_BLOCKS)
    keys.skip(Accounts(folder, name, keys).leaves(), SPARE_BLOCKS)


def _cut_again(keys: CustomerKeys, ledger: Ledger) -> None:
    """Cut the keys of what was erased since the backup, by the cut log: a current database would not request it."""
    keys.repeat(ledger.entries())


def _finish(settings: Settings, name: str, root: RootSecret, configured: RootSecret, *, older: bool) -> None:
    """Finish an interrupted cut, record the restore, and seal the keys under the configured root secret."""
    keys = customers.open_keys(settings.node.data_dir, name, root)
    keys.settle()
    # other holders may have cut what these keys have not
    ReturnFile(settings.node.data_dir / customers.KEYS, name).remove()
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
    """Put the files in their place, each atomically, the forget secret last."""
    disk = Disk()
    for file in sorted(files, key=lambda f: f == f"{name}.{LAST}"):
        path, kind = folder / file, file.removeprefix(f"{name}.")
        if kind in PROOFS and path.exists():
            continue
        disk.replace(path, files[file])
        os.chmod(path, 0o600)
