"""Shut a render worker in: FFmpeg reads bytes an outsider may have chosen, so what it could do must be little."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys

NICE = 10  # recording goes first
ADDRESS_SPACE = 2 << 30  # bytes; FFmpeg's libraries alone map 300 MB
CPU_SECONDS = 900  # ten hours of stereo to Opus take about 200 s
DESCRIPTORS = 64  # beyond those inherited

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
SECCOMP_MODE_FILTER = 2
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000


def confine(parent: int, highest_descriptor: int) -> bool:
    """Limit this process and tie it to `parent`; return whether it is without network.

    To be called before any thread runs: a process with threads cannot enter a user namespace.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    left = _leave_network(libc)
    os.nice(NICE)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE)
    _limit(resource.RLIMIT_NOFILE, highest_descriptor + DESCRIPTORS)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    no_network = _refuse_sockets(libc) or left
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    # last of all: entering a namespace clears it
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(3)
    return no_network


def _leave_network(libc: ctypes.CDLL) -> bool:
    """Enter an empty network namespace, with a user namespace or (as root) without; many hosts allow neither."""
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNET))


class _Program(ctypes.Structure):
    """A socket filter, `struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


#: By machine: its AUDIT_ARCH (linux/audit.h) and the numbers of socket and io_uring_setup, which can open one as well.
_SOCKET_CALLS = {"x86_64": (0xC000_003E, 41, 425), "aarch64": (0xC000_00B7, 198, 425)}
#: x86_64 has a second set of numbers from here on (x32).
_X32 = 0x4000_0000
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _EPERM = 0x7FFF_0000, 0x0005_0001


def _refuse_sockets(libc: ctypes.CDLL) -> bool:
    """Have the kernel refuse every new socket to this process (seccomp(2)); False on machines not known here.

    Needs no namespace, so it also works where none may be made.
    """
    known = _SOCKET_CALLS.get(os.uname().machine)
    if known is None:
        return False
    arch, socket, ring = known
    steps = (
        (_LOAD, 0, 0, 4),
        (_EQUAL, 0, 5, arch),
        (_LOAD, 0, 0, 0),
        (_AT_LEAST, 3, 0, _X32),
        (_EQUAL, 2, 0, socket),
        (_EQUAL, 1, 0, ring),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _EPERM),
    )
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    return bool(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _limit(which: int, value: int) -> None:
    """Lower a limit; one that is lower already stays."""
    hard = resource.getrlimit(which)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (wanted, wanted))
