"""Health checks and metrics; they need no token and hold no personal data."""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from admin_api.http import responses
from admin_api.http.messages import Message
from admin_api.http.ports import Daemon
from admin_api.http.problems import unavailable
from storage.customer.customers import Customer

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """The answers of /healthz, /readyz and /metrics."""

    def __init__(self, daemon: Daemon, customers: Mapping[str, Customer]) -> None:
        self._daemon = daemon
        self._customers = customers

    async def alive(self, request: Request) -> Response:
        """Answer GET /healthz: the process runs and its event loop responds."""
        return responses.document({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Answer GET /readyz: 200 while calls are accepted, else 503 with the reason.

        The answer counts customers who cannot be served now: their calls are still recorded, or, if their keys cannot
        be opened, refused. It does not name them, because the client has shown no token.
        """
        why = self._daemon.not_ready()
        if why is not None:
            raise unavailable(Message("problem.not-ready", "{why}").of(why=why))
        away = self._daemon.unopened() + sum(not customer.served for customer in self._customers.values())
        return responses.document({"status": "ready", **({"customers_away": away} if away else {})})

    async def metrics(self, request: Request) -> Response:
        """Answer GET /metrics."""
        return Response(self._daemon.metrics(), media_type=METRICS_TYPE)
