"""Compile the fast path of the media worker (media/stream/fast_path.c) while the recorder is installed.

Whoever has no C compiler gets a recorder that does the same in Python, for a third more of a worker.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sysconfig
import zlib
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = ("-std=gnu11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra")


def compile_fast_path(root: Path) -> Path | None:
    """Make media/stream/_fast_path.so; None if there is no compiler ($CC, else cc) or it does not want to."""
    source, library = root / "media/stream/fast_path.c", root / "media/stream/_fast_path.so"
    fresh = library.with_suffix(".new")
    words = [*shlex.split(os.environ.get("CC", "cc")), *FLAGS, f"-DSOURCE={zlib.crc32(source.read_bytes())}u"]
    try:
        subprocess.run([*words, "-o", str(fresh), str(source)], check=True)
        fresh.replace(library)  # not over one that a running worker has mapped
    except (OSError, subprocess.CalledProcessError):
        fresh.unlink(missing_ok=True)
        library.unlink(missing_ok=True)
        return None
    return library


class FastPath(BuildHookInterface[Any]):
    """Adds the library to a wheel, which then is one of this kind of machine; an editable one finds it in its place."""

    PLUGIN_NAME = "fast-path"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile before anything is packed (hatchling's build hook)."""
        library = compile_fast_path(Path(self.root))
        if library is None:
            self.app.display_warning("no C compiler: the media workers will go by Python alone")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append("/media/stream/_fast_path.so")
