"""What code that took over a confined process would try: run in that process, it tells what was not refused.

    python -m tests.recorder.intruder render SECRETS USER LACKS                      a render worker: this is its job
    python -m tests.recorder.intruder media SECRETS USER LACKS REGION TICK PARENT    a media worker: this is its loop

LACKS names what the kernel refuses here, as in a container: `landlock`, `namespaces`, `seccomp`, or nothing: `-`.
SECRETS is a folder with files that must not be read and a folder `vault`, which must not be written to. What was let is
written as JSON to where a worker of that kind may write.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO

from recorder.runtime import sandbox

#: Numbers of system calls on x86_64 and aarch64, from asm/unistd_64.h and asm-generic/unistd.h.
NUMBERS = {
    "openat": (257, 56), "openat2": (437, 437), "execve": (59, 221), "execveat": (322, 281), "clone3": (435, 435),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_open": (434, 434), "socket": (41, 198),
    "socketpair": (53, 199), "io_uring_setup": (425, 425), "memfd_create": (319, 279), "unshare": (272, 97),
    "setns": (308, 268), "mount": (165, 40), "bpf": (321, 280), "keyctl": (250, 219), "userfaultfd": (323, 282),
    "prlimit64": (302, 261), "fcntl": (72, 25), "mkdirat": (258, 34), "unlinkat": (263, 35), "symlinkat": (266, 36),
    "renameat2": (316, 276), "truncate": (76, 45), "mprotect": (10, 226), "mmap": (9, 222), "chdir": (80, 49),
    "personality": (135, 92), "open_by_handle_at": (304, 265), "prctl": (157, 167), "perf_event_open": (298, 241),
    "setsockopt": (54, 208), "getsockopt": (55, 209), "fchmod": (91, 52), "fchown": (93, 55), "fsetxattr": (190, 7),
    "fremovexattr": (199, 16), "sched_setaffinity": (203, 122), "shmctl": (31, 195), "semctl": (66, 191),
    "msgctl": (71, 187), "semop": (65, 193), "semtimedop": (220, 192), "msgsnd": (69, 189), "msgrcv": (70, 188),
    "mq_unlink": (241, 181), "mq_timedsend": (242, 182), "mq_timedreceive": (243, 183), "mq_getsetattr": (245, 185),
    "syncfs": (306, 267), "fallocate": (285, 47), "setpriority": (141, 140), "newfstatat": (262, 79),
    "seccomp": (317, 277), "chroot": (161, 51), "ioctl": (16, 29), "x32 openat": (0x4000_0101, 0x4000_0038),
}  # fmt: skip
IPC = ("shmctl", "semctl", "msgctl", "semop", "semtimedop", "msgsnd", "msgrcv", "mq_timedsend", "mq_timedreceive",
       "mq_getsetattr")  # fmt: skip
"""Of memory, semaphores and queues that any process of the same user may have."""
HERE = -100
"""AT_FDCWD."""
REFUSED = frozenset((errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EFBIG))
"""Anything else says that a call was looked at: with better arguments it might have been done."""

OUTPUT: list[int] = []
"""The file that a render worker makes."""
DUMPS: list[int] = []
"""Whether it may be dumped, and how large, before it reads the first byte."""

COLUMN = 1 if os.uname().machine == "aarch64" else 0
libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> int:
    """Ask the kernel directly, past libc; give the errno, 0 if it was done."""
    words = (each if isinstance(each, bytes | ctypes.Array) else ctypes.c_long(each) for each in arguments)
    return ctypes.get_errno() if libc.syscall(ctypes.c_long(NUMBERS[name][COLUMN]), *words) < 0 else 0


def room(size: int = 256) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer(size)


def opened(path: Path | str, flags: int = os.O_RDONLY) -> int:
    return call("openat", HERE, os.fsencode(path), flags, 0o600)


def forked() -> int:
    try:
        child = os.fork()
    except OSError as problem:
        return problem.errno or 0
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return 0


def executed(name: str, *arguments: Any) -> int:
    """Execute a file, in a child where one may be made, so that we live on."""
    try:
        child = os.fork()
    except OSError:
        return call(name, *arguments)
    if child == 0:
        os._exit(call(name, *arguments))  # `true` ends with 0
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def code_written() -> int:
    libc.mmap.restype = ctypes.c_void_p
    return call("mprotect", libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0)), 4096, 5)


def attempts(secrets: Path, main: int) -> dict[str, Callable[[], int]]:
    """Name what neither kind of worker may do; each gives the errno."""
    part, true = os.fsencode(secrets / "vault/m1"), b"/bin/true"
    made = {name: os.fsencode(secrets / "vault" / name) for name in ("file", "folder", "link", "other")}
    files = sorted(path for path in secrets.iterdir() if path.is_file())
    return {
        **{f"read {path.name}": partial(opened, path) for path in files},
        **{f"openat2 {path.name}": partial(call, "openat2", HERE, os.fsencode(path), room(24), 24)
           for path in files},
        "read the memory of main": lambda: opened(f"/proc/{main}/mem"),
        "read the environment of main": lambda: opened(f"/proc/{main}/environ"),
        "read users of the machine": lambda: opened("/etc/passwd"),
        "make a file": lambda: call("openat", HERE, made["file"], os.O_CREAT | os.O_WRONLY, 0o600),
        "append to a part": lambda: opened(secrets / "vault/m1", os.O_WRONLY | os.O_APPEND),
        "cut a part": lambda: call("truncate", part, 0),
        "rename a part": lambda: call("renameat2", HERE, part, HERE, made["other"], 0),
        "delete a part": lambda: call("unlinkat", HERE, part, 0),
        "make a folder": lambda: call("mkdirat", HERE, made["folder"], 0o700),
        "make a link": lambda: call("symlinkat", b"/", HERE, made["link"]),
        "open by handle": lambda: call("open_by_handle_at", HERE, room(), 0),
        "execve": lambda: executed("execve", true, 0, 0),
        "execveat": lambda: executed("execveat", HERE, true, 0, 0, 0),
        "fork": forked,
        "clone3": lambda: call("clone3", room(), 0),
        "kill main": lambda: call("kill", main, 0),
        "kill by thread": lambda: call("tkill", main, 0),
        "kill by thread and group": lambda: call("tgkill", main, main, 0),
        "queue a signal": lambda: call("rt_sigqueueinfo", main, 0, room()),
        "have the kernel signal main": lambda: call("fcntl", 2, fcntl.F_SETOWN, main),
        "pidfd": lambda: call("pidfd_open", main, 0),
        "ptrace": lambda: call("ptrace", 0x4206, main, 0, 0x7FFF_FFFF),
        "process_vm_readv": lambda: call("process_vm_readv", main, 0, 0, 0, 0, 0),
        "process_vm_writev": lambda: call("process_vm_writev", main, 0, 0, 0, 0, 0),
        "limits of main": lambda: call("prlimit64", main, 7, 0, room()),
        "priority of main": lambda: call("setpriority", 0, main, 0),
        "TCP": lambda: call("socket", socket.AF_INET, socket.SOCK_STREAM, 0),
        "packets": lambda: call("socket", socket.AF_PACKET, socket.SOCK_RAW, 0),
        "abstract sockets": lambda: call("socket", socket.AF_UNIX, socket.SOCK_STREAM, 0),
        "netlink": lambda: call("socket", socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "socketpair": lambda: call("socketpair", socket.AF_UNIX, socket.SOCK_STREAM, 0, room()),
        "io_uring": lambda: call("io_uring_setup", 4, room()),
        "memfd": lambda: call("memfd_create", b"x", 0),
        "user namespace": lambda: call("unshare", 0x1000_0000),
        "another namespace": lambda: call("setns", 2, 0),
        "mount": lambda: call("mount", b"none", b"/tmp", b"no such", 0, 0),
        "chroot": lambda: call("chroot", b"/no such"),
        "bpf": lambda: call("bpf", 0, room(), 120),
        "keyctl": lambda: call("keyctl", 0, -3, 0),
        "userfaultfd": lambda: call("userfaultfd", 1),
        "perf": lambda: call("perf_event_open", room(), 0, -1, -1, 0),
        "change an interface": lambda: call("ioctl", 2, 0x8914, room()),
        "personality": lambda: call("personality", 0xFFFF_FFFF),
        "rewrite the firewall": lambda: call("setsockopt", 2, 0, 64, room(), 256),
        "send from any address": lambda: call("setsockopt", 2, 0, 19, room(), 4),
        "share a port": lambda: call("setsockopt", 2, 1, socket.SO_REUSEPORT, room(), 4),
        "filter what is received": lambda: call("setsockopt", 2, 1, 26, room(), 16),
        "ask the firewall": lambda: call("getsockopt", 2, 0, 64, room(), room()),
        "delay who opens a part": lambda: call("fcntl", 2, fcntl.F_SETLEASE, fcntl.F_RDLCK),
        "watch a folder": lambda: call("fcntl", 2, fcntl.F_NOTIFY, 1),
        "lend a file": lambda: call("fchmod", 2, 0o600),
        "give a file away": lambda: call("fchown", 2, -1, -1),
        "write an attribute": lambda: call("fsetxattr", 2, b"user.x", b"x", 1, 0),
        "remove an attribute": lambda: call("fremovexattr", 2, b"user.x"),
        "choose processors": lambda: call("sched_setaffinity", 0, 0, room()),
        **{f"{name} of others": partial(call, name, -1, 0, 0, 0, 0) for name in IPC},
        "unlink a queue": lambda: call("mq_unlink", b"no such"),
        "write out a whole disk": lambda: call("syncfs", -1),
        "be dumped": lambda: call("prctl", 4, 1, 0, 0, 0),
        "outlive main": lambda: call("prctl", 1, 0, 0, 0, 0),
        "type into a terminal": lambda: call("ioctl", 2, 0x5412, room()),
        "set a terminal up": lambda: call("ioctl", 2, 0x5402, room()),
        "flags of a file": lambda: call("ioctl", 2, 0x4008_6602, room()),
        "the other set of numbers": lambda: call("x32 openat", HERE, b"/etc/passwd", 0, 0),
    }  # fmt: skip


def of_decoders(secrets: Path) -> dict[str, Callable[[], int]]:
    """Name what a render worker may not do either, which nothing sends anything but its parts."""
    return {
        "stat": lambda: call("newfstatat", HERE, os.fsencode(secrets), room(), 0),
        "chdir": lambda: call("chdir", os.fsencode(secrets)),
        "read code": lambda: opened(os.__file__),
        "open /dev/null": lambda: opened("/dev/null", os.O_RDWR),
        "new code": lambda: call("mmap", 0, 4096, 7, 0x22, -1, 0),
        "memory that becomes code": code_written,
        "UDP": lambda: call("socket", socket.AF_INET, socket.SOCK_DGRAM, 0),
        "take all memory": lambda: call("fallocate", OUTPUT[0], 0, 0, 1 << 40),
    }


def found(tries: dict[str, Callable[[], int]]) -> bytes:
    """Try everything; tell what was let and which descriptors there are."""
    let = [name for name, attempt in tries.items() if attempt() not in REFUSED]
    held = [fd for fd in range(1024) if libc.fcntl(fd, fcntl.F_GETFD) >= 0]
    return json.dumps({"let": let, "descriptors": held, "dumps": DUMPS}).encode()


def take_away(lacks: str) -> None:
    """Have the kernel refuse ways to confine a process, as sandboxes around the whole recorder do."""
    libc.prctl(38, 1, 0, 0, 0)
    refused = [("landlock", "landlock_create_ruleset", errno.ENOSYS), ("namespaces", "unshare", errno.EPERM)]
    rules = {name: 0x5_0000 | code for word, name, code in refused if word in lacks}
    if rules:
        known = {**sandbox.numbers(), "landlock_create_ruleset": (444, 444)}
        sandbox.numbers = lambda: known  # type: ignore[assignment]  # as if a recorder asked for it
        sandbox.filter_calls(rules, 0x7FFF_0000)
    if "seccomp" in lacks:
        os.uname = lambda: os.uname_result(("Linux", "node", "6", "1", "m68k"))  # a processor that is not known


def become(user: int, module: ModuleType, name: str) -> None:
    """Be another user from when a process shuts itself in: not before, since our code may be root's to read."""
    confine_self = getattr(module, name)

    def as_user(*arguments: Any) -> Any:
        DUMPS.extend((libc.prctl(3, 0, 0, 0, 0), *resource.getrlimit(resource.RLIMIT_CORE)))
        if user != os.geteuid():
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
        return confine_self(*arguments)

    setattr(module, name, as_user)


def render(secrets: Path, user: int) -> int:
    """Be a render worker whose decoder is broken."""
    from recorder.exports import render_worker

    become(user, render_worker, "confine")
    tries = attempts(secrets, os.getppid()) | of_decoders(secrets)

    def make(job: Any, out: BinaryIO) -> dict[str, Any]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        OUTPUT.append(out.fileno())
        out.write(found(tries))
        return {}

    render_worker.make = make
    return render_worker.main()


def media(secrets: Path, user: int) -> None:
    """Be a media worker whose parser is broken."""
    from recorder.workers import process

    become(user, process, "confine_media")
    tries = attempts(secrets, os.getppid())

    def run(self: process.Worker) -> None:
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fileno=3)
        control.setblocking(True)
        control.send(found(tries))
        control.detach()

    process.Worker.run = run  # type: ignore[method-assign]  # what a broken one would do
    process.main()


if __name__ == "__main__":
    signal.alarm(60)
    kind, folder, who = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    take_away(sys.argv[4])
    del sys.argv[1:5]
    if kind == "render":
        sys.exit(render(folder, who))
    media(folder, who)
