"""A real `recorder serve` in its own process, on free ports of this machine, with all its files in one folder."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from recorder.cli.init import initialise
from recorder.config.loader import load
from recorder.persist.customers import open_credentials
from tests.daemon.descriptor_store import DescriptorStore
from tests.daemon.sbc import Sbc
from tests.ports import spans, unused

START_SECONDS = 60.0
STOP_SECONDS = 60.0

CONFIG = """
[node]
data_dir = "{data}"
runtime_dir = "{folder}/run"
trial = true
[log]
level = "{level}"
[sip]
listen = ["udp:{host}:{udp}", "tcp:{host}:{udp}", "tls:{host}:{tls}"]
certificate = "{folder}/tls.crt"
private_key = "{folder}/tls.key"
drain_seconds = {patience}
[media]
bind = "{host}"
ports = "{media}-{media_end}"
workers = 1
srtp = "{srtp}"
[admin_api]
listen = "{api_host}:{api}"
[keys]
root = "file:{folder}/root.key"
[[customer]]
name = "acme"
sources = ["{sources}"]
country = "DE"
{more}
"""
PORTS = 40  # media ports
# Below the kernel's ephemeral ports, and above the ports of `own_place`.
_media = spans(20_400, 30_000, PORTS)
_doors = spans(10_000, 19_000, 1)


def free_port() -> int:
    """Return a free TCP and UDP port that neither later callers nor client sockets get."""
    return unused(_doors)


def free_span(ports: int = PORTS) -> int:
    """Return the first of this many consecutive free media ports; daemons of a bench beside us take thousands."""
    while True:
        first, *more = islice(_media, -(-ports // PORTS))
        if more and more[-1] != first + len(more) * PORTS:  # the range ended, and began again, too early
            continue
        with ExitStack() as held:
            try:
                for port in range(first, first + ports):
                    held.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def own_place(calls: int) -> dict[str, Any]:
    """Return settings of a server for this many calls at its own loopback address.

    While the server is down, no other process, not even a returning client, can get one of its ports.
    """
    host = ".".join(["127", *(str(random.randrange(1, 255)) for _ in range(3))])
    return {"host": host, "udp": 5060, "tls": 5061, "api": 8443, "media": 20_000, "ports": 4 * calls + 20}


def command(*words: object, timeout: float = 60.0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `recorder …` to its end."""
    line = [sys.executable, "-m", "recorder", *map(str, words)]
    whole = {**os.environ, **environment}
    return subprocess.run(line, capture_output=True, text=True, timeout=timeout, env=whole, check=False)


@dataclass
class Server:
    """A recorder's folder, configuration and process."""

    folder: Path
    data: Path
    srtp: str = "preferred"
    level: str = "debug"
    host: str = "127.0.0.1"
    api_host: str = ""  # by default the same
    udp: int = field(default_factory=free_port)
    tls: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    media: int = 0  # first of its media ports; free ones by default
    ports: int = PORTS
    store: DescriptorStore | None = None  # the descriptor store it runs under
    drain: bool = False  # whether a stop ends the calls although a store keeps the sockets
    patience: int = 3  # seconds that calls may continue during a stop
    sources: str = "127.0.0.0/8"  # addresses whose calls are accepted
    more: str = ""  # further lines of the customer, and what follows
    environment: dict[str, str] = field(default_factory=dict)  # additional variables
    process: subprocess.Popen[bytes] | None = None
    tokens: dict[str, str] = field(default_factory=dict, repr=False)  # API tokens by role

    def __post_init__(self) -> None:
        self.api_host = self.api_host or self.host
        self.media = self.media or free_span(self.ports)
        self.write()

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "recorder.toml"

    @property
    def log(self) -> Path:
        """The file with its output."""
        return self.folder / "log"

    def write(self) -> None:
        """Write the configuration."""
        self.config.write_text(CONFIG.format(**vars(self), media_end=self.media + self.ports - 1))

    def init(self) -> None:
        """Make keys and certificates and the first administrator's token, as `recorder init` does."""
        self.tokens["admin"] = str(initialise(self.config).token)

    def token(self, *roles: str) -> str:
        """Return a token with these roles, named after them and created on first use."""
        name = "-".join(roles)
        if name not in self.tokens:
            credentials = open_credentials(load(self.config), "acme")
            self.tokens[name] = credentials.create(f"the-{name}", roles, datetime.now(UTC)).token
        return self.tokens[name]

    def port(self, transport: str) -> int:
        """Return the SIP port of a transport."""
        return self.tls if transport == "tls" else self.udp

    def uri(self, transport: str = "udp") -> str:
        """Return the URI to which a client sends its calls."""
        return f"sip:rec@{self.host}:{self.port(transport)};transport={transport}"

    def sbc(self, transport: str = "udp", call: str = "", **more: Any) -> Sbc:
        """Connect a client."""
        return Sbc(transport, self.host, self.port(transport), call, **more)

    def replace(self, old: str, new: str) -> None:
        """Replace a text in the configuration file."""
        text = self.config.read_text()
        if old not in text:
            raise LookupError(old)
        self.config.write_text(text.replace(old, new, 1))

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command with this configuration."""
        return command(*words, "--config", self.config)

    def start(self) -> None:
        """Start the daemon and wait until it serves, including its index if the database is not away."""
        before = len(self.lines())
        with self.log.open("ab") as log:
            line = [sys.executable, "-m", "recorder", "serve", "--config", str(self.config)]
            line += ["--drain"] * self.drain
            if self.store:
                self.process = self.store.start(line, log, self.environment)
            else:
                self.process = subprocess.Popen(line, stdout=log, stderr=log, env={**os.environ, **self.environment})
        end = time.monotonic() + START_SECONDS
        while not serves(self.lines()[before:]):
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"it did not start: {self.log.read_text()}")
            time.sleep(0.05)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Stop the daemon and return its exit status."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self.process = None

    def lines(self) -> list[dict[str, Any]]:
        """Return the log so far; a line that is not JSON becomes {"text": …}."""
        return logged(self.log)

    def events(self) -> list[str]:
        """Return the events in the log so far."""
        return [str(line.get("event")) for line in self.lines()]

    def until(self, event: str, count: int = 1, seconds: float = 30.0) -> None:
        """Wait for an event in the log."""
        end = time.monotonic() + seconds
        while self.events().count(event) < count:
            if time.monotonic() > end:
                raise TimeoutError(f"{event} never came: {self.log.read_text()[-3000:]}")
            time.sleep(0.05)


@contextmanager
def taken(one: Server, transport: str) -> Iterator[int]:
    """Occupy a port that a server needs (udp, tcp or api), as another program would; yield its number."""
    port = one.api if transport == "api" else one.udp
    with socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as held:
        held.bind(("127.0.0.1", port))
        if transport != "udp":
            held.listen()
        yield port


def logged(log: Path) -> list[dict[str, Any]]:
    """Return the lines of a log; a line that is not JSON becomes {"text": …}."""
    out = []
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            out.append(json.loads(line))
        except ValueError:
            out.append({"text": line})
    return out


def files(folder: Path) -> list[Path]:
    """Return a running daemon's files without sockets; it may delete some meanwhile, which `os.walk` allows."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return [path for path in found if not path.is_socket()]


def serves(lines: Iterable[dict[str, Any]]) -> bool:
    """Return whether a daemon's log says that it and its API serve, and that its databases are open or away."""
    said = {line.get("event") for line in lines}
    opening = "database.late" in said and not {"database.back", "database.away"} & said
    return {"recorder.ready", "api.ready"} <= said and not opening


@contextmanager
def server(folder: Path, data: Path | None = None, **settings: Any) -> Iterator[Server]:
    """Yield a server that is not started yet; kill its process at the end."""
    one = Server(folder, data or folder / "data", **settings)
    try:
        yield one
    finally:
        if one.process is not None:
            one.process.kill()
            one.process.wait()
