"""Skipping of tests that need a kernel capability: only a process without the capability skips them."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

SYS_PTRACE, SYS_ADMIN = 19, 21  # linux/capability.h


def impossible(what: str, capability: int = SYS_ADMIN) -> NoReturn:
    """Skip the test where this process lacks a capability (capabilities(7)); fail it where it has it."""
    held = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:"))
    (pytest.fail if int(held.split()[1], 16) >> capability & 1 else pytest.skip)(what)
