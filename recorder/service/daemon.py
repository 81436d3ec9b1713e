"""Start, drain and stop the daemon in order; the only place that wires `recorder serve`."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

from media.receive.ports import Ports
from media.receive.sockets import RECEIVE_BUFFER, Pair, open_pair, refused_buffer
from media.stream.fast_path_library import library
from recorder.calls.admission import Admission
from recorder.calls.context import Node, Resources
from recorder.calls.customers_away import CustomersAway
from recorder.calls.executor import Executor
from recorder.calls.leaf_prefetch import LeafPrefetch
from recorder.calls.recordings import Recordings
from recorder.calls.registry import Live
from recorder.calls.repair_queue import RepairQueue
from recorder.calls.resume import Resume
from recorder.calls.sip_handler import SipHandler
from recorder.calls.status import System
from recorder.calls.storage_health import StorageHealth
from recorder.calls.sync_task import PartTask, SyncTask
from recorder.calls.worker_events import WorkerEvents
from recorder.config.loader import load
from recorder.config.model import Settings
from recorder.config.value_readers import Siprec, Transport
from recorder.errors import OtherVersion
from recorder.observe.incidents import Incidents
from recorder.observe.logs import Log
from recorder.observe.metrics import Metrics
from recorder.observe.rejections import Rejections
from recorder.persist.checkpoint import Checkpoints
from recorder.persist.customers import open_each, reopen, to_be_removed, unconfigured
from recorder.persist.indexer import Indexer
from recorder.persist.object_store import release_stores
from recorder.runtime.disk_thread import Disk
from recorder.runtime.folders import SWAP_HINT, in_memory, swapping
from recorder.runtime.sandbox import missing as missing_confinement
from recorder.runtime.sd_notify import Notifier
from recorder.runtime.tasks import Tasks
from recorder.runtime.tls import Certificates, client_context
from recorder.runtime.version import VERSION
from recorder.service import running_settings
from recorder.service.background import BackgroundServices
from recorder.service.gc_policy import Garbage
from recorder.service.listeners import Listening, note_held, open_listeners
from recorder.service.shutdown import LOOK_SECONDS, Shutdown
from recorder.session.events import StopAsked
from recorder.signalling.cert_names import CertificateNames
from recorder.signalling.customer_lookup import CustomerLookup
from recorder.signalling.local_address import Closed
from recorder.workers.pool import Workers
from sip.endpoint import Endpoint
from sip.transport.server import Listener, Server
from sip.ua.settings import Settings as SipSettings
from storage.customer.customers import Customers
from storage.vault.group_sync import Syncer

if TYPE_CHECKING:
    from recorder.calls.membership import Membership

SEAL_SECONDS = 8.0
"""Time that calls get to be sealed at a stop, after they were told to end."""

REGISTER_SECONDS = 10.0
"""READY of one of several nodes waits this long for its databases: without them it takes no calls at a first start."""

CLOSE_SECONDS = 2.0
"""The same for calls of a closed customer: other customers' calls wait meanwhile. A successor seals the rest."""
GIVE_UP_SECONDS = 1.0
"""How long a stop waits until the databases show that this node has left."""

LEAVE_SECONDS = 10.0
"""Upper limit for the rest of the stop: the index 2 s, tasks 5 s, workers 1 s, databases 1 s."""


class Daemon:
    """One `recorder serve`."""

    def __init__(
        self,
        settings: Settings,
        log: Log,
        kept: Mapping[str, Sequence[int]],
        bound: Mapping[int, Pair],
        workers: Workers,
        *,
        drain: bool = False,
        notify: Notifier | None = None,
        unusable: Mapping[str, Exception] = MappingProxyType({}),
    ) -> None:
        """Take what recorder.service.serve has prepared: kept descriptors, media ports bound again, workers starting.

        `drain`: a stop ends the calls even if the service manager keeps the sockets. `notify`: the service manager.
        `unusable`: customers that cannot be served because of the configuration, and why.
        """
        self._unusable = unusable
        self._notify = notify or Notifier.from_environment(os.environ)
        self._workers = workers
        self._settings = settings
        self._log = log
        self._kept = kept
        self._bound = dict(bound)
        self._live = Live()
        self.metrics = Metrics()
        self._stopping = Shutdown(drain=drain, drain_seconds=settings.sip.drain_seconds)

    async def run(self) -> None:
        """Serve until told to stop; raise OtherVersion if the program's files were replaced meanwhile."""
        self._stopping.listen(asyncio.get_running_loop())
        with ExitStack() as opened:
            sockets = adopt(self._kept)
            listening = self._open_sockets(opened, sockets)
            customers, away = open_each(self._settings, but=self._unusable)
            if not customers:
                for problem in away.values():
                    raise problem
            try:
                self._wire(opened, customers, away)
            except BaseException:
                await customers.close()
                raise
            try:
                await self._start(sockets, listening)
                await self._stopping.begun.wait()
            finally:
                await self._shut_down()
        if self._stopping.outdated:
            raise OtherVersion

    def _open_sockets(self, opened: ExitStack, sockets: Mapping[str, list[socket.socket]]) -> list[Listening]:
        """Open every listening socket first, so that a port in use is reported before anything else is touched."""
        listening = open_listeners(self._settings, sockets, self._notify.remove)
        for each in listening:
            opened.callback(each.socket.close)
        note_held(self._settings.node.runtime_dir, listening)
        running_settings.note(self._settings)
        return listening

    # ---- wiring ----
    def _not_indexed(self, call: str, problem: Exception) -> None:
        """Report a call that the index did not take; the indexer tries it again."""
        self.metrics.index_refused.inc()
        self._log.fault("index.fault", problem, call=call)

    def _flush(self) -> None:
        """Send what the endpoint wants to send."""
        self._server.flush()

    def _load_changed(self) -> None:
        """Look again whether calls are accepted."""
        self._admission.review()

    def _wire(self, opened: ExitStack, customers: Customers, away: Mapping[str, Exception]) -> None:
        settings, log, metrics = self._settings, self._log, self.metrics
        self._customers = customers
        self._tasks = Tasks(lambda name, error: log.fault("task.failed", error, task=name))
        syncer = opened.enter_context(closing(Syncer(settings.node.data_dir)))
        disk = opened.enter_context(closing(Disk(lambda problem: log.fault("disk.late", problem))))
        self._incidents = Incidents(
            lambda: datetime.now(UTC),
            settings.node.data_dir,
            disk.within,
            lambda kind: metrics.incidents.labels(kind).inc(),
        )
        self._indexer = Indexer(time.monotonic, self._not_indexed)
        self._membership = _membership(settings)
        self._endpoint = Endpoint(sip_settings(settings), random=os.urandom)
        node = self._node = Node(settings, log, metrics, self._incidents, self._tasks)
        resources = self._resources = Resources(
            endpoint=self._endpoint,
            ports=_ports(settings),
            notify=self._notify,
            workers=self._workers,
            disk=disk,
            syncer=syncer,
            storage=StorageHealth(log, metrics, self._load_changed),
        )
        rejections = Rejections(log, metrics, self._incidents)
        self._away = CustomersAway(
            log, self._incidents, customers, away, lambda name: reopen(settings, name), never=self._unusable
        )
        checkpoints = Checkpoints(settings.node.runtime_dir / "live")
        opened.callback(checkpoints.close)
        opened.callback(self._notify.close)
        repairs = RepairQueue(node, syncer, checkpoints.remove)
        self._indexer.follow_repair(repairs.whole, repairs.lacks)
        self._executor = Executor(
            node, resources, checkpoints, self._live, repairs, self._indexer, rejections,
            flush=self._flush, load_changed=self._load_changed,
        )  # fmt: skip
        worker_events = WorkerEvents(
            node, self._workers, resources.storage, self._live, self._executor, self._stopping.make_way
        )
        self._workers.listen(worker_events.on_event)
        self._lookup = CustomerLookup(settings.customers)
        recordings = Recordings(_closed(settings, resources.ports))
        signalling = SipHandler(
            node, resources, customers, self._lookup, recordings, rejections, self._executor, self._live,
            self._membership,
        )  # fmt: skip
        self._garbage = Garbage(time.monotonic, lambda: len(self._live))
        system = System(
            node, customers, self._workers, self._indexer, self._live, lambda: self._admission.not_accepting()
        )
        periodic = (
            self._executor.save_settled, worker_events.help_stranded, signalling.overdue, self._incidents.save,
            self._garbage.tidy, LeafPrefetch(customers, self._tasks, node.now).fetch_due, system.sample,
            signalling.liveness.look,
        )  # fmt: skip
        self._admission = Admission(node, resources, self._live, self._membership, periodic)
        self._watch()
        self._server = self._sip_server(signalling)
        if self._membership is not None:
            self._membership.follow(self._load_changed)
        self._resume = Resume(
            node, resources, customers, recordings, self._live, self._executor, checkpoints, worker_events, repairs
        )
        self._background = BackgroundServices(
            node, resources, customers, self._indexer, rejections, self._membership, self._live, self._executor,
            repairs, system, self._away, self._resume,
        )  # fmt: skip

    def _watch(self) -> None:
        """Register the gauges that are read at each scrape."""
        metrics = self.metrics
        metrics.watch(metrics.calls_active, lambda: float(len(self._live)))
        for each in self._settings.customers:
            of_customer = partial(self._live.of_customer, each.name)
            metrics.watch(metrics.customer_calls_active.labels(each.name), of_customer)
        metrics.watch(metrics.customers_away, lambda: float(self._unserved()))
        metrics.watch(metrics.oldest_unindexed, self._indexer.oldest)

    def _unserved(self) -> int:
        """Return how many customers are away, or their databases."""
        return len(self._away.names) + sum(not customer.served for customer in self._customers.values())

    def _sip_server(self, signalling: SipHandler) -> Server:
        settings = self._settings
        return Server(
            self._endpoint,
            signalling.on_event,
            lambda flow: self._lookup.admits(flow.transport, flow.remote[0]),
            clock=time.monotonic,
            client_context=lambda: client_context(
                settings.sip.certificate, settings.sip.private_key, settings.sip.client_ca, settings.authorities
            ),
            known=lambda flow: self._lookup.knows(flow.remote[0], flow.certificate_names),
            filter_names=CertificateNames(settings.customers, settings.sip.client_ca).names,
        )

    # ---- start ----
    async def _start(self, sockets: Mapping[str, Sequence[socket.socket]], listening: Sequence[Listening]) -> None:
        if not in_memory(self._settings.node.runtime_dir):  # only with [node] trial = true; else serve refuses
            self._log.warning("runtime.on_disk", hint="Put [node] runtime_dir on a tmpfs.")
        if swapping():
            self._log.warning("runtime.swap", hint=SWAP_HINT)
        if granted := refused_buffer(self._settings.media.bind):
            hint = f"Set net.core.rmem_max to {RECEIVE_BUFFER} (config/sysctl.conf), or audio may be lost in a stall."
            self._log.warning("media.buffers_small", bytes=granted, hint=hint)
        if library() is None:
            hint = (
                "Install gcc and python3-dev and reinstall the recorder: until then each packet takes a third more CPU."
            )
            self._log.warning("media.not_compiled", hint=hint)
        for hint in missing_confinement():
            self._log.warning("confinement.incomplete", hint=hint)
        self._away.report()
        for folder in unconfigured(self._settings):
            hint = "Write a [[customer]] table for it, or nothing erases what is in it."
            if to_be_removed(self._settings, folder.name):
                hint = f"Run recorder customer remove {folder.name} again: it erases what is in it."
            self._log.warning("customer.not_configured", customer=folder.name, hint=hint)
        await self._workers.ready()
        for each in listening:
            if not each.adopted:
                self._notify.store(each.name, [each.socket.fileno()])
        self._resume.run(sockets, self._bound, self._away.names)
        sip, api = listening[: len(self._settings.sip.listen)], listening[len(self._settings.sip.listen) :]
        await self._server.start(self._listeners(sip))
        self._executor.end_closed(self._settings.closed)
        self._admission.review()
        self._tasks.start(self._admission.run(), "housekeeping")
        self._tasks.start(SyncTask(self._node, self._resources, self._live, self._executor).run(), "sync")
        if any(each.media == "s3" for each in self._settings.stores):
            self._tasks.start(PartTask(self._node, self._resources, self._live, self._executor).run(), "parts")
        self._garbage.begin()
        if self._membership is not None:
            self._background.open([each.socket for each in api], self._garbage.begin)
            await self._membership.registered(REGISTER_SECONDS)
        self._notify.ready()
        self._log.info(
            "recorder.ready", version=VERSION, listeners=len(sip), customers=len(self._customers), calls=len(self._live)
        )
        if self._membership is None:
            self._background.open([each.socket for each in api], self._garbage.begin)

    def _listeners(self, listening: Sequence[Listening]) -> list[Listener]:
        sip = self._settings.sip
        certificates = (
            Certificates(sip.certificate, sip.private_key, sip.client_ca, self._settings.authorities)
            if sip.certificate and sip.private_key
            else None
        )
        out = []
        for each in listening:
            tls = each.address.transport is Transport.TLS
            out.append(
                Listener(
                    each.address.transport.value, each.socket, certificates.current if tls and certificates else None
                )
            )
        return out

    # ---- stop ----
    async def _shut_down(self) -> None:
        """Stop in order: take no new calls, seal the running ones unless a successor takes them over, then close."""
        self._notify.stopping()
        self._admission.drain()
        handed_over = self._stopping.handed_over(self._notify.present)
        if handed_over:
            await self._end_closed()
            for call in self._live:
                self._executor.checkpoint(call)
        else:
            await self._end_calls()
        await self._indexer.drain(2.0)
        release_stores(self._settings)
        await self._background.close()
        await self._server.close()
        await self._workers.stop()
        await self._tasks.close()
        self._incidents.save()
        if not handed_over:
            await self._give_up_claims()
        await self._customers.close()
        self._log.info("recorder.stopped")

    async def _end_closed(self) -> None:
        """End the calls of customers that the file closes or omits: a successor would lack their connections."""
        ours = frozenset(each.name for each in self._settings.customers)
        gone = frozenset[str]()
        with suppress(Exception):  # the successor reports what is wrong with the file
            if self._settings.source is not None:
                found = await asyncio.to_thread(load, self._settings.source, files=False)
                gone = ours & found.closed | ours - {each.name for each in found.customers}
        if self._executor.end_closed(gone):
            await self._sealed(lambda: any(call.customer.name in gone for call in self._live), CLOSE_SECONDS)

    async def _sealed(self, left: Callable[[], object], seconds: float) -> None:
        """Wait until no call is left, up to a time limit."""
        for _ in range(round(seconds / LOOK_SECONDS)):
            if not left():
                return
            await asyncio.sleep(LOOK_SECONDS)

    async def _give_up_claims(self) -> None:
        """Let another node take the databases at once; if a database cannot be reached, its claim runs out."""
        giving_up = [customer.give_up_claim() for customer in self._customers.values()]
        if self._membership is not None:
            self._membership.leave()
        with suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*giving_up, return_exceptions=True), GIVE_UP_SECONDS)

    async def _end_calls(self) -> None:
        """Give the calls time to end if there is any, then end and seal those that are left."""
        self._notify.extend(self._stopping.drain_seconds + SEAL_SECONDS + LEAVE_SECONDS)
        self._log.info("calls.draining", calls=len(self._live))
        await self._stopping.wait_for_calls(lambda: len(self._live))
        for call in self._live:
            self._executor.guarded(call, StopAsked("shutdown", interrupted=True))
        self._flush()
        await self._sealed(lambda: len(self._live), SEAL_SECONDS)


def adopt(stored: Mapping[str, Sequence[int]]) -> dict[str, list[socket.socket]]:
    """Return the sockets that the service manager kept, by name."""
    out: dict[str, list[socket.socket]] = {}
    for name, descriptors in stored.items():
        for descriptor in descriptors:
            try:
                out.setdefault(name, []).append(socket.socket(fileno=descriptor))
            except OSError:
                os.close(descriptor)
    return out


def _closed(settings: Settings, ports: Ports[Pair]) -> Closed:
    listening = [*(each.port for each in settings.sip.listen), settings.admin_api.listen.port]
    return Closed(listening, ports, settings.media.advertise, settings.media.bind)


def _membership(settings: Settings) -> Membership | None:
    """Return what the databases have confirmed about this node since the machine started; None if it is alone."""
    if settings.node.number == 0:
        return None
    from recorder.calls.membership import Membership

    node, customers = settings.node, frozenset(each.name for each in settings.customers)
    return Membership(node.runtime_dir, f"{node.number} {node.name}", customers)


def _ports(settings: Settings) -> Ports[Pair]:
    media = settings.media
    return Ports(
        media.ports.first, media.ports.last, lambda port, rtcp: open_pair(media.bind, port, rtcp), time.monotonic
    )


def sip_settings(settings: Settings) -> SipSettings:
    """Return the endpoint's settings; INVITEs without a SIPREC mark pass if at least one customer accepts them."""
    plain = any(customer.siprec is Siprec.PLAIN for customer in settings.customers)
    return SipSettings(
        max_dialogs=2 * settings.sip.max_calls + 100, plain_calls=plain, contact_host=settings.sip.advertise or ""
    )
