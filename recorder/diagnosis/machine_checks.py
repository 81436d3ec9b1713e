"""Checks of the machine: kernel settings, clock, disks, the tmpfs of live calls, swap."""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recorder.calls.admission import LEAST_FREE_BYTES, LEAST_FREE_SPOOL, room
from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.diagnosis.check import Check, fail, ok, unchecked, warn
from recorder.runtime.folders import in_memory, swapping
from storage.files.reserved_space import Space

SYSCTL = Path("/proc/sys")
KEPT = "/etc/sysctl.d/60-recorder.conf"
"""Where config/sysctl.conf is copied to; the package has it in /usr/lib/sysctl.d."""

LEAST, MOST = "at least", "at most"


@dataclass(frozen=True, slots=True)
class Setting:
    """What a kernel setting should be; config/sysctl.conf has the same values and their reasons."""

    bound: str
    """LEAST or MOST."""
    value: int
    otherwise: str
    """What may happen if the setting is on the wrong side of the bound."""
    field: int = 0
    """Index of the number that counts, where the setting is several numbers."""


KERNEL = {
    "net.core.rmem_max": Setting(LEAST, 1_179_648, "audio is lost if a media worker is away for long"),
    "net.core.rmem_default": Setting(LEAST, 262_144, "RTCP reports may be lost"),
    "net.ipv4.udp_mem": Setting(LEAST, 2_097_152, "audio is lost when the buffers of all calls fill together", 2),
    "net.core.somaxconn": Setting(LEAST, 1_024, "SBCs wait when all reconnect at once"),
    "net.core.netdev_max_backlog": Setting(LEAST, 10_000, "packets are lost in bursts"),
    "fs.nr_open": Setting(LEAST, 1_048_576, "the service cannot have enough descriptors"),
    "vm.swappiness": Setting(MOST, 1, "the kernel swaps more than it must"),
    "kernel.yama.ptrace_scope": Setting(LEAST, 2, "processes of a user may read each other's memory"),
    "fs.suid_dumpable": Setting(MOST, 0, "a crash may write keys to a disk"),
}
RESERVED_PORTS = "net.ipv4.ip_local_reserved_ports"

LIBC = ctypes.CDLL(None, use_errno=True)
TIMEX_LONGS = 26
"""Size of struct timex of adjtimex(2), in longs."""
MAX_ERROR, STATUS = 3, 5
"""Indexes of the longs that hold maxerror (in µs) and status (an int)."""
UNSYNCHRONISED = 0x40
"""STA_UNSYNC."""
LARGE_ERROR = 1_000_000
"""µs by which the clock may be wrong, as the kernel estimates, before times of calls and audit entries are in doubt."""

SLOW_SYNC = 0.1
"""Seconds that a sync may take; while one takes longer, new calls are refused (503, `disk`)."""
PROBE_BYTES = 1 << 20
CALL_SPOOL = 10_000
"""Bytes of a call in runtime_dir."""
FEW = 10
"""Warn if the free share of a disk is less than one part in this many."""
REMOTE = frozenset("nfs nfs4 cifs smb3 9p ceph glusterfs".split())
PASSING = frozenset("tmpfs ramfs overlay".split())


# ---- kernel ----
def kernel(settings: Settings, place: Path = SYSCTL) -> Iterator[Check]:
    """Compare kernel settings with what the recorder needs."""
    for key, wanted in KERNEL.items():
        text = _sysctl(key, place)
        try:
            found = int((text or "").split()[wanted.field])
        except (ValueError, IndexError):
            yield unchecked(f"sysctl.{key}", "this kernel or container does not show it", f"On the host: sysctl {key}")
            continue
        well = found >= wanted.value if wanted.bound == LEAST else found <= wanted.value
        if well:
            yield ok(f"sysctl.{key}", str(found))
        else:
            detail = f"{found} instead of {wanted.bound} {wanted.value}: {wanted.otherwise}"
            yield warn(f"sysctl.{key}", detail, _set(key, " ".join(_filled(text or "", wanted))))
    yield _reserved(settings, _sysctl(RESERVED_PORTS, place))


def _filled(text: str, wanted: Setting) -> list[str]:
    """Return the present numbers of a setting, with the wanted one put in its place."""
    words = text.split()
    words[wanted.field] = str(wanted.value)
    return words


def _sysctl(key: str, place: Path) -> str | None:
    try:
        return (place / key.replace(".", "/")).read_text().strip()
    except OSError:
        return None


def _set(key: str, value: str) -> str:
    return f"sysctl -w {key}='{value}'; config/sysctl.conf as {KEPT} keeps it"


def _reserved(settings: Settings, text: str | None) -> Check:
    """Check that the kernel does not give SIP and media ports to other programs as source ports."""
    name = f"sysctl.{RESERVED_PORTS}"
    if text is None:
        return unchecked(name, "this kernel or container does not show it", f"On the host: sysctl {RESERVED_PORTS}")
    reserved = set()
    for each in text.split(","):
        first, _, last = each.partition("-")
        if first.strip().isdigit():
            reserved |= set(range(int(first), int(last or first) + 1))
    media = settings.media.ports
    ours = {each.port for each in settings.sip.listen} | set(range(media.first, media.last + 1))
    if ours <= reserved:
        return ok(name, text)
    wanted = ",".join([*(str(port) for port in sorted({each.port for each in settings.sip.listen})),
                       f"{media.first}-{media.last}"])  # fmt: skip
    detail = f"{len(ours - reserved)} SIP and media ports are not reserved: another program may get one"
    return warn(name, detail, _set(RESERVED_PORTS, wanted))


# ---- clock ----
def clock() -> Iterator[Check]:
    """Ask the kernel whether the clock is synchronised (adjtimex(2))."""
    timex = (ctypes.c_long * TIMEX_LONGS)()
    state = LIBC.adjtimex(timex)
    if state < 0:
        yield unchecked("clock", f"the kernel does not say ({os.strerror(ctypes.get_errno())})", "timedatectl")
        return
    error = timex[MAX_ERROR]
    if timex[STATUS] & UNSYNCHRONISED:
        detail = "not synchronised: times of calls and of the audit log may be wrong"
        yield warn("clock", detail, "apt install systemd-timesyncd && timedatectl set-ntp true")
    elif error > LARGE_ERROR:
        yield warn(
            "clock", f"it may be wrong by {error / 1e6:.1f} s", "timedatectl timesync-status, or: chronyc tracking"
        )
    else:
        yield ok("clock", f"synchronised, wrong by {error / 1e3:.0f} ms at most")


# ---- disks ----
def data_disk(settings: Settings) -> Iterator[Check]:
    """Check space, file system and speed of the disk with the recordings."""
    folder = settings.node.data_dir
    there = _existing(folder)
    yield from _space("disk.data", there, LEAST_FREE_BYTES)
    kind = file_system(there)
    if kind in REMOTE:
        yield warn(
            "disk.data.filesystem", f"{kind}: every sync waits for the network", "Move data_dir to a local disk."
        )
    elif kind in PASSING:
        yield warn("disk.data.filesystem", f"{kind}: recordings may not outlive a restart of the machine or container",
                   "Move data_dir to a disk.")  # fmt: skip
    else:
        yield ok("disk.data.filesystem", kind or "unknown")
    yield _sync(there)


def _existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def _space(name: str, folder: Path, least: int) -> Iterator[Check]:
    found = Space.of(folder)
    detail = f"{_size(found.free)} of {_size(found.whole)} free"
    inodes = f", {found.free_files} inodes" if found.files else ""
    remedy = "Make room: df -h; df -i. Retention rules and erasures take effect at 0 bytes free too."
    few = found.free * FEW < found.whole or (found.files and found.free_files * FEW < found.files)
    if not room(folder, least):
        yield fail(name, f"{detail}{inodes}: new calls are refused", remedy)
    elif few:
        yield warn(name, detail + inodes, remedy)
    else:
        yield ok(name, detail + inodes)


def _sync(folder: Path) -> Check:
    """Write and sync a file without a name, and check how long that takes."""
    name = "disk.data.sync"
    try:
        fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    except PermissionError:
        return unchecked(name, "this user may not write there", "Run it as root or as the recorder's user.")
    except OSError as problem:
        return unchecked(name, f"the file system has no files without names ({problem.strerror})", "ioping data_dir")
    try:
        began = time.monotonic()
        os.write(fd, os.urandom(PROBE_BYTES))
        os.fsync(fd)
        took = time.monotonic() - began
    except OSError as problem:
        return fail(name, f"writing failed: {problem.strerror}", "dmesg | tail; df -h; df -i")
    finally:
        os.close(fd)
    detail = f"1 MiB written and synced in {took * 1000:.0f} ms"
    if took > SLOW_SYNC:
        return warn(name, f"{detail}: new calls are refused while the disk is so slow", "iostat -x 1; dmesg | tail")
    return ok(name, detail)


def runtime_disk(settings: Settings) -> Iterator[Check]:
    """Check that the state of live calls lies in memory, and that there is room for it."""
    folder = settings.node.runtime_dir
    there = _existing(folder)
    if not in_memory(folder):
        remedy = "Set [node] runtime_dir to a folder on a tmpfs, such as /run/recorder."
        detail = f"{file_system(there) or 'a disk'}: the state of live calls reaches a disk"
        yield (warn if settings.node.trial else fail)("disk.runtime.tmpfs", detail, remedy)
    else:
        yield ok("disk.runtime.tmpfs", file_system(there) or "tmpfs")
    needed = max(LEAST_FREE_SPOOL, CALL_SPOOL * settings.sip.max_calls)
    free = Space.of(there).free
    if room(there, LEAST_FREE_SPOOL) and free < needed:
        remedy = f"mount -o remount,size={needed >> 19}m {there}"
        yield warn("disk.runtime", f"{_size(free)} free; max_calls calls need {_size(needed)}", remedy)
    else:
        yield from _space("disk.runtime", there, LEAST_FREE_SPOOL)


def swap(daemon: int | None, how: Installation) -> Iterator[Check]:
    """Check that memory with keys and audio cannot be swapped; `daemon`: process id, whose limits count."""
    group = Path(f"/proc/{daemon or 'self'}/cgroup")
    if not swapping(group=group):
        yield ok("swap", "memory of the recorder is not swapped to a disk")
        return
    detail = "the kernel may write keys and audio of live calls to a swap disk"
    remedy = "swapoff -a, or MemorySwapMax=0 in the unit: systemctl edit recorder" if how.service else "swapoff -a"
    yield warn("swap", detail, remedy)


def file_system(folder: Path) -> str:
    """Return the type of the file system of a folder, as the kernel lists it; "" if the kernel does not."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        where = os.stat(folder).st_dev
    except OSError:
        return ""
    for line in reversed(mounts):
        head, _, tail = line.partition(" - ")
        major, _, minor = head.split()[2].partition(":")
        if os.makedev(int(major), int(minor)) == where:
            return tail.split()[0]
    return ""


def _size(count: int) -> str:
    """Return a number of bytes as text with a unit."""
    size, units = float(count), iter(("bytes", "kB", "MB", "GB", "TB"))
    for unit in units:
        if size < 1000 or unit == "TB":
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return str(count)
