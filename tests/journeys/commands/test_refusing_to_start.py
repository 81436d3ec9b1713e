"""What keeps the daemon from starting is said in one sentence with what to do, exit status 2 or 3, no traceback."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from recorder.runtime.folders import in_memory
from tests.daemon.api import Api
from tests.daemon.server import Server, command, server, taken
from tests.journeys.trouble.disks import fill, mounted

ROOT = os.geteuid() == 0


def refused(one: Server, *, status: int) -> str:
    """Start it; it must end with a clear sentence, which is returned."""
    done = one.run("serve")
    everything = done.stdout + done.stderr
    assert done.returncode == status, everything
    assert "Traceback" not in everything
    said = [line for line in done.stderr.splitlines() if line]
    assert said
    assert said[0].startswith("recorder: ")
    assert len(said) == 1 or status == 2  # a configuration may have several faults, one a line
    return " ".join(said)


def test_a_bad_configuration_names_every_fault(ready: Server) -> None:
    ready.config.write_text(ready.config.read_text().replace('srtp = "preferred"', 'srtp = "sometimes"\nwokers = 1'))
    said = refused(ready, status=2)
    assert "media.srtp" in said
    assert "media.wokers" in said


def test_a_runtime_directory_on_a_disk(ready: Server) -> None:
    if in_memory(ready.folder):
        pytest.skip("this folder is on a tmpfs")
    ready.config.write_text(ready.config.read_text().replace("trial = true", "trial = false"))
    assert "node.runtime_dir" in refused(ready, status=2)
    checked = ready.run("check-config")
    assert checked.returncode == 2 and "trial = true" in checked.stderr and "tmpfs" in checked.stderr
    assert ready.run("calls").returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_a_runtime_directory_owned_by_another_user_is_refused(ready: Server) -> None:
    folder = ready.folder / "run"
    folder.mkdir(mode=0o777)
    os.chown(folder, 65_534, 65_534)
    assert str(folder) in refused(ready, status=2)
    assert list(folder.iterdir()) == []


def test_no_configuration_at_all(tmp_path: Path) -> None:
    done = command("serve", "--config", tmp_path / "nothing.toml")
    assert done.returncode == 2
    assert "recorder init" in done.stderr
    assert "Traceback" not in done.stderr


SPOILT = [
    ("missing root key", lambda one: (one.folder / "root.key").unlink(), 2, "recorder init"),
    ("root key others may read", lambda one: (one.folder / "root.key").chmod(0o644), 2, "chmod 600"),
    ("wrong root key", lambda one: (one.folder / "root.key").write_bytes(bytes(32)), 3, ""),
    ("missing certificate", lambda one: (one.folder / "tls.key").unlink(), 2, "sip.private_key"),
]


@pytest.mark.parametrize(("spoil", "status", "says"), [row[1:] for row in SPOILT], ids=[row[0] for row in SPOILT])
def test_a_file_that_cannot_be_used(ready: Server, spoil: Callable[[Server], object], status: int, says: str) -> None:
    spoil(ready)
    assert says in refused(ready, status=status)


def test_keys_that_were_never_made(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.init()
        one.replace('name = "acme"', 'name = "newcomer"')  # one of several would be away, and the others recorded
        assert "init" in refused(one, status=3)


@pytest.mark.parametrize("transport", ["udp", "tcp", "api"])
def test_a_port_in_use(ready: Server, transport: str) -> None:
    with taken(ready, transport) as port:
        said = refused(ready, status=3)
    assert str(port) in said
    assert "another" in said.lower()


def test_a_second_daemon_on_the_same_data(ready: Server) -> None:
    ready.start()
    said = refused(ready, status=3)
    assert "Another recorder" in said
    assert str(ready.data) in said
    assert ready.process is not None
    assert ready.process.poll() is None


@pytest.mark.parametrize("which", ["data", "run"])
def test_a_folder_that_cannot_be_written(ready: Server, which: str) -> None:
    folder = ready.folder / which
    folder.mkdir(mode=0o700, exist_ok=True)
    if ROOT:  # root may write anywhere but where nobody can
        folder.rename(ready.folder / "away")
        folder.write_text("a file where a folder should be")
    else:
        folder.chmod(0o500)
    said = refused(ready, status=2 if ROOT else 3)
    assert str(folder) in said
    assert ("should be a folder" if ROOT else "cannot be written") in said
    folder.chmod(0o700)


def test_a_full_disk_is_no_reason(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "size=2m") as small_disk, server(tmp_path, small_disk / "data") as one:
        one.init()
        fill(small_disk)
        one.start()
        assert Api(one).health("/readyz") == 503
        (small_disk / "filler").unlink()
        one.until("storage.well")
        assert one.stop() == 0
