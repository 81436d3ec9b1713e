"""A uvicorn server inside the daemon's event loop, on a socket that already listens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from admin_api.server.http_connection import MAX_HEAD, Connection, limited
from admin_api.server.tls_accept import Accepted, Handshakes, StartTask

DATE_SECONDS = 1.0
"""Seconds between renewals of the Date header, whose format has whole seconds (RFC 9110 section 6.6.1)."""

STOP_SECONDS = 3.0
"""Time that running requests get at shutdown; a longer playback is cut off."""


class ApiServer:
    """A server of an application over HTTPS, or over HTTP (loopback)."""

    def __init__(
        self, app: ASGIApp, context: Callable[[], ssl.SSLContext] | None, drop: Callable[[str], None] = lambda _: None
    ) -> None:
        """`context` returns the context for a new connection, None: over HTTP.

        `drop` receives the reason why a connection failed before its first request.
        """
        self._app = app
        self._drop = drop
        self._context = context
        self._connections: set[Connection] = set()
        self._handshakes: Handshakes | None = None
        self._server: uvicorn.Server | None = None
        self._done = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self, listening: socket.socket, start_task: StartTask) -> None:
        """Serve on a listening socket; returns when requests are answered. `start_task` runs the server as a task."""
        if self._context is not None:
            self._handshakes = Handshakes(self._context, start_task, self._drop, self._connections)
        config = uvicorn.Config(
            limited(self._app),
            http=self._protocol,  # type: ignore[arg-type]  # it is called
            ws="none",
            lifespan="off",
            h11_max_incomplete_event_size=MAX_HEAD,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the audit log records the address of the connection
            timeout_graceful_shutdown=int(STOP_SECONDS),
        )
        self._server = uvicorn.Server(config)
        config.load()
        self._server.lifespan = config.lifespan_class(config)
        await self._server.startup([listening])
        start_task(self._serve(self._server, listening))

    async def stop(self) -> None:
        """Stop serving; running requests get STOP_SECONDS to finish."""
        self._stopping.set()
        if self._server:
            if self._handshakes is not None:
                self._handshakes.close()
            await self._done.wait()

    def _protocol(self, **words: Any) -> asyncio.Protocol:
        """Create the protocol of an accepted connection; `words` are uvicorn's arguments for its own protocol."""
        connect = partial(Connection, self._connections, **words)
        return connect() if self._handshakes is None else Accepted(self._handshakes, connect)

    async def _serve(self, server: uvicorn.Server, listening: socket.socket) -> None:
        """Take the steps of `uvicorn.Server.serve` without its signal handlers, and wake a tenth as often."""
        try:
            while not self._stopping.is_set():
                await server.on_tick(0)  # renews the Date header
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), DATE_SECONDS)
            await server.shutdown([listening])
        finally:
            self._done.set()
