"""A machine in namespaces with its own systemd, which a test starts and stops and in which it runs commands."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
SYSTEMD = Path("/usr/lib/systemd/systemd")
NAMESPACES = "--mount --pid --net --cgroup --uts --ipc --fork --kill-child".split()
BOOT_SECONDS = 60.0


class Machine:
    """The booted machine."""

    def __init__(self, pid: int) -> None:
        """Take the process id of its first process on this machine."""
        self.pid = pid
        home = "/opt/recorder" if Path(f"/proc/{pid}/root/opt/recorder").exists() else "/root"
        self._enter = ["nsenter", "--target", str(pid), "--all", f"--wdns={home}", "env", "-i", "HOME=/root"]
        self._enter.append("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")

    def call(self, *words: str, seconds: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it as root, with its output as one text."""
        line = [*self._enter, *words]
        return subprocess.run(
            line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False
        )


@contextmanager
def machine(folder: Path, system: Path | None = None) -> Iterator[Machine]:
    """Boot a machine with the files of this one or of a `system`; skip the test if that is impossible."""
    if os.geteuid() != 0:
        pytest.skip("only root can boot a systemd in namespaces")
    if not SYSTEMD.exists():
        pytest.skip("systemd is not installed (Debian: apt-get install systemd)")
    if subprocess.run(["unshare", *NAMESPACES, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make namespaces")
    groups = _own_group()
    scratch = folder / "machine"
    scratch.mkdir()
    line = ["unshare", *NAMESPACES, sys.executable, str(Path(__file__).with_name("boot_machine.py"))]

    def join() -> None:
        (groups / "cgroup.procs").write_text(str(os.getpid()))

    with (folder / "boot").open("wb") as log:
        process = subprocess.Popen(
            [*line, str(PROJECT), str(scratch), *([str(system)] if system else [])],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=join,
        )
    try:
        yield _booted(process, folder / "boot")
    finally:
        process.send_signal(signal.SIGKILL)  # --kill-child: this kills its systemd, and so everything in it
        process.wait()
        _remove_group(groups)
        shutil.rmtree(scratch, ignore_errors=True)


def _booted(process: subprocess.Popen[bytes], log: Path) -> Machine:
    """Wait until systemd reports that it runs."""
    end = time.monotonic() + BOOT_SECONDS
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while time.monotonic() < end and process.poll() is None:
        found = children.read_text().split()
        if found and Path(f"/proc/{found[0]}/comm").read_text().strip() == "systemd":
            one = Machine(int(found[0]))
            said = one.call("systemctl", "is-system-running").stdout.strip()
            if said in {"running", "degraded"}:  # some service of the distribution may not like a container
                return one
        time.sleep(0.1)
    raise RuntimeError(f"systemd does not boot: {log.read_text()[-3000:]}")


def _own_group() -> Path:
    """Make the machine's root control group; skip the test if control groups version 2 are missing."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, kind = line.partition(" - ")
        if kind.startswith("cgroup2 "):
            group = Path(fields.split()[4]) / f"recorder-machine-{os.getpid()}-{time.monotonic_ns()}"
            group.mkdir()
            return group
    pytest.skip("no control groups of version 2 are mounted here")


def _remove_group(group: Path) -> None:
    """Remove a control group and everything below it once its processes have ended."""
    for _ in range(100):
        for path, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):
                Path(path).rmdir()
        if not group.exists():
            return
        time.sleep(0.05)
