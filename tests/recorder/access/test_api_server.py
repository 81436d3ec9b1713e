"""The admin API answers on a ready-made socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest

from recorder.access.api_server import AdminApiServer
from tests.in_process.certificates import application
from tests.in_process.recorder_node import CONFIG, Stage, stage, standing
from tests.recorder.service.background_services import listening


@asynccontextmanager
async def served(one: Stage) -> AsyncIterator[tuple[str, int]]:
    """Serve the admin API of a node; gives its address."""
    surface = AdminApiServer(one.node, one.customers, one.backend())
    await surface.stop()
    with listening() as listener:
        await surface.start(listener)
        yield listener.getsockname()
        await surface.stop()


async def test_failed_connections_are_logged_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ours, lines = tmp_path / "admin.pem", list[tuple[str, dict[str, object]]]()
    ours.write_bytes(application()[0])
    tls = f'[admin_api]\nlisten = "127.0.0.1:8443"\ncertificate = "{ours}"\nprivate_key = "{ours}"\n'
    async with stage(tmp_path, CONFIG.replace("[keys]", tls + "[keys]")) as one:
        monkeypatch.setattr(one.node.log, "warning", lambda event, **facts: lines.append((event, facts)))
        async with served(one) as address:
            with standing(one, 1000.0):
                for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                    with socket.create_connection(address, source_address=(host, 0)) as client:
                        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                dropped = b'recorder_api_dropped_total{reason="tls-handshake"} 3.0'
                await one.until(lambda: dropped in one.node.metrics.page())
    assert lines == [("api.dropped", {"reason": "tls-handshake", "suppressed": 0})]


async def test_accounts_of_a_running_recorder_open_its_page(one: Stage) -> None:
    async with served(one) as (host, port):
        (name, customer), *_ = one.customers.items()
        made = customer.accounts.create("anna", ["admin"], datetime.now(UTC))
        async with httpx2.AsyncClient(base_url=f"http://{host}:{port}", timeout=60) as browser:
            assert (await browser.get("/healthz")).status_code == 200
            words = "a fine long passphrase"
            form = {"customer": name, "key": made.secret, "password": words, "again": words}
            shown = await browser.post("/invitation", data=form)
    assert shown.status_code == 200
    assert "authenticator app" in shown.text  # a second factor is required unless it is configured otherwise
