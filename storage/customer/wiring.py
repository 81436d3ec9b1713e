"""What a customer has besides keys and vault, and how it is made: the index and all that stands on it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.attachments.annotations import Annotations
from storage.attachments.attachments import Attachments
from storage.audit.audit_log import Audit
from storage.calls.call_index import Calls
from storage.customer.settings import KEYS, CustomerSettings, Place, audit_key, customer_folder
from storage.database.database import Database
from storage.directory.matcher import Correlation
from storage.directory.sync_pages import DirectoryPages
from storage.directory.user_store import Users
from storage.erasure.cut_log import Ledger
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
from storage.journal.journal import Journal, JournaledDatabase
from storage.keys.key_store import CustomerKeys
from storage.retention.rules import Rules
from storage.retention.sweep import Retention
from storage.subject_requests.candidates import Candidates
from storage.subject_requests.cases import Requests
from storage.vault.vault import Vault


@dataclass(frozen=True, slots=True)
class Components:
    """Everything of a customer that stands on the index."""

    database: Database
    """The database of index, rules, requests and everything else that is kept in rows."""
    calls: Calls
    """Index of calls."""
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
    gap: Gap
    """From which day on the index may lack recordings."""
    journal: Journal
    """A second copy, beside the database, of what exists only there."""
    catch_up: Callable[[], Awaitable[None]]
    """Gives a lost database back what is not in the vault; does again what was erased since an old one."""


def assemble(settings: CustomerSettings, place: Place, keys: CustomerKeys, vault: Vault) -> Components:
    """Make the components of a customer; no database is touched. Raises StorageError."""
    name, now, signer = settings.name, place.now, audit_key(keys)
    folder = customer_folder(place.data_dir, name)
    database = Database(place.database, name, folder)
    calls = Calls(database, keys, settings.country)
    audit = Audit(folder, place.data_dir / KEYS, name, signer, now)
    exports = Exports(database, keys, Vault(folder / EXPORTS, name, keys), now)
    ledger = Ledger(place.data_dir / KEYS, name)
    steps = ErasureSteps(keys, vault, database, calls, ledger, ReservedSpace(place.data_dir), exports.unlink)
    steps.reserve_space()
    journal, gap = Journal(folder, keys), Gap(folder)
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
        catch_up=partial(_catch_up, look, name, database, ledger, steps, journal, signer, now),
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
) -> None:
    """Give a lost database its rows back, and an old one what was erased and written since."""
    await look(now())
    await reapply(name, index, ledger, steps, journal, signer, now)
    with suppress(NoSpace):
        await asyncio.to_thread(journal.prepare)
