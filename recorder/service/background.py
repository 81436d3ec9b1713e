"""Load and open the databases, the API and the jobs in the background, while calls are already being recorded.

Loading their code takes longer than loading everything that a call needs, and a start after a kill cannot wait for it.
The API's socket listens from the first moment, so early requests wait for their answer and are not refused.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from itertools import count
from typing import TYPE_CHECKING

from recorder.calls.context import Node, Resources
from recorder.calls.databases import Databases
from recorder.runtime.tasks import retry

if TYPE_CHECKING:
    from recorder.access.api_server import AdminApiServer
    from recorder.access.metrics_server import MetricsServer
    from recorder.calls.crash_scan import CrashScan
    from recorder.calls.customers_away import CustomersAway
    from recorder.calls.executor import Executor
    from recorder.calls.membership import Membership
    from recorder.calls.registry import Live
    from recorder.calls.repair_queue import RepairQueue
    from recorder.calls.resume import Resume
    from recorder.calls.status import System
    from recorder.maintenance.retention_job import RetentionJob
    from recorder.observe.rejections import Rejections
    from recorder.persist.indexer import Indexer
    from recorder.trace.server import TraceServer
    from storage.customer.customers import Customer

MODULES = (
    "sqlalchemy.ext.asyncio", "storage.customer.wiring", "starlette.applications",
    "recorder.access.api_server", "recorder.access.api_backend", "recorder.calls.crash_scan",
    "recorder.exports.export_job", "recorder.maintenance.retention_job", "recorder.maintenance.audit_job",
    "recorder.maintenance.directory_job", "recorder.maintenance.user_matching_job", "recorder.maintenance.purge_job",
    "recorder.maintenance.cert_expiry", "recorder.maintenance.figures", "recorder.access.metrics_server",
    "recorder.trace.server",
    "cryptography.x509", "phonenumbers",
)  # fmt: skip
"""Loaded in a thread of their own, so that no call waits for them. Large modules come before those that import them,
because the loading can only be stopped between two entries, and the process does not end before its threads do."""

AGAIN_SECONDS = 2.0
"""Pause between two attempts to open something that failed."""

LOADING_SECONDS = 0.0005
"""Switch interval of the interpreter while modules load, so that calls get their turn sooner (the default is 5 ms)."""


class BackgroundServices:
    """Databases, API and jobs, which run beside the recording."""

    def __init__(
        self, node: Node, resources: Resources, customers: Mapping[str, Customer], indexer: Indexer,
        rejections: Rejections, membership: Membership | None, live: Live, executor: Executor, repairs: RepairQueue,
        system: System, away: CustomersAway | None = None, resume: Resume | None = None,
    ) -> None:  # fmt: skip
        """`away`: customers that are not open yet; `resume` continues the calls that wait for them."""
        self._node = node
        self._resources = resources
        self._customers = customers
        self._indexer = indexer
        self._rejections = rejections
        self._away = away
        self._resume = resume
        self._live = live
        self._executor = executor
        self._repairs = repairs
        self._system = system
        self._databases = Databases(node, customers, membership, self._look_again)
        self._surface: AdminApiServer | None = None
        self._scraped: MetricsServer | None = None
        self._opening: asyncio.Task[None] | None = None
        self._tracing: TraceServer | None = None
        self._of_each_customer: list[Callable[[Customer], None]] = []  # begin the jobs that have a task for each
        self._closed = False

    def open(self, listening: Sequence[socket.socket], opened: Callable[[], None]) -> None:
        """Start to open everything; call `opened` when that is done.

        `listening`: the socket of the API, then that of [metrics] if there is one.
        """
        self._opening = self._node.tasks.start(self._open(listening, opened), "background")

    async def _open(self, listening: Sequence[socket.socket], opened: Callable[[], None]) -> None:
        usual = sys.getswitchinterval()
        sys.setswitchinterval(LOADING_SECONDS)
        try:
            await self._until_done(lambda: asyncio.to_thread(self._load))
        finally:
            sys.setswitchinterval(usual)
        await self._listen_for_traces()
        self._databases.start()
        await self._databases.settled()
        retention = self._begin()
        await self._until_done(lambda: self._serve(listening, retention.now))
        opened()
        self._node.log.info("api.ready", customers=len(self._customers))

    async def _listen_for_traces(self) -> None:
        from recorder.trace.server import TraceServer

        node, settings = self._node, self._node.settings
        names = [name for customer in settings.customers for name in (*customer.domains, *customer.certificates)]
        names += [name for name in (settings.sip.advertise, settings.media.advertise) if name]
        tracing = TraceServer(
            settings.node.runtime_dir, self._resources.endpoint, self._rejections, node.log, node.tasks.start, names
        )
        try:
            await tracing.start()
        except OSError as problem:  # a full tmpfs; everything else works without it
            node.log.fault("trace.failed", problem)
        else:
            self._tracing = tracing

    async def _until_done(self, step: Callable[[], Awaitable[None]]) -> None:
        """Repeat a step until it succeeds: calls are recorded without it, and a shortage may be over in a moment."""
        failures = count()

        def failed(problem: Exception) -> float:
            if not next(failures):
                self._node.log.fault("api.failed", problem)
            return AGAIN_SECONDS

        await retry(step, failed)

    def _load(self) -> None:
        for module in MODULES:
            if self._closed:
                return
            import_module(module)
        for customer in self._customers.values():
            with suppress(Exception):  # one customer only; whoever opens the databases reports it and tries again
                customer.complete()

    async def _serve(self, listening: Sequence[socket.socket], now: Callable[[], datetime]) -> None:
        """Open the API; `now` returns the time that retention decides by."""
        from recorder.access.api_backend import Daemon
        from recorder.access.api_server import AdminApiServer
        from recorder.access.metrics_server import MetricsServer

        node, workers = self._node, self._resources.workers
        daemon = Daemon(node, self._customers, workers, self._indexer, self._live, self._executor, now, self._system)
        api, *scraped = listening
        self._surface = AdminApiServer(node, self._customers, daemon)
        await self._surface.start(api)
        for each in scraped:
            self._scraped = MetricsServer(node.settings.admin_api, node.metrics, node.tasks)
            await self._scraped.start(each)

    def _begin(self) -> RetentionJob:
        """Start the jobs; they do not wait for the API, so calls that are due are erased without it."""
        from recorder.exports.export_job import ExportJob
        from recorder.maintenance.audit_job import AuditJob
        from recorder.maintenance.cert_expiry import CertificateExpiry
        from recorder.maintenance.directory_job import DirectoryJob
        from recorder.maintenance.figures import Figures
        from recorder.maintenance.purge_job import PurgeJob
        from recorder.maintenance.retention_job import RetentionJob, stopper
        from recorder.maintenance.user_matching_job import UserMatchingJob

        node, customers, indexer = self._node, self._customers, self._indexer
        tasks, log, incidents, settings = node.tasks, node.log, node.incidents, node.settings
        start = tasks.start
        start(indexer.run(), "indexer")
        start(self._repairs.run(), "repairs")
        start(self._crash_scan(customers.values()).run(), "startup")
        exports = ExportJob(customers, tasks, log, settings.node)
        start(exports.run(), "exports")
        start(AuditJob(customers, log, incidents, settings.audit.witnesses).run(), "audit")
        if settings.node.number:
            from recorder.maintenance.audit_copy_job import AuditCopyJob

            start(AuditCopyJob(customers, log).run(), "copies")
        start(DirectoryJob(customers, tasks, log, incidents, settings).run(), "directory")
        user_matcher, purge = UserMatchingJob(customers, tasks, log), PurgeJob(customers, tasks, log, indexer)
        start(user_matcher.run(), "correlation")
        start(purge.run(), "purge")
        start(Figures(node.metrics, settings).run(), "figures")
        if any(each.media == "s3" for each in settings.stores):
            from recorder.maintenance.upload_job import jobs_of

            for job in jobs_of(settings, customers, self._resources.syncer, log, node.metrics):
                start(job.run(), "uploads")
            if any(each.lock != "off" for each in settings.stores):
                from recorder.maintenance.lock_job import LockJob

                start(LockJob(customers, log).run(), "locks")
        start(CertificateExpiry(log, incidents, settings).run(), "renewal")
        stop_live = stopper(self._live, self._executor)
        retention = RetentionJob(customers, tasks, log, incidents, node.metrics, settings, stop_live)
        start(retention.run(), "retention")
        self._of_each_customer = [exports.begin, user_matcher.begin, purge.begin, retention.begin]
        if settings.node.number:
            from recorder.maintenance.holder_job import HolderJob
            from recorder.maintenance.poll_job import PollJob

            holders = HolderJob(customers, tasks, log, incidents, stop_live)
            poll = PollJob(customers, tasks, log, indexer.note)
            start(holders.run(), "holders")
            start(poll.run(), "poll")
            self._of_each_customer += [holders.begin, poll.begin]
        if self._away and self._away.names:
            start(self._away.run(self._join), "away")
        return retention

    def _crash_scan(self, customers: Iterable[Customer]) -> CrashScan:
        from recorder.calls.crash_scan import CrashScan

        return CrashScan(customers, self._live, self._repairs, self._indexer, self._node.log)

    def _look_again(self, customer: Customer) -> None:
        """Find what a database lacks that had lost commits."""
        self._node.tasks.start(self._crash_scan([customer]).index(), "startup")

    async def _join(self, customer: Customer) -> None:
        """Take up the work for a customer that could not be opened at the start."""
        if self._resume:
            self._resume.join(customer)
        scan = self._crash_scan([customer])
        self._databases.add(customer)
        self._node.tasks.start(scan.run(), "startup")
        for begin in self._of_each_customer:
            begin(customer)

    async def close(self) -> None:
        """Stop serving; requests in progress get a moment to finish."""
        self._closed = True
        if self._opening:
            self._opening.cancel()
        for each in (self._tracing, self._scraped, self._surface):
            if each:
                await each.stop()
