"""A program that boots systemd as a separate machine: `python boot_machine.py PROJECT SCRATCH [SYSTEM]`.

It runs in fresh namespaces. Its files are a copy-on-write view of this machine's, so it has the same Debian, Python and
packages and can harm nothing. The recorder is where docs/operations.md installs it, in /opt/recorder. With SYSTEM, the
folder of another Debian, its files are a view of that one, without the recorder. The caller has already unshared
mounts, processes, network, control groups, host name and IPC; everything ends with this process.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = (
    "recorder",
    "sip",
    "media",
    "storage",
    "admin_api",
    "personal",
    "tests",
    "config",
    "docs",
    "debian",
    "pyproject.toml",
    "README.md",
)
PLACE = Path("opt/recorder")
PYTHON = Path("opt/python")
PR_CAPBSET_DROP = 24
CAPABILITIES = (16, 17, 25)
"""CAP_SYS_MODULE, CAP_SYS_RAWIO, CAP_SYS_TIME (capabilities(7)), which would act outside the namespaces."""
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


def mount(kind: str, target: Path, *options: str, source: str = "none") -> None:
    """Mount something at a folder, which is created if it is missing."""
    target.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", kind, *options, source, str(target)], check=True)


def bind(source: Path, target: Path, *options: str) -> None:
    """Mount a file or folder at another place too."""
    subprocess.run(["mount", "--bind", *options, str(source), str(target)], check=True)


def overlay(lower: str, target: Path, scratch: Path) -> None:
    """Mount a folder at another place; writes there go to `scratch`."""
    upper, work = scratch / "upper", scratch / "work"
    upper.mkdir(parents=True)
    work.mkdir()
    mount("overlay", target, "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", source="overlay")


def kernel_folders(root: Path) -> None:
    """Mount the kernel's file systems; settings that the machines share are read-only."""
    mount("proc", root / "proc")
    bind(root / "proc/sys", root / "proc/sys")
    bind(root / "proc/sys", root / "proc/sys", "-o", "remount,ro")
    mount("sysfs", root / "sys", "-o", "ro")
    mount("cgroup2", root / "sys/fs/cgroup")
    mount("tmpfs", root / "run", "-o", "mode=755")
    mount("tmpfs", root / "tmp", "-o", "mode=1777")
    mount("tmpfs", root / "dev", "-o", "mode=755")
    for name in DEVICES:
        (root / "dev" / name).touch()
        bind(Path("/dev") / name, root / "dev" / name)
    mount("tmpfs", root / "dev/shm", "-o", "mode=1777")
    mount("devpts", root / "dev/pts", "-o", "newinstance,ptmxmode=666")
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        (root / "dev" / name).symlink_to(f"/proc/self/fd/{number}")


def install(project: Path, root: Path, scratch: Path) -> None:
    """Install the recorder and its Python where every user of the machine can read them."""
    place = root / PLACE
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    for name in PACKAGES:
        source = project / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    overlay(sys.prefix, place / ".venv", scratch / "venv")
    base = Path(sys.base_prefix)
    if base != Path("/usr"):  # it may lie in a home directory, which the unit hides
        (root / PYTHON).mkdir(parents=True, exist_ok=True)
        bind(base, root / PYTHON)
        (root / "etc/ld.so.conf.d/python.conf").write_text(f"/{PYTHON}/lib\n")
        python = place / ".venv/bin/python"
        python.unlink()
        python.symlink_to(Path("/") / PYTHON / "bin" / Path(os.path.realpath(sys.executable)).name)
        (place / ".venv/pyvenv.cfg").write_text(f"home = /{PYTHON}/bin\ninclude-system-site-packages = false\n")
    script = place / ".venv/bin/recorder"
    script.write_text(f"#!/{PLACE}/.venv/bin/python\n" + script.read_text().partition("\n")[2])
    for path in place.glob(".venv/lib/python*/site-packages/*.pth"):
        lines = path.read_text().splitlines()
        here = [f"/{PLACE}" if (Path(line) / "recorder/service/daemon.py").exists() else line for line in lines]
        path.write_text("\n".join(here) + "\n")


def bare(root: Path) -> None:
    """Remove what this machine's systemd would start or mount."""
    shutil.rmtree(root / "etc/systemd/system", ignore_errors=True)
    (root / "etc/systemd/system").mkdir()
    for name in ("etc/fstab", "etc/machine-id"):
        (root / name).unlink(missing_ok=True)
    (root / "etc/machine-id").touch()


def main() -> None:
    """Build the machine and become its first process."""
    project, scratch = Path(sys.argv[1]), Path(sys.argv[2])
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    mount("tmpfs", scratch)
    root = scratch / "root"
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in CAPABILITIES:
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    system = sys.argv[3] if len(sys.argv) > 3 else "/"
    overlay(system, root, scratch / "system")
    bare(root)
    if system == "/":
        install(project, root, scratch)
    kernel_folders(root)
    (root / "old").mkdir()
    os.chdir(root)
    if libc.pivot_root(b".", b"old"):
        raise OSError(ctypes.get_errno(), "pivot_root")
    os.chdir("/")
    subprocess.run(["umount", "-l", "/old"], check=True)
    # systemd does this only if it finds itself on bare hardware; it passes credentials to services through this
    subprocess.run(["mount", "--make-rshared", "/"], check=True)
    subprocess.run(["ldconfig"], check=True)
    words = ["--system", "--unit=basic.target", "--log-target=console", "--show-status=no"]
    os.execve(  # noqa: S606 - becoming systemd is what this is for
        "/usr/lib/systemd/systemd",
        ["systemd", *words],
        {"container": "unshare", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
    )


if __name__ == "__main__":
    main()
