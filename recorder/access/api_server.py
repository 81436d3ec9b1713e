"""The admin API and page inside the daemon's event loop."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING

from admin_api.assembly.app import create_app
from admin_api.server.uvicorn_server import ApiServer
from recorder.access.accounts import AccountService
from recorder.access.api_backend import Daemon
from recorder.calls.context import Node
from recorder.config.value_readers import SecondFactor
from recorder.observe.log_throttle import RateLimit
from recorder.runtime.tls import https
from storage.customer.customers import Customer

if TYPE_CHECKING:
    from recorder.access.oidc_client import Providers


class AdminApiServer:
    """Starts and stops the admin API on an open socket."""

    def __init__(self, node: Node, customers: Mapping[str, Customer], daemon: Daemon) -> None:
        self._node = node
        self._customers = customers
        self._daemon = daemon
        self._server: ApiServer | None = None
        self._account_service: AccountService | None = None
        self._lines = RateLimit()

    async def start(self, listening: socket.socket) -> None:
        """Serve; returns when requests are answered."""
        api = self._node.settings.admin_api
        self._account_service = AccountService(
            self._customers,
            required=api.second_factor is SecondFactor.REQUIRED,
            address=api.address or "",
            providers=self._providers(),
        )
        several = self._node.settings.node.number > 0
        app = create_app(self._customers, self._daemon, account_service=self._account_service, several=several)
        self._server = ApiServer(app, https(api.certificate, api.private_key), self._drop)
        await self._server.start(listening, lambda work: self._node.tasks.start(work, "api"))

    async def stop(self) -> None:
        """Stop serving; requests in progress get a moment."""
        if self._server:
            await self._server.stop()
        if self._account_service:
            self._account_service.close()

    def _drop(self, reason: str) -> None:
        """Count a failed connection; at most one line a second logs it, whoever it was."""
        self._node.metrics.api_dropped.labels(reason).inc()
        held = self._lines.admit("", self._node.monotonic())
        if held is None:
            self._node.metrics.log_suppressed.inc()
        else:
            self._node.log.warning("api.dropped", reason=reason, suppressed=held)

    def _providers(self) -> Providers | None:
        """Return the OpenID providers; a node without any needs no HTTP client."""
        if not self._node.settings.sign_ins:
            return None
        from recorder.access.oidc_client import Providers

        return Providers(self._node.settings.sign_ins, self._customers)
