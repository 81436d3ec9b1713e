"""The admin API answers on a ready-made socket."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from recorder.access.api_backend import Daemon
from recorder.access.api_server import AdminApiServer
from tests.in_process.certificates import application
from tests.in_process.recorder_node import CONFIG, stage, standing


class Lines:
    """A log that takes notes."""

    def __init__(self, lines: list[dict[str, object]]) -> None:
        self._lines = lines

    def warning(self, event: str, **fields: object) -> None:
        self._lines.append({"event": event, **fields})


def test_it_answers_until_it_is_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            surface = AdminApiServer(one.node, Daemon(one.node, one.live, one.executor))
            await surface.stop()
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            address = listening.getsockname()
            await surface.start(listening)
            reader, writer = await asyncio.open_connection(*address)
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            await surface.stop()
            listening.close()

    asyncio.run(story())


def test_failed_connections_are_logged_once_a_second(
    tmp_path: Path,
) -> None:
    ours, lines = tmp_path / "admin.pem", list[dict[str, object]]()
    ours.write_bytes(application()[0])
    tls = f'[admin_api]\nlisten = "127.0.0.1:8443"\ncertificate = "{ours}"\nprivate_key = "{ours}"\n'

    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("[keys]", tls + "[keys]")) as one:
            one.node.log = Lines(lines)  # type: ignore[assignment]  # all it needs of a log is warning()
            surface, counted = (
                AdminApiServer(one.node, Daemon(one.node, one.live, one.executor)),
                one.node.metrics.api_dropped,
            )
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            await surface.start(listening)
            with standing(one, 1000.0):
                for host in ("127.0.0.2", "127.0.0.3", "127.0.0.4"):
                    with socket.create_connection(listening.getsockname(), source_address=(host, 0)) as client:
                        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
                await one.until(lambda: counted.labels("tls-handshake")._value.get() == 3)
            await surface.stop()
            listening.close()

    asyncio.run(story())
    assert lines == [{"event": "api.dropped", "reason": "tls-handshake", "suppressed": 0}]


def test_accounts_of_a_running_recorder_open_its_page(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            surface = AdminApiServer(one.node, Daemon(one.node, one.live, one.executor))
            listening = socket.create_server(("127.0.0.1", 0))
            listening.setblocking(False)
            await surface.start(listening)
            (name, customer), *_ = one.node.customers.items()
            made = customer.accounts.create("anna", ["admin"], datetime.now(UTC))
            address = f"http://127.0.0.1:{listening.getsockname()[1]}"
            async with httpx2.AsyncClient(base_url=address, timeout=60) as browser:
                words = "a fine long passphrase"
                form = {"customer": name, "key": made.secret, "password": words, "again": words}
                shown = await browser.post("/invitation", data=form)
            assert shown.status_code == 200
            assert "authenticator app" in shown.text  # a second factor is required unless it is configured otherwise
            await surface.stop()
            listening.close()

    asyncio.run(story())


def test_the_start_does_without_what_signing_in_needs() -> None:
    heavy = "{'argon2', 'jinja2', 'joserfc', 'fido2', 'segno', 'httpx2'}"
    code = f"import sys, recorder.service.daemon; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
