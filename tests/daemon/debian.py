"""The Debian package of this source, and Debian systems to install it in; a folder keeps both for the next test."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.daemon.machine import Machine

PROJECT = Path(__file__).parents[2]
EMPTY = "systemd,systemd-sysv,dbus,python3,libstdc++6,zlib1g"
"""Packages that ours needs, and a systemd to boot."""
TOOLS = "postgresql,pgbouncer,prometheus,age,curl,openssl,softhsm2,opensc,procps,rsync,ca-certificates"
"""Further packages that the documents use; an `apt install` in a document then finds them installed."""


def package(cache: Path, version: str) -> Path:
    """Return the package with this version; build it if it is missing."""
    pattern = f"siprec-recorder_{version}[~_]*.deb"  # ~deb12u1 on an older Debian
    if not list(cache.glob(pattern)):
        # The compression level of a release takes minutes, and no test here depends on it.
        environment = os.environ | {"WHEELS": str(cache / "wheels"), "DPKG_DEB_COMPRESSOR_LEVEL": "0"}
        line = [str(PROJECT / "debian/build"), str(cache), version]
        done = subprocess.run(line, env=environment, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return next(cache.glob(pattern))


def debian(cache: Path, name: str, include: str) -> Path:
    """Return the folder of a Debian of this release with these packages; make it if it is missing."""
    folder = cache / name
    if not folder.exists():
        if shutil.which("mmdebstrap") is None:
            pytest.skip("mmdebstrap is not installed (Debian: apt-get install mmdebstrap)")
        release = os.environ.get("RELEASE") or platform.freedesktop_os_release()["VERSION_CODENAME"]
        line = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", f"--include={include}", release]
        subprocess.run([*line, str(folder)], check=True)
    return folder


class Shell:
    """A root shell in a booted machine, in /root."""

    def __init__(self, one: Machine, seconds: float = 300.0) -> None:
        """Take the machine and the time limit for a script."""
        self._one, self._seconds = one, seconds

    @property
    def folder(self) -> Path:
        """The machine's /root as a path on this machine."""
        return Path(f"/proc/{self._one.pid}/root/root")

    def __call__(self, script: str) -> tuple[int, str]:
        """Run a script; return its status and what it printed."""
        done = self._one.call("env", "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", script, seconds=self._seconds)
        return done.returncode, done.stdout

    def run(self, script: str, status: int = 0) -> str:
        """Run a script that must end with this status; return what it prints."""
        got, output = self(script)
        assert got == status, f"{script}\n{output}"
        return output
