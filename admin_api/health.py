"""Whether the recorder lives, takes calls, and how it fares; without a token, without personal data."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from admin_api import answers
from admin_api.errors import unavailable
from admin_api.ports import Desk

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health:
    """The answers of /healthz, /readyz and /metrics."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def alive(self, request: Request) -> Response:
        """Answer GET /healthz: the process lives and its loop turns."""
        return answers.document({"status": "alive"})

    async def ready(self, request: Request) -> Response:
        """Answer GET /readyz: 200 while calls are accepted, else 503 with why."""
        why = self._desk.not_ready()
        if why is not None:
            raise unavailable(why)
        return answers.document({"status": "ready"})

    async def metrics(self, request: Request) -> Response:
        """Answer GET /metrics."""
        return Response(self._desk.metrics(), media_type=METRICS_TYPE)
