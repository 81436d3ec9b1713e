"""Compile the fast path of the media workers (media/stream/fast_path.c) into the wheel; pyproject.toml says the rest.

Without a C compiler, or without Python's headers, the recorder does the same in Python and each packet costs a third
more CPU: the build says so, and so does the recorder at each start. An error in the source ends the build.
"""

import os
import platform
import shlex
import subprocess
import sys
import sysconfig
import zlib
from pathlib import Path

from cffi import FFI
from setuptools import setup
from setuptools.command.build_py import build_py

FOLDER = Path("media/stream")
HARDENED = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2"]
if platform.machine() == "x86_64":
    HARDENED.append("-fcf-protection")


def can_compile() -> bool:
    """Return whether there is a C compiler ($CC, else Python's own) with Python's headers."""
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    words = [*compiler, f"-I{sysconfig.get_path('include')}", "-fsyntax-only", "-x", "c", "-"]
    try:
        return not subprocess.run(words, input=b"#include <Python.h>\n", capture_output=True, check=False).returncode
    except OSError:
        return False


def fast_path() -> FFI:
    """Return the module to compile, media.stream._fast_path, for every Python from 3.11 on."""
    source, header = (FOLDER / "fast_path.c").read_text(), (FOLDER / "fast_path.h").read_text()
    ffi = FFI()
    ffi.cdef(header)
    ffi.set_source(
        "media.stream._fast_path",
        f'#line 1 "{FOLDER}/fast_path.c"\n{source}',
        include_dirs=[str(FOLDER)],
        depends=[str(FOLDER / "fast_path.h")],
        define_macros=[("SOURCE", f"{zlib.crc32((source + header).encode())}u")],
        extra_compile_args=["-std=gnu11", "-O2", "-Wall", *HARDENED],
        extra_link_args=["-Wl,-z,relro,-z,now"],
    )
    return ffi


class WithCommit(build_py):
    """Leave in a package which commit it is from."""

    def run(self) -> None:
        """Copy the modules, and write recorder/commit.txt if git knows the commit."""
        super().run()
        try:
            done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, check=False)
        except OSError:
            return
        if not done.returncode and not self.editable_mode:
            Path(self.build_lib, "recorder/commit.txt").write_bytes(done.stdout)


def main() -> None:
    """Build, with the fast path if it can be compiled."""
    commands = {"build_py": WithCommit}
    if can_compile():
        limited = {"bdist_wheel": {"py_limited_api": "cp311"}}
        setup(cmdclass=commands, cffi_modules=["setup.py:fast_path"], options=limited)
        return
    print("NO C COMPILER with Python's headers (Debian: apt-get install gcc python3-dev):", file=sys.stderr)
    print("the recorder is built without its fast path, and each packet costs a third more CPU", file=sys.stderr)
    setup(cmdclass=commands)


if __name__ == "__main__":  # cffi reads this file for `fast_path`
    main()
