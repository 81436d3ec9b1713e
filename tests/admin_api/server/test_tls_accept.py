"""Connections whose TLS handshake does not come to its end: counted, cut off, and in nobody's way."""

import asyncio
import contextlib
import os
import socket
import ssl
import struct
import threading
import time

import pytest
import uvicorn
from uvicorn.server import ServerState

from admin_api.server import connection_limits, tls_accept
from admin_api.server.http_connection import Connection
from admin_api.server.tls_accept import Accepted, Early, Handshakes
from admin_api.server.uvicorn_server import tls
from tests.in_process.api_service import Service

ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
LONG = 30.0


@pytest.fixture
def served(service, monkeypatch):
    """Give the service together with the reasons why connections came to nothing."""
    reasons = []
    monkeypatch.setattr(service.server._handshakes, "_drop", reasons.append)
    return service, reasons


def raw(service: Service, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.port), timeout=LONG, source_address=(source, 0))


def asked(service: Service, source: str) -> bytes:
    """Shake hands, ask whether the process lives, and return the answer."""
    context = ssl.create_default_context(cafile=service.certificate)
    context.check_hostname = False
    with raw(service, source) as plain, context.wrap_socket(plain) as client:
        client.sendall(ALIVE)
        data = b""
        while chunk := client.recv(65536):
            data += chunk
        return data


def is_closed(client: socket.socket) -> bool:
    with contextlib.suppress(ConnectionError):
        return client.recv(1) == b""
    return True


def until(true):
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_https_handshake_that_stalls_is_cut_off(served, monkeypatch):
    monkeypatch.setattr(tls_accept, "HANDSHAKE_SECONDS", 0.2)
    service, reasons = served
    with raw(service, "127.0.0.2") as silent, raw(service, "127.0.0.2") as half:
        half.sendall(b"\x16\x03\x01")
        assert is_closed(silent) and is_closed(half)
    until(lambda: reasons == ["tls-handshake"] * 2)
    assert len(service.server._handshakes) == 0


def test_a_client_that_speaks_no_tls_is_counted_but_not_a_probe(served):
    service, reasons = served
    with raw(service, "127.0.0.2") as client:
        client.sendall(ALIVE)
        while not is_closed(client):  # an alert comes first
            continue
    until(lambda: reasons == ["tls-handshake"])
    raw(service, "127.0.0.2").close()
    assert asked(service, "127.0.0.3").startswith(b"HTTP/1.1 200")
    until(lambda: len(service.server._handshakes) == 0)
    assert reasons == ["tls-handshake"]


def test_unfinished_handshakes_keep_nobody_out(served, monkeypatch):
    """Ten addresses take all places there are, again and again; two others are answered all the time."""
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 10)
    monkeypatch.setattr(connection_limits, "SPARE", 4)
    monkeypatch.setattr(connection_limits, "FEW", 3)
    monkeypatch.setattr(connection_limits, "MAX_TURNED_AWAY", 2)
    service, reasons = served
    attackers = [f"127.0.0.{number}" for number in range(10, 20)]
    over, held, most = threading.Event(), list[socket.socket](), list[int]()

    def attack() -> None:
        while not over.is_set():
            for source in attackers:
                with contextlib.suppress(OSError):
                    held.append(raw(service, source))
            while len(held) > 200:
                held.pop(0).close()
            over.wait(0.02)  # each costs the server, which is in this process too, a buffer of 256 KiB for a moment

    attacker = threading.Thread(target=attack)
    attacker.start()
    try:
        until(lambda: len(service.server._handshakes) >= 10 + 4)
        for source in ("127.0.0.4", "127.0.0.5") * 10:
            assert asked(service, source).startswith(b"HTTP/1.1 200")
            most.append(len(service.server._handshakes))
    finally:
        over.set()
        attacker.join()
        for client in held:
            client.close()
    assert max(most) <= 10 + 4 + 2 + 1
    assert set(reasons) <= {"too-many-connections", "tls-handshake"} and "too-many-connections" in reasons
    until(lambda: len(service.server._handshakes) == 0)


def test_a_displaced_handshake_is_counted(served, monkeypatch):
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(connection_limits, "SPARE", 0)
    monkeypatch.setattr(connection_limits, "MAX_TURNED_AWAY", -1)
    service, reasons = served
    with raw(service, "127.0.0.2") as oldest, raw(service, "127.0.0.2"):
        until(lambda: len(service.server._handshakes) == 2)
        assert asked(service, "127.0.0.3").startswith(b"HTTP/1.1 200")
        assert is_closed(oldest)
        assert reasons == ["too-many-connections"]


def test_a_slow_client_is_kept_while_new_ones_can_be_refused(served, monkeypatch):
    """Whoever holds all places comes from another address each time."""
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(connection_limits, "SPARE", 0)
    service, reasons = served
    context = ssl.create_default_context(cafile=service.certificate)
    context.check_hostname = False
    with contextlib.ExitStack() as stack:
        holders = [
            stack.enter_context(context.wrap_socket(raw(service, source))) for source in ("127.0.0.2", "127.0.0.3")
        ]
        until(lambda: len(service.server._server.server_state.connections) == 2)
        slow = stack.enter_context(raw(service, "127.0.0.4"))
        until(lambda: len(service.server._handshakes) == 1)
        stack.enter_context(raw(service, "127.0.0.5"))
        until(lambda: len(service.server._handshakes) == 2 or reasons)
        holders[0].close()
        until(lambda: len(service.server._server.server_state.connections) == 1)
        with context.wrap_socket(slow) as client:
            client.sendall(ALIVE)
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
    assert reasons == []


def test_one_address_has_no_more_handshakes_than_connections(served, monkeypatch):
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 5)
    monkeypatch.setattr(connection_limits, "FEW", 3)
    service, reasons = served
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(raw(service, "127.0.0.2")) for _ in range(8)]
        until(lambda: reasons == ["too-many-connections"] * 3)
        assert all(is_closed(client) for client in clients[5:])
        assert len(service.server._handshakes) == 5
        assert asked(service, "127.0.0.3").startswith(b"HTTP/1.1 200")


def test_the_end_waits_for_no_handshake(tmp_path):
    here = Service(tmp_path)
    with raw(here, "127.0.0.2") as client:
        until(lambda: len(here.server._handshakes) == 1)
        began = time.monotonic()
        here.close()
        assert is_closed(client)
    assert time.monotonic() - began < tls_accept.HANDSHAKE_SECONDS


def test_none_begins_after_the_end(tmp_path):
    here = Service(tmp_path)
    try:
        here._loop.call_soon_threadsafe(here.server._handshakes.close)
        with raw(here, "127.0.0.2") as client:
            began = time.monotonic()
            assert is_closed(client)
        assert time.monotonic() - began < tls_accept.HANDSHAKE_SECONDS
    finally:
        here.close()


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


class Line:
    """A transport that is told who goes on with it."""

    def set_protocol(self, protocol):
        self.protocol = protocol


def test_data_with_the_end_of_a_handshake_is_not_lost():
    early, heir, line, gone = Early(), Heard(), Line(), ConnectionResetError()
    early.data_received(b"GET ")
    early.data_received(b"/")
    early.become(heir, line)
    assert (line.protocol, heir.heard) == (heir, [line, b"GET ", b"/"])
    early.connection_lost(gone)  # it was on its way
    assert heir.heard[3:] == [gone] and early.lost


def test_a_client_that_is_gone_at_once_has_no_connection(served):
    service, reasons = served
    context = ssl.create_default_context(cafile=service.certificate)
    context.check_hostname = False
    for _ in range(20):
        with raw(service, "127.0.0.2") as plain, context.wrap_socket(plain):
            pass
    until(lambda: len(service.server._handshakes) == 0)
    until(lambda: not service.server._server.server_state.connections)
    assert reasons == []


def test_a_client_lost_during_the_handshake_gets_no_connection(monkeypatch):
    async def story():
        loop, made = asyncio.get_running_loop(), []

        async def lost(_plain, early, _context, **_more):
            early.connection_lost(None)
            return Line()

        monkeypatch.setattr(loop, "start_tls", lost)
        here = Handshakes(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), loop.create_task, made.append)
        accepted = Accepted(here, lambda: made.append("connection"), set())
        accepted.transport = Line()
        assert here.begin(accepted)
        while len(here):
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert made == []

    asyncio.run(story())


class ResetAfterSending(socket.socket):
    """A socket whose peer resets the connection right after everything that waited was sent."""

    peer: ssl.SSLSocket
    waits = threading.Event()

    def send(self, data, *flags):
        sent = super().send(data, *flags)
        if self.waits.is_set() and sent == len(data):
            self.waits.clear()
            socket.socket.setsockopt(self.peer, socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.peer.detach())
        return sent


CHUNKS = 64


async def long_answer(_scope, _receive, send):
    """Answer with what no socket buffer holds."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(CHUNKS):
        await send({"type": "http.response.body", "body": bytes(256 << 10), "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def test_a_reset_during_a_long_answer_causes_no_error(service):
    """asyncio ends a connection twice where a write fails that was made while it reported room for more."""
    faults, tasks = [], set()

    def start(work):
        tasks.add(asyncio.get_running_loop().create_task(work))

    async def serve(accepted):
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: faults.append(context.get("exception")))
        made = uvicorn.Config(long_answer, log_config=None, access_log=False, lifespan="off", ws="none")
        made.load()
        state, waiting = ServerState(), Handshakes(tls(service.certificate, service.key), start, faults.append)
        await loop.connect_accepted_socket(
            lambda: waiting.protocol(config=made, server_state=state, app_state={}), sock=accepted
        )
        await asyncio.gather(*tasks)
        connection = next(iter(state.connections))
        while connection.flow.write_paused is False:
            await asyncio.sleep(0.01)
        ResetAfterSending.waits.set()
        while state.connections or state.tasks:
            await asyncio.sleep(0.01)
        for _ in range(3):  # what is still on the loop's list is done
            await asyncio.sleep(0)

    def read(client):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert ResetAfterSending.waits.wait(LONG)
        with contextlib.suppress(OSError, ValueError):  # closed under it
            while client.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 128 << 10)
        plain = socket.create_connection(listening.getsockname(), timeout=LONG)
        accepted, _ = listening.accept()
        watched = ResetAfterSending(fileno=accepted.detach())
        watched.setblocking(False)
        served = threading.Thread(target=lambda: asyncio.run(serve(watched)))
        served.start()
        context = ssl.create_default_context(cafile=service.certificate)
        context.check_hostname = False
        watched.peer = context.wrap_socket(plain)
        read(watched.peer)
        served.join(LONG)
    assert not served.is_alive() and not ResetAfterSending.waits.is_set()
    assert faults == []
