"""Run uvicorn inside the daemon's event loop, on a socket that already listens."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from admin_api.server.http_connection import MAX_HEAD, Connection
from admin_api.server.tls_accept import Handshakes, StartTask

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites with forward secrecy and authenticated encryption (RFC 9325 section 4.2)."""

RELOAD_SECONDS = 5.0
"""How often the certificate files are checked: a renewed one is used well before the old one expires."""

DATE_SECONDS = 1.0
"""How often the Date header is renewed: its format has whole seconds (RFC 9110 section 6.6.1)."""

STOP_SECONDS = 3.0
"""Time that running requests get at shutdown; a longer playback is cut off."""


class _Embedded(uvicorn.Server):
    """A uvicorn server that leaves signals to the daemon and reports when it is ready."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended_or_ready = asyncio.Event()
        self._left = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then report that it is ready."""
        await super().startup(sockets)
        self.ended_or_ready.set()

    async def main_loop(self) -> None:
        """Renew the Date header until stopped; uvicorn's own loop wakes ten times as often for that."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), DATE_SECONDS)

    def leave(self) -> None:
        """Ask it to stop."""
        self.should_exit = True
        self._left.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


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
        self._handshakes: Handshakes | None = None
        self._files = (certificate, private_key) if certificate and private_key else None
        self._server: _Embedded | None = None
        self._done = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self, listening: socket.socket, start_task: StartTask) -> None:
        """Serve on a listening socket; returns when requests are answered.

        `start_task` runs the server as a task. Raises OSError or ssl.SSLError for a certificate that
        cannot be loaded.
        """
        context = tls(*self._files) if self._files else None
        self._handshakes = Handshakes(context, start_task, self._drop) if context else None
        config = uvicorn.Config(
            self._app,
            http=Connection if self._handshakes is None else self._handshakes.protocol,  # type: ignore[arg-type]  # it is called
            ws="none",
            lifespan="off",
            h11_max_incomplete_event_size=MAX_HEAD,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # the audit log records the address of the connection
            timeout_graceful_shutdown=int(STOP_SECONDS),
        )
        self._server = _Embedded(config)
        start_task(self._serve(self._server, listening))
        if context and self._files:
            start_task(self._watch(context, *self._files))
        await self._server.ended_or_ready.wait()

    async def stop(self) -> None:
        """Stop serving; running requests get STOP_SECONDS to finish."""
        self._stopping.set()
        if self._server:
            self._server.leave()
            if self._handshakes is not None:
                self._handshakes.close()
            await self._done.wait()

    async def _serve(self, server: _Embedded, listening: socket.socket) -> None:
        try:
            await server.serve([listening])
        finally:
            self._done.set()
            server.ended_or_ready.set()

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
