"""Connections whose TLS handshake does not come to its end: counted, cut off, and in nobody's way."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from unittest.mock import Mock

import pytest

from admin_api.server import connection_limits, tls_accept, uvicorn_server
from admin_api.server.http_connection import Connection
from admin_api.server.tls_accept import Accepted, Handshakes, Unnested
from admin_api.server.uvicorn_server import ApiServer
from tests.admin_api.server.raw_connections import ALIVE, everything, is_closed, raw, secured
from tests.daemon.api import until

CLOSE = ALIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")


class Watched(Handshakes):
    """Handshakes together with the newest of them, and the connections that came of them."""

    newest: Accepted

    def __init__(self, *about):
        super().__init__(*about)
        self.connections = about[-1]

    def begin(self, accepted):
        self.newest = accepted
        return super().begin(accepted)


async def alive(_scope, _receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"alive"})


class Served:
    """A server that answers everybody, and the reasons why connections came to nothing."""

    def __init__(self, service, monkeypatch):
        self.service, self.reasons, self.tasks = service, [], []
        self.made: list[Watched] = []
        monkeypatch.setattr(uvicorn_server, "Handshakes", self.watched)
        listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = listening.getsockname()[1]
        self.server = ApiServer(alive, service.context, self.reasons.append)
        service.run(self.server.start(listening, self.start))

    def watched(self, *about):
        self.made.append(Watched(*about))
        return self.made[0]

    @property
    def handshakes(self):
        return self.made[0]

    def start(self, work):
        self.tasks.append(asyncio.get_running_loop().create_task(work))

    def raw(self, source):
        return raw(self.port, source)

    def secured(self, plain):
        return secured(plain, self.service.certificate)

    def answers(self, source):
        """Return whether somebody at this address gets an answer."""
        with self.raw(source) as plain, self.secured(plain) as client:
            client.sendall(CLOSE)
            return everything(client).startswith(b"HTTP/1.1 200")


@pytest.fixture
def served(service, monkeypatch):
    made = Served(service, monkeypatch)
    yield made
    service.run(made.server.stop())


@pytest.fixture
def limited(monkeypatch):
    """Set limits of connections."""

    def limit(**limits):
        for name, value in limits.items():
            monkeypatch.setattr(connection_limits, name, value)

    return limit


def test_an_https_handshake_that_stalls_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(tls_accept, "HANDSHAKE_SECONDS", 0.2)
    with served.raw("127.0.0.2") as silent, served.raw("127.0.0.2") as half:
        half.sendall(b"\x16\x03\x01")
        assert is_closed(silent) and is_closed(half)
    until(lambda: served.reasons == ["tls-handshake"] * 2)
    assert len(served.handshakes) == 0


def test_a_client_that_speaks_no_tls_is_counted_but_not_a_probe(served):
    with served.raw("127.0.0.2") as client:
        client.sendall(ALIVE)
        while not is_closed(client):  # an alert comes first
            continue
    until(lambda: served.reasons == ["tls-handshake"])
    served.raw("127.0.0.2").close()
    assert served.answers("127.0.0.3")
    until(lambda: len(served.handshakes) == 0)
    assert served.reasons == ["tls-handshake"]


def test_unfinished_handshakes_keep_nobody_out(served, limited):
    """Ten addresses take all places there are, again and again; two others are answered all the time."""
    limited(MAX_CONNECTIONS=10, SPARE=4, FEW=3, MAX_TURNED_AWAY=2)
    over, held, most = threading.Event(), list[socket.socket](), 0

    def attack() -> None:
        while not over.is_set():
            for number in range(10, 20):
                with contextlib.suppress(OSError):
                    held.append(served.raw(f"127.0.0.{number}"))
            while len(held) > 200:
                held.pop(0).close()
            over.wait(0.02)  # each costs the server, which is in this process too, a buffer of 256 KiB for a moment

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        until(lambda: len(served.handshakes) >= 10 + 4)
        for source in ("127.0.0.4", "127.0.0.5") * 5:
            assert served.answers(source)
            most = max(most, len(served.handshakes))
    finally:
        over.set()
        attacker.join()
        for client in held:
            client.close()
    assert most <= 10 + 4 + 2 + 1
    assert "too-many-connections" in served.reasons and {*served.reasons} <= {"too-many-connections", "tls-handshake"}
    until(lambda: len(served.handshakes) == 0)


def test_a_displaced_handshake_is_counted(served, limited):
    limited(MAX_CONNECTIONS=2, SPARE=0, MAX_TURNED_AWAY=-1)
    with served.raw("127.0.0.2") as oldest, served.raw("127.0.0.2"):
        until(lambda: len(served.handshakes) == 2)
        assert served.answers("127.0.0.3")
        assert is_closed(oldest)
        assert served.reasons == ["too-many-connections"]


def test_a_slow_client_is_kept_while_new_ones_can_be_refused(served, limited):
    """Whoever holds all places comes from another address each time."""
    limited(MAX_CONNECTIONS=2, SPARE=0)
    with contextlib.ExitStack() as stack:
        holders = [stack.enter_context(served.secured(served.raw(f"127.0.0.{number}"))) for number in (2, 3)]
        until(lambda: len(served.handshakes.connections) == 2)
        slow = stack.enter_context(served.raw("127.0.0.4"))
        until(lambda: len(served.handshakes) == 1)
        stack.enter_context(served.raw("127.0.0.5"))
        until(lambda: len(served.handshakes) == 2 or served.reasons)
        holders[0].close()
        until(lambda: len(served.handshakes.connections) == 1)
        with served.secured(slow) as client:
            client.sendall(ALIVE)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert served.reasons == []


def test_one_address_has_no_more_handshakes_than_connections(served, limited):
    limited(MAX_CONNECTIONS=5, FEW=3)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(served.raw("127.0.0.2")) for _ in range(8)]
        until(lambda: served.reasons == ["too-many-connections"] * 3)
        assert all(is_closed(client) for client in clients[5:])
        assert len(served.handshakes) == 5
        assert served.answers("127.0.0.3")


def test_closing_waits_for_no_handshake_and_allows_no_new_one(served):
    async def close():
        served.handshakes.close()

    with served.raw("127.0.0.2") as client:
        until(lambda: len(served.handshakes) == 1)
        began = time.monotonic()
        served.service.run(close())
        assert is_closed(client)
    with served.raw("127.0.0.2") as client:
        assert is_closed(client)
    assert time.monotonic() - began < tls_accept.HANDSHAKE_SECONDS


class Heard(Connection):
    """A connection that only listens."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def connection_made(self, transport):
        self.heard.append(transport)

    def data_received(self, data):
        self.heard.append(data)

    def connection_lost(self, exc):
        self.heard.append(exc)


class Line(asyncio.Transport):
    """A transport that remembers who goes on with it."""

    def set_protocol(self, protocol):
        self.protocol = protocol


def test_data_with_the_end_of_a_handshake_is_not_lost():
    heir, line, gone, here = Heard(), Line(), ConnectionResetError(), Mock(Handshakes)
    early = Accepted(here, lambda: heir)
    early.data_received(b"GET ")
    early.data_received(b"/")
    early.become(line)
    assert (line.protocol, heir.heard) == (heir, [line, b"GET ", b"/"])
    early.connection_lost(gone)  # it was on its way
    assert heir.heard[3:] == [gone] and early.lost


def test_a_client_that_is_gone_at_once_has_no_connection(served):
    for _ in range(10):
        with served.raw("127.0.0.2") as plain, served.secured(plain):
            pass
    until(lambda: len(served.handshakes) == 0)
    until(lambda: not served.handshakes.connections)
    assert served.reasons == []


def test_a_client_lost_during_the_handshake_gets_no_connection(monkeypatch):
    async def story():
        loop, made = asyncio.get_running_loop(), []

        async def lost(_plain, early, _context, **_more):
            early.connection_lost(None)
            return Line()

        monkeypatch.setattr(loop, "start_tls", lost)
        here = Handshakes(lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), loop.create_task, made.append, set())

        def connect() -> Connection:
            raise AssertionError("a client that is gone has no connection")

        accepted = Accepted(here, connect)
        accepted.transport = Line()
        assert here.begin(accepted)
        while len(here):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made == []

    asyncio.run(story())


def test_writing_resumes_at_the_next_turn_of_the_loop(served):
    """asyncio ends a connection twice where a write fails that was made while it reported room for more."""
    with served.raw("127.0.0.2") as plain, served.secured(plain):
        until(lambda: isinstance(served.handshakes.newest.transport.get_protocol(), Unnested))

    async def story():
        security = Mock(asyncio.BufferedProtocol)
        one = Unnested(security)
        one.resume_writing()
        assert not security.resume_writing.called
        await asyncio.sleep(0)
        assert security.resume_writing.called
        one.resume_writing()
        one.connection_lost(None)
        await asyncio.sleep(0)
        assert security.resume_writing.call_count == 1

    asyncio.run(story())
