"""The configuration: TOML bytes in, one frozen tree out, or every fault at once.

Each field is documented where it stands; config/recorder.toml is generated from these lines (recorder.example).
Nothing here opens a file: recorder.config.loader does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

from recorder.config import readers as read
from recorder.config import validators
from recorder.config.customer import Customer
from recorder.config.directory import Directory
from recorder.config.faults import Fault, SettingsError, key_lines, suggestion, syntax_fault
from recorder.config.readers import Address, Level, Listener, PortRange, SecondFactor, Srtp, Transport, Wrong
from recorder.config.settings_fields import option
from recorder.config.sign_in import SignIn

Section = TypeVar("Section")
ListenAddress = Listener  # what the sockets are opened by

MAX_FILE = 1024 * 1024  # bytes; 10,000 customers fit, a file given by mistake does not
_DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """This machine."""

    name: str = option(read.name, "rec1", "Name of this node in receipts and metrics; unique among its kind.")
    data_dir: Path = option(
        read.absolute,
        Path("/var/lib/recorder"),
        "Everything that must be kept. A backup is this folder without keys/.",
    )
    runtime_dir: Path = option(
        read.absolute,
        Path("/run/recorder"),
        "Must be a tmpfs: what live calls leave for a successor lies here, sealed, and must never reach a disk.",
    )
    trial: bool = option(
        read.boolean,
        False,
        "true: `serve` also starts with a runtime_dir on a disk. For trials, not for real calls.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """JSON lines on standard output; nothing personal at any level."""

    level: Level = option(read.one_of(Level), Level.INFO, "debug | info | warning | error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sip:
    """Where SBCs (session recording clients) send their calls."""

    listen: tuple[Listener, ...] = option(
        read.each(read.listener, least=1),
        (
            Listener(Transport.UDP, Address("0.0.0.0", 5060)),  # noqa: S104 - a recorder is there to be reached
            Listener(Transport.TCP, Address("0.0.0.0", 5060)),  # noqa: S104 - the same
            Listener(Transport.TLS, Address("0.0.0.0", 5061)),  # noqa: S104 - the same
        ),
        'Transports, addresses and ports. IPv6: "tls:[::]:5061".',
    )
    advertise: str | None = option(
        read.destination,
        None,
        "Address in Contact, to which SBCs send their BYE, if they reach this machine by another one than it knows "
        "itself. Default: the address the INVITE arrived on. That of media is [media] advertise.",
    )
    certificate: Path | None = option(
        read.absolute, None, "Certificate chain for TLS, PEM.", example=Path("/etc/recorder/tls.crt")
    )
    private_key: Path | None = option(
        read.absolute, None, "Private key of the certificate, PEM.", example=Path("/etc/recorder/tls.key")
    )
    client_ca: Path | None = option(
        read.absolute,
        None,
        "If set, TLS peers must present a certificate issued by one of these authorities, PEM.",
    )
    max_calls: int = option(
        read.whole(1, 100_000, "calls"), 2000, "Calls recorded at once; beyond: 503 with Retry-After."
    )
    source_calls: int = option(
        read.whole(0, 100_000, "calls"),
        0,
        "Calls recorded at once that come from one address; 0 = as many as max_calls. Beyond: 503 with Retry-After.",
    )
    source_invites: int = option(
        read.whole(0, 100_000, "INVITEs a second"),
        1000,
        "INVITEs a second that one address may send, twice as many in one go; 0 = any number. Beyond: 503 with "
        "Retry-After. The default stops a flood; a value a little above what your SBC sends stops a loop as well.",
    )
    silent_seconds: int = option(
        read.whole(0, 86_400, "seconds"),
        300,
        "When nothing has been heard for so long on any stream that is not on hold, the SBC is asked whether the call "
        "still exists; it ends if the SBC does not know it or does not answer, and nothing came meanwhile. 0 = never.",
    )
    held_seconds: int = option(
        read.whole(0, 86_400, "seconds"),
        1800,
        "The same for calls whose streams are all on hold, or which are paused: after so long without a request of the "
        "SBC it is asked. 0 = never.",
    )
    drain_seconds: int = option(
        read.whole(0, 86_400, "seconds"),
        15,
        "How long running calls may go on once the recorder is stopped for good (systemctl stop, serve --drain); then "
        "they are ended and kept as interrupted. A restart does not end them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Where the audio arrives."""

    bind: str = option(
        read.ip,
        "0.0.0.0",  # noqa: S104 - as above
        'Address that media sockets are bound to. "::" is all of IPv6 and IPv4, "0.0.0.0" all of IPv4 only: then lines '
        "offered with an IPv6 address are refused.",
    )
    advertise: str | None = option(
        read.destination,
        None,
        "Address in SDP answers, if SBCs reach this machine by another one than it knows itself. "
        "Default: the address the INVITE arrived on.",
    )
    ports: PortRange = option(
        read.ports, PortRange(20000, 39999), "UDP ports; a stream takes an even one and the odd one above it."
    )
    workers: int = option(
        read.whole(0, 256, "processes"), 0, "Media processes. 0 = one per processor core but one, at least one."
    )
    srtp: Srtp = option(
        read.one_of(Srtp), Srtp.REQUIRED, "required | preferred | off: encryption of media. A customer may override it."
    )
    tick_ms: int = option(
        read.whole(100, 1000, "milliseconds"),
        1000,
        "How often sockets are emptied. Longer costs less processor time, shorter loses less at a power cut.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminApi:
    """HTTPS for administrators, scripts and the admin page."""

    listen: Address = option(read.address, Address("127.0.0.1", 8443), "Address and port.")
    certificate: Path | None = option(
        read.absolute,
        None,
        "Certificate chain, PEM. Absent: plain HTTP, accepted on loopback only.",
        example=Path("/etc/recorder/admin.crt"),
    )
    private_key: Path | None = option(
        read.absolute, None, "Private key of the certificate, PEM.", example=Path("/etc/recorder/admin.key")
    )
    address: str | None = option(
        read.origin,
        None,
        "Address of the admin page as people type it: one-time links show it, passkeys and [[sign_in]] hang on its "
        "name. [[sign_in]] needs it; without it passkeys work on this machine alone.",
    )
    second_factor: SecondFactor = option(
        read.one_of(SecondFactor),
        SecondFactor.REQUIRED,
        "required | optional: whether an account of the admin page needs an authenticator app or a passkey beside its "
        "password.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The root secret protects everything that is stored; it never lies on the data disk."""

    root: str = option(
        read.root_key,
        "credential:recorder-root-key",
        "credential:NAME (handed over by systemd) | file:PATH (32 random bytes, mode 0600; for trials) | "
        "pkcs11:token=T;object=O?module-path=/LIB.so&pin-source=file:/PIN (a hardware token).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """Erasing what has been kept long enough."""

    sweep_seconds: int = option(
        read.whole(1, 7 * _DAY, "seconds"), 3600, "Pause between two sweeps; one also runs at start."
    )
    brake_percent: int = option(
        read.whole(0, 100, "percent"), 5, "A sweep that would take more of a customer's calls asks first."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Who did what. A signed checkpoint of each customer's log is written beside it every minute."""

    witnesses: tuple[str, ...] = option(
        read.each(read.witness),
        (),
        "Places that are told each checkpoint too, so that nobody rolls a log back unseen: "
        "file:/PATH, syslog:/dev/log, syslog:HOST:PORT, journald.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where recordings and their index are kept; one database for each customer."""

    database: str = option(read.database, "sqlite", "sqlite | postgresql+asyncpg://user@host/recorder_{customer}")
    media: str = option(read.media_store, "file", "file: recordings lie in data_dir.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    node: Node = field(default_factory=Node)
    log: Log = field(default_factory=Log)
    sip: Sip = field(default_factory=Sip)
    media: Media = field(default_factory=Media)
    admin_api: AdminApi = field(default_factory=AdminApi)
    keys: Keys = field(default_factory=Keys)
    retention: Retention = field(default_factory=Retention)
    audit: Audit = field(default_factory=Audit)
    storage: Storage = field(default_factory=Storage)
    customers: tuple[Customer, ...] = ()
    directories: tuple[Directory, ...] = ()
    sign_ins: tuple[SignIn, ...] = ()
    source: Path | None = None  # the file it was read from

    def customer(self, name: str) -> Customer | None:
        """Return the customer of that name, if it is configured."""
        return next((customer for customer in self.customers if customer.name == name), None)

    @property
    def authorities(self) -> tuple[Path, ...]:
        """Return the files with the authorities of single customers."""
        return tuple(dict.fromkeys(customer.client_ca for customer in self.customers if customer.client_ca))

    def directory(self, customer: str) -> Directory | None:
        """Return the directory of a customer, if it has one."""
        return next((directory for directory in self.directories if directory.customer == customer), None)

    def srtp_of(self, customer: Customer) -> Srtp:
        """Return what is asked of that customer's media."""
        return customer.srtp or self.media.srtp


SECTIONS: Mapping[str, type[Any]] = {
    "node": Node,
    "log": Log,
    "sip": Sip,
    "media": Media,
    "admin_api": AdminApi,
    "keys": Keys,
    "retention": Retention,
    "audit": Audit,
    "storage": Storage,
}

TABLES: Mapping[str, type[Any]] = {"customers": Customer, "directories": Directory, "sign_ins": SignIn}
"""Tables that there may be several of: member of Settings → what each is; its name in small letters is the header."""


def parse(data: bytes) -> Settings:
    """Read a configuration; raise SettingsError with all faults, in the order of the file."""
    document, lines = _document(data)
    faults: list[Fault] = []
    sections = {name: _section(kind, document.get(name, {}), name, faults) for name, kind in SECTIONS.items()}
    headers = {_header(kind): member for member, kind in TABLES.items()}
    for key in sorted(set(document) - {*SECTIONS, *headers}):
        faults.append(Fault(key, "", "no such section" + suggestion(key, (*SECTIONS, *headers))))
    tables: dict[str, Any] = {
        member: _tables(TABLES[member], document.get(header, []), header, faults) for header, member in headers.items()
    }
    settings = Settings(**sections, **tables)
    wrong = frozenset(_without_index(fault.key) for fault in faults)
    faults += [fault for fault in validators.faults(settings) if _without_index(fault.key) not in wrong]
    if faults:
        raise SettingsError(tuple(sorted((fault.at(lines) for fault in faults), key=lambda fault: fault.line or 0)))
    return settings


def _header(kind: type[Any]) -> str:
    """Return SignIn as sign_in."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def _without_index(key: str) -> str:
    """Return the key of a list for the key of its entry: what is wrong already is not measured by more rules."""
    return key.rpartition("[")[0] if key.endswith("]") and "." in key else key


def _document(data: bytes) -> tuple[dict[str, Any], dict[str, int]]:
    """Decode TOML; also return the line of every key."""
    if len(data) > MAX_FILE:
        raise SettingsError((Fault("", f"{len(data)} bytes", f"a TOML file of at most {MAX_FILE} bytes"),))
    try:
        written = data.decode("utf-8-sig")
        return tomllib.loads(written), key_lines(written)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise SettingsError((syntax_fault(data, error),)) from None


def _section(kind: type[Section], table: object, path: str, faults: list[Fault]) -> Section:
    """Read one table; a wrong value is reported and its default taken, so that the other rules can still be checked."""
    if not isinstance(table, dict):
        faults.append(Fault(path, read.shown(table), f"a table: a line [{path}] and its keys below"))
        table = {}
    declared: dict[str, Field[Any]] = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]  # a dataclass
    values: dict[str, Any] = {}
    for key, item in declared.items():
        if key in table:
            values |= _value(item, table[key], f"{path}.{key}", faults)
        elif item.default is MISSING:
            faults.append(Fault(f"{path}.{key}", "nothing", "this key is required"))
        if item.default is MISSING:
            values.setdefault(key, "")
    for key in sorted(set(table) - set(declared)):
        faults.append(Fault(f"{path}.{key}", "", "no such key" + suggestion(key, declared)))
    return kind(**values)


def _value(item: Field[Any], value: object, path: str, faults: list[Fault]) -> dict[str, Any]:
    """Read one value into a mapping of at most one entry."""
    try:
        return {item.name: item.metadata["read"](value)}
    except Wrong as wrong:
        faults += [Fault(path + at, found or read.shown(value), right) for at, found, right in wrong.places]
        return {} if wrong.partial is None else {item.name: wrong.partial}


def _tables(kind: type[Section], tables: object, name: str, faults: list[Fault]) -> tuple[Section, ...]:
    """Read every table of a kind that there may be several of."""
    if not isinstance(tables, list):
        faults.append(Fault(name, read.shown(tables), f"double brackets: a line [[{name}]] before each"))
        return ()
    return tuple(_section(kind, table, f"{name}[{index}]", faults) for index, table in enumerate(tables))
