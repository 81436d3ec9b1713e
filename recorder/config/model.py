"""The configuration as one frozen tree: its sections, and the tables that there may be several of.

Each field is documented where it stands; config/recorder.toml is generated from these lines (recorder.config.template).
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recorder.config import readers as read
from recorder.config.readers import (
    Address,
    Level,
    Listener,
    Network,
    PortRange,
    SecondFactor,
    Siprec,
    Srtp,
    Transport,
    Wrong,
    option,
    required,
)
from storage.access.api_tokens import ROLES

MAX_GROUPS = 200
_DAY = 86_400
_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_ISSUER = 'an https address as the provider writes it, such as "https://login.example/realms/acme"'
_ROLES = f"a table of groups and their roles out of {', '.join(ROLES)}"


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
class Customer:
    """Whose calls are recorded. One table each.

    A call is a customer's if it comes from one of the sources, over a connection with one of the certificates, or, for
    a customer that has neither, to one of the domains, with a password (digest). Domains also tell customers behind one
    SBC apart. A call that is nobody's is refused with 403. What follows in a call counts only from its customer, too.
    """

    name: str = required(read.name, "Folder and part of API addresses: a-z, 0-9 and -. Never changes.", example="acme")
    sources: tuple[Network, ...] = option(
        read.each(read.network), (), "Addresses or networks of SBCs.", example=(read.network("192.0.2.0/24"),)
    )
    certificates: tuple[str, ...] = option(
        read.each(read.host_name),
        (),
        "Subject alternative names of SBC client certificates; needs a client_ca, of the customer or of [sip].",
    )
    client_ca: Path | None = option(
        read.absolute,
        None,
        "Authorities that issue this customer's certificates, PEM; by default those of [sip] client_ca. As soon as one "
        "customer has some of its own, each file must hold the very authorities that sign the SBCs' certificates.",
    )
    domains: tuple[str, ...] = option(
        read.each(read.host_name),
        (),
        "Host part of the Request-URI; alone, without sources or certificates, only with digest.",
    )
    country: str | None = option(
        read.country, None, "How national numbers are read; without it they stay as sent.", example="DE"
    )
    extension_digits: int = option(
        read.whole(0, 8, "digits"),
        0,
        "So many last digits of the users' numbers are their extensions, by which calls inside the house name them; "
        "0: only what the directory gives as an extension is one.",
    )
    purge_users: bool = option(
        read.boolean,
        False,
        "A user whom the directory has no more goes by itself once no recording refers to it any more.",
    )
    retention_days: int = option(
        read.whole(1, 36_500, "days"), 180, "Default rule: calls are erased then. More rules through the API."
    )
    approve_erasures: bool = option(
        read.boolean, False, "A second person, with the role approver, has to approve every request for erasure."
    )
    max_calls: int = option(
        read.whole(0, 100_000, "calls"), 0, "Calls recorded at once for this customer; 0 = as many as [sip] max_calls."
    )
    max_invites: int = option(
        read.whole(0, 100_000, "INVITEs a second"),
        0,
        "INVITEs a second for this customer from all its addresses together; 0 = no limit but that of each address.",
    )
    srtp: Srtp | None = option(read.one_of(Srtp), None, "Overrides [media] srtp for this customer.")
    siprec: Siprec = option(
        read.one_of(Siprec),
        Siprec.TOLERANT,
        "What an INVITE must carry. tolerant: any mark of a recording session; strict: Require: siprec and +sip.src, "
        "as RFC 7866 has it; plain: nothing, for devices that record without SIPREC.",
    )
    late_offer: bool = option(
        read.boolean, False, "Answer an INVITE without SDP by an offer of ours, as Cisco's built-in bridge wants it."
    )
    sdes_without_tls: bool = option(
        read.boolean, True, "Take SRTP keys (a=crypto) that came over UDP or TCP, where others may have read them."
    )
    dtls: bool = option(
        read.boolean,
        True,
        "Take lines whose SRTP keys come from a handshake on the media ports (DTLS-SRTP); false: they are refused.",
    )
    pause_by_reinvite: bool = option(
        read.boolean,
        False,
        "Tell the client of a pause by a re-INVITE, so that it stops sending; not every client survives one. "
        "What comes during a pause is thrown away in any case. By a re-INVITE it is also asked for another DTLS "
        "handshake where the death of a process cut one short.",
    )
    swap_owners: bool = option(
        read.boolean,
        False,
        "Exchange the owners of the two streams of a medium: this SBC names them the wrong way round, as jambonz with "
        "rtpengine does. Listen to a test call first (recorder check-owners). It counts for calls that begin after a "
        "restart.",
    )
    digest: Path | None = option(
        read.absolute,
        None,
        "File of users, lines user:realm:HA1 with MD5 or SHA-256 (htdigest): INVITEs and what follows "
        "in a call must then authenticate. Most clients cannot; sources and certificates are the usual way.",
    )
    learn_source: bool = option(
        read.boolean,
        True,
        "Take encrypted media from the address of the first genuine packet, as behind NAT; "
        "false: only from the address that was offered.",
    )


class CloudName(enum.StrEnum):
    """The clouds of Microsoft that have a name here."""

    GLOBAL = "global"
    US = "us"
    US_DOD = "us-dod"
    CHINA = "china"


def _application(value: object) -> str:
    """Read an id of Entra."""
    found = read.text(value)
    if not _ID.fullmatch(found):
        raise Wrong('an id such as "00000000-0000-0000-0000-000000000000"')
    return found.lower()


def _tenant(value: object) -> str:
    """Read a tenant: its id, or one of its domains."""
    try:
        return _application(value)
    except Wrong:
        return read.host_name(value)


def _day(value: object) -> date:
    if isinstance(value, date) and type(value) is date:
        return value
    raise Wrong("a date without quotes, such as 2027-03-31")


def _service(value: object) -> str:
    """Read the address of a service, without a path."""
    found = read.text(value).rstrip("/")
    try:
        parts = urlsplit(found)
        plain = parts.netloc and not (parts.path or parts.query or parts.fragment or parts.username) and parts.port != 0
    except ValueError:
        plain = False
    if not plain or parts.scheme != "https":
        raise Wrong('an https address without a path, such as "https://graph.microsoft.com"')
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Directory:
    """Where a customer's users come from: Microsoft Entra ID. One table a customer; see docs/entra.md."""

    customer: str = required(read.name, "Whose users these are.", example="acme")
    tenant: str = required(
        _tenant, "Directory (tenant) ID, or a domain of it.", example="11111111-2222-3333-4444-555555555555"
    )
    client: str = required(_application, "Application (client) ID.", example="66666666-7777-8888-9999-000000000000")
    certificate: str | None = option(
        read.secret,
        None,
        "Certificate of the application with its RSA key, PEM: credential:NAME (handed over by systemd) | file:PATH.",
        example="credential:entra-certificate",
    )
    secret: str | None = option(read.secret, None, "Client secret instead of a certificate, given in the same ways.")
    secret_expires: date | None = option(
        _day, None, "Last day of the client secret, which Entra does not tell: said 30 days before."
    )
    cloud: CloudName = option(
        read.one_of(CloudName), CloudName.GLOBAL, "Which of Microsoft's clouds: global | us | us-dod | china."
    )
    login: str | None = option(_service, None, "Address of the sign-in service, for a cloud without a name above.")
    graph: str | None = option(_service, None, "Address of Microsoft Graph, for a cloud without a name above.")
    proxy_ca: Path | None = option(
        read.absolute, None, "Further authorities to trust, PEM: where a proxy opens the connection to Microsoft."
    )
    sync_minutes: int = option(
        read.whole(0, 7 * 24 * 60, "minutes"),
        60,
        "Pause between two synchronisations; 0 = only by recorder directory sync.",
    )
    brake_percent: int = option(
        read.whole(0, 100, "percent"),
        5,
        "A synchronisation that would make more of the active users inactive, and more than one, changes nothing and "
        "asks first.",
    )


def issuer(value: object) -> str:
    """Read the address of a provider as it is, for it is compared letter by letter; plain HTTP on loopback alone."""
    found = read.text(value)
    try:
        parts = urlsplit(found)
        whole = bool(parts.hostname) and not (parts.query or parts.fragment or parts.username)
        safe = parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname or ""))
    except ValueError:
        whole = safe = False
    if not (whole and safe):
        raise Wrong(_ISSUER)
    return found


def loopback(host: str) -> bool:
    """Tell whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def grants(value: object) -> Mapping[str, tuple[str, ...]]:
    """Read which roles each group gives."""
    if not isinstance(value, dict) or not value or len(value) > MAX_GROUPS:
        raise Wrong(_ROLES)
    found = {}
    for group, roles in value.items():
        if not isinstance(roles, list) or not roles or any(role not in ROLES for role in roles):
            raise Wrong(_ROLES, found=f"of {group!r}")
        found[str(group)] = tuple(dict.fromkeys(roles))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """An OpenID Connect provider that vouches for people who sign in to the admin page; see docs/operations.md.

    Whoever is in a group below has its roles. Second factors are the provider's business. Redirect address to register
    there: the page's address with /openid/back.
    """

    customer: str = required(read.name, "Whose people these are.", example="acme")
    title: str = required(read.text, "What the button on the page says.", example="Microsoft Entra ID")
    issuer: str = required(
        issuer,
        "Address of the provider, exactly as its discovery document has it.",
        example="https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0",
    )
    client_id: str = required(read.text, "Id of the recorder there.", example="66666666-7777-8888-9999-000000000000")
    client_secret: str | None = option(
        read.secret,
        None,
        "Its secret: credential:NAME (handed over by systemd) | file:PATH (mode 0600). Absent: a public client; PKCE "
        "protects the way in either case.",
    )
    scopes: tuple[str, ...] = option(
        read.each(read.text, least=1), ("openid", "profile"), "What is asked for; some providers want groups as well."
    )
    groups_claim: str = option(read.text, "groups", "Claim of the ID token that lists a person's groups.")
    name_claim: str = option(
        read.text,
        "preferred_username",
        "Claim that names a person in the audit log, unique and not for the person to change.",
    )
    roles: Mapping[str, tuple[str, ...]] = required(
        grants, "Roles by group.", example={"recorder-admins": ("admin",), "recorder-desk": ("privacy", "listener")}
    )
    session_minutes: int = option(
        read.whole(5, 12 * 60, "minutes"),
        60,
        "After so long the provider is asked again, without a question where it still knows the person: whoever lost "
        "their groups there is out by then.",
    )
    ca: Path | None = option(read.absolute, None, "Further authorities to trust, PEM: for a provider inside the house.")


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
