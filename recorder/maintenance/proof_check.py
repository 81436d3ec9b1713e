"""Check audit logs, receipts and records of requests with the customers' keys, without the daemon.

Needs no database, unless several nodes share it: then it has the copies of their audit logs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from recorder.config.model import Customer as Configured
from recorder.config.model import Settings
from storage.audit.audit_files import AuditFiles
from storage.audit.hash_chain import Accepted, AuditError, Checkpoint, Verdict
from storage.customer import customers, removed_customers
from storage.erasure import receipts
from storage.erasure.receipts import BadReceipt
from storage.errors import StorageError
from storage.keys.root_secret import load_root
from storage.subject_requests import closing_record


def prove(settings: Settings, configured: Configured, kept_marks: Sequence[Checkpoint] = ()) -> dict[str, Any]:
    """Check the audit log of a customer against every checkpoint; `kept_marks`: those that a witness kept.

    With several nodes, also check the copies of the other nodes' logs. Raises KeysError if the customer's keys do not
    open.
    """
    name, data = configured.name, settings.node.data_dir
    files, key = (
        AuditFiles(customers.customer_folder(data, name), data / customers.KEYS, name),
        _key(settings, configured),
    )
    if not several(settings):
        return _proven(settings, name, files, key, kept_marks)
    try:
        own, nodes = asyncio.run(
            _copied(settings, name, files, key, [mark for mark in kept_marks if mark.customer == name])
        )
    except StorageError as problem:
        found = _proven(settings, name, files, key, kept_marks)
        fault = f"the copies of the other nodes' logs cannot be read: {problem}"
        return {**found, "ok": False, "fault": "; ".join(filter(None, [found["fault"], fault])), "nodes": []}
    found = _proven(settings, name, files, key, [*kept_marks, *own])
    return {**found, "ok": found["ok"] and all(each["ok"] for each in nodes), "nodes": nodes}


def about_own_log(settings: Settings, name: str, kept_marks: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints of this node's log of a customer that a witness or the database kept.

    Raises StorageError.
    """
    data = settings.node.data_dir
    files = AuditFiles(customers.customer_folder(data, name), data / customers.KEYS, name)
    own: list[Checkpoint] = []
    if several(settings):
        (configured,) = (each for each in settings.customers if each.name == name)
        own, _ = asyncio.run(_copied(settings, name, files, _key(settings, configured), []))
    return concerning(settings, files, name, [*kept_marks, *own])


def several(settings: Settings) -> bool:
    """Return whether several nodes may share the databases."""
    return settings.node.number > 0 and settings.storage.database != "sqlite"


def prove_removed(settings: Settings, name: str, kept_marks: Sequence[Checkpoint] = ()) -> dict[str, Any]:
    """Check the chain of a removed customer with its public key, which was kept."""
    data = settings.node.data_dir
    key = removed_customers.public_key_of(data, name)
    return _proven(settings, name, removed_customers.files_of(data, name), key, kept_marks)


def concerning(settings: Settings, files: AuditFiles, name: str, kept_marks: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints that belong to this node's log of a customer: a witness may keep other nodes' too."""
    named = {settings.node.number, *(files.named() if kept_marks else ())}
    return [mark for mark in kept_marks if mark.customer == name and mark.node in named]


def _proven(
    settings: Settings, name: str, files: AuditFiles, key: Ed25519PublicKey, kept_marks: Sequence[Checkpoint]
) -> dict[str, Any]:
    return {"customer": name, **_verdict(files.verify(key, concerning(settings, files, name, kept_marks)))}


def _verdict(verdict: Verdict) -> dict[str, Any]:
    return {
        "ok": verdict.good,
        "entries": verdict.entries,
        "proven": verdict.proven,
        "bad": verdict.bad,
        "fault": verdict.fault or None,
        "accepted": [_shown(each) for each in verdict.accepted],
    }


async def _copied(
    settings: Settings, name: str, files: AuditFiles, key: Ed25519PublicKey, kept_marks: Sequence[Checkpoint]
) -> tuple[list[Checkpoint], list[dict[str, Any]]]:
    """Return the checkpoints of our own log that were copied, and the verdicts on the copies of the others' logs."""
    from storage.audit.audit_copies import AuditCopies
    from storage.database.database import Database

    node = settings.node
    database = Database(settings.storage.database, name, customers.customer_folder(node.data_dir, name))
    copies = AuditCopies(database, files, name, node.number, key, node.name)
    try:
        with database.opening():
            own, found = await copies.marks(), await copies.verify(kept_marks)
    finally:
        await database.close()
    others = [(number, *each) for number, each in found.items() if number != node.number]
    return own, [{"node": name, "number": number, **_verdict(verdict)} for number, name, verdict in others]


def _shown(accepted: Accepted) -> dict[str, Any]:
    """Return an acceptance as commands show it."""
    loss = accepted.loss
    return {
        "entry": accepted.entry,
        "time": accepted.at,
        "actor": accepted.actor,
        "reason": accepted.reason,
        "first": loss.first,
        "last": loss.last,
    }


def witnessed(data: bytes) -> list[Checkpoint]:
    """Find the checkpoints in a witness's file: lines of JSON, after any prefix that syslog adds.

    Raises AuditError if there is none.
    """
    found = []
    for line in data.splitlines():
        at, end = line.find(b'{"customer":'), line.rfind(b"}")
        if 0 <= at < end:  # a line truncated by a full disk or syslog proves nothing
            found.append(Checkpoint.parse(line[at : end + 1]))
    if not found:
        raise AuditError("the witness's file holds no checkpoint", "each is a line of JSON")
    return found


def prove_receipt(data: bytes, settings: Settings, wanted: Iterable[Configured]) -> dict[str, Any]:
    """Check a receipt, or the record of a request, with the key of the customer it names."""
    try:
        found = receipts.parse(data)
        record = found["record"] if isinstance(found.get("record"), dict) else found if "request" in found else None
        named = str((record or found).get("customer"))
        configured = next((c for c in wanted if c.name == named), None)
        if configured is not None:
            key = _key(settings, configured)
        elif named in removed_customers.removed(settings.node.data_dir):
            key = removed_customers.public_key_of(settings.node.data_dir, named)
        else:
            raise BadReceipt("it names no customer of this recorder")
        if record is not None:
            return _record(record, named, key)
        receipt = receipts.verify(data, named, key)
    except BadReceipt as problem:
        return {"ok": False, "fault": str(problem)}
    shown = {key: receipt[key] for key in ("customer", "erasure", "cause", "done_at")}
    return {"ok": True, "fault": None, **shown, "calls": receipt["counts"]["calls"]}


def _record(record: Mapping[str, Any], customer: str, key: Any) -> dict[str, Any]:
    """Check the record of a request; raises BadReceipt."""
    closing_record.verify(record, customer, key)
    shown = {name: record[name] for name in ("customer", "request", "outcome", "closed_at", "erasure")}
    return {"ok": True, "fault": None, **shown, "reports": len(record["reports"])}


def _key(settings: Settings, configured: Configured) -> Any:
    keys = customers.open_keys(settings.node.data_dir, configured.name, load_root(settings.keys.root))
    return customers.audit_key(keys).public_key()
