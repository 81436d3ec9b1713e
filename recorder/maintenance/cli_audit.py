"""Record actions from a shell in the audit log: the same actions as in the API, recorded before they happen."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from storage.ids import is_id

if TYPE_CHECKING:  # a command that only prints its help needs no storage
    from recorder.config.model import Settings
    from storage.access.actor import Actor
    from storage.audit.audit_log import Audit
    from storage.audit.hash_chain import Checkpoint
    from storage.keys.root_secret import RootSecret

ROLE = "operator"


def actor() -> Actor:
    """Return the operating system user of this process."""
    from storage.access.actor import Actor, Kind

    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        name = str(os.getuid())
    return Actor(Kind.SHELL, str(os.getuid()), f"cli:{name}")


def record(audit: Audit, action: str, object: str = "", outcome: str = "done", reason: str = "") -> None:
    """Append an action and wait until it is durable; raises StorageError.

    `object` is an id and holds nothing about a participant.
    """
    from storage.audit.hash_chain import Act

    audit.append(Act.of(actor(), ROLE, action, object, outcome, reason)).result()


def note(
    settings: Settings,
    customer: str,
    action: str,
    object: str = "",
    outcome: str = "done",
    reason: str = "",
    *,
    root: RootSecret | None = None,
) -> None:
    """Append an action to the log of a customer that is not open; needs no database. Raises StorageError."""
    with _log_of(settings, customer, root) as audit:
        record(audit, action, object, outcome, reason)


def accept(settings: Settings, customer: str, reason: str, kept_marks: Sequence[Checkpoint]) -> int | None:
    """Accept what the log of a customer has lost; return the number of the entry, None if nothing is lost.

    `kept_marks`: checkpoints that a witness kept. If several nodes share the database, the checkpoints that were copied
    there count as well. Raises AuditError if a rollback does not explain what is wrong.
    """
    from recorder.maintenance.proof_check import about_own_log
    from storage.audit.hash_chain import ACCEPT, Act

    known = about_own_log(settings, customer, kept_marks)
    with _log_of(settings, customer) as audit:
        return audit.accept(Act.of(actor(), ROLE, ACCEPT, reason=reason), known)


@contextmanager
def _log_of(settings: Settings, customer: str, root: RootSecret | None = None) -> Iterator[Audit]:
    from storage.audit.audit_log import Audit
    from storage.customer import customers
    from storage.keys.root_secret import load_root

    data = settings.node.data_dir
    keys = customers.open_keys(data, customer, root or load_root(settings.keys.root))
    audit = Audit(
        customers.customer_folder(data, customer),
        data / customers.KEYS,
        customer,
        customers.audit_key(keys),
        lambda: datetime.now(UTC),
        settings.node.number if settings.storage.database != "sqlite" else 0,
    )
    try:
        yield audit
    finally:
        audit.close()


def shown(call: str) -> str:
    """Return a typed id if it is a valid one: anything else might be a name or a number."""
    return call if is_id(call) else ""
