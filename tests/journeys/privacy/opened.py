"""Run the script beside this file, which tries to open whatever was collected."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("open_everything.py")
READER = Path(__file__).parents[3] / "docs" / "formats" / "reader.py"


def opened(pile: Path, *more: str) -> dict[str, Any]:
    """Try to open everything in a folder; return what opened."""
    line = [sys.executable, "-I", SCRIPT, pile, "--customer", "acme", "--reader", READER, *more]
    done = subprocess.run(list(map(str, line)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told
