"""The API over HTTPS on loopback, with two real customers and a daemon that only records what it is asked."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2

from admin_api.assembly import openapi
from admin_api.assembly.app import create_app
from admin_api.assembly.lazy_page import LazyPage
from admin_api.http.authorise import Authoriser
from admin_api.http.messages import Message
from admin_api.http.permissions import Role
from admin_api.http.ports import BrokenOff, CannotRender, Rendered
from admin_api.server.uvicorn_server import ApiServer
from recorder.access.accounts import AccountService
from recorder.runtime.tls import https
from storage.calls.call_document import wrapped
from storage.calls.call_index import CallRow, CallState
from storage.calls.call_row import Fresh
from storage.customer.customers import Customer, Customers, CustomerSettings
from storage.keys.root_secret import RootSecret
from storage.search_forms import stored
from tests.in_process.certificates import certificate

EXAMPLES = Path(openapi.__file__).with_name("examples.json")
NAMES = ("acme", "beta")
DAY = 20_500
T0 = datetime(2026, 2, 16, 9, 0, tzinfo=UTC)
SOUND = bytes(range(256)) * 4096  # 1 MiB: several chunks
RESET = (httpx2.ReadError, httpx2.RemoteProtocolError)
"""Errors of a client whose connection is reset within an answer; the version of Python decides which."""
PEAKS = b'{"seconds":12.0,"started_ns":1771232400120000000,"channels":[{"label":"1","peaks":[0,900,30],"gaps":[]}]}'
CALLS = 3


@dataclass
class FakeStream:
    """Sound that is made in small pieces while it is sent, and breaks off at a given byte."""

    sound: bytes
    breaks_at: int
    content_type: str = "audio/wav"
    tag: str = '"made as it goes"'
    closed: bool = False

    @property
    def size(self) -> int:
        return len(self.sound)

    async def chunks(self, begin: int, end: int) -> AsyncIterator[bytes]:
        for at in range(begin, end, 10_000):
            if at >= self.breaks_at:
                raise BrokenOff("the worker is gone")
            yield self.sound[at : min(at + 10_000, end)]
            await asyncio.sleep(0)

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeDaemon:
    """A daemon with live calls that the test defines, which records what it is asked."""

    live: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    why: str | None = None
    cannot: str | None = None
    later: bool = False
    long: bool = False
    breaks_at: int = 1 << 30
    streams: list[FakeStream] = field(default_factory=list)
    fault: Exception | None = None
    sound: bytes = SOUND
    peaks: bytes = PEAKS
    happened: list[dict[str, Any]] = field(default_factory=list)
    at: datetime = T0 + timedelta(days=181)
    settles: Callable[[str, str], Awaitable[None]] | None = None
    index_is_there: bool = True
    figures: Mapping[str, Any] = field(default_factory=lambda: json.loads(EXAMPLES.read_text())["System"])
    fresh: dict[tuple[str, str], tuple[CallRow, tuple[str, ...]]] = field(default_factory=dict)

    def document(self, customer: str, call: str) -> Any:
        return self.live.get((customer, call))

    def begin(self, customer: str, call: str, **more: Any) -> dict[str, Any]:
        """Begin a call that is not in the index yet; `more` sets fields of its row."""
        made, forms = row(CALLS + len(self.fresh), customer, **{"state": CallState.RECORDING, "ended_at": None, **more})
        self.fresh[customer, call] = replace(made, id=call), forms
        self.live[customer, call] = {"id": call, "state": "recording"}
        return self.live[customer, call]

    async def documents(self, customer: str, calls: Sequence[str], *, measured: bool = False) -> dict[str, Any]:
        return {call: self.live[customer, call] for call in calls if (customer, call) in self.live}

    async def unwritten(self, customer: Customer, call: str | None = None) -> list[Fresh]:
        """Return the calls that a test has not put into the index."""
        return [
            Fresh(
                row.id, row.leaf, row.started_at, row.state is CallState.RECORDING, partial(self.fresh.get, (name, id))
            )
            for (name, id), (row, _) in self.fresh.items()
            if name == customer.name and call in (None, row.id)
        ]

    def pause(self, customer: str, call: str) -> bool:
        self.asked.append(("pause", customer, call))
        return (customer, call) in self.live

    def resume(self, customer: str, call: str) -> bool:
        self.asked.append(("resume", customer, call))
        return (customer, call) in self.live

    async def render(self, customer: Customer, row: CallRow, form: str) -> Rendered:
        self.asked.append((form, customer.name, row.id))
        if self.fault:
            raise self.fault
        if self.cannot:
            raise CannotRender(Message("problem.cannot-render", self.cannot), later=self.later)
        made = os.memfd_create("render", os.MFD_CLOEXEC)
        written = self.peaks if form == "peaks" else self.sound
        os.write(made, written)
        self.descriptors.append(made)
        return Rendered(made, len(written), "application/json" if form == "peaks" else "audio/wav")

    def is_long(self, customer: Customer, row: CallRow, form: str) -> bool:
        return self.long and form == "wav"

    async def stream(self, customer: Customer, row: CallRow) -> FakeStream:
        if self.cannot:
            raise CannotRender(Message("problem.cannot-render", self.cannot), later=self.later)
        self.streams.append(FakeStream(self.sound, self.breaks_at))
        return self.streams[-1]

    async def settle(self, customer: str, call: str) -> bool:
        self.asked.append(("settle", customer, call))
        if self.settles is not None:
            await self.settles(customer, call)
        return self.settles is not None

    async def settle_all(self, customer: str) -> bool:
        self.asked.append(("settle all", customer, ""))
        return self.index_is_there

    def lacking(self, customer: str) -> bool:
        return not self.index_is_there

    def sweep_terms(self) -> tuple[datetime, float]:
        return self.at, 5.0

    def not_ready(self) -> str | None:
        return self.why

    def unopened(self) -> int:
        return 0

    def metrics(self) -> bytes:
        return b"recorder_calls_active 0\n"

    async def system(self, customer: str | None, *, node: bool) -> Mapping[str, Any]:
        whole = self.figures
        return {**whole, "customer": customer and whole["customer"], "node": whole["node"] if node else None}

    def incidents(self, customer: str) -> Sequence[Mapping[str, Any]]:
        return self.happened


def row(number: int, customer: str, **changes: Any) -> tuple[CallRow, tuple[str, ...]]:
    """Make a finished call; the names of its parties contain the customer's name."""
    id = f"{NAMES.index(customer) + 1:08x}-0000-4000-8000-{number:012x}"
    party = {"role": "caller", "name": f"Ada {customer.title()}", "number": f"+49301234{number:03}", "uri": None}
    party["uri"] = f"sip:{party['number']}@{customer}.example"
    details = wrapped({"session_id": f"s{number}", "parties": [party], "streams": []})
    values: dict[str, Any] = {
        "id": id,
        "leaf": DAY << 32 | number,
        "state": CallState.COMPLETE,
        "started_at": T0 + timedelta(minutes=number),
        "ended_at": T0 + timedelta(minutes=number, seconds=30),
        "duration_ms": 30_000,
        "size_bytes": 480_000,
        "details": details,
    }
    found = stored(party, "DE")
    return CallRow(**{**values, **changes}), found


class Service:
    """The server in its own thread; everything else happens in the test's thread."""

    sound = SOUND
    several = False
    later = 0.0
    """Seconds by which the recorder's clock is ahead."""
    make_certificate = staticmethod(certificate)
    database = "sqlite"
    node = (0, "")
    """Number and name of the node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.daemon = FakeDaemon()
        self.faults: list[BaseException] = []
        self._counter = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[None]] = set()
        self.customers = self.run(self._open())
        self.ids = {name: self.run(self.fill(name)) for name in NAMES}
        self.tokens = {name: {role: self.token([role], name) for role in Role} for name in NAMES}
        self.certificate, self.key = certificate(folder)
        self.port = self.run(self._start())
        self.base = f"https://127.0.0.1:{self.port}"
        self.client_context = ssl.create_default_context(cafile=self.certificate)
        self.client = self.visitor()

    def monotonic(self) -> float:
        return time.monotonic() + self.later

    def visitor(self) -> httpx2.Client:
        """Make a client with a long timeout for a busy disk, which closes idle connections before the server does."""
        limits = httpx2.Limits(keepalive_expiry=2)  # uvicorn's is 5 s; a request sent at that moment gets no answer
        return httpx2.Client(base_url=self.base, verify=self.client_context, timeout=60, limits=limits)

    def run(self, work: Any) -> Any:
        """Run a coroutine in the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(60)

    def token(self, roles: Sequence[str], customer: str = "acme", name: str | None = None) -> str:
        """Make a token."""
        made = self.customers[customer].credentials.create(
            name or f"{customer}-{'-'.join(roles)}-{next(self._counter)}", list(roles), datetime.now(UTC)
        )
        return made.token

    def ask(
        self,
        path: str,
        role: str | None = Role.ADMIN,
        *,
        method: str = "GET",
        customer: str = "acme",
        token: str | None = None,
        to: str | None = None,
        **more: Any,
    ) -> httpx2.Response:
        """Send a request below a customer with the token of one of the customer's roles, or with the given token."""
        headers = dict(more.pop("headers", {}))
        token = token or (self.tokens[customer][Role(role)] if role else None)
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.request(method, f"/api/v1/customers/{to or customer}{path}", headers=headers, **more)

    def acts(self, customer: str = "acme") -> list[dict[str, Any]]:
        """Return the entries of the audit log, oldest first."""
        page = self.customers[customer].audit.read(limit=1000)
        found = [*page.items]
        while page.next_cursor:
            page = self.customers[customer].audit.read(cursor=page.next_cursor, limit=1000)
            found += page.items
        return found[::-1]

    async def _open(self) -> Customers:
        settings = [CustomerSettings(name) for name in NAMES]
        root = RootSecret(bytes(range(32)))
        number, name = self.node
        return await Customers.open(
            self.folder, root, settings, database=self.database, now=lambda: datetime.now(UTC), node=number, name=name
        )

    async def fill(self, customer: str) -> list[str]:
        made = [row(number, customer) for number in range(CALLS)]
        await self.customers[customer].calls.put([r for r, _ in made], [f for _, f in made])
        return [r.id for r, _ in made]

    def account_service(self) -> AccountService:
        """Return the accounts that may sign in: none, unless a test makes some."""
        return AccountService(self.customers)

    async def _start(self) -> int:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port: int = listening.getsockname()[1]
        self.accounts = self.account_service()
        app = create_app(
            self.customers,
            self.daemon,
            account_service=self.accounts,
            monotonic=self.monotonic,
            report=self.faults.append,
            several=self.several,
        )
        routes: list[Any] = list(app.routes)
        self.lazy_page: LazyPage = next(route.app for route in routes if getattr(route, "path", "") == "/")
        self.authoriser: Authoriser = next(route.app for route in routes if getattr(route, "path", "") == "/api")
        self.context = https(self.certificate, self.key)
        self.server = ApiServer(app, self.context)
        await self.server.start(listening, self._start_task)
        return port

    def _start_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def close(self) -> None:
        """Stop everything."""
        self.client.close()
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _close(self) -> None:
        await self.server.stop()
        while self._tasks:
            await asyncio.wait(self._tasks)
        self.accounts.close()
        await self.customers.close()
        await asyncio.get_running_loop().shutdown_default_executor()
