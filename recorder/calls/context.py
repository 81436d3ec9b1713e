"""What the components of a running daemon share; made in recorder.service.daemon and passed to whoever needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from media.receive.ports import Ports
from media.receive.sockets import Pair
from recorder.calls.storage_health import StorageHealth
from recorder.config.model import Settings
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.observe.rejections import Rejections
from recorder.persist.indexer import Indexer
from recorder.runtime.disk_thread import Disk
from recorder.runtime.sd_notify import Notifier
from recorder.runtime.tasks import Tasks
from recorder.session.events import Now
from recorder.session.session import Recording
from recorder.workers.pool import Workers
from sip.endpoint import Endpoint
from storage.customer.customers import Customer
from storage.vault.group_sync import Syncer

if TYPE_CHECKING:
    from recorder.calls.membership import Membership

OFFERING = frozenset({"INVITE", "UPDATE", "re-offer"})
"""Methods that may carry an offer, and their names in a dialog."""

_BEGAN = datetime.now(UTC), time.monotonic()  # both clocks when the daemon started
_IN_TIME = timedelta(0)


@dataclass(slots=True)
class Node:
    """What one running daemon shares."""

    settings: Settings
    customers: Mapping[str, Customer]
    endpoint: Endpoint
    ports: Ports[Pair]
    workers: Workers
    syncer: Syncer
    disk: Disk
    indexer: Indexer
    notify: Notifier
    tasks: Tasks
    metrics: Metrics
    log: Log
    incidents: Incidents
    flush: Callable[[], None] = field(default=lambda: None)  # sends what the endpoint wants to send
    # call it when the answer to "are calls accepted?" may have changed
    load_changed: Callable[[], None] = field(default=lambda: None)
    membership: Membership | None = None  # None: it is the only node
    unwelcome: Rejections = field(init=False)
    storage: StorageHealth = field(init=False)

    def __post_init__(self) -> None:
        self.unwelcome = Rejections(self.log, self.metrics)
        self.storage = StorageHealth(self.log, self.metrics, lambda: self.load_changed())

    def connect(self, *, flush: Callable[[], None], load_changed: Callable[[], None]) -> None:
        """Set what can only be created once the node exists; see the fields of the same names."""
        self.flush, self.load_changed = flush, load_changed

    @property
    def runtime_dir(self) -> Path:
        """Return the runtime directory, on tmpfs."""
        return self.settings.node.runtime_dir

    @property
    def unopened(self) -> int:
        """Return how many configured customers could not be opened yet."""
        return len(self.settings.customers) - len(self.customers)

    def takes(self, customer: str) -> bool:
        """Return whether calls of a customer may be taken, as far as other nodes are concerned."""
        return self.membership is None or self.membership.takes(customer)

    @staticmethod
    def monotonic() -> float:
        """Return the monotonic clock in seconds."""
        return time.monotonic()

    @staticmethod
    def now() -> Now:
        """Return this moment on both clocks."""
        wall, mono = datetime.now(UTC), time.monotonic()
        began, then = _BEGAN
        behind = began + timedelta(seconds=mono - then) - wall
        return Now(wall, mono, behind if behind > _IN_TIME else _IN_TIME)

    def refused(
        self, method: str, status: int, reason: str, customer: str | None = None, source: str | None = None,
        call: str | None = None,
    ) -> None:  # fmt: skip
        """Count a refused request, log it, and list a refused call or offer (of the live `call`) as an incident."""
        self.unwelcome.refuse(method, status, reason, customer, source, self.monotonic())
        if call and method in OFFERING:
            self.incidents.add("offer-refused", customer, call=call, status=status, reason=reason)
        elif method == "INVITE":
            self.metrics.call("refused", customer)
            self.incidents.add("call-refused", customer, status=status, reason=reason)

    def ended(self, recording: Recording, customer: str) -> None:
        """Count a finished recording. An incomplete one is an incident of its customer only."""
        state = recording.shown_state()
        self.metrics.call(state, customer)
        seconds = recording.seconds(self.now())
        self.log.info(
            "call.ended", call=recording.id, customer=customer, source=recording.source, seconds=seconds, result=state
        )
        if state == "interrupted":
            self.incidents.add("call-interrupted", customer, call=recording.id, reason=recording.reason or "")
        self.metrics.inferred_owners.inc(recording.inferred)
