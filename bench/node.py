"""A separate daemon for a bench: the installed `recorder`, in a temporary folder, on loopback."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RECORDER = Path(sys.executable).with_name("recorder")
READY_SECONDS = 30


@dataclass
class Node:
    """A running daemon."""

    config: Path
    process: subprocess.Popen[bytes]
    tls: int
    """Port of SIP over TLS."""
    api: int
    """Port of the admin API."""
    sip: int
    """Port of SIP over UDP and TCP."""

    @property
    def target(self) -> str:
        """URI for calls over TLS."""
        return f"sip:rec@127.0.0.1:{self.tls};transport=tls"

    def warnings(self) -> str:
        """Return the last warnings of its log."""
        lines = self.config.with_name("log").read_text().splitlines()
        return "\n".join([line for line in lines if '"level": "info"' not in line or "calls." in line][-10:])

    def metric(self, name: str) -> float:
        """Return one value of /metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.api}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def calls(self) -> list[dict[str, Any]]:
        """List all calls with `recorder calls`."""
        words = [RECORDER, "calls", "--config", self.config, "--limit", "100000", "--json"]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        items: list[dict[str, Any]] = json.loads(done.stdout)["items"]
        return items


@contextmanager
def running(
    workers: int = 0,
    prepare: Callable[[Path], object] | None = None,
    under: Sequence[str] = (),
    ready: float = READY_SECONDS,
) -> Iterator[Node]:
    """Start a daemon and wait until it is ready; at the end, stop it and remove its folders.

    `prepare` is called with the configuration file, after the keys are made and before the start. `under` is the
    command of a tool that runs the interpreter, `ready` the longest time for the start in seconds.
    """
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as place,
        tempfile.TemporaryDirectory(prefix="bench-", dir="/dev/shm") as fast,
    ):
        ports = free_ports(3)
        config = _configure(Path(place), Path(fast), workers, ports)
        if prepare is not None:
            prepare(config)
        log = Path(place, "log")
        with log.open("wb") as sink:
            words = [RECORDER, "serve", "--config", config]
            words = [*under, sys.executable, *words] if under else words
            process = subprocess.Popen(words, stdout=sink, stderr=sink)
        try:
            _wait(process, log, ports[2], ready)
            yield Node(config, process, ports[1], ports[2], ports[0])
        finally:
            process.terminate()
            process.wait(60)
            shutil.rmtree(Path(place, "data"), ignore_errors=True)


def free_ports(count: int) -> list[int]:
    """Return ports that are currently free for both TCP and UDP."""
    with ExitStack() as held:
        ports: list[int] = []
        while len(ports) < count:
            port = held.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
            datagrams = held.enter_context(socket.socket(type=socket.SOCK_DGRAM))
            with suppress(OSError):
                datagrams.bind(("127.0.0.1", port))
                ports.append(port)
        return ports


def _configure(place: Path, fast: Path, workers: int, ports: list[int]) -> Path:
    config = place / "recorder.toml"
    subprocess.run([RECORDER, "init", "--config", config, "--json"], check=True, capture_output=True)
    changes = {
        r"runtime_dir = .*": f'runtime_dir = "{fast}"',
        r'listen = \["udp.*': _listen(ports),
        r'listen = "127.*': f'listen = "127.0.0.1:{ports[2]}"',
        r"(certificate|private_key) = .*admin.*": "",
        r"bind = .*": 'bind = "127.0.0.1"',
        r"ports = .*": 'ports = "20000-31999"',
        r"max_calls = .*": "max_calls = 5000",
        r"workers = .*": f"workers = {workers}",
        r"sources = .*": 'sources = ["127.0.0.0/8"]',
        r"srtp = .*": 'srtp = "preferred"',
    }
    text = config.read_text()
    for pattern, line in changes.items():
        text = re.sub(f"^{pattern}$", line, text, flags=re.MULTILINE)
    config.write_text(text)
    return config


def _listen(ports: list[int]) -> str:
    places = [f"{kind}:127.0.0.1:{port}" for kind, port in zip(("udp", "tcp", "tls"), (ports[0], *ports), strict=False)]
    return f"listen = {json.dumps(places)}"


def _wait(process: subprocess.Popen[bytes], log: Path, port: int, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"The daemon does not start: {log.read_text()[-1000:]}")
