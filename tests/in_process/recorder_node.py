"""A node without SIP sockets: real customers on SQLite, a real endpoint, real workers; tests pass SIP in as bytes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media.receive.ports import Ports
from media.receive.sockets import open_pair
from recorder.access.api_backend import Daemon
from recorder.calls.context import Node, Resources
from recorder.calls.crash_scan import CrashScan
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.membership import Membership
from recorder.calls.recordings import Recordings
from recorder.calls.registry import Live
from recorder.calls.repair_queue import RepairQueue
from recorder.calls.resume import Resume
from recorder.calls.sip_handler import SipHandler
from recorder.calls.status import System
from recorder.calls.storage_health import StorageHealth
from recorder.calls.worker_events import WorkerEvents
from recorder.config import parser
from recorder.config.model import Settings
from recorder.maintenance import bootstrap
from recorder.observe import logs
from recorder.observe.incidents import Incidents
from recorder.observe.metrics import Metrics
from recorder.observe.rejections import Rejections
from recorder.persist import customers as opening
from recorder.persist.checkpoint import Checkpoints
from recorder.persist.indexer import Indexer
from recorder.runtime.disk_thread import Disk
from recorder.runtime.sd_notify import Notifier
from recorder.runtime.tasks import Tasks
from recorder.signalling.customer_lookup import CustomerLookup
from recorder.signalling.local_address import Closed
from recorder.workers.pool import Workers
from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.message.message import Response, parse
from sip.ua.events import Send
from storage.customer.customers import Customers
from storage.vault.group_sync import Syncer
from tests.in_process.offers import sdp
from tests.in_process.waiting import until
from tests.ports import spans

FLOW = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070), 0, 0, ())
CONFIG = """
[node]
data_dir = "{folder}/data"
runtime_dir = "{folder}/run"
trial = true
[sip]
listen = ["udp:127.0.0.1:5060"]
max_calls = 5
[media]
bind = "127.0.0.1"
ports = "{first}-{last}"
workers = 1
tick_ms = 100
[keys]
root = "file:{folder}/root.key"
[[customer]]
name = "acme"
sources = ["127.0.0.0/8"]
country = "DE"
"""
_ranges = spans(41_000, 60_000, 40)


def configured(folder: Path, text: str = CONFIG) -> Settings:
    """Return a configuration whose customers have keys."""
    first = next(_ranges)
    read = parser.parse(text.format(folder=folder, first=first, last=first + 39).encode())
    bootstrap.root_key(folder / "root.key")
    for path in (read.node.data_dir, read.node.runtime_dir):
        path.mkdir(parents=True, exist_ok=True)
    for customer in read.customers:
        if not opening.customer_exists(read, customer):
            opening.create_customer(read, customer)
    return read


def sip_request(method: str, call: str, cseq: int, body: bytes = b"", to: str = "", branch: str = "") -> bytes:
    """Return an SBC's request."""
    kind = "Content-Type: application/sdp\r\n" if body else ""
    head = (
        f"{method} sip:rec@127.0.0.1 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bK{call}{branch or f'{method}{cseq}'}\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:sbc@127.0.0.1>;tag=t{call}\r\nTo: <sip:rec@127.0.0.1>{to}\r\n"
        f"Call-ID: {call}\r\nCSeq: {cseq} {method}\r\nContact: <sip:sbc@127.0.0.1:5070>;+sip.src\r\n"
        f"Require: siprec\r\n{kind}Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


@dataclass
class Stage:
    """The node, and the messages that it sent."""

    node: Node
    resources: Resources
    customers: Customers
    indexer: Indexer
    rejections: Rejections
    live: Live
    executor: Executor
    recordings: Recordings
    signalling: SipHandler
    workers: WorkerEvents
    repairs: RepairQueue
    checkpoints: Checkpoints
    faults: list[tuple[str, BaseException]]
    said: list[bytes] = field(default_factory=list)
    load_changed: Callable[[], None] = lambda: None

    def flush(self) -> None:
        """Handle all events, and collect all messages to send."""
        while True:
            busy = False
            while (event := self.resources.endpoint.next_event()) is not None:
                self.signalling.on_event(event)
                busy = True
            for item in self.resources.endpoint.data_to_send():
                busy = True
                if isinstance(item, Send):
                    self.said.append(item.data)
            if not busy:
                return

    def hear(self, *requests: bytes) -> None:
        """Receive all these requests of the SBC before any of them is handled."""
        for data in requests:
            self.resources.endpoint.receive_datagram(data, FLOW, time.monotonic())
        self.flush()

    def statuses(self, method: str) -> list[int]:
        """Return all final statuses sent in answer to a method, in order."""
        answers = [parse(data) for data in self.said]
        return [a.status for a in answers if isinstance(a, Response) and a.cseq.method == method and a.status >= 200]

    def invite(self, call: str = "c1", offer: bytes | None = None) -> LiveCall:
        """Place a call, acknowledge it and return it."""
        self.hear(sip_request("INVITE", call, 1, sdp("sendonly", "sendonly") if offer is None else offer))
        self.hear(sip_request("ACK", call, 1, to=self.tag()))
        found = [one for one in self.live if one.recording.call_id == call]
        if not found:
            raise LookupError(b"\n".join(self.said).decode())
        return found[0]

    def tag(self) -> str:
        """Return the To tag of the newest response."""
        for data in reversed(self.said):
            answer = parse(data)
            if isinstance(answer, Response) and ";tag=" in (answer.headers.get("To") or ""):
                return ";" + (answer.headers.get("To") or "").partition(";")[2]
        return ""

    def bye(self, call: str = "c1", cseq: int = 9) -> None:
        """Send BYE."""
        self.hear(sip_request("BYE", call, cseq, to=self.tag()))

    def forget(self, call: LiveCall) -> None:
        """Drop a call as a killed process does: end nothing in order, keep its checkpoint and parts."""
        self.resources.workers.drop(call.id)
        call.files.close()
        for pair in call.sockets.pairs.values():
            pair.close()
        self.live.remove(call)

    until = staticmethod(until)

    def resuming(self, checkpoints: Checkpoints | None = None, repairs: RepairQueue | None = None) -> Resume:
        """Return the object that resumes the calls of a killed process."""
        return Resume(
            self.node, self.resources, self.customers, self.recordings, self.live, self.executor,
            checkpoints or self.checkpoints, self.workers, self.repairs if repairs is None else repairs,
        )  # fmt: skip

    def handler(self, membership: Membership | None = None) -> SipHandler:
        """Return a handler of the endpoint's events, which replaces an earlier one."""
        return SipHandler(
            self.node, self.resources, self.customers, CustomerLookup(self.node.settings.customers), self.recordings,
            self.rejections, self.executor, self.live, membership,
        )  # fmt: skip

    def system(self, not_accepting: Callable[[], str | None] = lambda: None) -> System:
        """Return the state of the node as `GET /system` shows it."""
        return System(self.node, self.customers, self.resources.workers, self.indexer, self.live, not_accepting)

    def backend(self, clock: Callable[[], datetime] | None = None, system: System | None = None) -> Daemon:
        """Return the daemon as the admin API uses it."""
        workers = self.resources.workers
        return Daemon(self.node, self.customers, workers, self.indexer, self.live, self.executor, clock, system)

    def crash_scan(self, indexer: Indexer | None = None) -> CrashScan:
        """Return the scan that a start makes for the remains of a crash."""
        customers = self.customers.values()
        return CrashScan(customers, self.live, self.repairs, indexer or self.indexer, self.node.log)

    def descriptors(self) -> int:
        """Return the number of this process's open descriptors, without the empty files kept ready for new calls."""
        kept = (self.node.settings.node.runtime_dir / "live").iterdir()
        return len(os.listdir("/proc/self/fd")) - sum(not path.stat().st_size for path in kept)


@contextmanager
def standing(one: Stage, now: float) -> Iterator[None]:
    """Stop the clock of a node, so that a slow machine still reaches a rate limit per second."""
    monotonic = one.node.monotonic
    type(one.node).monotonic = staticmethod(lambda: now)  # type: ignore[method-assign]  # the time of the story
    try:
        yield
    finally:
        type(one.node).monotonic = staticmethod(monotonic)  # type: ignore[method-assign]  # back to today


@asynccontextmanager
async def stage(
    folder: Path,
    text: str = CONFIG,
    give_up_seconds: float = 10.0,
    notify: Notifier | None = None,
    cool_down: float = 30.0,
) -> AsyncIterator[Stage]:
    """Build a node in a folder, and take it down at the end."""
    read = configured(folder, text)
    customers = await opening.open_customers(read)
    faults: list[tuple[str, BaseException]] = []
    tasks = Tasks(lambda name, error: faults.append((name, error)))
    syncer = Syncer(read.node.data_dir)
    disk = Disk(lambda problem: faults.append(("disk", problem)), give_up_seconds=give_up_seconds)
    events: list[Any] = []
    built: list[Stage] = []

    def on_worker(event: Any) -> None:
        (built[0].workers.on_event if built else events.append)(event)

    media, log, metrics = read.media, logs.get(), Metrics()
    incidents = Incidents(lambda: datetime.now(UTC), read.node.data_dir, disk.within)
    node = Node(read, log, metrics, incidents, tasks)
    resources = Resources(
        endpoint=Endpoint(random=os.urandom),
        ports=Ports(
            media.ports.first,
            media.ports.last,
            lambda p, rtcp: open_pair(media.bind, p, rtcp),
            time.monotonic,
            cool_down,
        ),
        notify=notify or Notifier(None),
        workers=Workers(1, read.node.runtime_dir, on_worker, tick=0.05),
        disk=disk,
        syncer=syncer,
        storage=StorageHealth(log, metrics, lambda: built[0].load_changed()),
    )
    indexer = Indexer(time.monotonic, lambda call, error: faults.append((call, error)))
    rejections = Rejections(log, metrics, incidents)
    live, checkpoints = Live(), Checkpoints(read.node.runtime_dir / "live")
    repairs = RepairQueue(node, syncer, checkpoints.remove)
    executor = Executor(
        node, resources, checkpoints, live, repairs, indexer, rejections,
        flush=lambda: built[0].flush(), load_changed=lambda: built[0].load_changed(),
    )  # fmt: skip
    recordings = Recordings(
        Closed([each.port for each in read.sip.listen], resources.ports, media.advertise, media.bind)
    )
    lookup = CustomerLookup(read.customers)
    one = Stage(
        node,
        resources,
        customers,
        indexer,
        rejections,
        live,
        executor,
        recordings,
        SipHandler(node, resources, customers, lookup, recordings, rejections, executor, live),
        WorkerEvents(node, resources.workers, resources.storage, live, executor, lambda: None),
        repairs,
        checkpoints,
        faults,
    )
    built.append(one)
    await resources.workers.start()
    tasks.start(indexer.run(), "indexer")
    tasks.start(repairs.run(), "repairs")
    try:
        yield one
    finally:
        for call in live:
            one.forget(call)
        await one.until(lambda: not len(repairs))  # a cancelled query would leave its database connection open
        await indexer.drain(30)
        await resources.workers.stop()
        await tasks.close()
        with suppress(OSError):
            syncer.close()
        disk.close()
        await customers.close()
        checkpoints.close()
