"""Start other processes of this program from the same files, whatever the working directory contains.

With `-m` Python puts the working directory before everything else. Without this module, anybody who can write to the
folder in which `recorder serve` is typed could run their own code with all of the recorder's rights and keys.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: The folder that holds our packages.
HOME = Path(__file__).resolve().parents[2]


def command(module: str, *words: str) -> list[str]:
    """Return the command line that runs a module of ours; start it with `environment`."""
    return [sys.executable, "-P", "-m", module, *words]


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment (None: ours) in which our packages are found before all others."""
    given = dict(os.environ if base is None else base)
    return given | {"PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), given.get("PYTHONPATH"))))}
