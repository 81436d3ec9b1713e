"""Clients that speak no HTTP, too slowly, or not at all."""

import asyncio
import socket
from typing import Any
from unittest.mock import Mock

import pytest
import uvicorn
from uvicorn.server import ServerState

from admin_api.server import connection_limits, http_connection
from tests.admin_api.server.raw_connections import ALIVE, everything, raw, secured
from tests.daemon.api import until


def config(app=None):
    made = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", ws="none")
    made.load()
    return made


def connect(service, source="127.0.0.1"):
    return secured(raw(service.port, source), service.certificate)


def alive(client):
    """Ask once whether the process lives, and read the answer."""
    client.sendall(ALIVE)
    data = b""
    while not data.endswith(b'"alive"}'):
        chunk = client.recv(65536)
        assert chunk, data
        data += chunk
    assert data.startswith(b"HTTP/1.1 200")


def answer_to(service, data):
    """Send bytes over a connection, and read until the server closes it."""
    with connect(service) as client:
        client.sendall(data)
        return everything(client)


TWO_LENGTHS = b"Host: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    "data",
    [
        b"INVITE sip:x SIP/2.0\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nA B: c\r\n\r\n",
        b"GET /healthz HTTP/1.1\r\n" + TWO_LENGTHS + ALIVE,
    ],
)
def test_bytes_that_are_not_http_get_a_problem_document(service, data):
    answer = answer_to(service, data)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer and b"no-store" in answer
    assert b"INVITE" not in answer and b"alive" not in answer


CHUNKED = b"POST /api/v1/customers/acme/holds HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("before", [b"", ALIVE, ALIVE * 2])
def test_a_body_that_is_not_http_gets_one_answer(service, before, caplog):
    """The application has been asked by then; its answer is not sent, and it fails at nothing."""
    answer = answer_to(service, before + CHUNKED + b"no length\r\n")
    assert answer.count(b"HTTP/1.1 200 ") == before.count(b"GET")
    assert answer.count(b"HTTP/1.1 ") == before.count(b"GET") + 1
    assert answer.count(b"HTTP/1.1 400 ") == 1 and answer.endswith(b"}") and b"text/plain" not in answer
    until(lambda: not service.server._connections)
    assert "ERROR" not in {record.levelname for record in caplog.records}


def test_bytes_that_are_not_http_end_an_answer_that_has_begun(service, caplog):
    with connect(service) as client:
        client.sendall(CHUNKED)
        answer = b""
        while not answer.endswith(b"}"):
            answer += client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 401 ")
        client.sendall(b"no length\r\n")
        assert everything(client) == b""
    assert "asyncio" not in {record.name for record in caplog.records}  # it reports what a protocol raises


def test_large_heads_and_websockets_are_refused(service):
    large = b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * (http_connection.MAX_HEAD + 1)
    assert answer_to(service, large).startswith(b"HTTP/1.1 4")
    upgrade = b"GET /nope HTTP/1.1\r\nHost: x\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    assert answer_to(service, upgrade).startswith(b"HTTP/1.1 404")


def test_a_connection_serves_many_requests_also_sent_at_once(service):
    with connect(service) as client:
        alive(client)
        client.sendall(ALIVE * 2 + ALIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert everything(client).count(b"HTTP/1.1 200") == 3


def test_who_takes_nothing_of_an_answer_is_broken_off(monkeypatch):
    """Without TLS: there a closed connection would wait for ever for somebody who reads its last bytes."""
    monkeypatch.setattr(http_connection, "STALLED_SECONDS", 0.05)
    size = 64 << 20  # more than the kernel's buffers hold

    async def app(scope, receive, send):
        length = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": bytes(size)})

    async def story():
        ended, loop = asyncio.Event(), asyncio.get_running_loop()

        class Watched(http_connection.Connection):
            def connection_lost(self, exc):
                super().connection_lost(exc)
                ended.set()

        served = config(http_connection.limited(app))
        server = await loop.create_server(lambda: Watched(set(), served, ServerState(), {}), "127.0.0.1", 0)
        async with server, asyncio.timeout(30):
            with socket.create_connection(server.sockets[0].getsockname()) as client:
                client.sendall(ALIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
                await ended.wait()

    asyncio.run(story())


class Line:
    """A transport and its loop, on which no time goes by and nothing moves but what a test says."""

    left, broken = 0, False
    waits: Any = None

    def get_extra_info(self, name, default=None):
        """Say nothing about itself."""

    def get_write_buffer_size(self):
        return self.left

    def is_closing(self):
        return self.broken

    def abort(self):
        self.broken = True

    close = abort

    def pause_reading(self):
        """Have nothing to read anyway."""

    resume_reading = pause_reading

    def create_task(self, work):
        work.close()
        return asyncio.Future(loop=Mock())

    def call_later(self, after, what, *about):
        self.waits = after, what, about
        return self

    def cancel(self):
        self.waits = None

    def later(self, left):
        """Let the time go by, with so much left then; say whether that was the end."""
        self.left = left
        after, what, about = self.waits
        assert after == http_connection.STALLED_SECONDS
        what(*about)
        return self.broken


class Caller(Line):
    """The transport of somebody from elsewhere."""

    def __init__(self, source):
        self._source = source

    def get_extra_info(self, name, default=None):
        return (self._source, 5000) if name == "peername" else None


def test_who_takes_some_of_an_answer_is_waited_for():
    line: Any = Line()
    one = http_connection.Connection(set(), config(), ServerState(), {}, _loop=line)
    one.connection_made(line)
    line.left = 900
    one.pause_writing()
    assert not line.later(800) and not line.later(799)
    one.resume_writing()
    assert line.waits is None
    one.pause_writing()
    assert line.later(799)


def test_an_unfinished_head_is_not_waited_for(service, monkeypatch):
    with connect(service) as client:
        alive(client)
        monkeypatch.setattr(http_connection, "HEAD_SECONDS", 0.05)
        client.sendall(b"GET ")
        assert everything(client) == b""
    for data in (b"", b"GET /healthz HTTP/1.1\r\n"):
        assert answer_to(service, data) == b""


def test_the_rest_of_a_body_after_its_answer_is_waited_for():
    """It is more than a head can be; a little of it, and then nothing, is not waited for."""
    line: Any = Line()
    one = http_connection.Connection(set(), config(), ServerState(), {}, _loop=line)
    one.connection_made(line)
    one.data_received(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    one.begins()
    one.ends()
    assert not line.waits
    for part in (b"a", bytes(http_connection.MAX_HEAD)):
        one.data_received(part)
    for is_over in (False, True):
        after, what, _ = line.waits
        assert after == http_connection.HEAD_SECONDS and not line.broken
        what()
        assert line.broken is is_over


@pytest.fixture
def too_many_connections(monkeypatch):
    """Let a connection be one too many as soon as there is another one of the same address."""
    monkeypatch.setattr(connection_limits, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(connection_limits, "FEW", 1)


def test_an_excess_connection_gets_an_answer(service, too_many_connections):
    with connect(service) as first:
        alive(first)
        answer = answer_to(service, ALIVE)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"retry-after: 1" in answer and b"no-store" in answer
        assert b"application/problem+json" in answer and b"Too many connections" in answer
        alive(first)


def test_slow_bodies_from_one_address_block_nobody_else(service, too_many_connections, monkeypatch):
    slow = b"POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    with connect(service, "127.0.0.2") as first, connect(service, "127.0.0.2") as second:
        for client in (first, second):
            client.sendall(slow)
        assert everything(second).startswith(b"HTTP/1.1 503 ")
        with connect(service, "127.0.0.3") as other:
            alive(other)
    monkeypatch.setattr(connection_limits, "SPARE", 0)
    monkeypatch.setattr(connection_limits, "MAX_TURNED_AWAY", 0)
    with connect(service, "127.0.0.2"), connect(service, "127.0.0.2") as second:
        answer = everything(second)  # before it has sent its request
    assert answer.startswith(b"HTTP/1.1 503 ") and b"Too many connections" in answer and b"no-store" in answer


def test_those_that_are_too_many_take_no_place_of_others(too_many_connections, monkeypatch):
    monkeypatch.setattr(connection_limits, "SPARE", 1)
    connections, loop = set(), Line()  # type: Any, Any

    def served(source):
        one = http_connection.Connection(connections, config(), ServerState(), {}, _loop=loop)
        one.connection_made(Caller(source))
        return one.is_served

    assert [served("2001:db8::1"), *(served(f"2001:db8::{n}") for n in (1, 2, 3))] == [True, False, False, False]
    assert served("192.0.2.1") and not served("192.0.2.2")
