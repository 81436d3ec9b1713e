"""Read secrets that the configuration refers to: credential:NAME (handed over by systemd) or file:PATH, mode 0600."""

from __future__ import annotations

import os
from pathlib import Path

from recorder.errors import NotPossible, WrongUse
from storage.files.durable_files import denied

MAX_SECRET = 1 << 20  # bytes


def bytes_of(source: str) -> bytes:
    """Return the contents of a credential or file that the configuration names; raises RecorderError."""
    kind, _, name = source.partition(":")
    if kind == "credential":
        folder = os.environ.get("CREDENTIALS_DIRECTORY")
        if not folder:
            raise NotPossible(f"systemd handed over no {name}.", f"Add LoadCredential={name}:FILE to the unit.")
        path = Path(folder) / name
    else:
        path = Path(name)
    try:
        with path.open("rb") as file:
            if kind == "file" and os.fstat(file.fileno()).st_mode & 0o077:
                raise WrongUse(f"Others may read {path}.", f"chmod 600 {path}, then check who may have read it.")
            return file.read(MAX_SECRET)
    except PermissionError:
        raise NotPossible(f"{denied(path)}.", "Run the command as its owner.") from None
    except OSError as problem:
        raise NotPossible(f"{path} cannot be read: {os.strerror(problem.errno or 0)}.") from None


def secret_of(source: str) -> str:
    """Read a secret of one line; raises RecorderError."""
    try:
        found = bytes_of(source).decode().strip()
    except UnicodeDecodeError:
        found = ""
    if not found:
        raise WrongUse(f"{source} holds no secret.", "Write the secret there as one line of text.")
    return found
