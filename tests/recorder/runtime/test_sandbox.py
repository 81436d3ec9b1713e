"""What a process that decodes or parses an outsider's bytes can no longer do."""

import asyncio
import ctypes
import json
import os
import platform
import re
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest

from media.export.encoder import Container
from recorder.exports.render_client import RenderStream, render
from recorder.exports.render_job import Job, JobPart, JobStream, to_json
from recorder.runtime.sandbox import numbers
from tests.in_process.rendered_calls import PCMU, expand, noise, run
from tests.recorder.sealed import output, part_of

KNOWN = platform.machine() in {"x86_64", "aarch64"}
known = pytest.mark.skipif(not KNOWN, reason="the calls of this processor are not known")
LANDLOCK = ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), ctypes.c_uint(1)) > 0  # landlock_create_ruleset(2)
REPOSITORY = Path(__file__).parents[3]
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


@dataclass
class Told:
    """What a probe told."""

    status: int
    let: list[str]
    # what was not refused
    descriptors: set[int]
    # those that were open beside the ones it was given
    errors: bytes
    # standard error


def intruder(kind: str, secrets: Path, user: int, lacks: str, *words: str, **more: Any) -> Any:
    """Run the probe as a user."""
    line = [sys.executable, "-m", "tests.recorder.intruder", kind, str(secrets), str(user), lacks, *words]
    return subprocess.run(line, capture_output=True, check=False, cwd=REPOSITORY, **more)


def decoder(place: Path, secrets: Path, user: int, lacks: str = "-") -> Told:
    """Break into a render worker that was left a descriptor more than it needs."""
    left = os.open(secrets / "root.key", os.O_RDONLY)
    try:
        with part_of(place, "m1", run(noise(1, 5))) as part, output(place) as (out, path):
            sealed = JobPart(part.fd, part.secret.key, part.secret.prefix, part.secret.segment, part.size, live=False)
            job = Job([sealed], [JobStream(0, "0", {0: PCMU})], Container.OPUS, out, os.getpid())
            done = intruder("render", secrets, user, lacks, input=to_json(job), pass_fds=(out, part.fd, left))
            given = {0, 1, 2, out, part.fd}
            return told_by(done, path.read_bytes(), given)
    finally:
        os.close(left)


def parser(place: Path, secrets: Path, user: int, lacks: str = "-") -> Told:
    """Break into a media worker that was left a descriptor more than it needs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setblocking(False)
    left = os.open(secrets / "root.key", os.O_RDONLY)

    def begin() -> None:
        os.dup2(theirs.fileno(), 3)
        os.dup2(left, 200)

    with ours, theirs:
        words = [str(place / f"raw-{user}-{lacks}"), "1.0", str(os.getpid())]
        done = intruder("media", secrets, user, lacks, *words, preexec_fn=begin, close_fds=False)
        os.close(left)
        try:
            return told_by(done, ours.recv(1 << 16), set(range(8)))  # its region twice, and two counters of UDP
        except BlockingIOError:
            return told_by(done, b"", set())


def told_by(done: Any, data: bytes, given: set[int]) -> Told:
    told = json.loads(data or b'{"let": ["nothing was tried"], "descriptors": [], "dumps": [0, 0, 0]}')
    assert told["dumps"] == [0, 0, 0]
    return Told(done.returncode, told["let"], set(told["descriptors"]) - given, done.stderr)


@known
@pytest.mark.parametrize("user", users())
@pytest.mark.parametrize("break_in", [decoder, parser])
@pytest.mark.parametrize("lacks", ["-", "landlock", "landlock,namespaces", "namespaces"])
def test_a_compromised_process_reaches_only_its_descriptors(
    place: Path, user: int, break_in: Callable[..., Told], lacks: str
) -> None:
    secrets = plant(place, user)
    told = break_in(place, secrets, user, lacks)
    assert (told.status, told.let, told.descriptors) == (0, [], set()), told.errors
    assert (secrets / "vault/m1").read_bytes() == b"secret" and os.listdir(secrets / "vault") == ["m1"]


LATER = """
import ctypes, os, sys
from recorder.runtime import sandbox
libc, path = ctypes.CDLL(None, use_errno=True), os.fsencode(sys.argv[2])
sandbox.confine_media() if sys.argv[1] == "media" else sandbox.confine(os.getppid(), [])
class Value(ctypes.Structure):
    _fields_ = [("value", ctypes.c_char_p), ("size", ctypes.c_uint), ("flags", ctypes.c_uint)]
value = Value(b"x", 1, 0)
let = []
for number in [*range(463, 600), *range(0x4000_0000, 0x4000_0220)]:
    words = (-100, path, 0, b"user.planted", ctypes.byref(value), ctypes.sizeof(value)) if number == 463 else (-1,) * 6
    if libc.syscall(ctypes.c_long(number), *words) >= 0 or ctypes.get_errno() != 38:  # ENOSYS
        let.append(number)
print(let)
"""


@known
@pytest.mark.parametrize("kind", ["media", "render"])
def test_unlisted_system_calls_fail_as_unimplemented(tmp_path: Path, kind: str) -> None:
    """Among those after 462: setxattrat and file_setattr, which change any file by its path, past Landlock."""
    (tmp_path / "file").touch()
    line = [sys.executable, "-c", LATER, kind, str(tmp_path / "file")]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout == "[]\n"
    assert os.listxattr(tmp_path / "file") == []


@pytest.mark.skipif(not LANDLOCK, reason="this kernel has no Landlock")
@pytest.mark.parametrize("break_in", [decoder, parser])
def test_files_stay_closed_even_without_a_system_call_filter(place: Path, break_in: Callable[..., Told]) -> None:
    told = break_in(place, plant(place, os.geteuid()), os.geteuid(), "seccomp")
    assert told.status == 0, told.errors
    ways = ("read", "openat2", "make", "append", "cut", "rename", "delete", "execve")
    assert [name for name in told.let if name.startswith(ways) and name != "read code"] == []


def test_an_unconfined_process_decodes_nothing(place: Path) -> None:
    told = decoder(place, plant(place, os.geteuid()), os.geteuid(), "landlock,namespaces,seccomp")
    assert (told.status, told.let) == (3, ["nothing was tried"])
    assert b"cannot be sandboxed" in told.errors


@pytest.mark.parametrize(
    ("lacks", "said"), [("-", []), ("landlock", ["Landlock"]), ("landlock,seccomp", ["Landlock", "system call filter"])]
)
def test_missing_sandbox_features_are_named(lacks: str, said: list[str]) -> None:
    if "Landlock" not in said and not LANDLOCK:
        said = ["Landlock", *said]
    script = f"from tests.recorder import intruder as i; i.take_away({lacks!r}); print(*i.sandbox.missing(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    lines = done.stdout.split("\n")
    assert [word for word, line in zip(said, lines, strict=False) if word in line] == said
    assert len(list(filter(None, lines))) == len(said)


@pytest.mark.skipif(not Path("/usr/include/asm-generic/unistd.h").exists(), reason="linux-libc-dev is not installed")
def test_the_numbers_of_system_calls_are_those_of_the_kernel() -> None:
    generic = Path("/usr/include/asm-generic/unistd.h").read_text()
    found = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", generic)}
    assert {name: arm for name, (_, arm) in numbers().items() if name in found and found[name] != arm} == {}
    own = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if own.exists():
        found = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", own.read_text())}
        assert {name: intel for name, (intel, _) in numbers().items() if found.get(name, intel) != intel} == {}


CONFINED = """
import sys
from recorder.runtime.sandbox import confine
confine(int(sys.argv[1]), [])
print(flush=True)
sys.stdin.read()
"""
PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid())], stdin=subprocess.PIPE)
print(child.pid, flush=True)
sys.stdin.read()
"""


def test_limits_are_set() -> None:
    line = [sys.executable, "-c", CONFINED, str(os.getpid())]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout and child.stdout.readline() == b"\n"
        limits = Path(f"/proc/{child.pid}/limits").read_text()
        nice = int(Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()[16])
        child.communicate()
    wanted = {"core file size": 0, "cpu time": 900, "address space": 2 << 30, "open files": 66}
    found = {name: re.search(rf"Max {name}\s+(\w+)\s+(\w+)", limits) for name in wanted}
    assert {name: each and each.groups() for name, each in found.items()} == {
        name: (str(value), str(value)) for name, value in wanted.items()
    }
    assert nice >= 10


def test_it_ends_with_its_parent() -> None:
    line = [sys.executable, "-c", PARENT, CONFINED]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = os.pidfd_open(int(parent.stdout.readline()))
        assert parent.stdout.readline() == b"\n"  # the child is shut in
        assert select.select([child], [], [], 0)[0] == []
        parent.kill()
        parent.stdout.read()  # ends when the child does
        assert select.select([child], [], [], 30)[0] == [child]
        os.close(child)


def test_a_worker_whose_parent_is_gone_already_does_nothing() -> None:
    assert subprocess.run([sys.executable, "-c", CONFINED, "1"], input=b"", check=False).returncode == 3


@pytest.mark.parametrize("form", list(Container))
def test_a_confined_worker_makes_every_format(place: Path, form: Container) -> None:
    payloads = noise(1, 50)
    streams = [RenderStream(0, "0", {0: PCMU})]
    with part_of(place, "m1", run(payloads)) as part, output(place) as (out, path):
        report = asyncio.run(render([part], streams, form, out))
    assert report["confined"] == {"landlock": LANDLOCK, "root": False, "calls": KNOWN, "network": True}
    if form is Container.PCAP:
        assert all(payload in path.read_bytes() for payload in payloads)
        return
    with av.open(str(path)) as container:
        to_mono = av.AudioResampler(format="s16", layout="mono")
        frames = [made for frame in container.decode(audio=0) for made in to_mono.resample(frame)]
    sound = array("h", b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames))
    assert len(sound) >= 0.9 * frames[0].sample_rate and len(set(sound)) > 100
    if form in {Container.WAV, Container.FLAC}:
        assert sound == expand(b"".join(payloads))
