"""The container image as docs/install.md runs it in podman: read-only, without privileges, with a health check.

It takes minutes. DEB_CACHE=FOLDER keeps the package and the image for the next run.
"""

import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from recorder.runtime.version import VERSION

HERE = Path(__file__).parents[1]
CONFIG = "/var/lib/recorder/recorder.toml"
TO = '"sip:rec@127.0.0.1:5061;transport=tls"'

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]

PODMAN = """#!/bin/sh
# A machine for tests may lack the control groups that a container gets otherwise.
CONTAINERS_CONF={here}/containers.conf; export CONTAINERS_CONF
exec {podman} --root {here}/storage --runroot {here}/run --tmpdir {here}/tmp --storage-driver vfs \\
    --cgroup-manager cgroupfs --events-backend none "$@"
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Path(os.environ.get("DEB_CACHE") or tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def image(cache):
    """Build the package and the image; return the image's archive."""
    environment = os.environ | {"WHEELS": str(cache / "wheels"), "DPKG_DEB_COMPRESSOR_LEVEL": "0"}

    def made(pattern, *line):
        if not list(cache.glob(pattern)):
            done = subprocess.run(line, env=environment, stderr=subprocess.PIPE, text=True, check=False)
            assert done.returncode == 0, done.stderr
        return next(cache.glob(pattern))

    package = made(f"siprec-recorder_{VERSION}_*.deb", HERE / "debian/build", cache)
    return made(f"siprec-recorder_{VERSION}_*.image.tar", HERE / "debian/image", package, cache)


@pytest.fixture
def run(image, tmp_path):
    """Yield a function that runs a script with a separate podman, network and control groups."""
    if os.geteuid() != 0:
        pytest.skip("only root can make the namespaces")
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin/podman"
    wrapper.write_text(PODMAN.format(podman=shutil.which("podman"), here=tmp_path))
    wrapper.chmod(0o755)
    (tmp_path / "containers.conf").write_text('[containers]\ncgroups = "disabled"\n')
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist" / image.name).symlink_to(image)
    script = "umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; ip link set lo up; exec sleep infinity"
    line = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
    with subprocess.Popen(line) as process:
        try:
            children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
            while not (inner := children.read_text().split()) or comm(inner[0]) != "sleep":
                assert process.poll() is None
                time.sleep(0.1)
            enter = ["nsenter", "--target", inner[0], "--mount", "--net", "--pid", f"--wdns={tmp_path}"]
            path = f"{tmp_path}/bin:{os.environ['PATH']}"

            def run(text, status=0):
                words = [*enter, "env", f"PATH={path}", "sh", "-ec", text]
                done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
                assert done.returncode == status, f"{text}\n{done.stdout}"
                return done.stdout

            yield run
        finally:
            process.kill()


def comm(number):
    """Return the name of a process."""
    return Path(f"/proc/{number}/comm").read_text().strip()


def test_a_container_of_the_document_records_and_is_healthy(run):
    (block,) = re.findall(r"^```sh\n(podman.*?)^```", (HERE / "docs/install.md").read_text(), re.M | re.S)
    assert VERSION in block
    before, start, after = re.split(r"^(podman run -d.*\n)", block, flags=re.M)
    said = run(before)
    assert "rec_" in said
    (options,) = re.findall(r"^RUN='(.*)'$", before, re.M)
    one = f"podman run --rm {options} siprec-recorder:{VERSION}"
    volume = run("podman volume inspect --format '{{.Mountpoint}}' recorder").strip()
    run(f"sed -i 's|^sources = .*|sources = [\"127.0.0.1\"]|' {volume}/recorder.toml")
    run(f"RUN='{options}'\n{start}")
    run("for i in $(seq 300); do podman logs recorder | grep -q recorder.ready && exit; sleep 0.2; done; exit 1")
    assert "no faults" in run(after)
    run("podman healthcheck run recorder")

    report = json.loads(run(f"{one} simulate --to {TO} --insecure --calls 2 --duration 5 --json"))
    assert report["well"] == 2
    calls = json.loads(run(f"podman exec recorder recorder calls --config {CONFIG} --json"))["items"]
    assert [call["state"] for call in calls] == ["complete"] * 2
    assert "0 defects" in run(f"podman exec recorder recorder verify --config {CONFIG}")

    # No process in the container is root, and even root could write nothing outside the volume.
    assert run("podman exec recorder id -u").strip() == "10001"
    number = run("podman inspect --format '{{.State.Pid}}' recorder").strip()
    assert re.search(r"^CapBnd:\s0+$", run(f"cat /proc/{number}/status"), re.M)
    for place in ("/usr/lib/recorder", "/etc", "/root", "/opt"):
        run(f"podman exec --user 0 recorder touch {place}/x", status=1)

    # A recorder that hangs is unhealthy; one that is stopped exits in order.
    run(f"kill -STOP {number}; if podman healthcheck run recorder; then exit 1; fi; kill -CONT {number}")
    run("podman stop recorder")
    assert run("podman inspect --format '{{.State.ExitCode}}' recorder").strip() == "0"
    run("podman start recorder")
