"""The root secret: the half of every customer's key that is never on the data disk."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from storage.errors import KeysError, KeysExposed, KeysMissing, KeysUnsupported, KeysWrong
from storage.files.durable_files import denied
from storage.keys import pkcs11
from storage.keys.pkcs11_uri import SCHEME, TokenKey

ROOT_BYTES = 32
MAX_PIN = 255  # bytes
_ROOT = "root secret"
_PIN = "PIN of the token"
_MAKE_ONE = "`recorder init` makes one; if recordings exist, restore theirs: a new one cannot open them"


@dataclass(frozen=True, slots=True)
class RootSecret:
    """The root secret and its source."""

    secret: bytes = field(repr=False)
    # 32 bytes
    source: str = ""
    # source as configured, for messages

    def __post_init__(self) -> None:
        if len(self.secret) != ROOT_BYTES:
            raise KeysWrong(f"the root secret has {len(self.secret)} bytes, not {ROOT_BYTES}", "it is 32 random bytes")


def load_root(source: str, environ: Mapping[str, str] = os.environ) -> RootSecret:
    """Read the secret from `credential:NAME` (systemd), `file:PATH` or `pkcs11:…`; raises KeysError with a hint."""
    if source.startswith(f"{SCHEME}:"):
        place = _place(source)
        return RootSecret(pkcs11.root_of(place, _pin(place, environ)), source)
    return RootSecret(_secret(source, ROOT_BYTES, environ, _ROOT), source)


def make_token_root(source: str, environ: Mapping[str, str] = os.environ) -> bool:
    """Create the key that `pkcs11:…` names in its token, for `recorder init`; return False if it exists already."""
    place = _place(source)
    return pkcs11.make_root(place, _pin(place, environ))


def _place(source: str) -> TokenKey:
    try:
        return TokenKey.parse(source)
    except ValueError as error:
        raise KeysUnsupported("the URI of the root secret's token is not valid", f"write {error}") from None


def _pin(place: TokenKey, environ: Mapping[str, str]) -> str:
    pin = _secret(place.pin_source, MAX_PIN, environ, _PIN).rstrip(b"\r\n")
    try:
        return pin.decode()
    except UnicodeDecodeError:
        raise KeysWrong("the PIN of the token is not text", "write it into its file as one line of UTF-8") from None


def _secret(source: str, size: int, environ: Mapping[str, str], what: str) -> bytes:
    """Read up to `size` + 1 bytes from a file that only its owner may read, or from systemd's credentials."""
    kind, _, name = source.partition(":")
    if kind == "credential" and name:
        return _read(_credential(name, environ), stat.S_IRWXO, size, what)
    if kind == "file" and name:
        return _read(Path(name), stat.S_IRWXG | stat.S_IRWXO, size, what)
    raise KeysUnsupported(
        "the source of the root secret has an unknown form", "write credential:NAME, file:PATH or pkcs11:…"
    )


def _credential(name: str, environ: Mapping[str, str]) -> Path:
    folder = environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        hint = f"a service needs LoadCredentialEncrypted={name}:…, a command recorderctl; or use file:PATH for a trial"
        raise KeysMissing("systemd passed no credentials ($CREDENTIALS_DIRECTORY is not set)", hint)
    if "/" in name or name in (".", ".."):
        raise KeysWrong("the name of a systemd credential has no slash", "write credential:NAME")
    return Path(folder) / name


def _read(path: Path, forbidden: int, size: int, what: str) -> bytes:
    """Read a secret after a check, on the open file, that nobody else may read it."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        hint = _MAKE_ONE if what == _ROOT else "write it there as one line of UTF-8, readable by its owner alone"
        raise KeysMissing(f"there is no {what} at {path}", hint) from None
    except PermissionError as error:
        raise KeysError(f"the {what} cannot be read: {denied(path)}", "run the command as its owner") from error
    except OSError as error:
        raise KeysError(f"the {what} at {path} cannot be read: {os.strerror(error.errno or 0)}") from error
    try:
        _check(path, os.fstat(fd), forbidden, what)
        return os.read(fd, size + 1)  # one more byte shows that a file is too long
    finally:
        os.close(fd)


def _check(path: Path, status: os.stat_result, forbidden: int, what: str) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "32 random bytes" if what == _ROOT else "one line"
        raise KeysWrong(f"{path} is not a file", f"the {what} is a file of {kind}")
    if status.st_mode & forbidden:
        raise KeysExposed(f"others may read the {what} at {path}", f"chmod 600 {path}, then ask who had it")
    if status.st_uid not in (os.geteuid(), 0):
        raise KeysExposed(f"the {what} at {path} belongs to another user", f"chown it to user {os.geteuid()}")
