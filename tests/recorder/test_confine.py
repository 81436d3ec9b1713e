"""What a process that decodes or parses an outsider's bytes can no longer do."""

import json
import os
import platform
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from media.encode import Container
from recorder import confine
from recorder.render_job import Job, JobPart, JobStream, to_json
from tests.media.calls import PCMU, noise, run
from tests.recorder.sealed import output, part_of

KNOWN = platform.machine() in {"x86_64", "aarch64"}
known = pytest.mark.skipif(not KNOWN, reason="the calls of this processor are not known")
REPOSITORY = Path(__file__).parent.parent.parent
NOBODY = 65534


def users() -> list[int]:
    """Give as whom the processes can be run here: root too, whose rights must not help it."""
    return [0, NOBODY] if os.geteuid() == 0 else [os.geteuid()]


@pytest.fixture
def place() -> Iterator[Path]:
    """Give a folder that any user can reach, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def plant(folder: Path, user: int) -> Path:
    """Lay out what a node has, owned by who runs it."""
    secrets = folder / f"node-{user}"
    (secrets / "vault").mkdir(parents=True)
    for name in ("root.key", "forget.secret", "accounts.db", "vault/m1"):
        (secrets / name).write_bytes(b"secret")
    if os.geteuid() == 0:
        for path in (secrets, *secrets.rglob("*")):
            os.chown(path, user, user)
    return secrets


def intruder(kind: str, secrets: Path, user: int, *words: str, **more: Any) -> subprocess.CompletedProcess[bytes]:
    """Run the probe as a user."""
    line = [sys.executable, "-m", "tests.recorder.intruder", kind, str(secrets), str(user), *words]
    return subprocess.run(line, capture_output=True, check=False, cwd=REPOSITORY, **more)


@known
@pytest.mark.parametrize("user", users())
def test_a_broken_decoder_reaches_nothing_but_its_descriptors(place: Path, user: int) -> None:
    secrets = plant(place, user)
    left = os.open(secrets / "root.key", os.O_RDONLY)  # as if somebody had left one open for it
    try:
        with part_of(place, "m1", run(noise(1, 5))) as part, output(place) as (out, path):
            sealed = JobPart(part.fd, part.secret.key, part.secret.prefix, part.secret.segment, part.size, live=False)
            job = Job([sealed], [JobStream(0, "0", {0: PCMU})], Container.OPUS, out, os.getpid())
            done = intruder("render", secrets, user, input=to_json(job), pass_fds=(out, part.fd, left))
            assert done.returncode == 0, done.stderr
            told = json.loads(path.read_bytes())
    finally:
        os.close(left)
    assert told["let"] == []
    assert set(told["descriptors"]) == {0, 1, 2, out, part.fd}
    assert (secrets / "vault/m1").read_bytes() == b"secret" and os.listdir(secrets / "vault") == ["m1"]


@known
@pytest.mark.parametrize("user", users())
def test_a_broken_media_worker_reaches_nothing_but_its_descriptors(place: Path, user: int) -> None:
    secrets = plant(place, user)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    left = os.open(secrets / "root.key", os.O_RDONLY)
    ours.settimeout(60)

    def begin() -> None:
        os.dup2(theirs.fileno(), 3)
        os.dup2(left, 200)

    with ours, theirs:
        words = [str(place / f"raw-{user}"), "1.0", str(os.getpid())]
        done = intruder("media", secrets, user, *words, preexec_fn=begin, close_fds=False)
        os.close(left)
        assert done.returncode == 0, done.stderr
        told = json.loads(ours.recv(1 << 16))
    assert told["let"] == []
    assert 200 not in told["descriptors"]
    assert (secrets / "vault/m1").read_bytes() == b"secret" and os.listdir(secrets / "vault") == ["m1"]
