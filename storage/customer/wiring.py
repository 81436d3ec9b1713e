"""The components of a customer besides keys and vault, and how they are made: the index and what needs it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.attachments.annotations import Annotations
from storage.attachments.attachments import Attachments
from storage.audit.audit_files import AuditFiles
from storage.audit.audit_log import Audit
from storage.calls.call_index import Calls
from storage.customer.settings import KEYS, CustomerSettings, Place, audit_key, customer_folder
from storage.database.database import Database
from storage.directory.matcher import Correlation
from storage.directory.sync_pages import DirectoryPages
from storage.directory.user_store import Users
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
from storage.keys.key_store import CustomerKeys
from storage.retention.rules import Rules
from storage.retention.sweep import Retention
from storage.subject_requests.candidates import Candidates
from storage.subject_requests.cases import Requests
from storage.vault.vault import Vault

if TYPE_CHECKING:
    from storage.audit.audit_copies import AuditCopies


@dataclass(frozen=True, slots=True)
class Components:
    """The components of a customer that need the index."""

    database: Database
    """Database of the index, rules, requests and all other rows."""
    calls: Calls
    """Index of calls."""
    audit: Audit
    """Audit log."""
    audit_copies: "AuditCopies | None"
    """Copies of the audit logs of all nodes, None where one node has the database to itself."""
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
    """Requests of data subjects."""
    candidates: Candidates
    """Finds the calls that may concern a person who asks."""
    column_sets: ColumnSets
    """Named selections of export columns."""
    users: Users
    """Directory users."""
    correlation: Correlation
    """Matches the parties of calls with directory users."""
    gap: Gap
    """Day from which on the index may lack recordings."""
    journal: Journal
    """Journal: a second copy of what is only in the database."""
    catch_up: Callable[[], Awaitable[None]]
    """Restores a lost database from the journal; repeats erasures on an old one."""


def assemble(settings: CustomerSettings, place: Place, keys: CustomerKeys, vault: Vault) -> Components:
    """Make the components of a customer, without touching a database. Raises StorageError."""
    name, now, signer = settings.name, place.now, audit_key(keys)
    folder = customer_folder(place.data_dir, name)
    database = Database(place.database, name, folder)
    calls = Calls(database, keys, settings.country, keys.node)
    several = place.several and database.dialect == "postgresql"
    audit = Audit(folder, place.data_dir / KEYS, name, signer, now, keys.node if several else 0)
    exports = Exports(database, keys, Vault(folder / EXPORTS, name, keys), now)
    ledger = Ledger(place.data_dir / KEYS, name)
    steps = ErasureSteps(keys, vault, database, calls, ReservedSpace(place.data_dir), exports.unlink)
    steps.reserve_space()
    journal, gap = Journal(folder, keys), Gap(folder)
    copies = None
    if several:  # code that a single machine does not load
        from storage.audit.audit_copies import AuditCopies
        from storage.journal.node_journal import NodeJournal

        journal.shared = NodeJournal(journal, folder, keys.node, place.node)
        logs = AuditFiles(folder, place.data_dir / KEYS, name)
        copies = AuditCopies(database, logs, name, keys.node, signer.public_key(), place.node)
    store = JournaledDatabase(database, keys, journal, now)
    rules = Rules(store, settings.country, settings.retention_days)
    erasures = Erasures(name, keys, vault, database, calls, audit, steps, journal, signer, now, gap.first)
    users = Users(store, calls, DirectoryPages(folder, keys, "").leaves)
    correlation = Correlation(database, keys, calls, users, rules, settings.country, settings.extension_digits)
    look = partial(measure, gap, journal, database, vault)
    return Components(
        database=database,
        calls=calls,
        audit=audit,
        audit_copies=copies,
        holds=Holds(store, erasures.wanted.set),
        waivers=Waivers(store),
        rules=rules,
        erasures=erasures,
        retention=Retention(database, keys, calls, rules, erasures, now),
        annotations=Annotations(store),
        attachments=Attachments(store, vault),
        exports=exports,
        requests=Requests(store, name, exports, erasures, signer),
        candidates=Candidates(calls, users, correlation, settings.country),
        column_sets=ColumnSets(store),
        users=users,
        correlation=correlation,
        gap=gap,
        journal=journal,
        catch_up=partial(_catch_up, look, name, database, ledger, steps, journal, signer, now, folder),
    )


async def _catch_up(
    look: Callable[[datetime], Awaitable[None]],
    name: str,
    index: Database,
    ledger: Ledger,
    steps: ErasureSteps,
    journal: Journal,
    signer: Ed25519PrivateKey,
    now: Callable[[], datetime],
    folder: Path,
) -> None:
    """Restore the rows of a lost database, and bring an older one up to date with journal and cut log."""
    if journal.shared is not None:
        await journal.shared.begin(index)
    elif await counted(index):
        from storage.journal.node_journal import alone_again  # only after several nodes shared the database

        await alone_again(journal, folder, index)
    await look(now())
    await reapply(name, index, ledger, steps, journal, signer, now)
    with suppress(NoSpace):
        await asyncio.to_thread(journal.prepare)
