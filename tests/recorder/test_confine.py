"""What a render worker can no longer do."""

import json
import os
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import json, os, resource, socket, sys
from recorder import confine
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
free = confine.confine(int(sys.argv[1]), 9)
net = open("/proc/net/dev").read().count(":")
try:
    socket.socket().close()
    socket.socketpair()[0].close()
    opened = True
except PermissionError:
    opened = False
limits = {n: resource.getrlimit(getattr(resource, "RLIMIT_" + n))[0] for n in ("CORE", "CPU", "AS", "NOFILE")}
import ctypes
signal = ctypes.c_int()
ctypes.CDLL(None).prctl(2, ctypes.byref(signal), 0, 0, 0)
print(json.dumps({"free": free, "net": net, "opened": opened, "nice": os.nice(0), "signal": signal.value, **limits}))
"""


def confined(parent: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCRIPT, str(parent)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_limits_are_set_and_it_ends_with_its_parent() -> None:
    shown = json.loads(confined(os.getpid()).stdout)
    assert (shown["CORE"], shown["CPU"], shown["AS"], shown["NOFILE"]) == (0, 900, 2 << 30, 73)
    assert shown["nice"] >= 10
    assert shown["signal"] == 9


def test_it_says_truly_whether_the_network_is_gone() -> None:
    shown = json.loads(confined(os.getpid()).stdout)
    if not shown["free"]:
        pytest.skip("this host lets nobody leave the network, and its processor's calls are not known")
    assert not shown["opened"] or shown["net"] == 1  # loopback, and that is down


@pytest.mark.skipif(platform.machine() not in {"x86_64", "aarch64"}, reason="the calls of this processor are not known")
def test_the_kernel_refuses_it_every_socket_also_where_namespaces_are_forbidden() -> None:
    assert json.loads(confined(os.getpid()).stdout)["opened"] is False


def test_a_worker_whose_parent_is_gone_already_does_nothing() -> None:
    assert confined(1).returncode == 3
