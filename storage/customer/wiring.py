"""The components of a customer besides keys and vault (the index and all that needs it), and their construction."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy.ext.asyncio import AsyncConnection

from storage.attachments.annotations import Annotations
from storage.attachments.attachments import Attachments
from storage.audit.audit_files import AuditFiles
from storage.audit.audit_log import Audit
from storage.calls.call_index import Calls, Joined
from storage.customer.settings import KEYS, CustomerSettings, Place, audit_key, customer_folder, identity
from storage.database.database import Database
from storage.directory.matcher import UserMatcher
from storage.directory.sync_pages import DirectoryPages
from storage.directory.user_store import Users
from storage.erasure.erasure_rows import ErasureTarget
from storage.erasure.erasure_steps import ErasureSteps
from storage.erasure.erasures import Erasures
from storage.erasure.holds import Holds
from storage.erasure.reapply_after_restore import reapply
from storage.erasure.waivers import Waivers
from storage.errors import NoSpace
from storage.exports.column_sets import ColumnSets
from storage.exports.exports import FOLDER as EXPORTS
from storage.exports.exports import Exports
from storage.files.reserved_space import ReservedSpace
from storage.journal.index_gap import Gap, measure
from storage.journal.journal import Journal, JournaledDatabase, counted
from storage.keys.cut_log import Ledger
from storage.keys.cutter import Cutter, OwnKeys
from storage.keys.key_store import CustomerKeys
from storage.nodes.registry import Registry
from storage.retention.rules import Rules
from storage.retention.sweep import Retention
from storage.subject_requests.candidates import Candidates
from storage.subject_requests.cases import Requests
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.audit.audit_copies import AuditCopies
    from storage.holders.holder import Holder


@dataclass(frozen=True, slots=True)
class Components:
    """The components of a customer that need the index."""

    cutter: Cutter
    """Cuts leaves for good."""
    holder: "Holder | None"
    """This node as one of several holders of the keys; None if it is the only one."""
    database: Database
    """Database of the index, rules, requests and all other rows."""
    registry: Registry
    """The row of this node among those that share the database."""
    calls: Calls
    """Index of calls."""
    audit: Audit
    """Audit log."""
    audit_copies: "AuditCopies | None"
    """Copies of the audit logs of all nodes, None if one node has the database to itself."""
    holds: Holds
    """Legal holds."""
    waivers: Waivers
    """Permissions for immediate erasure."""
    rules: Rules
    """Retention rules."""
    erasures: Erasures
    """Erasures: requests, and the work of carrying them out."""
    retention: Retention
    """Retention: the calls that are due by the rules."""
    annotations: Annotations
    """Corrections of calls."""
    attachments: Attachments
    """Transcripts and chats of calls."""
    exports: Exports
    """Exports."""
    requests: Requests
    """Subject requests."""
    candidates: Candidates
    """Finds the calls that may concern the person of a subject request."""
    column_sets: ColumnSets
    """Named selections of export columns."""
    users: Users
    """Directory users."""
    user_matcher: UserMatcher
    """Matches the parties of calls with directory users."""
    gap: Gap
    """Day from which the index may lack recordings."""
    journal: Journal
    """Journal: a second copy of the rows that are only in the database."""
    catch_up: Callable[[], Awaitable[None]]
    """Restores a lost database from the journal; repeats erasures on an old one."""


def assemble(settings: CustomerSettings, place: Place, keys: CustomerKeys, vault: Vault) -> Components:
    """Make the components of a customer, without touching a database. Raises StorageError."""
    name, now, signer = settings.name, place.now, audit_key(keys)
    folder = customer_folder(place.data_dir, name)
    database = Database(place.database, name, folder)
    registry = Registry(database, identity(place, keys), folder, serves=place.claims)
    done_to_both: list[Joined] = []  # called for a new call whose session another node recorded too
    joined = partial(_join, done_to_both) if place.several else None
    calls = Calls(database, keys, settings.country, keys.node, several=place.several, joined=joined)
    shared = place.several and database.dialect == "postgresql"
    audit = Audit(folder, place.data_dir / KEYS, name, signer, now, keys.node if shared else 0)
    files = Vault(folder / EXPORTS, name, keys)
    cutter: Cutter = OwnKeys(keys)
    holder: Holder | None = None
    if shared:
        holder, cutter = _share_keys(place, keys, database, [vault, files], lambda: steps)
    several = keys.node if place.several else None
    exports = Exports(database, keys, files, cutter, now, node=several)
    ledger = Ledger(place.data_dir / KEYS, name)
    settled = None if holder is None else holder.day_is_settled
    room = ReservedSpace(place.data_dir)
    steps = ErasureSteps(keys, vault, database, calls, room, exports.unlink, cutter, settled)
    steps.reserve_space()
    journal, gap = Journal(folder, keys), Gap(folder)
    copies = _share_logs(place, keys, database, journal, folder, signer) if shared else None
    store = JournaledDatabase(database, keys, journal, now, cutter)
    rules = Rules(store, settings.country, settings.retention_days)
    erasures = Erasures(
        name,
        keys,
        vault,
        database,
        calls,
        audit,
        steps,
        journal,
        signer,
        now,
        gap.first,
        spread=None if holder is None else holder.spread,
        written=None if holder is None else holder.written,
    )
    holds = Holds(store, erasures.wanted.set)
    done_to_both += [holds.join, erasures.join]
    users = Users(store, calls, DirectoryPages(folder, keys, "").leaves)
    user_matcher = UserMatcher(
        database, keys, calls, users, rules, settings.country, settings.extension_digits, node=several
    )
    look = partial(measure, gap, journal, database, vault, node=several)
    again = partial(reapply, name, database, ledger, steps, journal, signer, now)
    return Components(
        cutter=cutter,
        holder=holder,
        database=database,
        registry=registry,
        calls=calls,
        audit=audit,
        holds=holds,
        audit_copies=copies,
        waivers=Waivers(store),
        rules=rules,
        erasures=erasures,
        retention=Retention(database, keys, calls, rules, erasures),
        annotations=Annotations(store),
        attachments=Attachments(store, vault),
        exports=exports,
        requests=Requests(store, name, exports, erasures, signer),
        candidates=Candidates(calls, users, user_matcher, settings.country),
        column_sets=ColumnSets(store),
        users=users,
        user_matcher=user_matcher,
        gap=gap,
        journal=journal,
        catch_up=partial(_catch_up, registry, database, journal, folder, lambda older: look(now(), older), again),
    )


async def _join(done_to_both: Sequence[Joined], connection: AsyncConnection, ids: Sequence[str]) -> None:
    for each in done_to_both:
        await each(connection, ids)


def _share_keys(
    place: Place, keys: CustomerKeys, database: Database, vaults: Sequence[Vault], steps: Callable[[], ErasureSteps]
) -> tuple["Holder", Cutter]:
    """Return this node as one of several holders of the keys, and the cutter that cuts them on all nodes."""
    from storage.holders.holder import Holder
    from storage.holders.local_data import LocalData
    from storage.holders.shared_cutter import SharedKeys

    async def remove_rows(found: Sequence[tuple[str, int]], days: Iterable[int]) -> None:
        await steps().remove([ErasureTarget(call, leaf) for call, leaf in found])
        await steps().reindex(days)

    local = LocalData(keys, vaults[0], vaults[1:], database, remove_rows)
    holder = Holder(place.node, database, keys, place.data_dir / KEYS, place.now, local)
    database.guard(holder.guard)
    keys.share()
    return holder, SharedKeys(holder, database, keys.keeps, place.now)


def _share_logs(
    place: Place, keys: CustomerKeys, database: Database, journal: Journal, folder: Path, signer: Ed25519PrivateKey
) -> "AuditCopies":
    """Set up the journal and the audit log of one of several nodes; return the copies of all audit logs."""
    from storage.audit.audit_copies import AuditCopies
    from storage.journal.node_journal import NodeJournal

    journal.share(NodeJournal(journal, folder, keys.node, place.node))
    logs = AuditFiles(folder, place.data_dir / KEYS, keys.customer)
    return AuditCopies(database, logs, keys.customer, keys.node, signer.public_key(), place.node)


async def _catch_up(
    registry: Registry,
    database: Database,
    journal: Journal,
    folder: Path,
    look: Callable[[bool], Awaitable[None]],
    again: Callable[[], Awaitable[object]],
) -> None:
    """Restore the rows of a lost database, and bring an older one up to date with journal and cut log.

    `look` finds out what the index lacks, and is passed whether the database is known to be an older one; `again`
    repeats erasures.
    """
    if journal.shared is not None:
        await journal.shared.begin(database)
    elif await counted(database):
        from storage.journal.node_journal import alone_again  # needed only if several nodes shared the database before

        await alone_again(journal, folder, database)
    await look(registry.older)
    await again()
    with suppress(NoSpace):
        await asyncio.to_thread(journal.prepare)
