"""The admin API answers on a ready-made socket."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import httpx2

from recorder.desk import Desk
from recorder.surface import Surface
from tests.recorder.stage import stage


def test_it_answers_until_it_is_stopped(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            surface = Surface(one.node, Desk(one.node, one.live, one.runner))
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


def test_accounts_of_a_running_recorder_open_its_page(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            surface = Surface(one.node, Desk(one.node, one.live, one.runner))
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
    code = f"import sys, recorder.daemon; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
