"""The installed `recorder` as others see it: commands run to their end, and a daemon on an address of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RECORDER = Path(sys.executable).with_name("recorder")
SECONDS = 60.0
"""How long anything may take on a busy machine."""

CONFIG = """
[node]
data_dir = "{folder}/data"
runtime_dir = "{folder}/run"
trial = true
[log]
level = "info"
[sip]
listen = ["udp:{host}:{sip}"]
[media]
bind = "{host}"
ports = "9700-9739"
workers = 1
srtp = "preferred"
[admin_api]
listen = "{host}:{api}"
[keys]
root = "file:{folder}/root.key"
[retention]
brake_percent = 100
[[customer]]
name = "acme"
sources = ["127.0.0.0/8"]
country = "DE"
retention_days = 36500
"""

_EVERY_HELP = """
import contextlib, io, json, re, runpy, sys
def shown(words):
    sys.argv = ["recorder", *words, "--help"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):
        runpy.run_path({recorder!r}, run_name="__main__")
    yield " ".join(words), out.getvalue()
    _, _, commands = out.getvalue().partition("\\nCommands:\\n")
    for name in re.findall(r"^  ([a-z][a-z-]*)", commands, re.M):
        yield from shown([*words, name])
print(json.dumps(dict(shown([]))))
"""


def command(*words: str | Path, config: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run `recorder …` to its end."""
    line: list[str | Path] = [RECORDER, *words]
    line += ["--config", config] if config else []
    environment = {**os.environ, "COLUMNS": "100", "NO_COLOR": "1"}
    return subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)


def every_help() -> dict[str, str]:
    """Return what every command says to --help, in one process because a start costs a quarter of a second."""
    program = _EVERY_HELP.format(recorder=str(RECORDER))
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=SECONDS, env=environment, check=True
    )
    return dict(json.loads(done.stdout))


def free_ports(host: str, count: int) -> list[int]:
    """Return ports below those of other tests and of the kernel that are free for TCP and UDP."""
    found = []
    for port in range(9000, 9700):
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp, contextlib.suppress(OSError):
            tcp.bind((host, port))
            udp.bind((host, port))
            found.append(port)
        if len(found) == count:
            return found
    raise OSError("no free port")


@dataclass
class Daemon:
    """One folder with data and configuration, and `recorder serve` on it.

    It has an address of its own among those of the loopback interface: the media ports of a call that is kept are not
    to choose.
    """

    folder: Path
    host: str = field(default_factory=lambda: f"127.{77 + os.getpid() % 100}.{os.getpid() // 100 % 250}.1")
    sip: int = 0
    api: int = 0
    process: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        self.sip, self.api = free_ports(self.host, 2)
        self.config.write_text(CONFIG.format(**vars(self)))

    @property
    def config(self) -> Path:
        """The configuration file."""
        return self.folder / "recorder.toml"

    def run(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command with this configuration."""
        return command(*words, config=self.config)

    def start(self) -> None:
        """Start it and wait until it serves, from a database that had to be migrated too."""
        line = [str(RECORDER), "serve", "--drain", "--config", str(self.config)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(line, stdout=log, stderr=log, start_new_session=True)
        self.wait_for("recorder.ready")
        self.wait_for("api.ready")
        if "database.late" in {line["event"] for line in self.log()}:
            self.wait_for("database.back")

    def stop(self) -> int:
        """End it as systemd does; return its exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(SECONDS)
        self.process = None
        return status

    def kill(self) -> None:
        """Kill all its processes, if it runs."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(SECONDS)
            self.process = None

    def log(self) -> list[dict[str, Any]]:
        """Return the lines it logged."""
        written = (self.folder / "log").read_text().splitlines()
        return [json.loads(line) for line in written if line.startswith("{")]

    def wait_for(self, event: str) -> None:
        """Wait until the log has an event."""
        end = time.monotonic() + SECONDS
        while event not in {line["event"] for line in self.log()}:
            if time.monotonic() > end or (self.process and self.process.poll() is not None):
                raise RuntimeError(f"no {event}: {(self.folder / 'log').read_text()[-3000:]}")
            time.sleep(0.05)

    def get(self, path: str) -> str:
        """Return what is there for everybody."""
        with urllib.request.urlopen(f"http://{self.host}:{self.api}{path}", timeout=SECONDS) as answer:
            return str(answer.read().decode())

    def ask(self, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send one request of a customer; return status and JSON, or the bytes of anything else."""
        url = f"http://{self.host}:{self.api}/api/v1/customers/acme{path}"
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=SECONDS)  # noqa: S310 - the same
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            read = answer.read()
            is_json = re.search("[/+]json", answer.headers.get("Content-Type", ""))
            return answer.status, json.loads(read) if is_json and read else read

    def until(self, token: str, path: str, wanted: Sequence[str]) -> Any:
        """Ask until the state of something is one of those wanted."""
        end = time.monotonic() + SECONDS
        while True:
            status, found = self.ask(token, "GET", path)
            if status == 200 and found["state"] in wanted:
                return found
            if time.monotonic() > end:
                raise TimeoutError(f"{path} is {found}")
            time.sleep(0.1)


@contextlib.contextmanager
def daemon(folder: Path) -> Iterator[Daemon]:
    """Prepare a daemon, and leave no process behind."""
    one = Daemon(folder)
    try:
        yield one
    finally:
        one.kill()
