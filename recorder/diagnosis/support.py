"""`recorder support`: collect in one archive what remote support needs, with nothing personal and no secret."""

from __future__ import annotations

import io
import json
import os
import platform
import shutil
import ssl
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.diagnosis import own_api, shareable
from recorder.diagnosis.machine_checks import KERNEL, RESERVED_PORTS, SYSCTL
from recorder.errors import RecorderError
from recorder.runtime import python_command
from recorder.runtime.version import VERSION, commit
from storage.audit.incidents import IncidentFile
from storage.customer.customers import customer_folder

FOLDER = "recorder-support"
LOG_LINES = 20_000
"""How many of the newest lines of the log are taken; a busy node writes so many in a few hours."""
LOG_BYTES = 16 << 20
"""How many of the newest bytes are read of a log that is a file."""
JOURNAL_SECONDS = 60
DOCTOR_SECONDS = 180
"""Time limit of the doctor, longer than its own limits."""
INCIDENTS = 2_000
"""How many of the newest incidents of the node and of each customer are taken."""
UNIT = "recorder"
DISTRIBUTION = "siprec-recorder"

ABOUT = """\
What recorder support collected, for somebody who helps from afar. It contains nothing personal and no secrets:
lists name the harmless values of configuration, log and all else that are shown; *** stands for the rest.

versions.json       the recorder, Python, libraries, kernel, distribution
configuration.json  the configuration; no comments, no secrets, no free texts
doctor.json         what recorder doctor found
metrics.txt         the metrics of the running recorder
incidents.jsonl     incidents of the node and of its customers
log.jsonl           the newest lines of the log, masked once more

Missing, and why:
"""


class Missing(RecorderError):
    """A part of the archive cannot be made; the message says why."""


def collect(settings: Settings, config: Path, to: IO[bytes], log: Path | None = None) -> list[str]:
    """Write the archive to `to`; return a sentence for each part that is missing.

    `log`: read the log from this file instead of the journal.
    """
    missing: list[str] = []
    parts: dict[str, Callable[[], bytes]] = {
        "versions.json": lambda: _json(versions()),
        "configuration.json": lambda: _json(shareable.configuration(settings)),
        "log.jsonl": lambda: _lines(_log(log, Installation.of(config))),
        "metrics.txt": lambda: _text(shareable.metrics(_metrics(settings))),
        "incidents.jsonl": lambda: _lines(incidents(settings)),
        "doctor.json": lambda: _json({"checks": shareable.checks(_doctor(config))}),
    }
    with tarfile.open(fileobj=to, mode="w:gz") as archive:
        for name, make in parts.items():
            try:
                _add(archive, name, make())
            except Missing as problem:
                missing.append(f"{name}: {problem}")
            except OSError as problem:
                missing.append(f"{name}: {os.strerror(problem.errno or 0)}")
        _add(archive, "README.txt", (ABOUT + ("\n".join(missing) or "nothing") + "\n").encode())
    return missing


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(f"{FOLDER}/{name}")
    member.size, member.mode, member.mtime = len(data), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(data))


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode() + b"\n"


def _lines(values: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in values)


def _text(lines: Iterable[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


# ---- parts ----
def versions() -> dict[str, Any]:
    """Return versions of programs, libraries and kernel, and kernel settings; never the machine's name."""
    machine = os.uname()
    return {
        "recorder": VERSION,
        "commit": commit(),
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "libc": " ".join(platform.libc_ver()),
        "kernel": f"{machine.sysname} {machine.release} {machine.machine}",
        "distribution": _distribution(),
        "systemd": _systemd(),
        "processors": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "libraries": dict(_libraries()),
        "sysctl": {key: _read(SYSCTL / key.replace(".", "/")) for key in (*KERNEL, RESERVED_PORTS)},
    }


def _libraries() -> Iterator[tuple[str, str]]:
    """Yield name and version of each library that the recorder depends on."""
    try:
        wanted = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError:
        return
    for each in wanted:
        name = each.split(";")[0].split("[")[0].split(">")[0].split("=")[0].strip()
        try:
            yield name, metadata.version(name)
        except metadata.PackageNotFoundError:
            yield name, "not installed"


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "unknown")
    except OSError:
        return "unknown"


def _systemd() -> str:
    try:
        said = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, timeout=5, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return said.partition("\n")[0]


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def incidents(settings: Settings) -> Iterator[dict[str, Any]]:
    """Yield the newest incidents of the node and of each customer."""
    data, names = settings.node.data_dir, [each.name for each in settings.customers if each.name]
    owners: list[tuple[str | None, Path]] = [(None, data), *((name, customer_folder(data, name)) for name in names)]
    for name, folder in owners:
        for each in IncidentFile(folder).read()[-INCIDENTS:]:
            yield shareable.incident(each, name)


def _metrics(settings: Settings) -> str:
    try:
        return own_api.metrics(settings)
    except OSError:
        raise Missing("the recorder does not run or does not answer") from None


def _doctor(config: Path) -> list[dict[str, Any]]:
    """Run the doctor in a process of its own and return its checks; as root by recorderctl, which has the root secret.

    Raises Missing if there is no answer.
    """
    arguments = ["doctor", "--json", "--config", str(config.absolute())]
    command = python_command.command("recorder", *arguments)
    recorderctl = shutil.which("recorderctl")
    if os.geteuid() == 0 and recorderctl and Path("/run/systemd/system").is_dir():
        command = [recorderctl, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=DOCTOR_SECONDS, check=False, stdin=subprocess.DEVNULL,
            env=python_command.environment(),
        )  # fmt: skip
        found = json.loads(done.stdout)["checks"]
    except (OSError, subprocess.TimeoutExpired, ValueError, KeyError, TypeError):
        raise Missing("recorder doctor gave no answer") from None
    return [each for each in found if isinstance(each, dict) and {"name", "state", "detail"} <= set(each)]


def _log(file: Path | None, how: Installation) -> Iterator[dict[str, Any]]:
    if file is not None:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - LOG_BYTES))
            text = log.read(LOG_BYTES).decode("utf-8", "replace")
        return (shareable.log_line(line) for line in text.splitlines()[-LOG_LINES:])
    try:
        return _journal()
    except Missing:
        if how.service:
            raise
        raise Missing("it is where the output of recorder serve goes; if that is a file, name it with --log") from None


def _journal() -> Iterator[dict[str, Any]]:
    """Yield the newest lines of the unit in the journal; raises Missing if this user may not read it."""
    command = ["journalctl", "--unit", UNIT, "--output", "json", "--output-fields", "MESSAGE,_PID", "--no-pager"]
    command += ["--quiet", "--lines", str(LOG_LINES)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=JOURNAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        raise Missing("there is no journal here; name a file with --log") from None
    if done.returncode or not done.stdout.strip():
        raise Missing("the journal has no lines of the recorder that this user may read; run it as root") from None
    return (_entry(each) for each in done.stdout.splitlines())


def _entry(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
        text, pid = str(found["MESSAGE"]), str(found.get("_PID"))
    except (ValueError, KeyError, TypeError):
        return {"event": "another.line", "bytes": len(data)}
    return shareable.log_line(text, manager=pid == "1")
