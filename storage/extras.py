"""Extras: packages that only some installations need, and the command that installs a missing one."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

POSTGRESQL, AGE, HSM, S3 = "postgresql", "age", "hsm", "s3"
PACKAGES = {POSTGRESQL: "asyncpg", AGE: "pyrage", HSM: "pkcs11", S3: "obstore"}
"""The extras of pyproject.toml, each with the package that proves it is installed; requirements-extras.lock has all."""

_FOLDER = Path(__file__).parents[1]


def missing(extra: str) -> bool:
    """Return whether an extra is not installed."""
    try:
        return find_spec(PACKAGES[extra]) is None
    except ValueError:  # another package of this name is half loaded
        return True


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra: from the lock file in a checkout, with plain pip elsewhere."""
    if (_FOLDER / "requirements-extras.lock").exists():
        return f"make -C {_FOLDER} extras"
    return f"{sys.executable} -m pip install 'siprec-recorder[{extra}]'"
