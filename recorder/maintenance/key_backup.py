"""A backup of the keys as bytes: a tar archive, encrypted to recipients of age (age-encryption.org/v1).

The archive holds `root.key`, the root secret, and `keys/…`, the files of the customers. It needs no special program:
`age -d -i IDENTITY FILE | tar x` opens it too. pyrage, which implements age, is an optional extra.
"""

from __future__ import annotations

import io
import re
import tarfile
from collections.abc import Mapping, Sequence
from typing import Any

from recorder.errors import Negative, NotPossible, WrongUse
from storage import extras

ROOT_NAME = "root.key"
MAX_BYTES = 1 << 30
"""Size of an archive and of its contents: a tree of 10,000 scattered erasures takes 5 MB a customer."""

_NAME = re.compile(r"keys/[a-z0-9-]{1,40}\.(forget|forget\.new|tree\.0|tree\.1|leaves|erasures|audit|audit\.broken)")


def pack(root: bytes, files: Mapping[str, bytes], at: int) -> bytes:
    """Return the archive of a root secret and the files of `keys/` by name; `at` is the time in seconds."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in [(ROOT_NAME, root), *((f"keys/{name}", data) for name, data in sorted(files.items()))]:
            member = tarfile.TarInfo(name)
            member.size, member.mode, member.mtime = len(data), 0o600, at
            archive.addfile(member, io.BytesIO(data))
    return out.getvalue()


def unpack(data: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the root secret and the files by name; raise Negative if `pack` did not make this archive."""
    wrong = Negative("The file is not a backup of keys.", "Make one with recorder keys backup.")
    found: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            for member in archive:
                total += max(member.size, 0)
                if not _expected(member) or total > MAX_BYTES:
                    raise wrong
                content = archive.extractfile(member)
                found[member.name] = content.read() if content else b""
    except (tarfile.TarError, ValueError, OSError, EOFError):
        raise wrong from None
    if ROOT_NAME not in found or len(found) == 1:
        raise wrong
    root = found.pop(ROOT_NAME)
    return root, {name.removeprefix("keys/"): content for name, content in found.items()}


def _expected(member: tarfile.TarInfo) -> bool:
    return member.isreg() and not member.sparse and (member.name == ROOT_NAME or bool(_NAME.fullmatch(member.name)))


def encrypt(data: bytes, recipients: Sequence[str]) -> bytes:
    """Encrypt to every recipient (`age1…`); raises WrongUse for an invalid one, NotPossible without pyrage."""
    age = _age("encrypted")
    try:
        keys = [age.x25519.Recipient.from_str(each.strip()) for each in recipients]
    except Exception:  # pyrage promises no common error class
        raise WrongUse(
            "A recipient is not an age recipient.", "age-keygen prints one: age1… (62 characters)."
        ) from None
    return bytes(age.encrypt(data, keys))


def decrypt(data: bytes, identity: str) -> bytes:
    """Decrypt with the identities of a file that age-keygen wrote; raises WrongUse, Negative, NotPossible."""
    age = _age("decrypted")
    lines = [line.strip() for line in identity.splitlines()]
    try:
        keys = [age.x25519.Identity.from_str(line) for line in lines if line and not line.startswith("#")]
    except Exception:  # as above
        keys = []
    if not keys:
        raise WrongUse("The identity is not an age identity.", "age-keygen -o FILE makes one: AGE-SECRET-KEY-1…")
    try:
        return bytes(age.decrypt(data, keys))
    except Exception:  # as above
        raise Negative("The backup does not open with this identity, or it is damaged.") from None


def new_identity() -> str:
    """Return a new identity of age; raises NotPossible without pyrage."""
    return str(_age("encrypted").x25519.Identity.generate())


def recipient_of(identity: str) -> str:
    """Return the recipient of an identity; raises NotPossible without pyrage."""
    return str(_age("encrypted").x25519.Identity.from_str(identity.strip()).to_public())


def _age(what: str) -> Any:
    try:
        import pyrage
    except ImportError:
        raise NotPossible(
            f"pyrage is not installed, so nothing is {what}.",
            f"{extras.how_to_install(extras.AGE)}, or use Debian's age with tar: docs/operations.md.",
        ) from None
    return pyrage
