"""Limit what a process that reads an outsider's bytes can do once an attacker controls it.

Theory of operation. Two kinds of process read such bytes: render workers (FFmpeg) and media workers (RTP, SRTP, DTLS,
RTCP). Both get what they need as open descriptors, so neither needs a path of ours. Three layers of the kernel confine
them; any process may use these without privileges, also in a container:

    Landlock (landlock(7))   no path but code that is still to be imported, no TCP, no signal and no abstract socket
                             outside the process; if the kernel refuses it, a mount namespace with an empty root
    seccomp (seccomp(2))     a render worker has an allow-list, without `open`, `execve`, sockets, new processes or new
                             executable memory; a media worker is refused what recording never needs
    dumps (forbid_dumps)     no core dump, and no process of the same user may read its memory

If one layer is not available the others still hold. `missing` says which are not, once, when a node starts. A render
worker without seccomp and without Landlock decodes nothing (`Confined.enough`); a media worker records in any case,
because recording is what the node is for.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from recorder.errors import NotPossible

NICE = 10  # recording has priority
ADDRESS_SPACE = 2 << 30  # bytes; FFmpeg's libraries alone map 300 MB
CPU_SECONDS = 900  # ten hours of stereo to Opus take about 200 s
DESCRIPTORS = 64  # in addition to those inherited
MOST_DESCRIPTORS = 1 << 20  # if the process has no limit

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NAME, PR_SET_NO_NEW_PRIVS = 1, 4, 15, 38
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x2_0000, 0x1000_0000, 0x4000_0000
MS_RDONLY, MS_PRIVATE_EVERYWHERE, MNT_DETACH = 1, (1 << 18) | (1 << 14), 2
STANDARD = frozenset((0, 1, 2))
_CAPABILITY_VERSION = 0x2008_0522  # _LINUX_CAPABILITY_VERSION_3
CAP_NET_ADMIN = 1 << 12


def forbid_dumps() -> None:
    """Keep this process's memory, which holds keys and speech, out of core dumps and away from its own user.

    Call it first in every process that opens keys or media. From then on its folder in /proc belongs to root, and only
    root may trace it (prctl(2), PR_SET_DUMPABLE). The size limit alone is not enough: it does not apply to a dump that
    is piped to a program (core(5)). Raises NotPossible.
    """
    _limit(resource.RLIMIT_CORE, 0)
    if _libc().prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise NotPossible(
            "The kernel does not let this process forbid core dumps, which would hold keys and speech.",
            "If a sandbox around the recorder filters system calls, allow prctl(2).",
        )


@dataclass(frozen=True, slots=True)
class Confined:
    """Which layers are in force in a process."""

    landlock: bool
    # no path but those named
    root: bool
    # an empty file system of its own, if Landlock was refused
    calls: bool
    # seccomp
    network: bool
    # no socket can be opened, or none leads anywhere

    @property
    def enough(self) -> bool:
        """Return whether a decoder may get an outsider's bytes: the process can open no file of the node."""
        return self.calls or self.landlock or self.root


def confine(parent: int, kept: Collection[int], most: int = resource.RLIM_INFINITY) -> Confined:
    """Confine a render worker and tie it to `parent`; it keeps these descriptors and the standard ones.

    `most`: largest size in bytes of a file it writes (`room_for`).

    Call it before any thread runs, because Landlock and namespaces apply to one thread, and after everything is
    imported: nothing can be opened from here on.
    """
    libc = _libc()
    close_others(kept)
    left = _leave_network(libc)
    landlock = landlock_version() > 0
    root = not landlock and _leave_files(libc)
    os.nice(NICE)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, CPU_SECONDS)
    _limit(resource.RLIMIT_AS, ADDRESS_SPACE)
    if most != resource.RLIM_INFINITY:
        _limit(resource.RLIMIT_FSIZE, most)
    _limit(resource.RLIMIT_NOFILE, max(kept, default=2) + DESCRIPTORS)
    drop_capabilities()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    landlock = landlock and allow_paths(())
    # after the namespaces: entering one clears both
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(3)
    calls = filter_calls(render_calls(), _EPERM)
    return Confined(landlock, root, calls, network=calls or left)


def room_for(fd: int) -> int:
    """Return to how many bytes a file may grow: its size now and half of what is free, in memory or on disk."""
    there = os.fstatvfs(fd)
    free = there.f_bavail * there.f_frsize if there.f_blocks else _free_memory()
    return os.fstat(fd).st_size + free // 2


def _free_memory() -> int:
    """Return the bytes of memory that are available; half of all memory if /proc does not say (ProcSubset=pid)."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def confine_media() -> Confined:
    """Confine a media worker, which gets the files and sockets of each call from main.

    It can still read code, which is imported when the first call needs it. If Landlock is refused, nothing at all can
    be opened, so the caller imports everything first (`landlock_version`).
    """
    landlock = landlock_version() > 0
    drop_capabilities(CAP_NET_ADMIN)  # with it a flooded socket may get a larger buffer than net.core.rmem_max
    _libc().prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    landlock = landlock and allow_paths(code())
    calls = filter_calls(media_calls(may_open=landlock), _ALLOW, _EVERY_THREAD | _SPECULATION)
    return Confined(landlock, root=False, calls=calls, network=False)


def missing() -> list[str]:
    """Return a sentence for each layer that this host lacks; empty if it has all. Confines nothing."""
    out = []
    if not landlock_version():
        out.append(
            "The kernel refuses Landlock: only the system call filter confines a process that an attacker controls."
        )
    if not _filters():
        out.append(
            "No system call filter can be set: media workers run without one, and if Landlock is missing too, nothing"
            " is played or exported."
        )
    return out


def close_others(kept: Collection[int]) -> None:
    """Close every descriptor but these and the standard ones."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    low = 0
    for each in [*sorted(STANDARD | set(kept)), MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else most]:
        if low < each:  # CPython takes the empty range before 0 for all
            os.closerange(low, each)
        low = each + 1


def code() -> Iterator[Path]:
    """Yield the paths of the interpreter, its libraries, our packages and the linker's files."""
    ours = Path(__file__).resolve().parents[2]
    yield from (ours / package for package in ("media", "recorder", "sip", "storage", "admin_api", "personal"))
    yield Path(os.__file__).resolve().parent
    yield Path(sys.base_prefix, "lib")
    yield from (Path(each) for each in sys.path if each.endswith(("site-packages", "dist-packages")))
    yield from map(Path, ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/etc/ssl/openssl.cnf"))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _limit(which: int, value: int) -> None:
    """Lower a limit; leave it if it is lower already."""
    hard = resource.getrlimit(which)[1]
    wanted = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(which, (wanted, wanted))


# ---- namespaces and rights ----
def _leave_network(libc: ctypes.CDLL) -> bool:
    """Enter an empty network namespace, with a user namespace or (as root) without; many hosts allow neither."""
    return any(libc.unshare(flags) == 0 for flags in (CLONE_NEWUSER | CLONE_NEWNET, CLONE_NEWNET))


def _leave_files(libc: ctypes.CDLL) -> bool:
    """Enter a mount namespace whose root is an empty, read-only tmpfs (pivot_root(2)); False if that is forbidden.

    A process that is already in a user namespace of its own may do so, and so may root.
    """
    if all(libc.unshare(flags) for flags in (CLONE_NEWNS, CLONE_NEWUSER | CLONE_NEWNS)):
        return False
    return bool(
        libc.mount(b"none", b"/", None, MS_PRIVATE_EVERYWHERE, None) == 0
        and libc.mount(b"none", b"/tmp", b"tmpfs", MS_RDONLY, b"size=4k") == 0
        and libc.chdir(b"/tmp") == 0
        and libc.syscall(ctypes.c_long(_number("pivot_root")), b".", b".") == 0
        and libc.umount2(b".", MNT_DETACH) == 0
        and libc.chdir(b"/") == 0
    )


def drop_capabilities(kept: int = 0) -> None:
    """Give up root's capabilities except these, if the process has any (capset(2))."""
    header, held = struct.pack("=Ii", _CAPABILITY_VERSION, 0), ctypes.create_string_buffer(24)
    if _libc().capget(header, held) != 0:
        return  # a kernel without capabilities, or the call is filtered
    effective, permitted, _, *_ = struct.unpack("=6I", held.raw)
    _libc().capset(header, struct.pack("=6I", effective & kept, permitted & kept, 0, 0, 0, 0))


# ---- Landlock ----
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446  # the same on every machine
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
#: By version of the interface: how many rights on files it knows (landlock(7)).
_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP, _TCP_SINCE = 0b11, 4  # bind and connect
_SCOPES, _SCOPES_SINCE = 0b11, 6  # abstract sockets and signals
O_PATH = 0o10_000_000


def landlock_version() -> int:
    """Return the version of the kernel's Landlock interface, 0 if it has none or a sandbox forbids it."""
    return max(0, int(_libc().syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION))))


def allow_paths(readable: Iterable[Path]) -> bool:
    """Let this thread and its children open only these files and folders, for reading; False if that is impossible."""
    libc, version = _libc(), landlock_version()
    if not version:
        return False
    rights = (1 << _RIGHTS.get(version, _RIGHTS[5])) - 1
    tcp = _TCP if version >= _TCP_SINCE else 0
    scopes = _SCOPES if version >= _SCOPES_SINCE else 0
    known = 8 if version < _TCP_SINCE else 16 if version < _SCOPES_SINCE else 24  # bytes of the structure
    rules = libc.syscall(
        LANDLOCK_CREATE, struct.pack("=QQQ", rights, tcp, scopes), ctypes.c_size_t(known), ctypes.c_uint(0)
    )
    if rules < 0:
        return False
    try:
        for path in readable:
            _allow(libc, rules, path)
        return bool(libc.syscall(LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0)) == 0)
    finally:
        os.close(rules)


def _allow(libc: ctypes.CDLL, rules: int, path: Path) -> None:
    """Allow a path to be read; a path that does not exist needs no rule."""
    try:
        opened = os.open(path, O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        rights = _READ_FILE | (_READ_DIR if path.is_dir() else 0)
        rule = struct.pack("=Qi", rights, opened)
        libc.syscall(LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(opened)


# ---- seccomp ----
_SECCOMP_FILTER, _ACTION_AVAILABLE = 1, 2
_EVERY_THREAD, _SPECULATION = 1, 4  # flags; without the second, kernels before 5.16 slow the whole process down
_LOAD, _AND, _EQUAL, _AT_LEAST, _JUMP, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x05, 0x06  # linux/bpf_common.h
_ALLOW, _EPERM, _ENOSYS = 0x7FFF_0000, 0x0005_0001, 0x0005_0026  # linux/seccomp.h
_ARGUMENTS = 16  # offset in struct seccomp_data; both machines are little-endian
#: System calls after mseal(2), Linux 6.10, fail as if the kernel did not have them: nobody has reviewed them, and
#: libraries manage without. Their numbers are the same on every machine; x86_64's second set (x32) is refused as well.
_LATER = 463
#: By machine: its AUDIT_ARCH (linux/audit.h) and its column in `numbers`.
_MACHINES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
_ALL = 0xFFFF_FFFF

UPPER = 8


class Check(NamedTuple):
    """A condition on half of an argument of a system call."""

    argument: int
    # its number, from 0; plus UPPER: the upper half
    mask: int
    values: tuple[int, ...]
    # what is left after the mask must be one of these
    among: bool = True
    # False: must be none of these


#: What happens to a call: always that, or allowed if all checks hold, else EPERM.
Rule = int | tuple[Check, ...]

PROT_EXEC, CLONE_THREAD, CLONE_NAMESPACES = 4, 0x1_0000, 0x7E02_0000
F_GETFD, F_SETFD, F_GETFL = 1, 2, 3
#: Of fcntl(2): with F_SETOWN, F_SETSIG, F_SETOWN_EX and F_NOTIFY the kernel signals any process of our user;
#: F_SETLEASE makes whoever opens the file wait for 45 s (/proc/sys/fs/lease-break-time).
SIGNALLING = (8, 10, 15, 1026, 1024)
#: Of ioctl(2), what libraries use on sockets, files and terminals: TCGETS and TCGETS2, TIOCGWINSZ, FIONREAD, FIONBIO,
#: FIONCLEX, FIOCLEX. Others type into the terminal that a trial was started from, or change interfaces and routes.
HARMLESS = (0x5401, 0x802C_542A, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)
#: Of socket options, those that media.receive.sockets sets: SO_RCVBUF, SO_RCVBUFFORCE. With CAP_NET_ADMIN others
#: rewrite the firewall or send from any address; without it they share a port or drop packets meant for a successor.
SOL_SOCKET, ROOM_OF_SOCKETS = 1, (8, 33)
O_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
AF_INET, AF_INET6, SOCK_DGRAM, SOCK_FLAGS = 2, 10, 2, 0x8_0800

_NO_CODE: Rule = (Check(2, PROT_EXEC, (0,)),)
_THREAD: Rule = (Check(0, CLONE_THREAD | CLONE_NAMESPACES, (CLONE_THREAD,)),)


def render_calls() -> dict[str, Rule]:
    """Return all system calls that a render worker may make: for its descriptors, memory, time and threads."""
    return dict.fromkeys(_RENDERING.split(), _ALLOW) | {
        "mmap": _NO_CODE,
        "mprotect": _NO_CODE,
        "clone": _THREAD,
        "clone3": _ENOSYS,  # its flags lie in memory, where no filter can look; libc then uses clone
        "tgkill": _own(),  # abort(3)
        "fcntl": (Check(1, _ALL, (F_GETFD, F_SETFD, F_GETFL)),),
        "prctl": (Check(0, _ALL, (PR_SET_NAME,)),),  # names of threads
        "prlimit64": (*_own(0), Check(2, _ALL, (0,)), Check(2 + UPPER, _ALL, (0,))),  # only to read its own
    }


def media_calls(*, may_open: bool) -> dict[str, Rule]:
    """Return the system calls that a media worker is refused; `may_open`: to read, as Landlock limits the paths."""
    return dict.fromkeys(_NEVER.split(), _EPERM) | {
        "clone": _THREAD,
        "clone3": _ENOSYS,
        "tgkill": _own(),
        "rt_tgsigqueueinfo": _own(),
        "fcntl": (Check(1, _ALL, SIGNALLING, among=False),),
        "prctl": (Check(0, _ALL, (PR_SET_PDEATHSIG, PR_SET_DUMPABLE), among=False),),
        "prlimit64": _own(0),
        "ioctl": (Check(1, _ALL, HARMLESS),),
        "setsockopt": (Check(1, _ALL, (SOL_SOCKET,)), Check(2, _ALL, ROOM_OF_SOCKETS)),
        "getsockopt": (Check(1, _ALL, (SOL_SOCKET,)),),
        "openat": (Check(2, O_WRITING, (0,)),) if may_open else _EPERM,
        "open": (Check(1, O_WRITING, (0,)),) if may_open else _EPERM,
        "openat2": _ENOSYS,  # its flags lie in memory
        # datagrams only: media.receive.sockets asks the kernel which local address it would send from
        "socket": (
            Check(0, _ALL, (AF_INET, AF_INET6)),
            Check(1, _ALL ^ SOCK_FLAGS, (SOCK_DGRAM,)),
            Check(2, _ALL, (0,)),
        ),
    }


def _own(*others: int) -> tuple[Check, ...]:
    """Allow a call if its first argument is this process; `others`: numbers that mean the same."""
    return (Check(0, _ALL, (os.getpid(), *others)),)


def filter_calls(calls: Mapping[str, Rule], otherwise: int, flags: int = _EVERY_THREAD) -> bool:
    """Install a filter for these system calls, for all threads and children; False on an unknown machine."""
    known = _MACHINES.get(os.uname().machine)
    if known is None:
        return False
    arch, column = known
    steps = [*_program(calls, otherwise, arch, column)]
    code = b"".join(struct.pack("=HBBI", *step) for step in steps)
    program = _Program(len(steps), code)
    number = ctypes.c_long(_number("seccomp"))
    done = _libc().syscall(number, ctypes.c_uint(_SECCOMP_FILTER), ctypes.c_uint(flags), ctypes.byref(program))
    return bool(done == 0)


def _filters() -> bool:
    """Return whether the kernel can filter system calls by number here."""
    if os.uname().machine not in _MACHINES:
        return False
    action = ctypes.byref(ctypes.c_uint32(_EPERM & 0xFFFF_0000))
    return bool(_libc().syscall(_number("seccomp"), ctypes.c_uint(_ACTION_AVAILABLE), ctypes.c_uint(0), action) == 0)


class _Program(ctypes.Structure):
    """A socket filter, `struct sock_fprog` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


Step = tuple[int, int, int, int]


def _program(calls: Mapping[str, Rule], otherwise: int, arch: int, column: int) -> Iterator[Step]:
    """Yield the instructions of a filter. The kernel caches what is always allowed, so its length costs nothing."""
    yield _LOAD, 0, 0, 4
    yield _EQUAL, 1, 0, arch
    yield _RETURN, 0, 0, _EPERM
    yield _LOAD, 0, 0, 0
    yield _AT_LEAST, 0, 1, _LATER
    yield _RETURN, 0, 0, _ENOSYS
    for name, rule in calls.items():
        number = numbers()[name][column]
        if number is None:
            continue
        body = [(_RETURN, 0, 0, rule)] if isinstance(rule, int) else [*_checks(rule)]
        yield _EQUAL, 0, len(body), number
        yield from body
    yield _RETURN, 0, 0, otherwise


def _checks(checks: Iterable[Check]) -> Iterator[Step]:
    """Yield the body of a rule: each check continues with the next one or ends in EPERM."""
    for argument, mask, values, among in checks:
        upper, place = divmod(argument, UPPER)
        yield _LOAD, 0, 0, _ARGUMENTS + 8 * place + 4 * upper
        yield _AND, 0, 0, mask
        for left, value in zip(range(len(values) - 1, -1, -1), values, strict=True):
            yield _EQUAL, left + 1, 0, value
        if not among:
            yield _JUMP, 0, 0, 1
        yield _RETURN, 0, 0, _EPERM
    yield _RETURN, 0, 0, _ALLOW


def _number(name: str) -> int:
    """Return the number of a system call on this machine; if that is unknown, one that no machine has."""
    number = numbers()[name][_MACHINES.get(os.uname().machine, (0, 0))[1]]
    return -1 if number is None or os.uname().machine not in _MACHINES else number


@cache
def numbers() -> dict[str, tuple[int | None, int | None]]:
    """Return the numbers of system calls on x86_64 and on aarch64; None if a machine has no such call."""
    rows = (row.split() for row in _NUMBERS.split(";"))
    return {name: (_known(first), _known(second)) for name, first, second in rows}


def _known(number: str) -> int | None:
    return None if number == "-" else int(number)


_RENDERING = """
read write readv writev pread64 pwrite64 lseek close fstat ftruncate fallocate fadvise64
munmap mremap brk madvise futex set_robust_list rseq sched_yield sched_getaffinity getcpu
rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack
clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time restart_syscall
getpid gettid getppid getuid geteuid getgid getegid getrandom getrusage times sysinfo uname getrlimit
poll ppoll select pselect6 exit exit_group
"""

_NEVER = """
execve execveat fork vfork ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp
kill tkill rt_sigqueueinfo pidfd_open pidfd_send_signal pidfd_getfd
io_uring_setup io_uring_enter io_uring_register bpf keyctl add_key request_key userfaultfd perf_event_open
mount umount2 pivot_root chroot move_mount open_tree fsopen fsconfig fsmount fspick mount_setattr unshare setns
init_module finit_module delete_module kexec_load kexec_file_load reboot swapon swapoff acct quotactl quotactl_fd
settimeofday clock_settime clock_adjtime adjtimex sethostname setdomainname personality ioperm iopl modify_ldt
open_by_handle_at name_to_handle_at fanotify_init inotify_init inotify_init1 memfd_create memfd_secret syslog vhangup
socketpair listen accept accept4
creat truncate rename renameat renameat2 unlink unlinkat rmdir mkdir mkdirat link linkat symlink symlinkat mknod mknodat
chmod fchmod fchmodat fchmodat2 chown fchown lchown fchownat setxattr lsetxattr fsetxattr removexattr lremovexattr
fremovexattr utime utimes utimensat futimesat sync syncfs
setpriority sched_setscheduler sched_setattr sched_setparam sched_setaffinity ioprio_set migrate_pages move_pages
mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr
msgget msgsnd msgrcv msgctl semget semop semtimedop semctl shmget shmat shmctl
setuid setgid setreuid setregid setresuid setresgid setgroups setfsuid setfsgid capset
"""

#: Name, number on x86_64, number on aarch64 (asm/unistd_64.h, asm-generic/unistd.h).
_NUMBERS = """
read 0 63; write 1 64; readv 19 65; writev 20 66; pread64 17 67; pwrite64 18 68; lseek 8 62; close 3 57; fstat 5 80;
ftruncate 77 46; fallocate 285 47; fadvise64 221 223; munmap 11 215; mremap 25 216; brk 12 214; madvise 28 233;
futex 202 98; set_robust_list 273 99; rseq 334 293; sched_yield 24 124; sched_getaffinity 204 123; getcpu 309 168;
rt_sigaction 13 134; rt_sigprocmask 14 135; rt_sigreturn 15 139; sigaltstack 131 132; clock_gettime 228 113;
clock_getres 229 114; clock_nanosleep 230 115; nanosleep 35 101; gettimeofday 96 169; time 201 -; restart_syscall
219 128; getpid 39 172; gettid 186 178; getppid 110 173; getuid 102 174; geteuid 107 175; getgid 104 176; getegid
108 177; getrandom 318 278; getrusage 98 165; times 100 153; sysinfo 99 179; uname 63 160; getrlimit 97 163; poll 7
-; ppoll 271 73; select 23 -; pselect6 270 72; exit 60 93; exit_group 231 94; execve 59 221; execveat 322 281; fork
57 -; vfork 58 -; ptrace 101 117; process_vm_readv 310 270; process_vm_writev 311 271; process_madvise 440 440;
process_mrelease 448 448; kcmp 312 272; kill 62 129; tkill 200 130; rt_sigqueueinfo 129 138; pidfd_open 434 434;
pidfd_send_signal 424 424; pidfd_getfd 438 438; io_uring_setup 425 425; io_uring_enter 426 426; io_uring_register
427 427; bpf 321 280; keyctl 250 219; add_key 248 217; request_key 249 218; userfaultfd 323 282; perf_event_open 298
241; mount 165 40; umount2 166 39; pivot_root 155 41; chroot 161 51; move_mount 429 429; open_tree 428 428; fsopen
430 430; fsconfig 431 431; fsmount 432 432; fspick 433 433; mount_setattr 442 442; unshare 272 97; setns 308 268;
init_module 175 105; finit_module 313 273; delete_module 176 106; kexec_load 246 104; kexec_file_load 320 294;
reboot 169 142; swapon 167 224; swapoff 168 225; acct 163 89; quotactl 179 60; quotactl_fd 443 443; settimeofday 164
170; clock_settime 227 112; clock_adjtime 305 266; adjtimex 159 171; sethostname 170 161; setdomainname 171 162;
personality 135 92; ioperm 173 -; iopl 172 -; modify_ldt 154 -; open_by_handle_at 304 265; name_to_handle_at 303
264; fanotify_init 300 262; inotify_init 253 -; inotify_init1 294 26; memfd_create 319 279; memfd_secret 447 447;
syslog 103 116; vhangup 153 58; socketpair 53 199; listen 50 201; accept 43 202; accept4 288 242; creat 85 -;
truncate 76 45; rename 82 -; renameat 264 38; renameat2 316 276; unlink 87 -; unlinkat 263 35; rmdir 84 -; mkdir 83
-; mkdirat 258 34; link 86 -; linkat 265 37; symlink 88 -; symlinkat 266 36; mknod 133 -; mknodat 259 33; chmod 90
-; fchmodat 268 53; fchmodat2 452 452; chown 92 -; lchown 94 -; fchownat 260 54; setxattr 188 5; lsetxattr 189 6;
removexattr 197 14; lremovexattr 198 15; utime 132 -; utimes 235 -; utimensat 280 88; futimesat 261 -; setpriority
141 140; sched_setscheduler 144 119; sched_setattr 314 274; sched_setparam 142 118; ioprio_set 251 30; migrate_pages
256 238; move_pages 279 239; mq_open 240 180; msgget 68 186; semget 64 190; shmget 29 194; shmat 30 196; setuid 105
146; setgid 106 144; setreuid 113 145; setregid 114 143; setresuid 117 147; setresgid 119 149; setgroups 116 159;
setfsuid 122 151; setfsgid 123 152; capset 126 91; mmap 9 222; mprotect 10 226; clone 56 220; clone3 435 435; tgkill
234 131; rt_tgsigqueueinfo 297 240; fcntl 72 25; prctl 157 167; prlimit64 302 261; openat 257 56; open 2 -; openat2
437 437; setsockopt 54 208; getsockopt 55 209; fchmod 91 52; fchown 93 55; fsetxattr 190 7; fremovexattr 199 16;
sync 162 81; syncfs 306 267; sched_setaffinity 203 122; mq_unlink 241 181; mq_timedsend 242 182; mq_timedreceive 243
183; mq_notify 244 184; mq_getsetattr 245 185; msgsnd 69 189; msgrcv 70 188; msgctl 71 187; semop 65 193; semtimedop
220 192; semctl 66 191; shmctl 31 195; socket 41 198; seccomp 317 277; ioctl 16 29
"""
