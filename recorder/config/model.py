"""The configuration as one frozen tree: its sections, and the tables that may occur several times.

Each field is documented where it is declared; config/recorder.toml is generated from these lines
(recorder.config.template).
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recorder.config import value_readers as read
from recorder.config.value_readers import (
    Address,
    CustomerState,
    Duration,
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
    number: int = option(
        read.whole(0, 255),
        0,
        "Part of the number of every recording. 0 = the only node; 1 to 255, a different one on each node, where "
        "several nodes share PostgreSQL and an object store. Never give it to another node within two days.",
    )
    data_dir: Path = option(
        read.absolute, Path("/var/lib/recorder"), "Everything that must be kept. A backup is this folder without keys/."
    )
    runtime_dir: Path = option(
        read.absolute,
        Path("/run/recorder"),
        "Must be a tmpfs. The encrypted state of live calls lies here and must never reach a disk.",
    )
    trial: bool = option(
        read.boolean, False, "true: `serve` also starts if runtime_dir is on a disk. For trials, not for real calls."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """JSON lines on standard output. No personal data at any level."""

    level: Level = option(read.one_of(Level), Level.INFO, "debug | info | warning | error")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sip:
    """Where SBCs (session recording clients) send their calls."""

    listen: tuple[Listener, ...] = option(
        read.each(read.listener, least=1),
        (
            Listener(Transport.UDP, Address("0.0.0.0", 5060)),  # noqa: S104 - peers must be able to reach a recorder
            Listener(Transport.TCP, Address("0.0.0.0", 5060)),  # noqa: S104 - the same
            Listener(Transport.TLS, Address("0.0.0.0", 5061)),  # noqa: S104 - the same
        ),
        'Transports, addresses and ports. IPv6: "tls:[::]:5061".',
    )
    advertise: str | None = option(
        read.destination,
        None,
        "Address in Contact, to which SBCs send their BYE, if that is not an address of this machine (NAT). Default: "
        "the address the INVITE arrived on. For media see [media] advertise.",
    )
    certificate: Path | None = option(
        read.absolute, None, "Certificate chain for TLS, PEM.", example=Path("/etc/recorder/tls.crt")
    )
    private_key: Path | None = option(
        read.absolute, None, "Private key of the certificate, PEM.", example=Path("/etc/recorder/tls.key")
    )
    client_ca: Path | None = option(
        read.absolute, None, "If set, TLS peers must present a certificate issued by one of these authorities, PEM."
    )
    max_calls: int = option(
        read.whole(1, 100_000, "calls"), 2000, "Most calls recorded at once; more get 503 with Retry-After."
    )
    source_calls: int = option(
        read.whole(0, 100_000, "calls"),
        0,
        "Most calls recorded at once from one address; 0 = as many as max_calls. More get 503 with Retry-After.",
    )
    source_invites: int = option(
        read.whole(0, 100_000, "INVITEs a second"),
        1000,
        "INVITEs a second that one address may send, with bursts of twice as many; 0 = no limit. More get 503 with "
        "Retry-After. The default stops a flood; a value a little above what your SBC sends stops a loop as well.",
    )
    silent_seconds: int = option(
        read.whole(0, 86_400, "seconds"),
        300,
        "If no media arrive for this many seconds on any stream that is not on hold, the recorder asks the SBC whether "
        "the call still exists. The call ends if the SBC does not know it or does not answer, and still no media "
        "arrive. 0 = never.",
    )
    held_seconds: int = option(
        read.whole(0, 86_400, "seconds"),
        1800,
        "The same for calls that are on hold on all streams, or paused: seconds without a SIP request from the SBC. "
        "0 = never.",
    )
    drain_seconds: int = option(
        read.whole(0, 86_400, "seconds"),
        15,
        "Seconds that running calls may continue after a final stop (systemctl stop, serve --drain). Then they end and "
        "are stored as interrupted. A restart does not end them.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """Where the audio arrives."""

    bind: str = option(
        read.ip,
        "0.0.0.0",  # noqa: S104 - as above
        'Address that media sockets are bound to. "::" is all of IPv6 and IPv4; "0.0.0.0" is all of IPv4 only, and '
        "media offered with an IPv6 address are refused.",
    )
    advertise: str | None = option(
        read.destination,
        None,
        "Address in SDP answers, if that is not an address of this machine (NAT). "
        "Default: the address the INVITE arrived on.",
    )
    ports: PortRange = option(
        read.ports, PortRange(20000, 39999), "UDP ports; a stream takes an even one and the odd one above it."
    )
    workers: int = option(
        read.whole(0, 256, "processes"), 0, "Media processes. 0 = one fewer than processor cores, at least one."
    )
    srtp: Srtp = option(
        read.one_of(Srtp), Srtp.REQUIRED, "required | preferred | off: encryption of media. A customer may override it."
    )
    tick_ms: int = option(
        read.whole(100, 1000, "milliseconds"),
        1000,
        "How often sockets are read. Longer costs less processor time, shorter loses less at a power cut.",
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
        "Address of the admin page as people type it. One-time links contain it, and passkeys and [[sign_in]] depend "
        "on its host name. [[sign_in]] needs it; without it passkeys work on this machine only.",
    )
    second_factor: SecondFactor = option(
        read.one_of(SecondFactor),
        SecondFactor.REQUIRED,
        "required | optional: whether an account of the admin page needs an authenticator app or a passkey in addition "
        "to its password.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """A separate listener for /metrics, so that Prometheus cannot reach the admin page."""

    listen: Address | None = option(
        read.address,
        None,
        "Address and port of /metrics alone, here with a customer label; over TLS if [admin_api] has a certificate. "
        "Absent: /metrics is on the admin API only, without customers.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """The root secret protects everything that is stored; it is never kept on the data disk."""

    root: str = option(
        read.root_key,
        "credential:recorder-root-key",
        "credential:NAME (handed over by systemd) | file:PATH (32 random bytes, mode 0600; for trials) | "
        "pkcs11:token=T;object=O?module-path=/LIB.so&pin-source=file:/PIN (a hardware token).",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """When recordings are erased."""

    sweep_seconds: int = option(
        read.whole(1, 7 * _DAY, "seconds"), 3600, "Pause between two sweeps; one also runs at start."
    )
    brake_percent: int = option(
        read.whole(0, 100, "percent"), 5, "A sweep that would erase more of a customer's calls asks for approval first."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """Who did what. A signed checkpoint of each customer's log is written beside it every minute."""

    witnesses: tuple[str, ...] = option(
        read.each(read.witness),
        (),
        "Places that also get each checkpoint, so that nobody can roll a log back unnoticed: "
        "file:/PATH, syslog:/dev/log, syslog:HOST:PORT, journald.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Where recordings and their index are kept; one database for each customer."""

    database: str = option(
        read.database,
        "sqlite",
        "sqlite | postgresql+asyncpg://user@host/recorder_{customer}; ?sslmode=verify-full proves the server.",
    )
    media: str = option(
        read.media_store,
        "file",
        "file: recordings stay in data_dir. s3: they go to an object store as well, and later only there.",
    )
    endpoint: str | None = option(read.origin, None, "Object store: its address. http:// only on loopback.")
    region: str = option(read.text, "us-east-1", "Object store: the region that requests are signed for.")
    bucket: str | None = option(read.bucket, None, "Object store: the bucket, used by recorders only. It must exist.")
    prefix: str = option(
        read.prefix, "", "Object store: prefix of the names of all objects; each recorder of a bucket has its own."
    )
    access_key: str | None = option(read.secret, None, "Object store: access key, credential:NAME or file:/PATH.")
    secret_key: str | None = option(read.secret, None, "Object store: secret key, credential:NAME or file:/PATH.")
    path_style: bool = option(
        read.boolean, False, "Object store: true if the bucket is named in the path, not in the host name."
    )
    ca: Path | None = option(
        read.absolute, None, "Object store: authorities of its certificate, PEM; default: those of the system."
    )
    part_seconds: int = option(
        read.whole(1, 86_400, "seconds"),
        300,
        "Object store: a part of a live call ends after this time, or 16 MiB, and is uploaded. If the "
        "machine is destroyed, at most this much of each live call is lost. Each part costs a request; 60 is short.",
    )
    keep_local: Duration = option(
        read.duration, Duration(7, "d"), "Object store: how long a recording stays in data_dir after its upload."
    )
    lock: str = option(
        read.lock,
        "off",
        "Object store: off | governance | compliance: lock objects against deletion until the day after retention "
        "ends, and hold those of calls under legal hold. Only for a store whose locks recorder store check verified.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A customer whose calls are recorded. One table for each.

    A call belongs to a customer if it comes from one of its sources, over a connection with one of its certificates,
    or, if it has neither, to one of its domains with a password (digest). Domains also tell customers behind one SBC
    apart. A call that belongs to no customer is refused with 403. Later requests of a call are also accepted only from
    its customer.
    """

    name: str = required(read.name, "Folder and part of API addresses: a-z, 0-9 and -. Never changes.", example="acme")
    title: str | None = option(read.text, None, "Name that people see instead of the name above; may change.")
    state: CustomerState = option(
        read.one_of(CustomerState),
        CustomerState.OPEN,
        "closed: no call is recorded, SBCs get 403, and calls in progress are ended when the recorder is reloaded; "
        "retention, requests, erasure, exports, page and API go on.",
    )
    sources: tuple[Network, ...] = option(
        read.each(read.network), (), "Addresses or networks of SBCs.", example=(read.network("192.0.2.0/24"),)
    )
    certificates: tuple[str, ...] = option(
        read.each(read.host_name),
        (),
        "Subject alternative names of SBC client certificates; needs a client_ca, here or in [sip].",
    )
    client_ca: Path | None = option(
        read.absolute,
        None,
        "Authorities that issue this customer's certificates, PEM; default: those of [sip] client_ca. As soon as one "
        "customer has its own, each file must hold the very authorities that sign the SBCs' certificates.",
    )
    domains: tuple[str, ...] = option(
        read.each(read.host_name), (), "Host part of the Request-URI; without sources or certificates it needs digest."
    )
    country: str | None = option(
        read.country, None, "How national numbers are read; without it they stay as sent.", example="DE"
    )
    extension_digits: int = option(
        read.whole(0, 8, "digits"),
        0,
        "How many of the last digits of a user's number are the extension that internal calls show; "
        "0: only what the directory gives as an extension.",
    )
    purge_users: bool = option(
        read.boolean,
        False,
        "Remove a user who is no longer in the directory as soon as no recording refers to them any more.",
    )
    retention_days: int = option(
        read.whole(1, 36_500, "days"), 180, "Default rule: calls are erased after this time. Add rules with the API."
    )
    approve_erasures: bool = option(
        read.boolean, False, "A second person, with the role approver, must approve every request for erasure."
    )
    max_calls: int = option(
        read.whole(0, 100_000, "calls"), 0, "Most calls recorded at once for this customer; 0 = [sip] max_calls."
    )
    max_invites: int = option(
        read.whole(0, 100_000, "INVITEs a second"),
        0,
        "INVITEs a second for this customer from all its addresses together; 0 = only the limit of each address.",
    )
    srtp: Srtp | None = option(read.one_of(Srtp), None, "Overrides [media] srtp for this customer.")
    siprec: Siprec = option(
        read.one_of(Siprec),
        Siprec.TOLERANT,
        "What an INVITE must carry. tolerant: any mark of a recording session; strict: Require: siprec and +sip.src, "
        "as in RFC 7866; plain: nothing, for devices that record without SIPREC.",
    )
    late_offer: bool = option(
        read.boolean, False, "Answer an INVITE without SDP with an offer, as Cisco's built-in bridge expects."
    )
    sdes_without_tls: bool = option(
        read.boolean, True, "Accept SRTP keys (a=crypto) that arrive over UDP or TCP, where others may read them."
    )
    dtls: bool = option(
        read.boolean,
        True,
        "Accept media whose SRTP keys come from a handshake on the media ports (DTLS-SRTP); false: refuse it.",
    )
    pause_by_reinvite: bool = option(
        read.boolean,
        False,
        "Send a re-INVITE when a call is paused, so that the client stops sending media; not every client copes with "
        "one. Media that arrive during a pause are discarded in any case. A re-INVITE also asks the client for a new "
        "DTLS handshake if the first one was cut short because a process died.",
    )
    swap_owners: bool = option(
        read.boolean,
        False,
        "Swap the owners of the two streams of a medium, for an SBC that names them the wrong way round, such as "
        "jambonz with rtpengine. Listen to a test call first (recorder check-owners). Applies to calls that begin "
        "after a restart.",
    )
    digest: Path | None = option(
        read.absolute,
        None,
        "File of users, lines user:realm:HA1 with MD5 or SHA-256 (htdigest): INVITEs and later requests of a call must "
        "then authenticate. Most clients cannot; sources and certificates are the usual way.",
    )
    learn_source: bool = option(
        read.boolean,
        True,
        "Accept encrypted media from the address of the first authentic packet, as needed behind NAT; "
        "false: only from the address that was offered.",
    )

    media: str | None = option(
        read.media_store,
        None,
        "Overrides [storage] media for this customer, as the keys below override those of [storage].",
    )
    endpoint: str | None = option(read.origin, None, "This customer's object store: its address.")
    region: str | None = option(read.text, None, "Its region.")
    bucket: str | None = option(read.bucket, None, "Its bucket.")
    prefix: str | None = option(read.prefix, None, "Prefix of the names of its objects.")
    access_key: str | None = option(read.secret, None, "Its access key, credential:NAME or file:/PATH.")
    secret_key: str | None = option(read.secret, None, "Its secret key, credential:NAME or file:/PATH.")
    path_style: bool | None = option(read.boolean, None, "Whether its bucket is named in the path.")
    ca: Path | None = option(read.absolute, None, "Authorities of its certificate, PEM.")
    part_seconds: int | None = option(
        read.whole(1, 86_400, "seconds"), None, "When parts of this customer's live calls end."
    )
    keep_local: Duration | None = option(
        read.duration, None, "How long this customer's recordings stay in data_dir after their upload."
    )
    lock: str | None = option(read.lock, None, "Whether this customer's objects are locked against deletion.")

    @property
    def store(self) -> dict[str, Any]:
        """Return what this customer has other than [storage]."""
        found = {name: getattr(self, name) for name in STORE_KEYS}
        return {name: value for name, value in found.items() if value is not None}


STORE_KEYS = (
    "media", "endpoint", "region", "bucket", "prefix", "access_key", "secret_key", "path_style", "ca", "part_seconds",
    "keep_local", "lock",
)  # fmt: skip
"""Keys of [storage] that a customer may override."""


class CloudName(enum.StrEnum):
    """Microsoft clouds that can be chosen by name."""

    GLOBAL = "global"
    US = "us"
    US_DOD = "us-dod"
    CHINA = "china"


def _application(value: object) -> str:
    """Read an Entra id."""
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
    """Where a customer's users come from: Microsoft Entra ID. One table for each customer; see docs/entra.md."""

    customer: str = required(read.name, "The customer whose users these are.", example="acme")
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
        _day, None, "Last day of the client secret, which Entra does not report; a warning comes 30 days before."
    )
    cloud: CloudName = option(
        read.one_of(CloudName), CloudName.GLOBAL, "Which of Microsoft's clouds: global | us | us-dod | china."
    )
    login: str | None = option(_service, None, "Address of the sign-in service, for a cloud without a name above.")
    graph: str | None = option(_service, None, "Address of Microsoft Graph, for a cloud without a name above.")
    proxy_ca: Path | None = option(
        read.absolute, None, "More authorities to trust, PEM, if a proxy intercepts the connection to Microsoft."
    )
    sync_minutes: int = option(
        read.whole(0, 7 * 24 * 60, "minutes"),
        60,
        "Pause between two synchronisations; 0 = only with recorder directory sync.",
    )
    brake_percent: int = option(
        read.whole(0, 100, "percent"),
        5,
        "A synchronisation that would make more of the active users inactive, and more than one, changes nothing and "
        "asks for approval first.",
    )


def issuer(value: object) -> str:
    """Read the address of a provider unchanged, because it is compared literally; plain HTTP on loopback only."""
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
    """Return whether a host is this machine."""
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
    """An OpenID Connect provider that people sign in to the admin page with; see docs/operations.md.

    Members of a group below get its roles. The provider is responsible for second factors. Register this redirect
    address there: the page's address with /openid/back.
    """

    customer: str = required(read.name, "The customer whose people sign in here.", example="acme")
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
        "Its secret: credential:NAME (handed over by systemd) | file:PATH (mode 0600). Without one: a public client; "
        "PKCE protects the sign-in in either case.",
    )
    scopes: tuple[str, ...] = option(
        read.each(read.text, least=1), ("openid", "profile"), "Scopes to ask for; some providers want groups as well."
    )
    groups_claim: str = option(read.text, "groups", "Claim of the ID token that lists a person's groups.")
    name_claim: str = option(
        read.text,
        "preferred_username",
        "Claim that names a person in the audit log; it must be unique, and the person must not be able to change it.",
    )
    roles: Mapping[str, tuple[str, ...]] = required(
        grants, "Roles by group.", example={"recorder-admins": ("admin",), "recorder-desk": ("privacy", "listener")}
    )
    session_minutes: int = option(
        read.whole(5, 12 * 60, "minutes"),
        60,
        "Minutes until the provider is asked again, without prompting a person who is still signed in there: somebody "
        "who has lost their groups loses access by then.",
    )
    ca: Path | None = option(read.absolute, None, "More authorities to trust, PEM, for a provider inside your network.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole configuration."""

    node: Node = field(default_factory=Node)
    log: Log = field(default_factory=Log)
    sip: Sip = field(default_factory=Sip)
    media: Media = field(default_factory=Media)
    admin_api: AdminApi = field(default_factory=AdminApi)
    metrics: Metrics = field(default_factory=Metrics)
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

    @property
    def closed(self) -> frozenset[str]:
        """Return the customers whose calls are no longer recorded."""
        return frozenset(each.name for each in self.customers if each.state is CustomerState.CLOSED)

    def storage_of(self, customer: Customer) -> Storage:
        """Return where the recordings of a customer are kept."""
        return replace(self.storage, **customer.store)

    @property
    def stores(self) -> tuple[Storage, ...]:
        """Return [storage], and what customers have instead, each once."""
        return tuple(dict.fromkeys((self.storage, *map(self.storage_of, self.customers))))

    def srtp_of(self, customer: Customer) -> Srtp:
        """Return what SRTP is required of that customer's media."""
        return customer.srtp or self.media.srtp


SECTIONS: Mapping[str, type[Any]] = {
    "node": Node,
    "log": Log,
    "sip": Sip,
    "media": Media,
    "admin_api": AdminApi,
    "metrics": Metrics,
    "keys": Keys,
    "retention": Retention,
    "audit": Audit,
    "storage": Storage,
}

TABLES: Mapping[str, type[Any]] = {"customers": Customer, "directories": Directory, "sign_ins": SignIn}
"""Tables that may occur several times: member of Settings → type; the type's name in snake_case is the header."""
