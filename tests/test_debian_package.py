"""The Debian package on an empty, booted Debian without network: installation, upgrades and removal.

The test follows docs/install.md. It takes minutes: it makes two packages and a Debian. DEB_CACHE=FOLDER keeps them for
the next run. RELEASE=bookworm tests Debian 12.
"""

import json
import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from recorder.runtime.version import VERSION
from tests.daemon import documents
from tests.daemon.debian import EMPTY, Shell, debian, package
from tests.daemon.machine import machine

HERE = Path(__file__).parents[1]
NEW = "99.0"
"""Number of the second version, which is built from the same files."""
TRIAL = 'recorder simulate --to "sip:rec@127.0.0.1:5061;transport=tls" --ca /etc/recorder/tls.crt'
CALLS, SECONDS = 20, 150
"""Duration of the calls during which the version changes."""
KEEPS_SOCKETS = 254
"""First version of systemd that keeps sockets over a restart; before, a restart costs each call at most a second."""
VAULT = "find /var/lib/recorder/customers/acme/vault /var/lib/recorder/keys /etc/recorder -type f | sort"

pytestmark = [pytest.mark.torture, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return Path(os.environ.get("DEB_CACHE") or tmp_path_factory.mktemp("deb"))


@pytest.fixture(scope="module")
def packages(cache):
    """Return the packages of both versions, the older one first."""
    return [package(cache, each) for each in (VERSION, NEW)]


@pytest.fixture(scope="module")
def empty(cache):
    """Return an empty Debian of this release with systemd and Python."""
    return debian(cache, "root", EMPTY)


def test_lintian_finds_no_error_and_at_most_ten_overrides(packages):
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", packages[0]], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (HERE / "debian/siprec-recorder.lintian-overrides").read_text().splitlines()
    overrides = [line for line in lines if not line.startswith("#")]
    assert len(overrides) <= 10
    for line in overrides:
        assert lines[lines.index(line) - 1].startswith("#"), f"{line} has no reason"


def test_prometheus_takes_the_alerts_of_the_package(packages, tmp_path):
    subprocess.run(["dpkg-deb", "--extract", packages[0], tmp_path], check=True)
    line = ["promtool", "check", "rules", tmp_path / "usr/share/recorder/alerts.yml"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "SUCCESS" in done.stdout, done.stdout + done.stderr


def test_every_link_in_the_packaged_documents_leads_to_a_file(packages, tmp_path):
    subprocess.run(["dpkg-deb", "--extract", packages[0], tmp_path], check=True)
    folder = tmp_path / "usr/share/doc/siprec-recorder"
    for path in (folder / "docs").glob("*.md"):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / link).exists() or link.startswith("../"), f"{path.name} leads to {link}"
    assert (folder / "docs/install.md").exists() and (folder / "docs/cluster.md").exists()


def test_install_record_upgrade_refuse_and_remove(packages, empty, tmp_path):
    with machine(tmp_path, empty) as one:
        shell = Shell(one)
        run = shell.run

        def main_process():
            """Return number and version of the main process."""
            number = run("systemctl show --property=MainPID --value recorder").strip()
            return number, run(f"tr '\\0' ' ' </proc/{number}/cmdline").partition("/usr/lib/recorder/")[2].partition(
                "/"
            )[0]

        def versions():
            return set(run("ls -A /usr/lib/recorder").split()) - {"package", "current"}

        for path in packages:
            (shell.folder / path.name.replace("~deb12u1", "")).write_bytes(path.read_bytes())
        old, (older, newer) = VERSION, (path.name.replace("~deb12u1", "") for path in packages)
        assert run("cat /proc/net/route").count("\n") == 1, "there must be no network"

        documents.run("docs/install.md", shell)
        assert json.loads(run("recorder --version --json"))["version"] == old
        assert "kept  keys of customer acme" in run("recorderctl init")
        run("rm /etc/recorder/root.key && systemctl restart recorder && recorderctl verify")  # uses the encrypted one

        # systemd checks the installed unit; the threshold is in tenths.
        assert "recorder.service" not in run("systemd-analyze verify recorder.service")
        run("systemd-analyze security --no-pager --threshold=15 recorder.service")

        # Upgrade and downgrade during calls lose no frame. The client runs from the old version, which stays installed.
        keeps = int(run("systemctl --version").split()[1]) >= KEEPS_SOCKETS
        output = "--property=StandardOutput=file:/root/call.json"
        run(f"systemd-run --unit=client {output} /usr/bin/{TRIAL} --calls {CALLS} --duration {SECONDS} --json")
        time.sleep(5)
        before, running = main_process()
        assert running == old
        configuration = run("md5sum /etc/recorder/*")
        run(f"apt-get install -y ./{newer}")
        assert main_process()[1] == NEW and main_process()[0] != before
        assert versions() == {old, NEW}
        run(f"apt-get install -y --allow-downgrades ./{older}")
        assert main_process()[1] == old and versions() == {old}
        assert run("systemctl is-active client").strip() == "active", "the calls must outlast both"
        run("while systemctl --quiet is-active client; do sleep 1; done")
        report = json.loads((shell.folder / "call.json").read_text())
        calls = json.loads(run("recorderctl calls --json --limit 100"))["items"]
        gaps = [stream["gap_ms"] for call in calls for stream in call["streams"]]
        told = f"{report['well']} of {CALLS} calls well, gaps of {len(gaps)} streams at most {max(gaps)} ms"
        print(f"{run('systemctl --version').splitlines()[0]}: {told}")
        assert len(calls) == CALLS + 1
        if keeps:
            assert report["well"] == CALLS
            assert [call["state"] for call in calls] == ["complete"] * len(calls)
            assert [stream["lost"] for call in calls for stream in call["streams"]] == [0] * len(gaps)
        assert max(gaps) <= (0 if keeps else 2 * 1000)
        run(f"apt-get install -y ./{newer}")
        assert versions() == {NEW}

        # A version that would not start is not activated. Here an older one cannot read the data, and the configuration
        # has an error.
        before = main_process()
        run("cp -p /etc/recorder/recorder.toml /root; echo '[nonsense]' >>/etc/recorder/recorder.toml")
        formats = "/var/lib/recorder/formats.json"
        run(f"cp -p {formats} /root; sed -i 's/\"journal\": /&9/' {formats}")
        said = run(f"apt-get install -y --allow-downgrades ./{older}")
        assert "nonsense" in said and "journal 92" in said and f"version {NEW} goes on recording" in said
        assert main_process() == before and versions() == {old, NEW}
        assert json.loads(run("recorder --version --json"))["version"] == NEW
        assert "goes on recording" in run("recorderctl restart", status=2)
        assert "[nonsense]" in run("tail -n 1 /etc/recorder/recorder.toml")
        run(f"cp -p /root/recorder.toml /etc/recorder/; cp -p /root/formats.json {formats}; recorderctl restart")
        assert main_process()[1] == old and versions() == {old}
        assert run("md5sum /etc/recorder/*") == configuration

        # After removal and purge, the program is gone but its recordings are not.
        kept = run(VAULT)
        for way in ("remove", "purge"):
            said = run(f"apt-get {way} -y siprec-recorder")
            assert "Kept, with all recordings and their keys: /var/lib/recorder /etc/recorder" in said
            assert run(VAULT) == kept
            run("! test -e /usr/lib/recorder && ! test -e /usr/bin/recorder && ! pgrep -u recorder")
        run(f"apt-get install -y ./{older} && systemctl start recorder && recorderctl verify")
        assert len(json.loads(run("recorderctl calls --json --limit 100"))["items"]) == CALLS + 1
