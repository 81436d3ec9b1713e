"""How processes of this program start others of it: of the same files, whatever lies where they were started.

Python puts the working directory before everything where it is told `-m`, so whoever can write to the folder in which
somebody types `recorder serve` would have code of theirs run with all its rights and keys.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: The folder in which our packages lie.
HOME = Path(__file__).resolve().parents[2]


def command(module: str, *words: str) -> list[str]:
    """Give the command line that runs a module of ours; to be started with `environment`."""
    return [sys.executable, "-P", "-m", module, *words]


def environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Give an environment (None: ours) in which our packages are found before all others."""
    given = dict(os.environ if base is None else base)
    return given | {"PYTHONPATH": os.pathsep.join(filter(None, (str(HOME), given.get("PYTHONPATH"))))}
