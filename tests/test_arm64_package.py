"""The Debian package for arm64, which qemu-user runs on this machine in a chroot.

A call cannot be recorded there: qemu-user lacks a socket option that media needs, so an INVITE gets 503.
It takes half an hour, most of it to build the package. DEB_CACHE=FOLDER keeps package and Debian for the next run.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from recorder.runtime.version import VERSION

HERE = Path(__file__).parents[1]
CONFIG = "--config /root/recorder.toml"
ENTER = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
PREPARE = "mount -t proc proc {0}/proc; mount --rbind /dev {0}/dev; mount -t tmpfs tmpfs {0}/run; ip link set lo up"

pytestmark = [pytest.mark.torture, pytest.mark.timeout(7200)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Path(os.environ.get("DEB_CACHE") or tmp_path_factory.mktemp("arm64"))


@pytest.fixture(scope="module")
def package(cache):
    """Return the package; build it if it is missing."""
    pattern = f"siprec-recorder_{VERSION}_arm64.deb"
    if not list(cache.glob(pattern)):
        more = {"ARCH": "arm64", "WHEELS": str(cache / "wheels"), "DPKG_DEB_COMPRESSOR_LEVEL": "0"}
        line = [HERE / "debian/build", cache]
        done = subprocess.run(line, env=os.environ | more, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 0, done.stderr
    return next(cache.glob(pattern))


@pytest.fixture(scope="module")
def root(cache, package):
    """Return the folder of a Debian for arm64 with the package; debian/build has registered qemu with the kernel."""
    folder = cache / "root-arm64"
    if not folder.exists():
        made = cache / "root-arm64.new"
        shutil.rmtree(made, ignore_errors=True)
        wanted = "--include=dbus,python3,libstdc++6,zlib1g,systemd-standalone-sysusers"
        line = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--architectures=arm64", wanted]
        subprocess.run([*line, "trixie", made], check=True)
        shutil.copy(package, made / "root")
        deb = f"/root/{package.name}"
        offline = ["unshare", "--net", "chroot", made, "apt-get", "install", "-y", "--no-install-recommends", deb]
        subprocess.run(offline, check=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
        made.rename(folder)
    return folder


def test_it_installs_starts_and_answers_under_qemu(root):
    def run(script):
        words = [*ENTER, "sh", "-ec", f'{PREPARE.format(root)}; exec chroot {root} sh -ec "$1"', "sh", script]
        clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root"}
        done = subprocess.run(words, capture_output=True, text=True, check=False, env=clean)
        assert done.returncode == 0, f"{script}\n{done.stdout}{done.stderr}"
        return done.stdout

    assert run("uname -m; dpkg --print-architecture").split() == ["aarch64", "arm64"]
    assert json.loads(run("recorder --version --json"))["version"] == VERSION
    run(
        "cd /usr/lib/recorder/current/bin && ./python -c"
        " 'from media.stream import _fast_path; import asyncpg, pkcs11, pyrage'"
    )
    run(f"""
        rm -rf /root/data /root/recorder.toml /root/*.key /root/*.crt /root/log
        recorder init {CONFIG}
        sed -i 's|^sources = .*|sources = ["127.0.0.1"]|' /root/recorder.toml
        recorder serve {CONFIG} >/root/log 2>&1 & process=$!
        for i in $(seq 600); do ! grep -q recorder.ready /root/log || break; sleep 0.5; done
        recorder simulate --to 'sip:rec@127.0.0.1:5061;transport=tls' --insecure --json >/root/report || true
        kill $process; wait $process
    """)
    report = json.loads((root / "root/report").read_text())
    assert report["answered"] or report["refused"] == {"503 Service Unavailable": 1}
    assert '"recorder.ready"' in (root / "root/log").read_text()
