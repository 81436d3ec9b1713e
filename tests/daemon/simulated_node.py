"""A real daemon in a folder of its own, and the recorder's other commands as an operator runs them."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.daemon.server import free_port, logged, serves

RECORDER = Path(sys.executable).with_name("recorder")
SECONDS = 60


def command(*words: object, timeout: float = SECONDS) -> subprocess.CompletedProcess[str]:
    """Run one command to its end."""
    return subprocess.run([str(RECORDER), *map(str, words)], capture_output=True, text=True, timeout=timeout)


@dataclass
class RunningNode:
    """What a test needs to know of a running daemon."""

    config: Path
    sip: int
    tls: int
    api: int
    token: str
    process: subprocess.Popen[bytes]

    def target(self, transport: str) -> str:
        """URI for `recorder simulate --to`."""
        return f"sip:rec@127.0.0.1:{self.tls if transport == 'tls' else self.sip};transport={transport}"

    def wait(self) -> None:
        """Wait until the daemon takes calls and answers from its index."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert self.process.poll() is None, "the daemon ended by itself; its log is in the test's folder"
            try:
                if self._get("/readyz")[0] == 200 and serves(logged(self.config.with_name("log"))):
                    return
            except OSError:
                pass  # it is starting
            time.sleep(0.05)
        raise TimeoutError("the daemon does not become ready")

    def ask(self, path: str) -> bytes:
        """GET something of the customer from the API."""
        status, body = self._get(f"/api/v1/customers/acme{path}")
        assert status == 200, body
        return body

    def _get(self, path: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.api, timeout=SECONDS)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {self.token}"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def calls(self) -> list[dict[str, Any]]:
        """List every call with `recorder calls`."""
        listed = command("calls", "--config", self.config, "--limit", 10_000, "--json")
        items: list[dict[str, Any]] = json.loads(listed.stdout)["items"]
        return items


def configure(folder: Path, *more: tuple[str, str]) -> tuple[Path, list[int]]:
    """Let `recorder init` write a configuration and open it to this machine on free ports; `more`: line, new line."""
    config = folder / "recorder.toml"
    made = command("init", "--config", config, "--json")
    assert made.returncode == 0, made.stderr
    ports = [free_port() for _ in range(3)]
    first = 20_000 + 2_000 * random.randrange(6)  # another daemon of this machine may hold the usual ones
    changes = (
        (
            r'listen = \["udp.*',
            f'listen = ["udp:127.0.0.1:{ports[0]}", "tcp:127.0.0.1:{ports[0]}", "tls:127.0.0.1:{ports[1]}"]',
        ),
        (r'listen = "127.*', f'listen = "127.0.0.1:{ports[2]}"'),
        (r"(certificate|private_key) = .*admin.*", ""),
        (r"sources = .*", 'sources = ["127.0.0.0/8"]'),
        (r"ports = .*", f'ports = "{first}-{first + 1_999}"'),
        (r"bind = .*", 'bind = "127.0.0.1"'),
        (r"srtp = .*", 'srtp = "preferred"'),
        (r"runtime_dir = .*", f'runtime_dir = "{folder}/run"'),
        (r"trial = .*", "trial = true"),
        *more,
    )
    text = config.read_text()
    for pattern, line in changes:
        text = re.sub(f"^{pattern}$", line, text, flags=re.MULTILINE)
    config.write_text(text)
    return config, ports


@contextmanager
def running_node(folder: Path, *more: tuple[str, str]) -> Iterator[RunningNode]:
    """Start a daemon and wait until it says that it is ready; stop it in the end. `more`: as `configure` takes it."""
    config, ports = configure(folder, *more)
    made = command(
        "token", "create", "--customer", "acme", "--role", "admin", "--name", "journey", "--config", config, "--json"
    )
    assert made.returncode == 0, made.stderr
    token = json.loads(made.stdout)["token"]
    environment = {name: value for name, value in os.environ.items() if name != "NOTIFY_SOCKET"}
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([RECORDER, "serve", "--config", config], stdout=log, stderr=log, env=environment)
    node = RunningNode(config, ports[0], ports[1], ports[2], token, process)
    try:
        node.wait()
        yield node
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
