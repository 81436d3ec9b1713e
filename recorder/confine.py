"""Shut a render worker in: FFmpeg reads bytes an outsider may have chosen, so what it could do must be little."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys

NICE = 10  # recording goes first
ADDRESS_SPACE = 2 << 30  # bytes; FFmpeg's libraries alone map 300 MB
CPU_SECONDS = 900  # ten hours of stereo to Opus take about 200 s
DESCRIPTORS = 64  # beyond those inherited

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000


def confine(parent: int, highest_descriptor: int) -> bool:
    """Limit this process and tie it to `parent`; return whether it is without network.

    To be called before any thread runs: a process with threads cannot enter a user namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    no_network = _leave_network(libc)
    os.nice(NICE)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE)
    _limit(resource.RLIMIT_NOFILE, highest_descriptor + DESCRIPTORS)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    # last of all: entering a namespace clears it
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(3)
    return no_network


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Enter an empty network namespace, with a user namespace or (as root) without; many hosts allow neither."""
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNET))


def _limit(which: int, value: int) -> None:
    """Lower a limit; one that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (wanted, wanted))
