"""uvicorn inside the daemon's own loop, on a socket that is already listening."""

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
"""How often the certificate files are looked at: a renewed one is used well before the old one ends."""

DATE_SECONDS = 1.0
"""The date in the head of an answer is as exact as its format (RFC 9110 section 6.6.1)."""

STOP_SECONDS = 3.0
"""What requests under way get at the end; a play that takes longer is cut off."""


class _Embedded(uvicorn.Server):
    """A server that leaves the signals to the daemon and says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended_or_ready = asyncio.Event()
        self._left = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell who waits for it."""
        await super().startup(sockets)
        self.ended_or_ready.set()

    async def main_loop(self) -> None:
        """Renew the date of the answers until told to leave; uvicorn's own loop wakes ten times as often for that."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._left.wait(), DATE_SECONDS)

    def leave(self) -> None:
        """Have it end."""
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
        """`drop` is told why a connection came to nothing before anybody could be answered on it."""
        self._app = app
        self._drop = drop
        self._handshakes: Handshakes | None = None
        self._files = (certificate, private_key) if certificate and private_key else None
        self._server: _Embedded | None = None
        self._done = asyncio.Event()
        self._stopping = asyncio.Event()

    async def start(self, listening: socket.socket, start_task: StartTask) -> None:
        """Serve on a listening socket; returns when requests are answered.

        `start_task` runs the server beside everything else. Raises OSError or ssl.SSLError for a certificate that
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
            proxy_headers=False,  # the address in the audit log is the one that was seen
            timeout_graceful_shutdown=int(STOP_SECONDS),
        )
        self._server = _Embedded(config)
        start_task(self._serve(self._server, listening))
        if context and self._files:
            start_task(self._watch(context, *self._files))
        await self._server.ended_or_ready.wait()

    async def stop(self) -> None:
        """Stop serving; requests under way get a moment."""
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
                    tls(certificate, private_key)  # tried apart: a half-written pair must not spoil the context in use
                    context.load_cert_chain(certificate, private_key)
                    seen = now


def tls(certificate: Path, private_key: Path) -> ssl.SSLContext:
    """Make a context: TLS 1.2 with AEAD, or 1.3. Raises OSError, ssl.SSLError."""
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
