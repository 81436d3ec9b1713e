"""The listener of [metrics]: /metrics alone, with the customers' names, so that Prometheus does not reach the page."""

from __future__ import annotations

import socket

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from admin_api.assembly.health import METRICS_TYPE
from admin_api.server.uvicorn_server import ApiServer
from recorder.config.model import AdminApi
from recorder.observe.metrics import Metrics
from recorder.runtime.tasks import Tasks
from recorder.runtime.tls import https


class MetricsServer:
    """Starts and stops it on an open socket; over TLS with the admin API's certificate, if that has one."""

    def __init__(self, api: AdminApi, metrics: Metrics, tasks: Tasks) -> None:
        """`api`: has the certificate."""
        self._api = api
        self._metrics = metrics
        self._tasks = tasks
        self._server: ApiServer | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve; returns when requests are answered."""
        app = Starlette(routes=[Route("/metrics", self._page)])
        self._server = ApiServer(app, https(self._api.certificate, self._api.private_key))
        await self._server.start(listening, lambda work: self._tasks.start(work, "metrics"))

    async def stop(self) -> None:
        """Stop serving."""
        if self._server:
            await self._server.stop()

    async def _page(self, _: Request) -> Response:
        return Response(self._metrics.page(by_customer=True), media_type=METRICS_TYPE)
