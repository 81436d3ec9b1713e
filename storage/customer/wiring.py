"""Put together what a customer has besides keys and vault: the index and all that stands on it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from storage.access.accounts import Accounts
from storage.access.api_tokens import Credentials
from storage.attachments.annotations import Annotations
from storage.attachments.attachments import Attachments
from storage.audit.audit_log import Audit
from storage.calls.call_index import Calls
from storage.customer.customer import KEYS, Customer, audit_key
from storage.database.database import Database
from storage.directory.matcher import Correlation
from storage.directory.sync_pages import DirectoryPages
from storage.directory.user_store import Users
from storage.erasure.cut_log import Ledger
from storage.erasure.erasure_steps import Forgetting
from storage.erasure.erasures import Erasures
from storage.erasure.holds import Holds
from storage.erasure.reapply_after_restore import reapply
from storage.erasure.waivers import Waivers
from storage.errors import NoSpace
from storage.exports.column_sets import ColumnSets
from storage.exports.exports import FOLDER as EXPORTS
from storage.exports.exports import Exports
from storage.files.reserved_space import Room
from storage.journal.index_gap import Gap, measure
from storage.journal.journal import Cabinet, Journal
from storage.retention.rules import Rules
from storage.retention.sweep import Retention
from storage.subject_requests.candidates import Candidates
from storage.subject_requests.cases import Requests
from storage.vault.vault import Vault


def assemble(customer: Customer) -> None:
    """Give a customer its parts; nothing of the database is touched. Raises StorageError.

    Tokens and accounts are there then too: whoever has one is told that it cannot be done now, not that he is unknown.
    """
    name, folder, keys, vault = customer.name, customer.folder, customer.keys, customer.vault
    customer.credentials = Credentials(folder, name)
    customer.accounts = Accounts(folder, name, keys)
    settings, place, signer = customer.settings, customer.place, audit_key(customer.keys)
    index = Database(place.database, name, folder)
    calls = Calls(index, keys, settings.country)
    audit = Audit(folder, place.data_dir / KEYS, name, signer, place.now)
    ledger = Ledger(place.data_dir / KEYS, name)
    forgetting = Forgetting(keys, vault, index, calls, ledger, Room(place.data_dir))
    forgetting.keep_room()
    journal = Journal(folder, keys)
    cabinet = Cabinet(index, keys, journal, place.now)
    rules = Rules(cabinet, settings.country, settings.retention_days)
    erasures = Erasures(name, keys, vault, index, calls, audit, forgetting, journal, signer, place.now)
    holds = Holds(cabinet)
    holds.released = erasures.wanted.set
    users = Users(cabinet, calls)
    users.unfinished = DirectoryPages(folder, keys, "").leaves
    correlation = Correlation(index, keys, calls, users, rules, settings.country, settings.extension_digits)
    exports = Exports(index, keys, Vault(folder / EXPORTS, name, keys), place.now)
    forgetting.derived = exports.unlink
    gap = Gap(folder)
    erasures.gap = gap.first
    customer.database = index
    customer.calls = calls
    customer.audit = audit
    customer.holds = holds
    customer.waivers = Waivers(cabinet)
    customer.rules = rules
    customer.erasures = erasures
    customer.retention = Retention(index, keys, calls, rules, erasures, place.now)
    customer.annotations = Annotations(cabinet)
    customer.attachments = Attachments(cabinet, vault)
    customer.exports = exports
    customer.requests = Requests(cabinet, name, exports, erasures, signer)
    customer.candidates = Candidates(calls, users, correlation, settings.country)
    customer.column_sets = ColumnSets(cabinet)
    customer.users = users
    customer.correlation = correlation
    customer.gap = gap
    customer.journal = journal
    look = partial(measure, gap, journal, index, vault)
    customer.catch_up = partial(_catch_up, look, name, index, ledger, forgetting, journal, signer, place.now)


async def _catch_up(
    look: Callable[[datetime], Awaitable[None]],
    name: str,
    index: Database,
    ledger: Ledger,
    forgetting: Forgetting,
    journal: Journal,
    signer: Ed25519PrivateKey,
    now: Callable[[], datetime],
) -> None:
    """Give a lost database its papers back, and an old one what was erased and written since."""
    await look(now())
    await reapply(name, index, ledger, forgetting, journal, signer, now)
    with suppress(NoSpace):
        await asyncio.to_thread(journal.prepare)
