"""A real `recorder serve` in a process of its own, on free ports of this machine, with everything in one folder."""

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
PORTS = 40  # of media
# These lie below what the kernel gives to whoever names no port, and above those of `coded_calls.own_place`.
_media = spans(20_400, 30_000, PORTS)
_doors = spans(10_000, 19_000, 1)


def free_port() -> int:
    """A TCP and UDP port nobody uses now, that the next callers are not given either, nor a client's socket."""
    return unused(_doors)


def free_span(ports: int = PORTS) -> int:
    """The first of so many ports for media that nobody uses now; daemons of a bench beside us take thousands."""
    while True:
        first, *more = islice(_media, -(-ports // PORTS))
        if more and more[-1] != first + len(more) * PORTS:  # the end of the range came before there were enough
            continue
        with ExitStack() as held:
            try:
                for port in range(first, first + ports):
                    held.enter_context(socket.socket(type=socket.SOCK_DGRAM)).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first


def own_place(calls: int) -> dict[str, Any]:
    """Return settings of a server that takes so many calls, at an address of its own.

    While it is down nobody else, not even the client that comes back, can be given one of its ports.
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
    """One place to serve from."""

    folder: Path
    data: Path
    srtp: str = "preferred"
    level: str = "debug"
    host: str = "127.0.0.1"
    api_host: str = ""  # by default the same
    udp: int = field(default_factory=free_port)
    tls: int = field(default_factory=free_port)
    api: int = field(default_factory=free_port)
    media: int = 0  # the first of its ports for media; by default of ports that are free
    ports: int = PORTS
    store: DescriptorStore | None = None  # in whose care it runs
    drain: bool = False  # whether a stop ends the calls though somebody keeps the sockets
    patience: int = 3  # seconds that they may then go on
    sources: str = "127.0.0.0/8"  # whose calls are taken
    more: str = ""  # lines of the customer and whatever follows
    environment: dict[str, str] = field(default_factory=dict)  # more of it
    process: subprocess.Popen[bytes] | None = None
    tokens: dict[str, str] = field(default_factory=dict, repr=False)  # by role

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
        """What it printed."""
        return self.folder / "log"

    def write(self) -> None:
        """Write the configuration."""
        self.config.write_text(CONFIG.format(**vars(self), media_end=self.media + self.ports - 1))

    def init(self) -> None:
        """Make keys and certificates and the first administrator's token, as `recorder init` does."""
        self.tokens["admin"] = str(initialise(self.config).token)

    def token(self, *roles: str) -> str:
        """Return a token with these roles, made when it is first asked for and called after them."""
        name = "-".join(roles)
        if name not in self.tokens:
            credentials = open_credentials(load(self.config), "acme")
            self.tokens[name] = credentials.create(f"the-{name}", roles, datetime.now(UTC)).token
        return self.tokens[name]

    def port(self, transport: str) -> int:
        """Return the SIP port of a transport."""
        return self.tls if transport == "tls" else self.udp

    def uri(self, transport: str = "udp") -> str:
        """Return where a client sends its calls."""
        return f"sip:rec@{self.host}:{self.port(transport)};transport={transport}"

    def sbc(self, transport: str = "udp", call: str = "", **more: Any) -> Sbc:
        """Connect a client."""
        return Sbc(transport, self.host, self.port(transport), call, **more)

    def replace(self, old: str, new: str) -> None:
        """Change the configuration file."""
        text = self.config.read_text()
        if old not in text:
            raise LookupError(old)
        self.config.write_text(text.replace(old, new, 1))

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command with this configuration."""
        return command(*words, "--config", self.config)

    def start(self) -> None:
        """Start the daemon and wait until it serves, from its index too if that is not away."""
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
        """End it and return its exit status."""
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
        """The log so far; what is no JSON comes as {"text": …}."""
        return logged(self.log)

    def events(self) -> list[str]:
        """The events in the log so far."""
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
    """Hold a port that a server needs (udp, tcp or api), as another program would; gives its number."""
    port = one.api if transport == "api" else one.udp
    with socket.socket(type=socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as held:
        held.bind(("127.0.0.1", port))
        if transport != "udp":
            held.listen()
        yield port


def logged(log: Path) -> list[dict[str, Any]]:
    """Read the lines of a log; what is no JSON comes as {"text": …}."""
    out = []
    for line in log.read_text().splitlines() if log.exists() else ():
        try:
            out.append(json.loads(line))
        except ValueError:
            out.append({"text": line})
    return out


def files(folder: Path) -> list[Path]:
    """List the files, no sockets, of a daemon that runs and may take some away meanwhile (`os.walk` allows that)."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return [path for path in found if not path.is_socket()]


def serves(lines: Iterable[dict[str, Any]]) -> bool:
    """Tell by what a daemon has said whether it serves, its API too, and whether its databases are open."""
    said = {line.get("event") for line in lines}
    opening = "database.late" in said and not {"database.back", "database.away"} & said
    return {"recorder.ready", "api.ready"} <= said and not opening


@contextmanager
def server(folder: Path, data: Path | None = None, **settings: Any) -> Iterator[Server]:
    """Prepare a place to serve from, and leave no process behind."""
    one = Server(folder, data or folder / "data", **settings)
    try:
        yield one
    finally:
        if one.process is not None:
            one.process.kill()
            one.process.wait()
