"""Check audit logs and erasure receipts with the customers' keys, without the daemon and without any database."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from recorder.settings import Customer as Configured
from recorder.settings import Settings
from storage import customers, receipts
from storage.audit_chain import AuditError, Checkpoint
from storage.audit_files import AuditFiles
from storage.receipts import BadReceipt
from storage.roots import load_root


def prove(settings: Settings, configured: Configured, told: Sequence[Checkpoint] = ()) -> dict[str, Any]:
    """Check the chain of a customer against every checkpoint, also those that a witness was told.

    Raises KeysError where its keys do not open.
    """
    name, data = configured.name, settings.node.data_dir
    files = AuditFiles(customers.customer_folder(data, name), data / customers.KEYS, name)
    verdict = files.verify(_key(settings, configured), [mark for mark in told if mark.customer == name])
    return {
        "customer": name,
        "ok": verdict.good,
        "entries": verdict.entries,
        "bad": verdict.bad,
        "fault": verdict.fault or None,
    }


def witnessed(data: bytes) -> list[Checkpoint]:
    """Find the checkpoints in what a witness kept: lines of JSON, behind whatever a syslog put before them.

    Raises AuditError if there is none.
    """
    found = []
    for line in data.splitlines():
        at, end = line.find(b'{"customer":'), line.rfind(b"}")
        if 0 <= at < end:  # what a full disk or a long line of syslog cut off says nothing
            found.append(Checkpoint.parse(line[at : end + 1]))
    if not found:
        raise AuditError("there is no checkpoint in what the witness kept", "each is a line of JSON")
    return found


def prove_receipt(data: bytes, settings: Settings, wanted: Iterable[Configured]) -> dict[str, Any]:
    """Check a receipt with the key of the customer it names."""
    try:
        named = receipts.parse(data).get("customer")
        configured = next((c for c in wanted if c.name == named), None)
        if configured is None:
            raise BadReceipt("it names no customer of this recorder")
        receipt = receipts.verify(data, configured.name, _key(settings, configured))
    except BadReceipt as problem:
        return {"ok": False, "fault": str(problem)}
    shown = {key: receipt[key] for key in ("customer", "erasure", "cause", "done_at")}
    return {"ok": True, "fault": None, **shown, "calls": receipt["counts"]["calls"]}


def _key(settings: Settings, configured: Configured) -> Any:
    keys = customers.open_keys(settings.node.data_dir, configured.name, load_root(settings.keys.root))
    return customers.audit_key(keys).public_key()
