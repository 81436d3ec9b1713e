"""One connection with the limits that uvicorn lacks: time for a head, a client that does not read, too many clients."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from admin_api.http import responses
from admin_api.http.error_middleware import HEADERS, full
from admin_api.http.ports import ABORT
from admin_api.http.problems import Problem, malformed, too_many_connections
from admin_api.server import connection_limits

HEAD_SECONDS = 10.0
"""Time for a client to send the head of a request; a waiting connection counts against the limit."""

STALLED_SECONDS = 75.0
"""Time after which a client that reads nothing of its answer is dropped. A paused player may be dropped earlier
(admin_api.calls.playback), but without TLS a closed connection would wait for its last bytes for ever."""

MAX_HEAD = 32 << 10
"""Bytes of the head of a request; ours have under 2 KB."""

INVALID = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain"
"""Beginning of uvicorn's own answer to invalid HTTP; the first header of the application's answers is Date."""

RESET = struct.pack("ii", 1, 0)
"""Value of SO_LINGER with which a closed socket sends a reset and discards its unsent bytes (socket(7))."""

STATE = "connection"
"""The name under which a request's ASGI state has its connection."""


class Connection(asyncio.Protocol, asyncio.Transport):
    """A layer between a connection's transport and uvicorn's protocol; each takes it for the other."""

    place = ""  # key of the client's address for the limits
    is_served = True

    def __init__(
        self,
        connections: set[Connection],
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Take all open connections, and the arguments that uvicorn gives its protocol."""
        super().__init__()
        self._connections = connections
        self._loop = _loop or asyncio.get_running_loop()
        self._http = H11Protocol(config, server_state, {**app_state, STATE: self, ABORT: self.abort}, self._loop)
        self._requests = 0  # requests under way
        self._unread = 0  # bytes since the last request began
        self._refused = False  # whether the client sent invalid HTTP
        self._head_timer: asyncio.TimerHandle | None = None
        self._stalled_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, and wait for the head of the first request."""
        self._transport: asyncio.Transport = transport
        # assigned, not methods: uvicorn calls them for every write, and no code of ours should run in between
        self.is_closing, self.get_extra_info = transport.is_closing, transport.get_extra_info  # type: ignore[method-assign]
        self.pause_reading, self.resume_reading = transport.pause_reading, transport.resume_reading  # type: ignore[method-assign]
        peer = transport.get_extra_info("peername")
        self.place = connection_limits.subscriber(peer[0] if peer else "")
        self._connections.add(self)
        total = len(self._connections)
        if total > connection_limits.MAX_CONNECTIONS:  # earlier clients keep being served
            served = [each.place for each in self._connections if each.is_served]
            self.is_served = connection_limits.has_place(len(served), served.count(self.place))
        self._http.connection_made(self)
        self._wait_for_head()
        if not self.is_served and not connection_limits.may_wait(total):
            transport.write(closing_answer(too_many_connections()))
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._connections.discard(self)
        self._stop_waiting()
        self._goes_on()
        if not self._refused:
            self._http.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Receive bytes; a head that arrives in pieces must be complete in time."""
        if not self._requests:
            self._unread += len(data)
            if not data.endswith(b"\r\n\r\n"):
                self._wait_for_head()
        try:
            self._http.data_received(data)
        except h11.LocalProtocolError:  # invalid HTTP, and an answer is under way: uvicorn cannot begin another
            self._refused = True
            self.close()

    def pause_writing(self) -> None:
        """Pause an answer that the client does not read; check later whether it read any."""
        self._http.pause_writing()
        self._look_again(self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Resume an answer."""
        self._goes_on()
        self._http.resume_writing()

    def write(self, data: Any) -> None:
        """Send a part of an answer, as bytes; a problem document instead of uvicorn's own answer to invalid HTTP."""
        if data.startswith(INVALID):
            self._refused = True
            self._transport.write(closing_answer(malformed()))
        elif not self._refused:
            self._transport.write(data)

    def close(self) -> None:
        """Close the connection; after invalid HTTP, no request on it gets another answer."""
        if self._refused:
            self._http.connection_lost(ConnectionAbortedError())
        self._transport.close()

    def abort(self) -> None:
        """Drop the connection and, by a reset, everything that the client has not received yet.

        Closing it normally would still send the megabytes that this process and the kernel hold.
        """
        with suppress(OSError):  # it is closed already
            self.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def begins(self) -> None:
        """Note that the head of a request is complete."""
        self._requests += 1
        self._unread = 0
        if self._head_timer is not None:
            self._stop_waiting()

    def ends(self) -> None:
        """Note that a request is answered; uvicorn closes an idle connection after a while."""
        self._requests -= 1

    def _look_again(self, left: int) -> None:
        self._stalled_timer = self._loop.call_later(STALLED_SECONDS, self._look, left)

    def _look(self, left: int) -> None:
        """Close the connection if the client has read nothing since."""
        now = self._transport.get_write_buffer_size()
        if now < left:
            self._look_again(now)
        else:
            self._transport.abort()

    def _goes_on(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(HEAD_SECONDS, self._has_no_head)

    def _has_no_head(self) -> None:
        """Close the connection, unless it receives the rest of a body whose request was answered before its end."""
        self._head_timer = None
        if self._unread <= MAX_HEAD:
            self._transport.close()
        else:
            self._unread = 0
            self._wait_for_head()

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def limited(app: ASGIApp) -> ASGIApp:
    """Wrap an application: report requests to their connection, and answer those of surplus connections with 503."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        connection: Connection = scope["state"][STATE]
        connection.begins()
        try:
            await (app if connection.is_served else full)(scope, receive, send)
        finally:
            connection.ends()

    return answer


def closing_answer(problem: Problem) -> bytes:
    """Return the bytes of an answer that closes the connection, for use without the application."""
    answer = responses.problem(problem)
    headers = [*answer.raw_headers, *HEADERS, (b"connection", b"close")]
    lines = [b"HTTP/1.1 %d " % answer.status_code, *(b"%s: %s" % pair for pair in headers)]
    return b"\r\n".join([*lines, b"", bytes(answer.body)])
