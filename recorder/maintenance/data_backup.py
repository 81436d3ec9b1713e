"""Back up and restore the data directory of this node; storage.backup does the copying."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.errors import Negative, NotPossible, WrongUse
from recorder.maintenance.cli_audit import note
from recorder.persist.instance_lock import node_lock
from recorder.runtime.service_user import acting_as_owner, owner_of
from storage.backup import backup, restore
from storage.backup.generations import BackupDamaged, BackupForeign, Folder
from storage.customer import customers
from storage.errors import KeysError, StorageError
from storage.files.durable_files import disk_errors
from storage.keys.root_secret import load_root

BACKED_UP, RESTORED = "data.backup", "data.restore"
_SQLITE, _ELSEWHERE = "sqlite", "elsewhere"


def back_up(settings: Settings, path: Path, keep: int, watch: backup.Watch) -> backup.Made:
    """Add a generation to the backup in the folder `path`, which is made if it is missing; the daemon may run.

    Raises WrongUse, NotPossible, StorageError.
    """
    data = settings.node.data_dir
    _apart(path, data)
    if not (above := path.absolute().parent).is_dir():
        raise NotPossible(f"There is no folder {above}.", "Mount its disk or make it: only the last folder is made.")
    known, unopened = _customers(settings)
    with disk_errors("make the folder of the backup"):
        path.mkdir(mode=0o700, exist_ok=True)
    database = _SQLITE if settings.storage.database == _SQLITE else _ELSEWHERE
    source = backup.CopySource(data, known, database)
    with _refusals():
        made = backup.back_up(source, Folder(path), datetime.now(UTC), keep, watch)
    made.faults[:0] = unopened
    return made


def bring_back(settings: Settings, path: Path, generation: int | None, watch: backup.Watch) -> restore.Restored:
    """Restore a generation, by default the newest, into an empty data directory; the daemon must be stopped.

    Raises WrongUse, NotPossible, StorageError.
    """
    data = settings.node.data_dir
    _apart(path, data)
    if not path.is_dir():
        raise WrongUse(f"There is no folder {path}.", "Name the folder into which recorder backup wrote.")
    if not data.is_dir():
        hint = f"Make it: install -d -m 700 -o recorder -g recorder {data}"
        raise NotPossible(f"There is no folder {data}.", hint)
    with ExitStack() as stack, _refusals():
        with acting_as_owner(data):
            held = stack.enter_context(node_lock(settings))
        if not held:
            raise NotPossible("The daemon is running.", f"Stop it first: {Installation.of(settings.source).stop}.")
        restored = restore.restore(Folder(path), generation, data, owner_of(data), watch)
        with acting_as_owner(data):
            for customer in settings.customers:
                with suppress(StorageError):  # its keys are restored later, or it is not in this backup
                    note(settings, customer.name, RESTORED, reason=f"generation {restored.generation}")
    return restored


@contextmanager
def _refusals() -> Iterator[None]:
    """Turn errors of a backup into the errors that set the exit status of a command."""
    try:
        yield
    except BackupDamaged as problem:
        raise Negative(f"{problem}.", f"{problem.hint}.") from None
    except BackupForeign as problem:
        raise WrongUse(f"{problem}.", f"{problem.hint}.") from None


def _apart(path: Path, data: Path) -> None:
    one, other = path.resolve(), data.resolve()
    if one == other or one in other.parents or other in one.parents:
        raise WrongUse(
            f"One of {path} and {data} is inside the other.", "Choose a folder outside data_dir, on another disk."
        )


def _customers(settings: Settings) -> tuple[dict[str, str], list[str]]:
    """Note the backup in the audit log of each customer whose keys open.

    Return the public keys of these customers by name, and a sentence about each other one. Raises KeysError if the keys
    of no customer open.
    """
    root = load_root(settings.keys.root)
    found: dict[str, str] = {}
    faults: list[str] = []
    failed: KeysError | None = None
    for customer in settings.customers:
        try:
            keys = customers.open_keys(settings.node.data_dir, customer.name, root)
        except KeysError as problem:
            failed = problem
            faults.append(f"customer {customer.name}: {problem}")
            continue
        note(settings, customer.name, BACKED_UP, root=root)
        found[customer.name] = customers.audit_key(keys).public_key().public_bytes_raw().hex()
    if failed is not None and not found:
        raise failed
    return found, faults
