"""Read the configuration from disk and check that the files it names can be used."""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from recorder.config import parser
from recorder.config.faults import Fault, SettingsError
from recorder.config.model import Settings, Storage
from recorder.errors import NotPossible, WrongUse
from recorder.runtime.folders import in_memory, is_ours, user_name
from storage import extras
from storage.keys.pkcs11_uri import SCHEME, TokenKey

_OWN_FILE = re.compile(r"customer\[([0-9]+)\]\.(?:client_ca|digest|access_key|secret_key|ca)")
"""Keys of files that concern one customer alone."""


def load(path: Path, *, files: bool = True, start: bool = False) -> Settings:
    """Read and check a configuration; `files=False` skips the files it names (`init` makes them).

    `start`: also check what only `serve` needs.
    Raises SettingsError with every fault, or WrongUse if the file itself cannot be read.
    """
    settings, faults = examine(path, files=files, start=start)
    if faults:
        raise SettingsError(faults, str(path))
    return settings


def load_for_start(path: Path) -> tuple[Settings, dict[str, SettingsError]]:
    """Read the configuration for `serve`; return also, by name, the customers with a file that cannot be used.

    The configuration has these customers without that file, so that their calls are recognised; they must not be
    served. Raises SettingsError if there are other faults or no customer is left, or WrongUse.
    """
    settings, faults = examine(path, start=True)
    if not faults:
        return settings, {}
    _, unread = examine(path, files=False)
    of_customer = {fault: _OWN_FILE.fullmatch(fault.key) for fault in faults if fault not in unread}
    owners = {int(match[1]): fault for fault, match in of_customer.items() if match}
    if len(of_customer) < len(faults) or not all(of_customer.values()) or len(owners) == len(settings.customers):
        raise SettingsError(faults, str(path))
    customers = [
        replace(customer, client_ca=None, digest=None) if index in owners else customer
        for index, customer in enumerate(settings.customers)
    ]
    unusable = {settings.customers[index].name: SettingsError((fault,), str(path)) for index, fault in owners.items()}
    return replace(settings, customers=tuple(customers)), unusable


def examine(path: Path, *, files: bool = True, start: bool = False) -> tuple[Settings, tuple[Fault, ...]]:
    """Read and check a configuration as `load` does; return it as far as it can be used, and all faults.

    Raises SettingsError if it is not TOML, or WrongUse if it cannot be read.
    """
    data = _content(path)
    try:
        settings, faults = parser.examine(data)
    except SettingsError as error:
        raise SettingsError(error.faults, str(path)) from None
    more = [*(file_faults(settings) if files else ()), *(start_faults(settings) if start else ())]
    settings = replace(settings, source=path.absolute())
    if not more:
        return settings, faults
    return settings, parser.in_order((*faults, *parser.new_ones(more, faults)), lines_of(settings))


def lines_of(settings: Settings) -> dict[str, int]:
    """Return the line of every key of the file that the configuration was read from."""
    return parser.key_lines(_content(settings.source).decode("utf-8-sig")) if settings.source else {}


def check_made(settings: Settings) -> None:
    """Raise SettingsError for certificates and a root secret that exist, if only in part, but cannot be used."""
    sip, api = settings.sip, settings.admin_api
    faults = [*_pair("sip", sip.certificate, sip.private_key), *_pair("admin_api", api.certificate, api.private_key)]
    scheme, _, rest = settings.keys.root.partition(":")
    if scheme == "file" and os.path.lexists(rest):
        faults += _root_file(Path(rest))
    if faults:
        lines = lines_of(settings)
        raise SettingsError(tuple(fault.at(lines) for fault in faults), str(settings.source or "the configuration"))


def _content(path: Path) -> bytes:
    """Return the bytes of the file, at most one more than a configuration may have."""
    try:
        with path.open("rb") as file:
            return file.read(parser.MAX_FILE + 1)
    except FileNotFoundError:
        raise WrongUse(f"There is no configuration at {path}.", f"Make one: recorder init --config {path}") from None
    except OSError as error:
        raise WrongUse(f"The configuration {path} cannot be read: {os.strerror(error.errno or 0)}.") from None


def file_faults(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for every named file that is missing, unreadable or invalid."""
    sip, api = settings.sip, settings.admin_api
    yield from _folder("node.data_dir", settings.node.data_dir)
    yield from _folder("node.runtime_dir", settings.node.runtime_dir)
    yield from _pair("sip", sip.certificate, sip.private_key)
    yield from _pair("admin_api", api.certificate, api.private_key)
    if sip.client_ca is not None:
        yield from _authorities("sip.client_ca", sip.client_ca)
    for index, customer in enumerate(settings.customers):
        if customer.client_ca is not None:
            yield from _authorities(f"customer[{index}].client_ca", customer.client_ca)
        if customer.digest is not None:
            yield from _users(f"customer[{index}].digest", customer.digest)
    yield from _directory_faults(settings)
    yield from _sign_in_faults(settings)
    yield from _missing_extras(settings)
    yield from _object_store_faults(settings)
    scheme, _, rest = settings.keys.root.partition(":")
    if scheme == "file":
        yield from _root_file(Path(rest))
    elif scheme == SCHEME:
        yield from _readable("keys.root", Path(TokenKey.parse(settings.keys.root).module))
    elif not os.environ.get("CREDENTIALS_DIRECTORY"):
        right = "this needs systemd: LoadCredential= in the unit of the service; recorderctl gives it to a command"
        yield Fault("keys.root", f'"{settings.keys.root}"', right)


def _missing_extras(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for every setting that needs a package which is not installed."""
    needed = {
        "storage.database": extras.POSTGRESQL if settings.storage.database.startswith("postgresql") else None,
        **_object_store_extra(settings),
        "keys.root": extras.HSM if settings.keys.root.startswith(f"{SCHEME}:") else None,
    }
    for key, extra in needed.items():
        if extra and extras.missing(extra):
            right = f"this needs the extra {extra}: {extras.how_to_install(extra)}"
            yield Fault(key, f"{extras.PACKAGES[extra]} is not installed", right, status=NotPossible.status)


def _object_store_extra(settings: Settings) -> dict[str, str | None]:
    """Return the key that asks for an object store, and the extra that this needs."""
    if settings.storage.media == "s3" or with_objects(settings):
        return {"storage.media": extras.S3}
    own = next((index for index, each in enumerate(settings.customers) if each.media == "s3"), None)
    return {} if own is None else {f"customer[{own}].media": extras.S3}


def start_faults(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for everything that stops `serve` from starting, though other commands work with it."""
    folder = settings.node.runtime_dir
    if folder.is_dir() and os.geteuid() != 0 and not is_ours(folder):
        yield Fault("node.runtime_dir", str(folder), "a folder that belongs to the recorder's user")
    elif not (settings.node.trial or in_memory(folder)):
        right = "a folder on a tmpfs, such as /run/recorder; or set [node] trial = true if no real calls are recorded"
        yield Fault("node.runtime_dir", str(folder), right)
    yield from _lock_faults(settings)


def _lock_faults(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for each store with a lock that `recorder store check` has not verified."""
    for place, storage in _places(settings, "lock"):
        if storage.media == "s3" and storage.lock != "off":
            yield from _unseen_lock(settings, place, storage)


def _unseen_lock(settings: Settings, place: str, storage: Storage) -> Iterator[Fault]:
    from storage.vault import locking_stores  # loaded only for those who lock

    if not locking_stores.locks(settings.node.data_dir, storage.endpoint, storage.bucket):
        right = (
            '"off", until recorder store check has seen this store refuse to delete a locked version: run it, '
            "and start again if it says yes to lock"
        )
        yield Fault(f"{place}.lock", f'"{storage.lock}"', right, status=NotPossible.status)


def _places(settings: Settings, key: str) -> Iterator[tuple[str, Storage]]:
    """Yield each description of an object store that has this key, and its table."""
    yielded = set[tuple[str, Storage]]()
    for index, customer in enumerate(settings.customers):
        place = f"customer[{index}]" if key in customer.store else "storage"
        storage = settings.storage_of(customer)
        if (place, storage) not in yielded:
            yielded.add((place, storage))
            yield place, storage


def _directory_faults(settings: Settings) -> Iterator[Fault]:
    for index, directory in enumerate(settings.directories):
        for name in ("certificate", "secret"):
            scheme, _, rest = (getattr(directory, name) or "").partition(":")
            if scheme == "file":
                yield from _readable(f"directory[{index}].{name}", Path(rest))
        if directory.proxy_ca is not None:
            yield from _authorities(f"directory[{index}].proxy_ca", directory.proxy_ca)


def _object_store_faults(settings: Settings) -> Iterator[Fault]:
    yield from _store_files("storage", {name: getattr(settings.storage, name) for name in _STORE_FILES})
    for index, customer in enumerate(settings.customers):
        yield from _store_files(f"customer[{index}]", customer.store)
    away = [each for each in with_objects(settings) if _leaves_objects(settings, each)]
    if away:
        own = next(index for index, each in enumerate(settings.customers) if each.name == away[0])
        place = f"customer[{own}]" if settings.customers[own].media is not None else "storage"
        right = f'"s3" with its endpoint: recordings of {away[0]} may be in an object store; recorder store move'
        yield Fault(f"{place}.media", "file", right)


_STORE_FILES = ("access_key", "secret_key", "ca")


def _store_files(place: str, values: Mapping[str, Any]) -> Iterator[Fault]:
    """Check the files that one table names for an object store."""
    for name in ("access_key", "secret_key"):
        scheme, _, rest = (values.get(name) or "").partition(":")
        if scheme == "file":
            yield from _readable(f"{place}.{name}", Path(rest))
    if values.get("ca") is not None:
        yield from _authorities(f"{place}.ca", values["ca"])


def _leaves_objects(settings: Settings, name: str) -> bool:
    """Return whether an object store may have recordings of a customer and the configuration does not describe it."""
    configured = settings.customer(name)
    storage = settings.storage if configured is None else settings.storage_of(configured)
    return storage.endpoint is None and storage.media == "file"


def with_objects(settings: Settings) -> list[str]:
    """Return the customers whose recordings may be in an object store."""
    return [each.name for each in settings.customers if has_objects(settings, each.name)]


def has_objects(settings: Settings, name: str) -> bool:
    """Return whether recordings of a customer may be in an object store."""
    from storage.customer.settings import CUSTOMERS, VAULT  # a start after a kill loads nothing for those without one
    from storage.vault.parts import STORED

    return (settings.node.data_dir / CUSTOMERS / name / VAULT / STORED).is_dir()


def _sign_in_faults(settings: Settings) -> Iterator[Fault]:
    for index, sign_in in enumerate(settings.sign_ins):
        scheme, _, rest = (sign_in.client_secret or "").partition(":")
        if scheme == "file":
            yield from _readable(f"sign_in[{index}].client_secret", Path(rest))
        if sign_in.ca is not None:
            yield from _authorities(f"sign_in[{index}].ca", sign_in.ca)


def _folder(key: str, path: Path) -> Iterator[Fault]:
    """Yield a fault if something other than a folder is there; a missing folder is made at the start."""
    there = next((place for place in (path, *path.parents) if os.path.lexists(place)), path)
    if not os.path.isdir(there):
        yield Fault(key, str(path), f"a folder; {there} is not a folder")


def _users(key: str, path: Path) -> Iterator[Fault]:
    """Check a file of users for digest authentication of INVITEs."""
    from sip.message.digest import Realm  # few have such a file, and other commands do not need the SIP parser

    unreadable = list(_readable(key, path))
    yield from unreadable
    if unreadable:
        return
    try:
        Realm.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        yield Fault(key, str(path), "lines user:realm:HA1, all of one realm, with HA1 as htdigest makes it")


def _pair(section: str, certificate: Path | None, key: Path | None) -> Iterator[Fault]:
    """Check a certificate chain and its private key, each alone and both together."""
    if certificate is None or key is None:
        return
    unreadable = [*_readable(f"{section}.certificate", certificate), *_readable(f"{section}.private_key", key)]
    yield from unreadable
    if unreadable:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError, OSError):
        right = "a PEM certificate chain that belongs to private_key, which must not have a password"
        yield Fault(f"{section}.certificate", str(certificate), right)


def _no_password() -> str:
    """Answer OpenSSL when it asks for a password, which it would otherwise ask on the terminal."""
    return ""


def _authorities(key: str, path: Path) -> Iterator[Fault]:
    """Check the authorities that client certificates are verified with."""
    unreadable = list(_readable(key, path))
    yield from unreadable
    if unreadable:
        return
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(path)
    except (ssl.SSLError, OSError):
        yield Fault(key, str(path), "a PEM file with the certificates of authorities")


def _root_file(path: Path) -> Iterator[Fault]:
    """Check the file of the root secret without reading it."""
    try:
        status = path.stat()
    except OSError as error:
        right = f"a file that is there ({os.strerror(error.errno or 0)}); recorder init makes it"
        yield Fault("keys.root", str(path), right)
        return
    if status.st_size != 32:
        yield Fault("keys.root", f"{status.st_size} bytes", "a file of 32 random bytes")
    if status.st_mode & 0o077:
        yield Fault("keys.root", f"mode {status.st_mode & 0o777:04o}", f"the file with mode 0600: chmod 600 {path}")


def _readable(key: str, path: Path) -> Iterator[Fault]:
    """Yield a fault unless the file can be opened."""
    try:
        with path.open("rb"):
            return
    except FileNotFoundError:
        yield Fault(
            key, str(path), "a file that is there (No such file or directory); bring it back, or correct the path"
        )
    except OSError as error:
        yield Fault(key, str(path), f"a file that {user_name(os.geteuid())} can read ({_denied(path, error)})")


def _denied(path: Path, error: OSError) -> str:
    """Return why a file cannot be read, and if possible whose it is and what to type."""
    try:
        found = path.stat()
    except OSError:
        return f"{os.strerror(error.errno or 0)}; look at the folders above: namei -l {path}"
    belongs = f"it belongs to {user_name(found.st_uid)} and has mode {found.st_mode & 0o777:04o}"
    return f"{os.strerror(error.errno or 0)}; {belongs}: chgrp {user_name(os.geteuid())} {path} && chmod g+r {path}"
