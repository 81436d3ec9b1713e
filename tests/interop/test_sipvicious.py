"""SIPVicious, the scanner that every address in the open meets: strangers hear nothing, and nobody learns a name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.daemon.api import running
from tests.daemon.server import Server, free_port

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(
        shutil.which("svmap") is None, reason="sipvicious is not installed (apt-get install sipvicious)"
    ),
]
NOTHING = "WARNING:root:found nothing"
METHODS = ("OPTIONS", "INVITE", "REGISTER")
WORDS = "1000\nadmin\npassword\n1234\n"


@pytest.fixture(scope="module", params=["stranger", "admitted"])
def daemon(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, bool]]:
    """A daemon for which the scanner's address is a stranger's, and one that answers it."""
    stranger = request.param == "stranger"
    sources = "127.0.0.2/32" if stranger else "127.0.0.1/32"
    with running(tmp_path_factory.mktemp("scanned"), level="debug", sources=sources) as it:
        yield it.one, stranger


def scan(daemon: Server, folder: Path, *words: str) -> str:
    """Run one of its programs; give everything it says."""
    command = [*words, "-p", str(daemon.udp), "-P", str(free_port()), "127.0.0.1"]  # else from 5060 of all addresses
    place = {**os.environ, "HOME": str(folder)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, env=place, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("method", METHODS)
def test_svmap_sees_no_device_where_it_is_a_stranger(daemon: tuple[Server, bool], tmp_path: Path, method: str) -> None:
    one, stranger = daemon
    said = scan(one, tmp_path, "svmap", "-m", method)
    if stranger:
        assert NOTHING in said
    else:
        # The control: where it is answered it does see the device, and still not what it is.
        assert re.search(rf"127\.0\.0\.1:{one.udp} +\| unknown", said), said


@pytest.mark.parametrize("method", METHODS)
def test_svwar_learns_no_extension_from_anybody(daemon: tuple[Server, bool], tmp_path: Path, method: str) -> None:
    one, stranger = daemon
    said = scan(one, tmp_path, "svwar", "-m", method, "-e", "100-104", "--force", "--maximumtime", "3")
    if stranger:
        assert NOTHING in said, said
    # Whoever is admitted gets the same answer for a number that svwar made up as for any other.
    assert "reqauth" not in said and "noauth" not in said, said


def test_svcrack_is_never_asked_for_a_password(daemon: tuple[Server, bool], tmp_path: Path) -> None:
    one, _ = daemon
    (tmp_path / "words").write_text(WORDS)
    said = scan(one, tmp_path, "svcrack", "-u", "1000", "-d", "words", "--maximumtime", "3")
    assert NOTHING in said, said


def test_afterwards_it_serves_and_the_log_holds_no_name(daemon: tuple[Server, bool]) -> None:
    """Duty S36."""
    one, _ = daemon
    assert one.process is not None and one.process.poll() is None
    log = one.log.read_text()
    assert "Traceback" not in log and "sipvicious" not in log and "friendly-scanner" not in log
    assert len(one.lines()) < 200
