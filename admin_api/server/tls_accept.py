"""TLS handshakes of a listener: counted like connections and cut off soon; asyncio waits a minute and counts none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from typing import Any

from admin_api.server import connection_limits
from admin_api.server.http_connection import Connection

HANDSHAKE_SECONDS = 5.0
"""What a client gets for its handshake, as at the SIP ports: some round trips, one of them lost."""

StartTask = Callable[[Coroutine[Any, Any, None]], Any]


class Handshakes:
    """All that are under way, by where they come from, the oldest first.

    A genuine one is over in some round trips, so where places are short the oldest of whoever has most is held open.
    """

    def __init__(self, context: ssl.SSLContext, start_task: StartTask, drop: Callable[[str], None]) -> None:
        """`drop` is told for what reason a connection came to nothing."""
        self._context = context
        self._start_task = start_task
        self._drop = drop
        self._waiting: dict[str, list[Accepted]] = {}
        self._closed = False

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def protocol(self, **words: Any) -> Accepted:
        """Make what takes an accepted connection, in place of uvicorn's protocol: `words` are for that one."""
        return Accepted(self, lambda: Connection(**words), words["server_state"].connections)

    def close(self) -> None:
        """End all, and those to come."""
        self._closed = True
        for accepted in [accepted for waiting in self._waiting.values() for accepted in waiting]:
            accepted.transport.abort()

    def begin(self, accepted: Accepted) -> bool:
        """Begin a handshake; False if there is no place for it."""
        if self._closed or not self._has_place(accepted):
            self._drop("too-many-connections")
            return False
        self._waiting.setdefault(accepted.place, []).append(accepted)
        self._start_task(self._shake(accepted))
        return True

    def _has_place(self, accepted: Accepted) -> bool:
        own, total = len(self._waiting.get(accepted.place, ())), len(self) + len(accepted.connections)
        held = sum(isinstance(each, Connection) and each.place == accepted.place for each in accepted.connections)
        if connection_limits.has_place(total, own + held) or connection_limits.may_be_told(total, own):
            return True
        most = max(self._waiting.values(), key=len, default=[])
        if len(most) <= own:
            return False
        self._drop("too-many-connections")
        most[0].transport.abort()
        self._end(most[0])
        return True

    async def _shake(self, accepted: Accepted) -> None:
        early = Early()
        try:
            secured = await asyncio.get_running_loop().start_tls(
                accepted.transport, early, self._context, server_side=True, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
        except asyncio.CancelledError:
            accepted.transport.abort()
            raise
        except OSError as problem:  # ssl.SSLError is one
            # asyncio's frames hold what holds them, with a buffer of 256 KiB: a flood must not wait for the collector
            problem.__traceback__ = None
            if isinstance(problem, ssl.SSLError | ConnectionAbortedError):  # else the client went: nothing to be told
                self._drop("tls-handshake")
            accepted.transport.abort()
            return
        finally:
            self._end(accepted)
        if secured is not None and not early.lost:
            security = accepted.transport.get_protocol()
            if isinstance(security, asyncio.BufferedProtocol):  # None where the connection was lost this moment
                accepted.transport.set_protocol(Unnested(security))
            early.become(accepted.connect(), secured)

    def _end(self, accepted: Accepted) -> None:
        waiting = self._waiting.get(accepted.place, [])
        if accepted in waiting:
            waiting.remove(accepted)
            if not waiting:
                del self._waiting[accepted.place]


class Accepted(asyncio.Protocol):
    """An accepted connection before its handshake."""

    transport: asyncio.Transport
    place = ""

    def __init__(self, handshakes: Handshakes, connect: Callable[[], Connection], connections: set[Any]) -> None:
        self._handshakes = handshakes
        self.connect = connect
        self.connections = connections  # of the listener, whose handshakes are over

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


class Unnested(asyncio.BufferedProtocol):
    """TLS over a transport that reports room for more: written is then at the loop's next turn.

    asyncio writes the next records inside that report. Where the client resets the connection between both, the write
    fails, the transport has its end called, and goes on to call it itself: `_write_ready` looks only whether nothing
    waits and it is closing. The second end finds no protocol (AttributeError in `_call_connection_lost`).
    """

    def __init__(self, security: asyncio.BufferedProtocol) -> None:
        self._security = security
        self._lost = False
        self.get_buffer = security.get_buffer  # type: ignore[method-assign]  # for each read: no call of ours between
        self.buffer_updated = security.buffer_updated  # type: ignore[method-assign]  # as above

    def eof_received(self) -> bool | None:
        """Tell that the client sends no more."""
        return self._security.eof_received()

    def pause_writing(self) -> None:
        """Hold records back."""
        self._security.pause_writing()

    def resume_writing(self) -> None:
        """Have more written, but not now."""
        asyncio.get_running_loop().call_soon(self._go_on)

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._lost = True
        self._security.connection_lost(exc)

    def _go_on(self) -> None:
        if not self._lost:
            self._security.resume_writing()


class Early(asyncio.Protocol):
    """What comes between the end of the handshake and the moment when its connection knows."""

    def __init__(self) -> None:
        self.lost = False
        self._data: list[bytes] = []
        self._heir: Connection | None = None

    def become(self, heir: Connection, transport: asyncio.Transport) -> None:
        """Have a connection go on with it."""
        self._heir = heir
        transport.set_protocol(heir)
        heir.connection_made(transport)
        for data in self._data:
            heir.data_received(data)

    def data_received(self, data: bytes) -> None:
        """Keep what comes with the last message of the handshake."""
        self._data.append(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever goes on with it, also where that was on its way already."""
        self.lost = True
        if self._heir is not None:
            self._heir.connection_lost(exc)
