"""Check audit logs and erasure receipts with the customers' keys, without the daemon and without any database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recorder.settings import Customer as Configured
from recorder.settings import Settings
from storage import customers, receipts
from storage.audit_files import AuditFiles
from storage.receipts import BadReceipt
from storage.roots import load_root


def prove(settings: Settings, configured: Configured) -> dict[str, Any]:
    """Check the chain of a customer against every checkpoint; raises KeysError where its keys do not open."""
    name, data = configured.name, settings.node.data_dir
    files = AuditFiles(customers.customer_folder(data, name), data / customers.KEYS, name)
    verdict = files.verify(_key(settings, configured))
    return {
        "customer": name,
        "ok": verdict.good,
        "entries": verdict.entries,
        "bad": verdict.bad,
        "fault": verdict.fault or None,
    }


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
