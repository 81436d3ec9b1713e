"""Checks of the recorder: would it start, does it run and accept calls, ports, certificates, database, object store."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from recorder.config.faults import Fault
from recorder.config.installation import Installation
from recorder.config.model import Settings
from recorder.config.value_readers import Address, Transport
from recorder.diagnosis import own_api
from recorder.diagnosis.check import Check, fail, ok, unchecked, warn
from recorder.maintenance.cert_expiry import Watched, watched
from recorder.persist.object_store import configured_stores
from recorder.service.listeners import api_addresses, bound_sockets, held_sockets
from recorder.service.start_check import check_start
from storage.customer.customers import customer_folder
from storage.database.database import Database
from storage.errors import StorageError

WARN_DAYS = 30
"""The daemon warns at the same time (recorder.maintenance.cert_expiry)."""
MAX_DRIFT = 1.0
"""Seconds between our clock and the database server's."""
NODES_DRIFT = 60.0
"""The same of one of several nodes, as storage.nodes.leases.AGREE_SECONDS, which one machine does not load."""
RIGHT_CLOCK = "timedatectl set-ntp true; a node that started with a wrong clock: restart its machine too"
LOCAL = frozenset(("", "localhost", "127.0.0.1", "::1"))
STAY_UP = frozenset(("customer", "storage"))
"""First words of keys whose faults do not stop a start: other customers are recorded, and a database may be away."""


# ---- would it start? ----
def start(config: Path) -> Iterator[Check]:
    """Make every check of `recorder check-config --start`; yield a line for each fault."""
    settings, faults = check_start(config)
    handed_over = bool(os.environ.get("CREDENTIALS_DIRECTORY"))
    for fault in faults:
        name = f"start.{fault.key}"
        if fault.key == "keys.root" and settings.keys.root.startswith("credential:") and not handed_over:
            yield unchecked(name, "systemd gives the root secret to the service only", "recorderctl doctor")
        elif fault.key.split(".")[0].split("[")[0] in STAY_UP:
            yield warn(name, _found(fault), fault.right)
        else:
            yield fail(name, _found(fault), fault.right)
    if not faults:
        yield ok("start", "with this configuration a start would serve all customers")


def _found(fault: Fault) -> str:
    line = f"line {fault.line}: " if fault.line else ""
    return f"{line}{fault.found or 'missing or wrong'}"


# ---- the running daemon ----
def daemon(settings: Settings) -> Iterator[Check]:
    """Ask the daemon whether it accepts calls."""
    how = Installation.of(settings.source)
    try:
        status, body = own_api.get(settings, "/readyz")
    except OSError:
        yield fail("daemon", "no answer at the address of the admin API", how.start)
        return
    try:
        state = json.loads(body)
    except ValueError:
        state = {}
    away = state.get("customers_away") or 0
    if status != 200:
        why = state.get("detail") or status
        yield fail("daemon", f"it runs but accepts no calls: {why}", how.log)
    elif away:
        yield warn(
            "daemon", f"it accepts calls; {away} customers cannot be served", how.command("check-config --start")
        )
    else:
        yield ok("daemon", "it runs and accepts calls")


def ports(settings: Settings) -> Iterator[Check]:
    """Check that the recorder, and no other program, listens at each configured address."""
    how = Installation.of(settings.source)
    held = held_sockets(settings.node.runtime_dir)
    for address in [*settings.sip.listen, *api_addresses(settings).values()]:
        name, there = f"port.{address}", bound_sockets(address)
        if not there:
            yield fail(name, "no program listens", how.start)
        elif there <= held:
            yield ok(name, "the recorder listens")
        else:
            flag = "-lunp" if address.transport is Transport.UDP else "-ltnp"
            yield fail(name, "another program listens", f"ss {flag} 'sport = :{address.port}' shows which one")
    media = settings.media.ports
    yield unchecked(
        "firewall", "this machine cannot see what reaches its ports from outside",
        f"nft list ruleset; SBCs need the SIP ports and UDP {media.first}-{media.last}",
    )  # fmt: skip


# ---- certificates ----
def certificates(settings: Settings) -> Iterator[Check]:
    """Check the certificate of each listener: its key, its days, its names, and whether the daemon presents it."""
    found = list(watched(settings))
    if not found:
        yield ok("certificate", "no listener has a certificate")
    for each in found:
        yield from _certificate(settings, each)


def _certificate(settings: Settings, each: Watched) -> Iterator[Check]:
    name = f"certificate.{each.use}"
    how = Installation.of(settings.source)
    replace = f"Replace [{each.use}] private_key, then certificate; no restart is needed."
    if not each.read() or each.ends is None:
        detail = "it cannot be used: it is unreadable, or does not fit its key"
        yield fail(name, detail, how.command("check-config --start"))
        return
    days = (each.ends - datetime.now(UTC)).days
    if each.ends <= datetime.now(UTC):
        yield fail(name, f"expired on {each.ends:%Y-%m-%d}", replace)
    elif days <= WARN_DAYS:
        yield warn(name, f"expires in {days} days", replace)
    else:
        yield ok(name, f"valid for {days} days")
    names, wanted = _names(each.certificate), _wanted(settings, each.use)
    if wanted and wanted not in names:
        yield warn(f"{name}.name", f"it is not for {wanted}, which peers are told to connect to", replace)
    for listen in _listening(settings, each.use)[:1]:
        yield _presented(f"{name}.presented", each.certificate, listen, how)


def _names(file: Path) -> set[str]:
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(file.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return set()
    return {str(each.value).lower() for each in names}


def _wanted(settings: Settings, use: str) -> str:
    """Return the name or address by which peers reach a listener, if the configuration says so."""
    if use == "sip":
        return (settings.sip.advertise or "").lower()
    page = settings.admin_api.address or ""
    return page.partition("://")[2].rpartition(":")[0].lower() or page.partition("://")[2].lower()


def _listening(settings: Settings, use: str) -> list[Address]:
    if use == "sip":
        return [each.address for each in settings.sip.listen if each.transport is Transport.TLS]
    return [settings.admin_api.listen]


def _presented(name: str, file: Path, listen: Address, how: Installation) -> Check:
    try:
        presented = own_api.presented(listen)
    except OSError:
        return unchecked(name, "no TLS connection to the listener", how.start)
    if presented == own_api.first_certificate(file):
        return ok(name, "the daemon presents this certificate")
    return warn(name, "the daemon does not present the certificate in the file", how.reload)


# ---- database ----
def database(settings: Settings) -> Iterator[Check]:
    """Check version, role, encryption and clock of the database server; `start` checks that each database opens."""
    if settings.storage.database == "sqlite":
        yield ok("database", "SQLite, a file for each customer")
        return
    if not settings.customers:
        yield unchecked("database", "no customer is configured", Installation.of(settings.source).command("init"))
        return
    yield from asyncio.run(_server(settings, settings.customers[0].name))


async def _server(settings: Settings, customer: str) -> list[Check]:
    database = Database(settings.storage.database, customer, customer_folder(settings.node.data_dir, customer))
    try:
        found = await database.server()
    except StorageError as problem:
        return [fail("database", str(problem), problem.hint or "systemctl status postgresql")]
    finally:
        await database.close()
    if found is None:
        return []
    checks = [ok("database", f"PostgreSQL {found.version}")]
    if found.standby:
        detail = "it replicates another server and cannot be written to"
        checks.append(fail("database.role", detail, "Name the primary in [storage] database."))
    else:
        checks.append(ok("database.role", "primary"))
    if found.encryption:
        checks.append(ok("database.tls", found.encryption))
    elif database.host in LOCAL or database.host.startswith("/"):
        checks.append(ok("database.tls", "none is needed: the connection does not leave this machine"))
    else:
        detail = "the connection is not encrypted"
        checks.append(warn("database.tls", detail, "Add ?sslmode=verify-full to [storage] database."))
    drift = f"its clock differs by {abs(found.ahead):.1f} s"
    if settings.node.number and abs(found.ahead) > NODES_DRIFT:
        detail = f"{drift}: nothing is erased by retention here, and calls get wrong times"
        checks.append(fail("database.clock", detail, RIGHT_CLOCK))
    elif abs(found.ahead) > MAX_DRIFT:
        checks.append(warn("database.clock", drift, "Synchronise both machines: timedatectl set-ntp true"))
    else:
        checks.append(ok("database.clock", drift))
    return checks


# ---- object store ----
def object_store(settings: Settings) -> Iterator[Check]:
    """Check that each object store answers; `recorder store check` finds out whether it has all needed features."""
    stores, how = configured_stores(settings), Installation.of(settings.source)
    if not stores:
        yield ok("object-store", "none: recordings stay in data_dir")
    for store in stores:
        place = "" if len(stores) == 1 else f"{store.settings.endpoint}, bucket {store.settings.bucket}: "
        try:
            next(iter(store.listing("doctor/")), None)
        except StorageError as problem:
            yield fail("object-store", f"{place}{problem}", problem.hint or how.command("store check"))
        else:
            yield ok("object-store", f"{place}it answers")
