"""The removal of a customer for good; receipt, audit log, and the public key that proves both stay in `removed/NAME/`.

    removal = Removal.read(data_dir, name)                   the removal that was noted, None if there is none
    with alone(folder): …                                    False while a process has the customer open
    calls = await left(customer)                             the calls that would be erased; raises Kept
    await carry_out(removal, place, root)                    returns the receipt; may be repeated after a crash

The steps run in this order. Each is durable before the next begins, so the next run can continue after any crash:

1. Every leaf but the one that signs is cut: no copy of the customer's data can be opened any more.
2. Its objects in the store are deleted, its database is dropped, and its folder is emptied except for the audit log.
3. The audit log gets its last entry and a checkpoint; the receipt is signed and written.
4. The audit log moves to `removed/NAME/`.
5. The last leaf is cut, and the files of the keys and the folder are removed.

The name is not used again: receipts and audit logs name their customer.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from storage.access.actor import RECORDER
from storage.audit.audit_files import LOG_NAME, MARKS_NAME, AuditFiles
from storage.audit.audit_log import Audit
from storage.audit.hash_chain import Act
from storage.calls.call_index import Query
from storage.customer.customer import Customer
from storage.customer.removed_customers import PUBLIC_KEY, files_of
from storage.customer.settings import AUDIT_LEAF, KEYS, PLAN, VAULT, Place, audit_key, customer_folder, removed_folder
from storage.database.database import Database
from storage.erasure import receipts
from storage.errors import KeysMissing, StorageError
from storage.files.durable_files import Disk, disk_errors
from storage.json_bytes import ascii_json
from storage.keys.key_store import CustomerKeys
from storage.keys.root_secret import RootSecret
from storage.timestamps import from_text

RECEIPT = "receipt.json"
COPY = "tree.state"
"""Copy of the key tree in the folder of a customer; without it the keys still open."""


class Kept(StorageError):
    """The customer cannot be removed now."""


@dataclass(frozen=True, slots=True)
class Removal:
    """A removal that somebody asked for."""

    customer: str
    """Name."""
    id: str
    """Id of the erasure in the receipt."""
    requested_by: str
    """Who asked, as in the audit log."""
    requested_at: str
    """When, RFC 3339."""
    approval: bool = False
    """Whether erasures of this customer need a second person."""
    store: Mapping[str, str | bool] = field(default_factory=dict)
    """How the configuration described the customer's own object store."""
    calls: tuple[str, ...] | None = None
    """Ids of the calls to erase; None until the erasure begins, after which the removal cannot be called off."""

    @classmethod
    def read(cls, data_dir: Path, name: str) -> "Removal | None":
        """Return a customer's unfinished removal, None if there is none; raises StorageError if its file is damaged."""
        path = removed_folder(data_dir, name) / PLAN
        try:
            noted = json.loads(path.read_bytes())
            calls = noted["calls"]
            return cls(**{**noted, "calls": None if calls is None else tuple(calls)})
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            raise StorageError(f"the note of the removal of {name} is damaged", f"restore {path}") from None

    def write(self, data_dir: Path) -> None:
        """Write the removal to disk durably."""
        folder, disk = removed_folder(data_dir, self.customer), Disk()
        disk.make_folder(folder.parent)
        disk.make_folder(folder)
        disk.replace(folder / PLAN, ascii_json(asdict(self)))

    def call_off(self, data_dir: Path) -> None:
        """Delete the note of this removal; call it only before anything was erased."""
        folder = removed_folder(data_dir, self.customer)
        (folder / PLAN).unlink(missing_ok=True)
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Yield whether no process has the customer of this folder open (`Customer` holds the lock that this needs).

    If so, hold the lock in shared mode: this process can then open the customer, and no other one gets True.
    """
    try:
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield True
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(fd, fcntl.LOCK_SH)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)


async def left(customer: Customer, *, approval: bool) -> Sequence[str]:
    """Return the ids of the calls that removing an open customer would erase; raises Kept if that is not allowed."""
    others = () if customer.holder is None else sorted(await customer.holder.others())
    if others:
        raise Kept(
            f"the keys of {customer.name} are on {_more(others)}",
            f"stop these nodes and retire them first: recorder node retire {others[0]} (docs/cluster.md)",
        )
    held = [row.id async for row in customer.calls.every(Query(hold=True))]
    if held:
        raise Kept(f"{_calls(len(held))} of {customer.name} under legal hold", "lift the holds first")
    calls = {row.id async for row in customer.calls.every(Query())}
    calls |= {ref.call for ref in customer.vault.walk() if customer.keys.keeps(ref.leaf)}
    if not calls:
        return ()
    waiver = await customer.waivers.current()
    if waiver is None or not waiver.active(customer.now()):
        raise Kept(
            f"{_calls(len(calls))} of {customer.name} kept by its retention rules, and no waiver is active",
            "put a waiver on file (PUT …/waiver), or wait until retention has erased them",
        )
    if approval:
        raise Kept(
            f"{_calls(len(calls))} of {customer.name} kept, and a second person must approve their erasure",
            "ask for their erasure (POST …/erasures) and have it approved first",
        )
    return sorted(calls)


def _more(nodes: Sequence[str]) -> str:
    return f"1 more node: {nodes[0]}" if len(nodes) == 1 else f"{len(nodes)} more nodes: {', '.join(nodes)}"


def _calls(count: int) -> str:
    return "1 call is" if count == 1 else f"{count} calls are"


async def carry_out(removal: Removal, place: Place, root: RootSecret) -> Path:
    """Carry out the remaining steps of a removal with noted calls; return the receipt's path. Raises StorageError."""
    name, data = removal.customer, place.data_dir
    folder, kept = customer_folder(data, name), removed_folder(data, name)
    keys: CustomerKeys | None = None
    with suppress(KeysMissing):
        keys = CustomerKeys.open(data / KEYS, folder, name, root)
    if keys is None and not (kept / RECEIPT).exists():
        raise Kept(f"the keys of {name} are not in keys/, so no receipt can be signed", "restore keys/")
    if keys is not None and keys.keeps(AUDIT_LEAF):
        keys.cut_range(0, AUDIT_LEAF - 1)
        locked: list[receipts.Locked] = []
        if place.objects is not None:
            from storage.vault.object_vault import ObjectVault  # needed only with an object store

            stays = ObjectVault(folder / VAULT, name, keys, place.objects).leave()
            locked = [receipts.Locked(call, each.name, each.until) for call, each in stays]  # nobody can open these
        database = Database(place.database, name, folder)
        await database.remove()
        with disk_errors("remove the files of a customer"):
            _empty(folder)
            _check_gone(folder, keys)
            if not (kept / RECEIPT).exists():
                _prove(removal, place, keys, locked)
            _move_audit(data, name)
            keys.cut_range(AUDIT_LEAF, AUDIT_LEAF)
    with disk_errors("remove the keys of a customer"):
        for path in sorted((data / KEYS).glob(f"{name}.*")):  # NAME.forget before the trees, which need it to open
            path.unlink()
        Disk().sync_folder(data / KEYS)
        if folder.exists():
            shutil.rmtree(folder)
            Disk().sync_folder(folder.parent)
        (kept / PLAN).unlink(missing_ok=True)
        Disk().sync_folder(kept)
    return kept / RECEIPT


def _empty(folder: Path) -> None:
    """Remove everything but the audit log and what the keys need."""
    for path in folder.iterdir():
        if path.name in (LOG_NAME, MARKS_NAME, COPY):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    Disk().sync_folder(folder)


def _check_gone(folder: Path, keys: CustomerKeys) -> None:
    """Raise StorageError if anything but the audit log, or any leaf but the one that signs, is left."""
    stray = [path.name for path in folder.iterdir() if path.name not in (LOG_NAME, MARKS_NAME, COPY)]
    if stray or keys.keeps(0) or keys.keeps(AUDIT_LEAF - 1) or keys.nodes != 1:
        raise StorageError(f"not everything of {keys.customer} is gone yet", "run the command again")


def _prove(removal: Removal, place: Place, keys: CustomerKeys, locked: Sequence[receipts.Locked]) -> None:
    """Write the last entry of the audit log, and the receipt."""
    name, data = removal.customer, place.data_dir
    key, kept, disk = audit_key(keys), removed_folder(place.data_dir, removal.customer), Disk()
    calls = removal.calls or ()
    mark = AuditFiles(customer_folder(data, name), data / KEYS, name).newest_mark(key.public_key())
    node = mark.node if mark else 0  # the log keeps the number of its node
    audit = Audit(customer_folder(data, name), data / KEYS, name, key, place.now, node)
    try:
        act = Act.of(RECORDER, "system", "erasure.done", removal.id, "done", f"{len(calls)} calls; customer removed")
        audit.append(act).result()
        audit.checkpoint()
    finally:
        audit.close()
    now = place.now()
    facts = receipts.Facts(
        name, removal.id, "request", None, calls,
        removal.requested_by, from_text(removal.requested_at), None, None, now, locked,
    )  # fmt: skip
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    disk.replace(kept / PUBLIC_KEY, f"{public}\n".encode())
    disk.replace(kept / RECEIPT, ascii_json(receipts.sign(key, facts)))


def _move_audit(data_dir: Path, name: str) -> None:
    """Move the audit log and its checkpoints to `removed/NAME/`; `keys/` may be on another disk."""
    before, after = AuditFiles(customer_folder(data_dir, name), data_dir / KEYS, name), files_of(data_dir, name)
    for old, new in zip(before.paths, after.paths, strict=True):
        if old.exists():
            shutil.move(old, new)
    Disk().sync_folder(after.log.parent)
