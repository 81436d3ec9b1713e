"""Start order, drain, stop order; the only wiring of `recorder serve`."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Any

from media.ports import Ports
from media.sockets import Pair, open_pair
from recorder.certificates import Certificates
from recorder.checkpoint import Checkpoints
from recorder.desk import Desk
from recorder.events import StopAsked
from recorder.housekeeping import Housekeeping
from recorder.incidents import Incidents
from recorder.indexer import Indexer
from recorder.listeners import Listening, open_all
from recorder.live import Live
from recorder.metrics import Metrics
from recorder.node import Node
from recorder.notify import Notifier
from recorder.opening import open_customers
from recorder.resume import Resume
from recorder.runner import Runner
from recorder.settings import Settings
from recorder.settings_values import Listener as ListenAddress
from recorder.settings_values import Transport
from recorder.signalling import Signalling
from recorder.startup import Startup
from recorder.surface import Surface
from recorder.tasks import Tasks
from recorder.tenancy import Tenants
from recorder.worker_events import WorkerEvents
from recorder.workers import Workers
from sip.endpoint import Endpoint
from sip.server import Listener, Server
from sip.settings import Settings as SipSettings
from storage.customers import Customers
from storage.sync import Syncer

DRAIN_SECONDS = 8.0
"""Time that running calls get to be sealed at the stop; below systemd's usual TimeoutStopSec of 90 s."""


class Daemon:
    """One `recorder serve`."""

    def __init__(self, settings: Settings, log: Any, kept: Mapping[str, Sequence[int]], bound: Mapping[int, Pair]) -> None:
        """Take what recorder.serve prepared: descriptors the service manager kept, media ports bound again."""
        self._settings = settings
        self._log = log
        self._kept = kept
        self._bound = dict(bound)
        self._live = Live()

    async def run(self) -> None:
        """Serve until told to stop."""
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        with ExitStack() as opened:
            self._wire(opened, await open_customers(self._settings))
            await self._start()
            try:
                await stop.wait()
            finally:
                await self._shut_down()

    # ---- wiring ----
    def _wire(self, opened: ExitStack, customers: Customers) -> None:
        settings, log = self._settings, self._log
        self._customers = customers
        self._tasks = Tasks(lambda name, error: log.error("task.failed", task=name, exc_info=error))
        syncer = opened.enter_context(closing(Syncer(settings.node.data_dir)))
        metrics = Metrics()
        media = settings.media
        self._worker_events: WorkerEvents | None = None
        self.node = Node(
            settings=settings,
            customers=customers,
            tenants=Tenants(settings.customers),
            endpoint=Endpoint(SipSettings(max_dialogs=2 * settings.sip.max_calls + 100), random=os.urandom),
            ports=Ports(media.ports.first, media.ports.last, lambda port, rtcp: open_pair(media.bind, port, rtcp), time.monotonic),
            workers=Workers(worker_count(media.workers), settings.node.runtime_dir, self._on_worker, tick=media.tick_ms / 1000),
            syncer=syncer,
            indexer=Indexer(time.monotonic),
            notify=Notifier.from_environment(os.environ),
            tasks=self._tasks,
            metrics=metrics,
            log=log,
            incidents=Incidents(lambda: datetime.now(UTC)),
        )
        checkpoints = Checkpoints(settings.node.runtime_dir / "live")
        self._runner = Runner(self.node, checkpoints, self._live)
        self._worker_events = WorkerEvents(self.node, self._live, self._runner)
        self._housekeeping = Housekeeping(self.node, self._live)
        self.node.load_changed = self._housekeeping.review
        self.node.not_accepting = self._housekeeping.not_accepting
        metrics.watch(metrics.calls_active, lambda: float(len(self._live)))
        metrics.watch(metrics.oldest_unindexed, self.node.indexer.oldest)
        signalling = Signalling(self.node, self._runner, self._live)
        self._server = Server(
            self.node.endpoint,
            signalling.on_event,
            lambda flow: self.node.tenants.admits(flow.transport, flow.remote[0]),
            clock=time.monotonic,
        )
        self.node.flush = self._server.flush
        self._resume = Resume(self.node, self._live, self._runner, checkpoints, self._worker_events)
        self._startup = Startup(self.node, self._live)
        self._surface = Surface(self.node, Desk(self.node, self._live, self._runner))

    def _on_worker(self, event: Any) -> None:
        if self._worker_events:
            self._worker_events.on_event(event)

    # ---- start ----
    async def _start(self) -> None:
        await self.node.workers.start()
        sockets = adopt(self._kept)
        listening = open_all(self._settings.sip.listen, "sip", sockets)
        api = open_all([ListenAddress(Transport.TCP, self._settings.admin_api.listen)], "api", sockets)
        for each in [*listening, *api]:
            if not each.adopted:
                self.node.notify.store(each.name, [each.socket.fileno()])
        self._resume.run(sockets, self._bound)
        self._tasks.start(self.node.indexer.run(), "indexer")
        await self._server.start(self._listeners(listening))
        await self._surface.start(api[0].socket)
        self._housekeeping.review()
        self._tasks.start(self._housekeeping.run(), "housekeeping")
        self._tasks.start(self._startup.run(), "startup")
        self.node.notify.ready()
        self._log.info("recorder.ready", listeners=len(listening), customers=len(self.node.customers), calls=len(self._live))

    def _listeners(self, listening: Sequence[Listening]) -> list[Listener]:
        sip = self._settings.sip
        certificates = Certificates(sip.certificate, sip.private_key, sip.client_ca) if sip.certificate and sip.private_key else None
        out = []
        for each in listening:
            tls = each.address.transport is Transport.TLS
            out.append(Listener(each.address.transport.value, each.socket, certificates.current if tls and certificates else None))
        return out

    # ---- stop ----
    async def _shut_down(self) -> None:
        """Stop in order: no new calls, seal what runs unless a successor takes it over, then close."""
        self.node.notify.stopping()
        self._housekeeping.draining = True
        self._housekeeping.review()
        if not self._successor():
            await self._end_calls()
        await self.node.indexer.drain(2.0)
        await self._surface.stop()
        await self._server.close()
        await self.node.workers.stop()
        await self._tasks.close()
        await self._customers.close()
        self._log.info("recorder.stopped")

    def _successor(self) -> bool:
        """Tell whether the service manager keeps our sockets, so that the next start goes on with the calls."""
        return self.node.notify.present and bool(len(self._live)) and "RECORDER_DRAIN" not in os.environ

    async def _end_calls(self) -> None:
        for call in self._live:
            self._runner.guarded(call, StopAsked("shutdown", interrupted=True))
        self.node.flush()
        end = time.monotonic() + DRAIN_SECONDS
        while len(self._live) and time.monotonic() < end:
            await asyncio.sleep(0.05)


def worker_count(asked: int) -> int:
    """Return how many media workers to run: one per core but one, at least one, unless configured."""
    return asked or max(1, len(os.sched_getaffinity(0)) - 1)


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
