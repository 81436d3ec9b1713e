"""Optional parts of the program: packages that only some installations need, and what to type where one is missing."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

POSTGRESQL, AGE, HSM, S3 = "postgresql", "age", "hsm", "s3"
PACKAGES = {POSTGRESQL: "asyncpg", AGE: "pyrage", HSM: "pkcs11", S3: "obstore"}
"""The extras of pyproject.toml, and the package by which each is recognised. requirements-extras.lock has them all."""

_FOLDER = Path(__file__).parents[1]


def missing(extra: str) -> bool:
    """Return whether an extra is not installed."""
    try:
        return find_spec(PACKAGES[extra]) is None
    except ValueError:  # another package of this name is half loaded
        return True


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra: in a checkout from its lock file, elsewhere as pip does."""
    if (_FOLDER / "requirements-extras.lock").exists():
        return f"make -C {_FOLDER} extras"
    return f"{sys.executable} -m pip install 'siprec-recorder[{extra}]'"
