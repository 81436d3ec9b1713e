"""A node without listening sockets: real customers on SQLite, a real endpoint, real workers; SIP comes as bytes."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from media.receive.ports import Ports
from media.receive.sockets import open_pair
from recorder.calls.context import Node
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.recordings import Recordings
from recorder.calls.registry import Live
from recorder.calls.repair_queue import RepairQueue
from recorder.calls.sip_handler import SipHandler
from recorder.calls.worker_events import WorkerEvents
from recorder.config import parser
from recorder.config.model import Settings
from recorder.maintenance import bootstrap
from recorder.observe import logs
from recorder.observe.incidents import Incidents
from recorder.observe.metrics import Metrics
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
    """A configuration whose customers have keys."""
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
    """A request of an SBC."""
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
    """The node and what it said."""

    node: Node
    live: Live
    executor: Executor
    recordings: Recordings
    signalling: SipHandler
    workers: WorkerEvents
    repairs: RepairQueue
    checkpoints: Checkpoints
    faults: list[tuple[str, BaseException]]
    said: list[bytes] = field(default_factory=list)

    def flush(self) -> None:
        """Turn the crank."""
        while True:
            busy = False
            while (event := self.node.endpoint.next_event()) is not None:
                self.signalling.on_event(event)
                busy = True
            for item in self.node.endpoint.data_to_send():
                busy = True
                if isinstance(item, Send):
                    self.said.append(item.data)
            if not busy:
                return

    def hear(self, *requests: bytes) -> None:
        """Take what the SBC sends, all of it before any of it is handled."""
        for data in requests:
            self.node.endpoint.receive_datagram(data, FLOW, time.monotonic())
        self.flush()

    def statuses(self, method: str) -> list[int]:
        """Every final status that was answered to a method, in order."""
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
        """The tag of the newest answer."""
        for data in reversed(self.said):
            answer = parse(data)
            if isinstance(answer, Response) and ";tag=" in (answer.headers.get("To") or ""):
                return ";" + (answer.headers.get("To") or "").partition(";")[2]
        return ""

    def bye(self, call: str = "c1", cseq: int = 9) -> None:
        """Hang up."""
        self.hear(sip_request("BYE", call, cseq, to=self.tag()))

    def forget(self, call: LiveCall) -> None:
        """Drop a call as a killed process does: nothing is ended properly, its checkpoint and parts stay."""
        self.node.workers.drop(call.id)
        call.files.close()
        for pair in call.sockets.pairs.values():
            pair.close()
        self.live.remove(call)

    until = staticmethod(until)

    def descriptors(self) -> int:
        """How many descriptors this process has open, without the empty files that wait for the next calls."""
        kept = (self.node.runtime_dir / "live").iterdir()
        return len(os.listdir("/proc/self/fd")) - sum(not path.stat().st_size for path in kept)


@contextmanager
def standing(one: Stage, now: float) -> Iterator[None]:
    """Let the clock of a node stand: a rate of so many a second is not reached by a machine that is held up."""
    monotonic = one.node.monotonic
    type(one.node).monotonic = staticmethod(lambda: now)  # type: ignore[method-assign]  # the time of the story
    try:
        yield
    finally:
        type(one.node).monotonic = staticmethod(monotonic)  # type: ignore[method-assign]  # back to today


@asynccontextmanager
async def stage(
    folder: Path, text: str = CONFIG, patience: float = 10.0, cool_down: float = 30.0
) -> AsyncIterator[Stage]:
    """Build a node in a folder and take it down again."""
    read = configured(folder, text)
    customers = await opening.open_customers(read)
    faults: list[tuple[str, BaseException]] = []
    tasks = Tasks(lambda name, error: faults.append((name, error)))
    syncer = Syncer(read.node.data_dir)
    disk = Disk(lambda problem: faults.append(("disk", problem)), patience=patience)
    events: list[Any] = []
    built: list[Stage] = []

    def on_worker(event: Any) -> None:
        (built[0].workers.on_event if built else events.append)(event)

    media = read.media
    node = Node(
        settings=read,
        customers=customers,
        endpoint=Endpoint(random=os.urandom),
        ports=Ports(
            media.ports.first,
            media.ports.last,
            lambda p, rtcp: open_pair(media.bind, p, rtcp),
            time.monotonic,
            cool_down,
        ),
        workers=Workers(1, read.node.runtime_dir, on_worker, tick=0.05),
        syncer=syncer,
        disk=disk,
        indexer=Indexer(time.monotonic, lambda call, error: faults.append((call, error))),
        notify=Notifier(None),
        tasks=tasks,
        metrics=Metrics(),
        log=logs.get(),
        incidents=Incidents(lambda: datetime.now(UTC), read.node.data_dir, disk.within),
    )
    live, checkpoints = Live(), Checkpoints(read.node.runtime_dir / "live")
    repairs = RepairQueue(node, checkpoints.remove)
    executor = Executor(node, checkpoints, live, repairs)
    recordings = Recordings(Closed([each.port for each in read.sip.listen], node.ports, media.advertise, media.bind))
    one = Stage(
        node,
        live,
        executor,
        recordings,
        SipHandler(node, CustomerLookup(read.customers), recordings, executor, live),
        WorkerEvents(node, live, executor, lambda: None),
        repairs,
        checkpoints,
        faults,
    )
    node.flush = one.flush
    built.append(one)
    await node.workers.start()
    tasks.start(node.indexer.run(), "indexer")
    tasks.start(repairs.run(), "mending")
    try:
        yield one
    finally:
        for call in live:
            one.forget(call)
        await one.until(lambda: not len(repairs))  # a cancelled question would leave its database connection open
        await node.indexer.drain(30)
        await node.workers.stop()
        await tasks.close()
        with suppress(OSError):
            syncer.close()
        disk.close()
        await customers.close()
        checkpoints.close()
