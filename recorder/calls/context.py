"""What the parts of one running daemon share; made in recorder.service.daemon, handed to whoever needs it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from media.receive.ports import Ports
from media.receive.sockets import Pair
from recorder.config.model import Settings
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.observe.rejections import Rejections
from recorder.persist.indexer import Indexer
from recorder.runtime.disk_thread import Disk, DiskAway
from recorder.runtime.sd_notify import Notifier
from recorder.runtime.tasks import Tasks
from recorder.session.events import Now
from recorder.session.session import Recording
from recorder.session.stream import Certificate
from recorder.signalling.customer_lookup import Tenants
from recorder.signalling.local_address import Closed
from recorder.workers.pool import Workers
from sip.endpoint import Endpoint
from storage.customer.customers import Customer
from storage.vault.group_sync import Syncer

OFFERING = frozenset({"INVITE", "UPDATE", "re-offer"})
"""Methods that may carry an offer, and what we call one in a dialog."""

_BEGAN = datetime.now(UTC), time.monotonic()  # both clocks when the daemon began
_IN_TIME = timedelta(0)


@dataclass(slots=True)
class Node:
    """One running daemon's shared things."""

    settings: Settings
    customers: Mapping[str, Customer]
    tenants: Tenants
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
    load_changed: Callable[[], None] = field(default=lambda: None)  # whether calls are accepted may have changed
    not_accepting: Callable[[], str | None] = field(default=lambda: None)  # why no calls are accepted
    make_way: Callable[[], None] = field(default=lambda: None)  # ends the daemon for a successor of other files
    storage_well: bool = True
    certificate: Certificate | None = None  # for DTLS-SRTP, once a call wanted one
    unwelcome: Rejections = field(init=False)
    closed: Closed = field(init=False)  # tells where no media may be sent

    def __post_init__(self) -> None:
        self.unwelcome = Rejections(self.log, self.metrics)
        listening = [*(each.port for each in self.settings.sip.listen), self.settings.admin_api.listen.port]
        media = self.settings.media
        self.closed = Closed(listening, self.ports, media.advertise, media.bind)

    def connect(
        self,
        *,
        flush: Callable[[], None],
        load_changed: Callable[[], None],
        not_accepting: Callable[[], str | None],
        make_way: Callable[[], None],
    ) -> None:
        """Take what could be made only once there was a node; see the fields of the same names."""
        self.flush, self.load_changed = flush, load_changed
        self.not_accepting, self.make_way = not_accepting, make_way

    @property
    def runtime_dir(self) -> Path:
        """Return the folder on tmpfs."""
        return self.settings.node.runtime_dir

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

    def certify(self) -> Certificate:
        """Return the certificate of this process for DTLS-SRTP, made for the first call that wants one."""
        if self.certificate is None:
            self.certificate = self.new_certificate()
        return self.certificate

    @staticmethod
    def new_certificate() -> Certificate:
        """Make another certificate for DTLS-SRTP."""
        from media.srtp.dtls import Identity  # 50 ms that a start without such calls need not take

        identity = Identity.create(datetime.now(UTC))
        return Certificate(identity.fingerprint, bytes(identity))

    def storage_trouble(self, problem: Exception) -> None:
        """Note that recordings cannot be stored now; new calls are refused until housekeeping finds it well again.

        A disk that stands still needs no finding: it is well when it goes on (recorder.runtime.disk_thread).
        """
        if not isinstance(problem, DiskAway):
            if self.storage_well:
                self.log.fault("storage.trouble", problem)
            self.storage_well = False
        self.metrics.storage_state.set(0)
        self.load_changed()

    def refused(
        self, method: str, status: int, reason: str, customer: str | None = None, source: str | None = None,
        call: str | None = None,
    ) -> None:  # fmt: skip
        """Count a refused request, tell it, and list a refused call or offer (of the live `call`) as an incident."""
        self.unwelcome.refuse(method, status, reason, customer, source, self.monotonic())
        if call and method in OFFERING:
            self.incidents.add("offer-refused", customer, call=call, status=status, reason=reason)
        elif method == "INVITE":
            self.metrics.calls.labels("refused").inc()
            self.incidents.add("call-refused", customer, status=status, reason=reason)

    def ended(self, recording: Recording, customer: str) -> None:
        """Count a finished recording; one that lacks something is an incident of its customer, nobody else's."""
        state = recording.shown_state()
        self.metrics.calls.labels(state).inc()
        if state == "interrupted":
            self.incidents.add("call-interrupted", customer, call=recording.id, reason=recording.reason or "")
        self.metrics.inferred_owners.inc(recording.inferred)
