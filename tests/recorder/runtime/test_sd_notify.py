"""What systemd hears, and what it hands back."""

from __future__ import annotations

import array
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from recorder.runtime.sd_notify import MAX_DESCRIPTORS, Notifier, listen_fds


class Manager:
    """A service manager that writes down what it is told."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.settimeout(30)
        self.notifier = Notifier(address)

    def hear(self) -> tuple[list[str], list[int]]:
        """Return the lines and descriptors of the next message."""
        data, ancillary, _, _ = self.socket.recvmsg(4096, socket.CMSG_SPACE(4 * MAX_DESCRIPTORS))
        descriptors = array.array("i")
        for _, _, content in ancillary:
            descriptors.frombytes(content)
        return data.decode().split("\n"), list(descriptors)


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    """Return a manager at a path and at an abstract address."""
    made = Manager(str(tmp_path / "notify") if request.param == "path" else f"@recorder-test-{os.getpid()}")
    yield made
    made.notifier.close()
    made.socket.close()


def test_state_is_reported_in_the_sd_notify_protocol(manager: Manager) -> None:
    notifier = manager.notifier
    for taken, lines in (
        (notifier.ready(), ["READY=1"]),
        (notifier.watchdog(), ["WATCHDOG=1"]),
        (notifier.status("3 calls\nREADY=1"), ["STATUS=3 calls READY=1"]),
        (notifier.extend(1.5), ["EXTEND_TIMEOUT_USEC=1500000"]),
        (notifier.stopping(), ["STOPPING=1"]),
        (notifier.remove("rtp-fe1"), ["FDSTOREREMOVE=1", "FDNAME=rtp-fe1"]),
    ):
        assert taken
        assert manager.hear()[0] == lines


def test_stored_descriptors_are_the_same_sockets(manager: Manager) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as media:
        media.bind(("127.0.0.1", 0))
        assert manager.notifier.store("rtp-fe1", [media.fileno()])
        lines, (descriptor,) = manager.hear()
        with socket.socket(fileno=descriptor) as kept:
            assert kept.getsockname() == media.getsockname()
    assert lines == ["FDSTORE=1", "FDNAME=rtp-fe1", "FDPOLL=0"]


def test_many_descriptors_go_in_messages_the_kernel_takes(manager: Manager) -> None:
    with open(os.devnull) as file:
        assert manager.notifier.store("a", [file.fileno()] * (MAX_DESCRIPTORS + 1))
    for size in (MAX_DESCRIPTORS, 1):
        _, descriptors = manager.hear()
        assert len(descriptors) == size
        for descriptor in descriptors:
            os.close(descriptor)


@pytest.mark.parametrize("name", ["", "a:b", "a b", "ä", "x" * 256, "a\nREADY=1"])
def test_a_name_that_systemd_would_ignore_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match="descriptor's name"):
        Notifier(None).store(name, [])


def test_without_a_manager_nothing_happens(tmp_path: Path) -> None:
    assert not Notifier(None).ready()
    assert not Notifier("").present
    assert not Notifier(str(tmp_path / "nobody")).ready()
    environment = {"NOTIFY_SOCKET": "@x"}
    assert Notifier.from_environment(environment).present
    assert environment == {}, "no child speaks in our name"


HANDED_OVER = """
import os, sys
from recorder.runtime.sd_notify import listen_fds
os.environ["LISTEN_PID"] = str(os.getpid())
found = listen_fds()
inheritable = [os.get_inheritable(fd) for fds in found.values() for fd in fds]
print(sorted(found.items()), inheritable, sorted(name for name in os.environ if name.startswith("LISTEN")))
"""


def test_handed_over_descriptors_come_by_name_and_stay_ours() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        os.set_inheritable(one.fileno(), True)
        shell = f'exec 3<&{one.fileno()} 4<&{one.fileno()} 5<&{one.fileno()}; exec "$0" -c "$1"'
        child = subprocess.run(
            ["bash", "-c", shell, sys.executable, HANDED_OVER],
            env={"PATH": os.environ["PATH"], "LISTEN_FDS": "4", "LISTEN_FDNAMES": "a:b:a"},
            cwd=Path(__file__).parents[3],
            pass_fds=[one.fileno()],
            capture_output=True,
            text=True,
            timeout=30,
        )
    assert child.stdout.strip().startswith("[('a', [3, 5]), ('b', [4])"), child.stderr
    assert "True" not in child.stdout
    assert child.stdout.strip().endswith("[]")


@pytest.mark.parametrize(
    "environment", [{"LISTEN_FDS": "1", "LISTEN_PID": "1"}, {}, {"LISTEN_FDS": "many", "LISTEN_PID": "2"}]
)
def test_descriptors_for_another_process_are_not_ours(environment: dict[str, str]) -> None:
    assert listen_fds(environment, 2) == {}


def fill(notifier: Notifier) -> int:
    """Notify until the manager's queue is full; gives the number of messages in it."""
    taken = 0
    while notifier.watchdog():
        taken += 1
        assert taken < 100_000
    return taken


def test_essential_notifications_are_repeated_in_order(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    """READY that is lost ends in a kill at the start's time-out, a name that is not dropped keeps its ports bound."""
    monkeypatch.setattr("recorder.runtime.sd_notify.SEND_SECONDS", 0.01)
    notifier = manager.notifier
    taken = fill(notifier)
    assert notifier.busy
    assert not any([notifier.ready(), notifier.remove("m1"), notifier.remove("m1"), notifier.store("m1", [0])])
    assert not notifier.settle()
    for _ in range(taken):
        manager.hear()
    notifier.deaf = True
    assert notifier.store("m1", [0])
    assert [notifier.busy, notifier.deaf] == [False, False]
    heard = [manager.hear() for _ in range(3)]
    assert [lines[0] for lines, _ in heard] == ["READY=1", "FDSTOREREMOVE=1", "FDSTORE=1"]
    for descriptor in heard[2][1]:
        os.close(descriptor)
    assert notifier.settle()


def test_a_manager_that_does_not_read_is_waited_for_once(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recorder.runtime.sd_notify.SEND_SECONDS", 1.0)
    notifier = manager.notifier
    taken, began = fill(notifier), time.monotonic()
    for _ in range(5):
        assert not any([notifier.ready(), notifier.store("sip0", [0]), notifier.remove("sip0"), notifier.stopping()])
    assert time.monotonic() - began < 10, "20 messages, each of which could wait for a second"
    for _ in range(taken):
        manager.hear()
    assert notifier.ready()
