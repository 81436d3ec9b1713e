"""The admin API inside the daemon's loop."""

from __future__ import annotations

import socket

from admin_api.app import create_app
from admin_api.serving import ApiServer
from recorder.desk import Desk
from recorder.node import Node


class Surface:
    """Starts and stops the admin API on a ready-made socket."""

    def __init__(self, node: Node, desk: Desk) -> None:
        self._node = node
        self._desk = desk
        self._server: ApiServer | None = None

    async def start(self, listening: socket.socket) -> None:
        """Serve; returns when requests are answered."""
        api = self._node.settings.admin_api
        app = create_app(self._node.customers, self._desk)
        self._server = ApiServer(app, api.certificate, api.private_key)
        await self._server.start(listening, lambda work: self._node.tasks.start(work, "api"))

    async def stop(self) -> None:
        """Stop serving; requests under way get a moment."""
        if self._server:
            await self._server.stop()
