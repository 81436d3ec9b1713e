"""The state of the node as `GET /system` shows it: the node for operators, a customer's own part for admins."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from recorder.calls.context import Node
from recorder.calls.registry import Live
from recorder.observe.load_history import History, Sample
from recorder.persist.backup_time import backed_up_at
from recorder.persist.indexer import Indexer
from recorder.workers.pool import Workers
from storage.customer.customers import Customer
from storage.files.reserved_space import Space
from storage.timestamps import rfc3339

TOTAL_SECONDS = 3600.0
"""Seconds between sums of a customer's bytes: each reads every row of the index, and is made only on request."""


class System:
    """Takes the samples and builds the document."""

    def __init__(
        self,
        node: Node,
        customers: Mapping[str, Customer],
        workers: Workers,
        indexer: Indexer,
        live: Live,
        not_accepting: Callable[[], str | None] = lambda: None,
    ) -> None:
        """`not_accepting` returns why no calls are accepted, None while they are."""
        self._node = node
        self._customers = customers
        self._workers = workers
        self._indexer = indexer
        self.not_accepting = not_accepting
        self._live = live
        self._history = History()
        self._began = node.now().wall
        self._totals: dict[str, tuple[float, int]] = {}

    def sample(self) -> None:
        """Take a sample if one is due; called every second."""
        if not self._history.due(self._node.monotonic()):
            return
        counts = {name: count for name in self._customers if (count := self._live.of_customer(name))}
        free, _ = room(self._node.settings.node.data_dir)
        busy = max(self._workers.load.values(), default=0.0)
        self._history.add(Sample(self._node.now().wall, len(self._live), free, round(busy, 3), counts))

    async def document(self, customer: str | None, *, node: bool) -> dict[str, Any]:
        """Return what may be shown: of a customer, None for none; of the node, if requested."""
        return {
            "at": rfc3339(self._node.now().wall),
            "customer": None if customer is None else await self._of_customer(customer),
            "node": await self._of_node() if node else None,
        }

    async def _of_customer(self, name: str) -> dict[str, Any]:
        return {
            "calls_active": self._live.of_customer(name),
            "calls": await self._customers[name].calls.count(),
            "size_bytes": await self._total(name),
            "history": [[rfc3339(one.at), one.of_customers.get(name, 0)] for one in self._history.samples],
        }

    async def _total(self, name: str) -> int:
        now = self._node.monotonic()
        at, total = self._totals.get(name, (-TOTAL_SECONDS, 0))
        if now - at >= TOTAL_SECONDS:
            total = await self._customers[name].calls.total_bytes()
            self._totals[name] = now, total
        return total

    async def _of_node(self) -> dict[str, Any]:
        node, why = self._node.settings.node, self.not_accepting()
        return {
            "ready": why is None,
            "reason": why,
            "started_at": rfc3339(self._began),
            "calls_active": len(self._live),
            "max_calls": self._node.settings.sip.max_calls,
            "disks": [_disk("data", node.data_dir), _disk("runtime", node.runtime_dir)],
            "workers": [{"number": number, "busy": round(busy, 3)} for number, busy in self._workers.load.items()],
            "unindexed_seconds": round(self._indexer.oldest(), 1),
            **await asyncio.to_thread(self._on_disk),
            "history": [[rfc3339(one.at), one.calls, one.free_bytes, one.busy] for one in self._history.samples],
        }

    def _on_disk(self) -> dict[str, Any]:
        settings = self._node.settings
        files = (("sip", settings.sip.certificate), ("admin_api", settings.admin_api.certificate))
        return {
            "certificates": [
                {"use": use, "expires_at": rfc3339(expiry(file))} for use, file in files if file is not None
            ],
            "keys_backed_up_at": rfc3339(backed_up_at(settings.node.data_dir)),
        }


def room(folder: Path) -> tuple[int, int]:
    """Return free and total bytes of a file system, 0 and 0 if unknown."""
    try:
        found = Space.of(folder)
    except OSError:
        return 0, 0
    return found.free, found.whole


def expiry(file: Path) -> datetime | None:
    """Return when a certificate expires, None if it cannot be read."""
    from cryptography import x509  # 15 ms that a start saves

    try:
        return x509.load_pem_x509_certificate(file.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return None


def _disk(use: str, folder: Path) -> Mapping[str, Any]:
    free, size = room(folder)
    return {"use": use, "free_bytes": free, "size_bytes": size}
