"""Run uvicorn inside the daemon's event loop, on a socket that already listens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from admin_api.server.http_connection import MAX_HEAD, Connection, Limited
from admin_api.server.tls_accept import Accepted, Handshakes, StartTask

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites with forward secrecy and authenticated encryption (RFC 9325 section 4.2)."""

RELOAD_SECONDS = 5.0
"""How often the certificate files are checked: a renewed one is used well before the old one expires."""

DATE_SECONDS = 1.0
"""How often the Date header is renewed: its format has whole seconds (RFC 9110 section 6.6.1)."""

STOP_SECONDS = 3.0
"""Time that running requests get at shutdown; a longer playback is cut off."""


class ApiServer:
    """Serves an application over HTTPS, or over HTTP where no certificate is given (loopback)."""

    def __init__(
        self,
        app: ASGIApp,
        certificate: Path | None,
        private_key: Path | None,
        drop: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`drop` receives the reason why a connection failed before its first request."""
        self._app = app
        self._drop = drop
        self._files = (certificate, private_key) if certificate and private_key else None
        self._connections: set[Connection] = set()
        self._handshakes: Handshakes | None = None
        self._server: uvicorn.Server | None = None
        self._done = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self, listening: socket.socket, start_task: StartTask) -> None:
        """Serve on a listening socket; returns when requests are answered.

        `start_task` runs the server as a task. Raises OSError or ssl.SSLError for a certificate that
        cannot be loaded.
        """
        context = tls(*self._files) if self._files else None
        if context:
            self._handshakes = Handshakes(context, start_task, self._drop, self._connections)
        config = uvicorn.Config(
            Limited(self._app),
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
        if context and self._files:
            start_task(self._watch(context, *self._files))

    async def stop(self) -> None:
        """Stop serving; running requests get STOP_SECONDS to finish."""
        self._stopping.set()
        if self._server:
            if self._handshakes is not None:
                self._handshakes.close()
            await self._done.wait()

    def _protocol(self, **words: Any) -> asyncio.Protocol:
        """Create the protocol of an accepted connection; `words` are what uvicorn gives its own."""
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

    async def _watch(self, context: ssl.SSLContext, certificate: Path, private_key: Path) -> None:
        """Load a renewed certificate; one that cannot be loaded leaves the old one in force."""
        seen = stamp(certificate, private_key)
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RELOAD_SECONDS)
            now = stamp(certificate, private_key)
            if now != seen and now is not None:
                with contextlib.suppress(OSError, ssl.SSLError):
                    tls(certificate, private_key)  # a half-written pair must not break the context
                    context.load_cert_chain(certificate, private_key)
                    seen = now


def tls(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """Create a context: TLS 1.2 with AEAD, or 1.3. Raises OSError, ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.load_cert_chain(certificate, private_key)
    return context


def stamp(certificate: Path, private_key: Path) -> tuple[int, ...] | None:
    """Return when both files were changed, None while one is missing."""
    try:
        return tuple(file.stat().st_mtime_ns for file in (certificate, private_key))
    except OSError:
        return None
