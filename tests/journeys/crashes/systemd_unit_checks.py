"""The unit of config/ under a real systemd: played by test_systemd.py inside a machine of its own, as root there."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from recorder.simulate.plan import Plan
from recorder.simulate.report import CallReport
from sip.sdp.description import SessionDescription
from tests.daemon.api import WAIVER, Api, until
from tests.daemon.coded_calls import nothing_lost, place, wishes
from tests.daemon.sbc import OFFER
from tests.daemon.server import Server
from tests.in_process.dtls_peer import Peer, offer, talk

HERE = Path("/opt/recorder")
CALLS, LENGTH, HOLD = 16, 6.0, 0.8
WATCHDOG = 10.0
CREDENTIALS = Path("/run/credentials-of-the-test")
ROOT_FILE, ROOT_CREDENTIAL = "file:/etc/recorder/root.key", "credential:recorder-root-key"


def systemctl(*words: str) -> str:
    """Run systemctl and return what it says."""
    done = subprocess.run(["systemctl", *words], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr + journal()
    return done.stdout


def shown(what: str) -> str:
    """One property of the unit."""
    return systemctl("show", "--property", what, "--value", "recorder").strip()


def journal() -> str:
    """What the service printed."""
    line = ["journalctl", "--unit=recorder", "--output=cat", "--no-pager"]
    return subprocess.run(line, capture_output=True, text=True, check=True).stdout


class Unit(Server):
    """The service, at the places of docs/operations.md."""

    @property
    def config(self) -> Path:
        return Path("/etc/recorder/recorder.toml")

    @property
    def log(self) -> Path:
        path = self.folder / "journal"
        path.write_text(journal())
        return path

    def write(self) -> None:
        if self.config.parent.exists():
            super().write()
            text = self.config.read_text().replace(f"{self.folder}/root.key", "/etc/recorder/root.key")
            text = text.replace(f"{self.folder}/run", "/run/recorder").replace(f"{self.folder}/", "/etc/recorder/")
            self.config.write_text(text)

    def install(self) -> None:
        """Install as docs/operations.md says."""
        for name, target in (
            ("sysusers", "/usr/lib/sysusers.d/recorder.conf"),
            ("tmpfiles", "/usr/lib/tmpfiles.d/recorder.conf"),
            ("service", "/etc/systemd/system/recorder.service"),
        ):
            shutil.copy(HERE / f"config/recorder.{name}", target)
        for line in (["systemd-sysusers"], ["systemd-tmpfiles", "--create", "recorder.conf"]):
            subprocess.run(line, check=True)
        self.write()
        self.init()
        self.config.write_text(self.config.read_text().replace(ROOT_FILE, ROOT_CREDENTIAL))
        for path in Path("/var/lib/recorder").rglob("*"):
            shutil.chown(path, "recorder", "recorder")
        for name in ("recorder.toml", "tls.key"):
            shutil.chown(f"/etc/recorder/{name}", group="recorder")
            os.chmod(f"/etc/recorder/{name}", 0o640)
        systemctl("daemon-reload")

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command as the service's user, with the credential that the service has."""
        line = [sys.executable, "-m", "recorder", *map(str, words), "--config", str(self.config)]
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(CREDENTIALS)}
        return subprocess.run(
            line, capture_output=True, text=True, check=False, env=environment, user="recorder", group="recorder"
        )

    def start(self) -> None:
        systemctl("start", "recorder")

    def stop(self, number: int = signal.SIGTERM) -> int:
        systemctl("stop", "recorder")
        return int(shown("ExecMainStatus"))


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Api:
    unit = Unit(tmp_path_factory.mktemp("unit"), Path("/var/lib/recorder"), media=20_000, ports=400, udp=5060, tls=5061)
    unit.install()
    CREDENTIALS.mkdir()
    shutil.copy("/etc/recorder/root.key", CREDENTIALS / "recorder-root-key")
    for path in (CREDENTIALS, CREDENTIALS / "recorder-root-key"):
        shutil.chown(path, "recorder")
    systemctl("enable", "--now", "recorder")
    return Api(unit)


@pytest.fixture
def it(installed: Api) -> Iterator[Api]:
    """The running service; afterwards everything it left is in order."""
    systemctl("start", "recorder")
    yield installed
    assert "Traceback" not in journal()
    installed.one.stop()
    assert installed.one.run("verify").returncode == 0


def main_process() -> int:
    return int(shown("MainPID"))


def calls_through(it: Api, trouble: Any, length: float = LENGTH, packets: int = 0) -> list[CallReport]:
    async def meanwhile() -> None:
        await it.talking(CALLS, packets)
        await asyncio.to_thread(trouble)

    return place(wishes(it.one, CALLS, length, HOLD), meanwhile)


def test_it_runs_without_rights_and_renders_without_network(it: Api) -> None:
    status = Path(f"/proc/{main_process()}/status").read_text().split("\n")
    seen = dict(line.split(":\t", 1) for line in status if ":\t" in line)
    assert (seen["CapEff"].strip("0"), seen["NoNewPrivs"], seen["Seccomp"]) == ("", "1", "2")
    assert pwd.getpwuid(int(seen["Uid"].split()[0])).pw_name == "recorder"
    (call,) = place([Plan(to=it.one.uri(), seconds=2.0)])
    mine = it.over([call])[call.session_id]
    for kind in ("wav", "flac", "opus", "mp3"):
        assert it.get(f"/calls/{mine['id']}/media?format={kind}").status_code == 200


def as_root(*words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as root, to whom systemd gives no credential."""
    line = [sys.executable, "-m", "recorder", *words]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=200)


def test_doctor_trace_and_support_see_the_service(it: Api, tmp_path: Path) -> None:
    done = it.one.run("doctor", "--call", "acme", "--json")
    checks = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    well = ["start", "daemon", "swap", "disk.runtime.tmpfs", "trial-call", "trial-call.listed", "trial-call.heard"]
    assert [checks[name]["state"] for name in well] == ["ok"] * len(well), checks
    alone = {each["name"]: each for each in json.loads(as_root("doctor", "--json").stdout)["checks"]}
    assert alone["start.keys.root"]["state"] == "unchecked" and "recorderctl" in alone["start.keys.root"]["remedy"]
    file = tmp_path / "trace.txt"
    line = [sys.executable, "-m", "recorder", "trace", "--for", "6s", "-o", str(file)]
    with subprocess.Popen(line) as tracing:
        it.one.until("trace.started")
        place([Plan(to=it.one.uri(), seconds=1.0)])
        assert tracing.wait(30) == 0
    assert "INVITE sip:user-" in file.read_text() and "inline:" in file.read_text()
    done = as_root("support", "-o", str(tmp_path / "support.tar.gz"))
    assert done.returncode == 0 and "Missing" not in done.stderr, done
    with tarfile.open(tmp_path / "support.tar.gz") as archive:
        log = archive.extractfile("recorder-support/log.jsonl")
        assert log is not None
        events = [json.loads(line)["event"] for line in log.read().splitlines()]
    assert {"recorder.ready", "call.started"} <= set(events) and "another.line" not in events


def test_the_journal_has_json_of_a_start_that_fails(it: Api) -> None:
    it.one.stop()
    text, since = it.one.config.read_text(), f"@{time.time():.0f}"
    it.one.config.write_text(text.replace("workers = 1", "workers = true"))
    try:
        assert subprocess.run(["systemctl", "start", "recorder"], capture_output=True, check=False).returncode != 0
        systemctl("stop", "recorder")
    finally:
        it.one.config.write_text(text)
    line = ["journalctl", "--unit=recorder", "--output=json", f"--since={since}", "--no-pager"]
    entries = [json.loads(each) for each in subprocess.run(line, capture_output=True, check=True).stdout.splitlines()]
    ours = [each for each in entries if each["_PID"] != "1" and each["_COMM"] != "systemctl"]
    assert ours and {each["PRIORITY"] for each in ours} == {"2"}, ours
    assert {json.loads(each["MESSAGE"])["event"] for each in ours} == {"config.fault", "recorder.failed"}


def test_keys_are_agreed_on_by_dtls(it: Api) -> None:
    """OpenSSL calls back into Python, for which cffi needs memory that MemoryDenyWriteExecute refuses."""

    async def story() -> None:
        sbc, peers = it.one.sbc("udp", "dtls-call"), [Peer(1), Peer(2, server=False)]
        answer = sbc.ask("INVITE", offer(*peers))
        assert answer.status == 200
        ports = [media.port for media in SessionDescription.parse(answer.body).media]
        peers[1].begin(ports[1])
        async with asyncio.timeout(30):
            for peer in peers:
                await peer.ready.wait()
        await talk(peers, ports, 50)
        await asyncio.sleep(1.5)
        assert (await asyncio.to_thread(sbc.ask, "BYE")).status == 200
        sbc.close()
        for peer in peers:
            peer.close()
            peer.socket.close()

    asyncio.run(story())
    end = time.monotonic() + 30
    while not (found := [c for c in it.calls() if c["session_id"] == "dtls-call" and c["state"] != "recording"]):
        assert time.monotonic() < end
        time.sleep(0.1)
    (call,) = found
    assert [stream["srtp"] for stream in call["streams"]] == ["DTLS-SRTP"] * 2
    assert [stream["packets"] for stream in call["streams"]] == [50, 50]


def test_a_restart_loses_nothing(it: Api) -> None:
    before = main_process()
    nothing_lost(it, calls_through(it, lambda: systemctl("restart", "recorder")))
    assert main_process() != before


def test_a_reload_checks_first_and_loses_nothing(it: Api) -> None:
    """A configuration with a fault stops nothing; with one that is right another process takes over."""
    before, text = main_process(), it.one.config.read_text()

    def reload() -> None:
        it.one.config.write_text(text.replace("workers = 1", "workers = true"))
        refused = subprocess.run(["systemctl", "reload", "recorder"], capture_output=True, check=False, timeout=60)
        assert refused.returncode != 0 and "media.workers" in journal()
        assert (main_process(), shown("ActiveState")) == (before, "active")
        it.one.config.write_text(text)
        systemctl("reload", "recorder")
        end = time.monotonic() + 30
        while main_process() in (0, before) or shown("ActiveState") != "active":
            assert time.monotonic() < end, "no other process took over"
            time.sleep(0.05)

    nothing_lost(it, calls_through(it, reload, 2 * LENGTH))


def recorderctl(*words: str, status: int = 0) -> dict[str, Any]:
    """Run the command of the package with the recorder that is installed here."""
    environment = {**os.environ, "RECORDER": str(HERE / ".venv/bin/recorder")}
    line = ["sh", str(HERE / "debian/recorderctl"), *words, "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=90, env=environment)
    assert done.returncode == status, done.stdout + done.stderr + journal()
    return dict(json.loads(done.stdout))


def test_customers_come_and_go_by_reloads_that_cost_nothing(it: Api) -> None:
    text = it.one.config.read_text()
    it.one.config.write_text(text.replace("127.0.0.0/8", "127.0.0.1/32"))
    assert recorderctl("reload")["changed"] == ["customer.acme.sources"]

    def customers() -> None:
        assert recorderctl("customer", "add", "globex", "--source", "127.0.0.9")["state"] == "open"
        told = recorderctl("reload")
        assert told == {"ok": True, "changed": ["customer.globex"], "needs_restart": []}
        with it.one.sbc("tcp", source="127.0.0.9") as sbc:
            until(lambda: sbc.ask("INVITE", OFFER.replace(b"127.0.0.1", b"127.0.0.9")).status == 200)
            assert sbc.ask("BYE").status == 200
        assert recorderctl("customer", "close", "globex")["state"] == "closed"
        assert recorderctl("reload")["changed"] == ["customer.globex.state"]

    nothing_lost(it, calls_through(it, customers, 4 * LENGTH))
    assert (
        it.one.run("customer", "remove", "globex", "--yes").returncode == 3
    )  # one call is kept, and no waiver is there
    made = it.one.run("token", "create", "--customer", "globex", "--role", "admin", "--name", "a", "--json")
    headers = {"Authorization": f"Bearer {json.loads(made.stdout)['token']}"}
    waiver = httpx2.put(f"{it.url}/api/v1/customers/globex/waiver", headers=headers, json=WAIVER)
    assert waiver.status_code == 200
    told = recorderctl("customer", "remove", "globex", "--yes")
    assert told["state"] == "removed"
    assert {path.owner() for path in Path("/var/lib/recorder").rglob("*")} == {"recorder"}
    found = it.one.config.stat()
    assert (found.st_uid, found.st_mode & 0o777) == (0, 0o640)
    assert "globex" not in it.one.config.read_text()
    assert it.one.run("audit", "verify", "--receipt", told["receipt"]).returncode == 0


def test_a_killed_main_process_loses_nothing(it: Api) -> None:
    def kill() -> None:
        os.kill(main_process(), signal.SIGKILL)

    nothing_lost(it, calls_through(it, kill))
    assert int(shown("NRestarts")) >= 1


def test_starts_that_fail_keep_the_media_and_let_nobody_in(it: Api) -> None:
    """The calls go on without loss when a start succeeds, also by a client that kept trying."""
    text, restarts = it.one.config.read_text(), int(shown("NRestarts"))

    def fail_for_a_while() -> None:
        it.one.config.write_text(text.replace("workers = 1", "workers = true"))
        os.kill(main_process(), signal.SIGKILL)
        end = time.monotonic() + 30
        while int(shown("NRestarts")) < restarts + 3:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert int(shown("NFileDescriptorStore")) == 2 * 2 * CALLS  # RTP and RTCP of two streams
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", it.one.udp), 5)
        it.one.config.write_text(text)
        while shown("ActiveState") != "active":
            assert time.monotonic() < end
            time.sleep(0.05)

    nothing_lost(it, calls_through(it, fail_for_a_while, 2 * LENGTH))


def test_the_watchdog_restarts_a_hung_main_without_loss(it: Api) -> None:
    stuck, restarts = main_process(), int(shown("NRestarts"))

    def hang() -> None:
        os.kill(stuck, signal.SIGSTOP)
        end = time.monotonic() + WATCHDOG + 30
        while int(shown("NRestarts")) == restarts:
            assert time.monotonic() < end, "nobody noticed"
            time.sleep(0.1)

    nothing_lost(it, calls_through(it, hang, LENGTH + WATCHDOG + 5))
    assert main_process() != stuck


def test_an_upgrade_goes_on_with_the_calls(it: Api) -> None:
    def version() -> str:
        page = httpx2.get(f"http://127.0.0.1:{it.one.api}/openapi.json", timeout=10).json()
        return str(page["info"]["version"])

    old, source = version(), HERE / "admin_api/assembly/openapi.py"
    text = source.read_text()
    assert f'"{old}"' in text

    def upgrade() -> None:
        source.write_text(text.replace(f'"{old}"', '"99.0.0"'))
        systemctl("restart", "recorder")

    nothing_lost(it, calls_through(it, upgrade))
    assert version() == "99.0.0"
