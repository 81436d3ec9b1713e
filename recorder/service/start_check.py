"""`recorder check-config --start`: do everything that a start does except listen, and report all faults at once.

Each step is the function that a start calls too, so that check and start cannot disagree. Nothing is written and no
lock is taken: a daemon that runs meanwhile notices nothing. A start records even if databases are away; the check asks
them, too. It also names certificates that have expired, data and live calls of a newer version, and folders of
customers that are not configured.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from recorder.config import parser
from recorder.config.faults import Fault
from recorder.config.loader import examine, file_faults, lines_of, start_faults
from recorder.config.model import Settings
from recorder.errors import NotPossible, RecorderError
from recorder.maintenance.cert_expiry import watched
from recorder.persist import data_formats
from recorder.persist.checkpoint_file import newer_calls
from recorder.persist.customers import is_new, open_each, to_be_removed, unconfigured
from recorder.runtime.folders import make_folder, user_name
from recorder.runtime.service_user import become_owner
from recorder.service.listeners import api_addresses, check_free, held_sockets
from storage.customer.customers import KEYS, VAULT, customer_folder
from storage.customer.settings import identity
from storage.database.database import Database, DatabaseAway
from storage.errors import RootSecretWrong, StorageError
from storage.nodes.identity import Identity
from storage.nodes.registry import Registry

NOW = NotPossible.status
"""Exit status for what is wrong with the machine, not with the configuration."""

DATABASES_AT_ONCE = 8
"""An unreachable server answers after 3 s; a node may have a thousand customers."""

LOST_AND_FOUND = "lost+found"
"""Root's own folder at the top of an ext4 file system."""

_VERSION = re.compile(r"[0-9A-Za-z.+~-]{1,40}")

Step = Callable[[Settings], Iterable[Fault]]


def check_start(config: Path) -> tuple[Settings, tuple[Fault, ...]]:
    """Return the configuration and everything that keeps a start with it from serving all its customers.

    Raises SettingsError if it is not TOML, or WrongUse if it cannot be read. If root runs this, the process takes on
    the rights of the owner of data_dir, as whom the daemon runs, until it ends.
    """
    settings, unread = examine(config, files=False)
    if become_owner(settings.node.data_dir):
        settings, unread = examine(config, files=False)
    found = list(unread)
    for step in STEPS:
        reported = [fault for fault in found if fault in unread or not fault.key.startswith("node.")]
        found += parser.new_ones(step(settings), reported)
    return settings, parser.in_order(found, lines_of(settings))


# ---- folders ----
def _data_folder(settings: Settings) -> Iterator[Fault]:
    folder = settings.node.data_dir
    if not folder.is_dir():
        right = f"a folder that exists; recorder init --config {settings.source} makes it with the keys of customers"
        yield Fault("node.data_dir", str(folder), right, status=NOW)
        return
    yield from _made("node.data_dir", lambda: make_folder(folder, full=True, change=False))
    here = [each for each in _entries(folder) if each.name not in (KEYS, LOST_AND_FOUND)]
    yield from _writable(here)
    yield from _writable([folder / KEYS, *_entries(folder / KEYS)])
    for customer in settings.customers:
        place = customer_folder(folder, customer.name)
        yield from _writable([place, *_entries(place), *_entries(place / VAULT)])


def _runtime_folder(settings: Settings) -> Iterator[Fault]:
    folder = settings.node.runtime_dir
    yield from _made("node.runtime_dir", lambda: make_folder(folder, private=True, change=False))


def _made(key: str, make: Callable[[], None]) -> Iterator[Fault]:
    try:
        make()
    except RecorderError as problem:
        yield _fault(key, problem)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # a missing folder is reported with its keys; an unreadable one is not writable either


def _writable(paths: Iterable[Path]) -> Iterator[Fault]:
    """Yield one fault for all files and folders of one place that this user cannot write to."""
    denied = [path for path in paths if path.exists() and not os.access(path, _needed(path), effective_ids=True)]
    if not denied:
        return
    others = f" and {len(denied) - 1} more" if len(denied) > 1 else ""
    right = f"files and folders that {_user()} can read and write: chown -R {_user()}: {denied[0].parent}"
    yield Fault("node.data_dir", f"{denied[0]}{others}", right, status=NOW)


def _needed(path: Path) -> int:
    return os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)


def _user() -> str:
    """Return the name of the user as whom this process runs."""
    return user_name(os.geteuid())


# ---- sockets and certificates ----
def _ports(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for every listener that cannot be bound; ports held by a daemon of this configuration are free."""
    held = held_sockets(settings.node.runtime_dir)
    wanted = [(f"sip.listen[{index}]", each) for index, each in enumerate(settings.sip.listen)]
    for key, address in [*wanted, *api_addresses(settings).items()]:
        try:
            check_free(address, held)
        except NotPossible as problem:
            kind = "-lunp" if address.transport == "udp" else "-ltnp"
            right = f"an address and port that can be bound ({problem}) ss {kind} 'sport = :{address.port}' shows who"
            yield Fault(key, str(address if key.startswith("sip") else address.address), right, status=NOW)


def _certificates(settings: Settings) -> Iterator[Fault]:
    unusable = [fault.key for fault in file_faults(settings)]
    for each in watched(settings):
        key = f"{each.use}.certificate"
        if any(name.startswith(f"{each.use}.") or name.endswith("client_ca") for name in unusable):
            continue
        if not each.read():
            right = "a certificate chain with a key that TLS 1.2 and 1.3 take: openssl x509 -noout -text -in it"
            yield Fault(key, str(each.certificate), right)
        elif each.ends is not None and each.ends <= datetime.now(UTC):
            found = f"{each.certificate}, which expired on {each.ends:%Y-%m-%d}"
            yield Fault(key, found, "a certificate that is valid today; replace private_key first, then this file")


# ---- what is stored ----
def _customers(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for a root secret that cannot be used, and for each customer whose keys cannot be used."""
    try:
        _, away = open_each(settings)
    except StorageError as problem:
        yield _fault("keys.root", problem)
        return
    if not settings.node.data_dir.is_dir():
        return  # then there are no keys either
    foreign = [name for name, problem in away.items() if isinstance(problem, RootSecretWrong)]
    if foreign and len(foreign) == sum(not is_new(settings, each) for each in settings.customers):
        right = f"the root secret that the keys in {settings.node.data_dir / KEYS} were made with: restore it"
        yield Fault("keys.root", "the root secret of another installation", right, status=NOW)
        away = {name: problem for name, problem in away.items() if name not in foreign}
    for index, customer in enumerate(settings.customers):
        key = f"customer[{index}].name"
        if customer.name in away and is_new(settings, customer):
            right = f"a customer with keys: recorder init --config {settings.source} makes them"
            yield Fault(key, f"{customer.name} without keys", right, status=NOW)
        elif customer.name in away:
            yield _fault(key, away[customer.name])


def _foreign_folders(settings: Settings) -> Iterator[Fault]:
    for folder in unconfigured(settings):
        if to_be_removed(settings, folder.name):
            continue
        right = f'the folder of a customer: write [[customer]] name = "{folder.name}", or nothing erases what is in it'
        if not (settings.node.data_dir / KEYS / f"{folder.name}.forget").exists():
            right += "; if it was removed and a backup has brought it back, delete it: nobody can open it"
        yield Fault(f"customer.{folder.name}", str(folder), right)


def _live_calls(settings: Settings) -> Iterator[Fault]:
    newer = [each.outer for each in newer_calls(settings.node.runtime_dir)]
    if newer:
        latest = max(newer, key=lambda outer: int(outer["v"]))
        found = f"live calls of a newer version: {len(newer)}, of state {latest['v']}{_program(latest.get('program'))}"
        right = "calls that this version can continue: start the newer version, or wait until they have ended"
        yield Fault("node.runtime_dir", found, right, status=NOW)


def _newer_data(settings: Settings) -> Iterator[Fault]:
    known = data_formats.read(settings.node.data_dir)
    if newer := known.newer():
        names = ", ".join(f"{name} {number}" for name, number in sorted(newer.items()))
        found = f"data of a newer version: {names}{_program(known.version)}"
        right = "data that this version can read: install the newer version again, or restore the backup from before it"
        yield Fault("node.data_dir", found, right, status=NOW)


def _program(version: object) -> str:
    """Return which program wrote something, as the end of a sentence; only what can be a version is repeated."""
    known = isinstance(version, str) and _VERSION.fullmatch(version)
    return f" (version {version})" if known else ""


def _databases(settings: Settings) -> Iterator[Fault]:
    """Yield a fault for each way in which databases cannot be used, with the first customer that it concerns."""
    by_problem: dict[str, list[str]] = {}
    first: dict[str, Exception] = {}
    for name, problem in asyncio.run(_looked(settings)):
        by_problem.setdefault(str(problem).replace(name, "…"), []).append(name)
        first.setdefault(str(problem).replace(name, "…"), problem)
    for text, names in by_problem.items():
        others = f" and {len(names) - 1} more" if len(names) > 1 else ""
        fault = _fault("storage.database", first[text], f" (customer {names[0]}{others})")
        if isinstance(first[text], DatabaseAway) and "://" in settings.storage.database:
            place = settings.storage.database.replace("+asyncpg", "").replace("{customer}", names[0])
            fault = replace(fault, right=f"{fault.right}; try: psql '{place}' as {_user()}")
        yield fault


def _identities(settings: Settings) -> dict[str, Identity]:
    """Return this node's identity in the database of each customer whose keys open."""
    try:
        opened, _ = open_each(settings)
    except StorageError:
        return {}  # reported where the keys are looked at
    return {name: identity(one.place, one.keys) for name, one in opened.items()}


async def _looked(settings: Settings) -> list[tuple[str, Exception]]:
    """Return the customers whose database cannot be used, and why."""
    turn, nodes = asyncio.Semaphore(DATABASES_AT_ONCE), _identities(settings)

    async def look(name: str) -> tuple[str, Exception] | None:
        async with turn:
            try:
                folder = customer_folder(settings.node.data_dir, name)
                database = Database(settings.storage.database, name, folder)
                try:
                    me = nodes.get(name)
                    await database.look(None if me is None else Registry(database, me, folder, serves=False).check)
                finally:
                    await database.close()
            except Exception as problem:  # an option of the URL that the driver does not know is a TypeError
                return name, problem
            return None

    found = await asyncio.gather(*(look(each.name) for each in settings.customers if each.name))
    return [each for each in found if each is not None]


def _fault(key: str, problem: Exception, where: str = "") -> Fault:
    """Return the fault for an error of a step; its hint says what to do."""
    if not isinstance(problem, StorageError | RecorderError):
        return Fault(
            key,
            f"{type(problem).__name__}{where}",
            "no failure: see whether the configured value has an option that is unknown",
            status=NOW,
        )
    hint = problem.hint.rstrip(".") or "see the log of the service that is asked"
    status = getattr(problem, "status", NOW)
    return Fault(key, f"{str(problem).rstrip('.')}{where}", f"to correct it: {hint}", status=status)


STEPS: tuple[Step, ...] = (
    file_faults, start_faults,
    _data_folder, _runtime_folder, _certificates, _ports, _customers, _foreign_folders,
    _newer_data, _live_calls, _databases,
)  # fmt: skip
"""A key for which one step has found a fault gets none from another step, except for the folders of [node]."""
