"""TLS handshakes with limits for their number and time; asyncio waits a minute and does not limit their number."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from admin_api.server import connection_limits
from admin_api.server.http_connection import Connection

HANDSHAKE_SECONDS = 5.0
"""Time for a handshake, as at the SIP ports: a few round trips, one of them lost."""

StartTask = Callable[[Coroutine[Any, Any, None]], Any]


class Handshakes:
    """All handshakes under way, by client address, oldest first.

    A genuine one ends within a few round trips, so if places run short, the oldest of the address with most is dropped.
    """

    def __init__(
        self,
        context: Callable[[], ssl.SSLContext],
        start_task: StartTask,
        drop: Callable[[str], None],
        connections: set[Connection],
    ) -> None:
        """`context` returns the newest context.

        `drop` receives the reason why a connection failed; `connections` are all whose handshake is done.
        """
        self._context = context
        self._start_task = start_task
        self._drop = drop
        self._connections = connections
        self._waiting: dict[str, list[Accepted]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def close(self) -> None:
        """Drop all handshakes, and refuse new ones."""
        self._closed = True
        for accepted in [accepted for waiting in self._waiting.values() for accepted in waiting]:
            accepted.transport.abort()

    def begin(self, accepted: Accepted) -> bool:
        """Begin a handshake; False if the limit is reached."""
        if self._closed or not self._has_place(accepted):
            self._drop("too-many-connections")
            return False
        self._waiting.setdefault(accepted.place, []).append(accepted)
        self._start_task(self._shake(accepted))
        return True

    def _has_place(self, accepted: Accepted) -> bool:
        own, total = len(self._waiting.get(accepted.place, ())), len(self) + len(self._connections)
        held = sum(each.place == accepted.place for each in self._connections)
        if connection_limits.has_place(total + 1, own + held + 1) or connection_limits.may_be_told(total, own):
            return True
        most = max(self._waiting.values(), key=len, default=[])
        if len(most) <= own:
            return False
        self._drop("too-many-connections")
        most[0].transport.abort()
        self._end(most[0])
        return True

    async def _shake(self, accepted: Accepted) -> None:
        try:
            secured = await asyncio.get_running_loop().start_tls(
                accepted.transport, accepted, self._context(), server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except asyncio.CancelledError:
            accepted.transport.abort()
            raise
        except OSError as problem:  # ssl.SSLError is one
            # asyncio's frames form a cycle with a buffer of 256 KiB: a flood must not wait for the garbage collector
            problem.__traceback__ = None
            if isinstance(problem, ssl.SSLError | ConnectionAbortedError):  # else the client left: nothing to report
                self._drop("tls-handshake")
            accepted.transport.abort()
            return
        finally:
            self._end(accepted)
        if secured is not None and not accepted.lost:
            security = accepted.transport.get_protocol()
            if isinstance(security, asyncio.BufferedProtocol):  # None if the connection was lost just now
                accepted.transport.set_protocol(Unnested(security))
            accepted.become(secured)

    def _end(self, accepted: Accepted) -> None:
        waiting = self._waiting.get(accepted.place, [])
        if accepted in waiting:
            waiting.remove(accepted)
            if not waiting:
                del self._waiting[accepted.place]


class Accepted(asyncio.Protocol):
    """An accepted connection until it is handed over after its handshake."""

    transport: asyncio.Transport
    place = ""
    lost = False

    def __init__(self, handshakes: Handshakes, connect: Callable[[], Connection]) -> None:
        """`connect` makes the protocol that goes on after the handshake."""
        self._handshakes = handshakes
        self._connect = connect
        self._data: list[bytes] = []
        self._connection: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hold the bytes back and begin the handshake."""
        if not isinstance(transport, asyncio.Transport):
            return
        self.transport = transport
        peer = transport.get_extra_info("peername")
        self.place = connection_limits.subscriber(peer[0] if peer else "")
        transport.pause_reading()
        if not self._handshakes.begin(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Keep bytes that arrive with the last handshake message."""
        self._data.append(data)

    def become(self, secured: asyncio.Transport) -> None:
        """Hand over to the connection."""
        self._connection = connection = self._connect()
        secured.set_protocol(connection)
        connection.connection_made(secured)
        for data in self._data:
            connection.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Report the end to the connection, even if the hand-over is already scheduled."""
        self.lost = True
        if self._connection is not None:
            self._connection.connection_lost(exc)


class Unnested(asyncio.BufferedProtocol):
    """TLS over a transport; when the transport has room again, writing resumes at the loop's next turn.

    asyncio writes the next records inside `resume_writing`. If the client resets the connection there, the write fails
    and schedules `_call_connection_lost`, and `_write_ready` then calls it again: it only checks that the buffer is
    empty and the transport is closing. The second call finds no protocol (AttributeError).
    """

    def __init__(self, security: asyncio.BufferedProtocol) -> None:
        self._security = security
        self._lost = False
        self.get_buffer = security.get_buffer  # type: ignore[method-assign]  # for each read: no call of ours between
        self.buffer_updated = security.buffer_updated  # type: ignore[method-assign]  # as above

    def eof_received(self) -> bool | None:
        """Report that the client sends no more."""
        return self._security.eof_received()

    def pause_writing(self) -> None:
        """Pause writing."""
        self._security.pause_writing()

    def resume_writing(self) -> None:
        """Resume writing at the loop's next turn."""
        asyncio.get_running_loop().call_soon(self._go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._lost = True
        self._security.connection_lost(exc)

    def _go_on(self) -> None:
        if not self._lost:
            self._security.resume_writing()
