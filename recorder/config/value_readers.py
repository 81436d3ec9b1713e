"""Readers of single configured values: a TOML value in, a typed value out, or Wrong with what would be right.

A reader is a plain function that knows nothing about sections, files or other values; rules between values are in
recorder.config.consistency. `option` and `required` declare a field of the model together with its reader.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from recorder.errors import RecorderError
from storage.keys.pkcs11_uri import SCHEME, TokenKey

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Reader = Callable[[object], Any]
Member = TypeVar("Member", bound=enum.Enum)

MAX_LIST = 1000  # entries of one list; a customer with more SBC addresses writes a network
MAX_TEXT = 1024  # characters of one text; Linux takes paths up to 4096, but no sensible one is that long
SHOWN = 60  # characters of a wrong value that a fault quotes

_NAME = re.compile(r"[a-z0-9-]{1,40}")
_HOST = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*", re.I)
_CREDENTIAL = re.compile(r"[A-Za-z0-9_.-]{1,255}")  # what systemd accepts as the name of a credential
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"(?:[A-Za-z0-9_-]{1,64}(?:/[A-Za-z0-9_-]{1,64}){0,7})?")
_SSL_MODE = re.compile(r"[?&](?:sslmode|ssl)=([^&]*)")
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
"""Whether and how a connection to PostgreSQL is encrypted and verified (libpq, "SSL Mode Descriptions")."""
_POSTGRESQL = re.compile(r"postgresql\+asyncpg://(?:[^/@:?#\s]+@)?(?:[^/@?#\s]*)/[^/?#\s]+(?:\?[^#\s]*)?")


class Wrong(RecorderError):
    """A value that cannot be used; `places` lists each (index suffix, what was found, what would be right)."""

    def __init__(
        self, right: str, *, found: str = "", places: tuple[tuple[str, str, str], ...] = (), partial: object = None
    ) -> None:
        super().__init__(right)
        self.places = places or (("", found, right),)
        self.partial = partial  # the readable entries of a list, so that the rules check those and not a default


def option(reader: Reader, default: object, doc: str, *, example: object = None) -> Any:
    """Declare a field: its reader, its default, its documentation, and what the example shows."""
    return field(default=default, metadata={"read": reader, "doc": doc, "example": example})


def required(reader: Reader, doc: str, *, example: object) -> Any:
    """Declare a field that must be given."""
    return field(metadata={"read": reader, "doc": doc, "example": example})


class Transport(enum.StrEnum):
    """Transport of a SIP listener."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class Srtp(enum.StrEnum):
    """Whether media must be encrypted: always, if offered, or never."""

    REQUIRED = "required"
    PREFERRED = "preferred"
    OFF = "off"


class SecondFactor(enum.StrEnum):
    """Whether an account of the admin page needs more than a password."""

    REQUIRED = "required"
    OPTIONAL = "optional"


class Siprec(enum.StrEnum):
    """What makes an INVITE a recording session."""

    STRICT = "strict"
    TOLERANT = "tolerant"
    PLAIN = "plain"


class CustomerState(enum.StrEnum):
    """Whether calls of a customer are recorded."""

    OPEN = "open"
    CLOSED = "closed"


class Level(enum.StrEnum):
    """How much is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Address:
    """An IP address and a port."""

    host: str  # canonical text without brackets
    port: int

    @property
    def loopback(self) -> bool:
        """Tell whether only this machine can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A transport, an address and a port on which the daemon listens."""

    transport: Transport
    address: Address

    @property
    def host(self) -> str:
        """Return the IP address to bind."""
        return self.address.host

    @property
    def port(self) -> int:
        """Return the port to bind."""
        return self.address.port

    def __str__(self) -> str:
        return f"{self.transport.value}:{self.address}"


@dataclass(frozen=True, slots=True)
class PortRange:
    """Media ports: even ones for RTP, and the odd one above each for its RTCP."""

    first: int  # even
    last: int  # odd, included

    @property
    def pairs(self) -> int:
        """Return how many streams fit."""
        return (self.last - self.first + 1) // 2

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


@dataclass(frozen=True, slots=True)
class Duration:
    """A length of time, as it was written."""

    number: int
    unit: str  # s, m, h or d

    @property
    def seconds(self) -> int:
        """Return it in seconds."""
        return self.number * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[self.unit]

    def __str__(self) -> str:
        return f"{self.number}{self.unit}"


def shown(value: object) -> str:
    """Return a wrong value as a fault quotes it: short, on one line, with its type visible."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return ascii(text[:SHOWN])[1:-1] + ("…" if len(text) > SHOWN else "")


def text(value: object) -> str:
    """Read any non-empty text on one line."""
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
        raise Wrong("a text in quotes, not empty, on one line")
    return value


def origin(value: object) -> str:
    """Read the address of a service without a path, such as https://rec.example:8443."""
    found = text(value).rstrip("/").lower()
    try:
        parts = urlsplit(found)
        plain = parts.hostname and not (parts.path or parts.query or parts.fragment or parts.username)
        whole = bool(plain) and parts.port != 0
    except ValueError:
        whole = False
    if not whole or parts.scheme not in ("https", "http"):
        raise Wrong('an address without a path, such as "https://rec.example:8443"')
    return found


def boolean(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise Wrong("true or false, without quotes")
    return value


def whole(least: int, most: int, unit: str = "") -> Reader:
    """Make a reader of whole numbers between two bounds, both included."""
    counted = f" of {unit}" if unit else ""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise Wrong(f"a whole number{counted} from {least} to {most}, without quotes")
        return value

    return read


def one_of(kind: type[Member]) -> Reader:
    """Make a reader of a closed set of words."""
    words = [str(member.value) for member in kind]

    def read(value: object) -> Member:
        if value not in words:
            raise Wrong("one of " + ", ".join(f'"{word}"' for word in words))
        return kind(value)

    return read


def each(reader: Reader, *, least: int = 0) -> Reader:
    """Make a reader of lists; every wrong entry is reported, not only the first."""

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not least <= len(value) <= MAX_LIST:
            raise Wrong(f"a list in square brackets with {least} to {MAX_LIST} entries")
        good: list[Any] = []
        places: list[tuple[str, str, str]] = []
        for index, entry in enumerate(value):
            try:
                good.append(reader(entry))
            except Wrong as wrong:
                places += [(f"[{index}]{at}", found or shown(entry), right) for at, found, right in wrong.places]
        if places:
            raise Wrong("", places=tuple(places), partial=tuple(good))
        return tuple(good)

    return read


def name(value: object) -> str:
    """Read the name of a node or customer; it becomes a folder and a part of addresses."""
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise Wrong("1 to 40 of the characters a to z, 0 to 9 and -")
    return value


def absolute(value: object) -> Path:
    """Read an absolute path, because nobody knows the current folder of a daemon."""
    path = text(value)
    if not path.startswith("/") or ".." in Path(path).parts:
        raise Wrong("an absolute path, beginning with / and without ..")
    return Path(path)


def ip(value: object) -> str:
    """Read an IPv4 or IPv6 address, without a port."""
    try:
        return str(ipaddress.ip_address(text(value)))
    except ValueError:
        raise Wrong('an IP address such as "192.0.2.10" or "2001:db8::10"') from None


def destination(value: object) -> str:
    """Read an address that a peer can send to: 0.0.0.0 in an SDP answer would mean a call on hold."""
    found = ip(value)
    if ipaddress.ip_address(found).is_unspecified or ipaddress.ip_address(found).is_multicast:
        raise Wrong('an address of this machine that SBCs reach, such as "192.0.2.10"')
    return found


def network(value: object) -> Network:
    """Read an address or a network in CIDR notation; host bits must be zero, since a network with them is a mistake."""
    written = text(value)
    try:
        return ipaddress.ip_network(written)
    except ValueError:
        pass
    try:
        meant = str(ipaddress.ip_network(written, strict=False))
    except ValueError:
        meant = "192.0.2.0/24"
    raise Wrong(f'an address or network such as "{meant}"')


def address(value: object) -> Address:
    """Read IP:PORT, IPv6 in brackets, for an HTTP listener."""
    found = _address(text(value))
    if found is None:
        raise Wrong('an address and a port such as "127.0.0.1:8443" or "[::1]:8443"')
    return found


def _address(written: str) -> Address | None:
    """Split IP:PORT; None if it is malformed."""
    host, _, port = written.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535 or bracketed != (":" in host):
        return None
    try:
        return Address(str(ipaddress.ip_address(host[1:-1] if bracketed else host)), int(port))
    except ValueError:
        return None


def listener(value: object) -> Listener:
    """Read TRANSPORT:IP:PORT."""
    transport, _, rest = text(value).partition(":")
    found = _address(rest)
    if transport not in set(Transport) or found is None:
        raise Wrong('udp, tcp or tls with address and port, such as "tls:0.0.0.0:5061" or "tls:[::]:5061"')
    return Listener(Transport(transport), found)


def ports(value: object) -> PortRange:
    """Read FIRST-LAST; first even and last odd, because RTP takes the even port and RTCP the next (RFC 3550, 11)."""
    match = re.fullmatch(r"([0-9]{1,5})-([0-9]{1,5})", text(value).replace(" ", ""))
    if not match:
        raise Wrong('two ports with a dash, such as "20000-39999"')
    first, last = int(match[1]), int(match[2])
    if not 1024 <= first < last <= 65535:
        raise Wrong("a range between 1024 and 65535, the lower port first")
    even, odd = first + first % 2, last - 1 + last % 2
    if odd - even + 1 < 4:
        raise Wrong('at least 4 ports from an even one on, such as "20000-20003": each of two streams takes two')
    if (even, odd) != (first, last):
        raise Wrong(f'an even first and an odd last port, such as "{even}-{odd}"')
    return PortRange(first, last)


def host_name(value: object) -> str:
    """Read a host name or an IP address, folded to lower case."""
    written = text(value).lower().rstrip(".")
    if _HOST.fullmatch(written):
        return written
    try:
        return str(ipaddress.ip_address(written.strip("[]")))
    except ValueError:
        raise Wrong('a host name such as "acme.rec.example", without port or scheme') from None


def country(value: object) -> str:
    """Read a country as ISO 3166-1 writes it."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{2}", value):
        raise Wrong('two capital letters such as "DE"')
    return value


def secret(value: object) -> str:
    """Read a reference to a secret; it is kept as written."""
    found = text(value)
    if found.partition(":")[0] not in ("credential", "file"):
        raise Wrong('"credential:NAME" or "file:/PATH"; never put the secret itself here', found="(not shown)")
    return root_key(found)


def root_key(value: object) -> str:
    """Read a reference to the root secret; it is kept as written."""
    scheme, _, rest = text(value).partition(":")
    if scheme == SCHEME:
        try:
            TokenKey.parse(text(value))
        except ValueError as problem:
            raise Wrong(str(problem), found="(not shown)") from None
        return text(value)
    if scheme == "credential" and _CREDENTIAL.fullmatch(rest) and rest not in {".", ".."}:
        return f"{scheme}:{rest}"
    if scheme == "file":
        return f"{scheme}:{absolute(rest or '?')}"
    raise Wrong('"credential:NAME", "file:/PATH" or "pkcs11:…"; never put the secret itself here', found="(not shown)")


def database(value: object) -> str:
    """Read which database holds the index; the value is kept as written."""
    written = text(value)
    if written == "sqlite":
        return written
    if ("://" in written and ":" in written.split("://", 1)[1].rpartition("@")[0]) or "password" in written.lower():
        raise Wrong("no password here; use a passfile (PGPASSFILE), peer or certificate login", found="(not shown)")
    if not _POSTGRESQL.fullmatch(written) or "{customer}" not in written.partition("?")[0].rpartition("/")[2]:
        raise Wrong('"sqlite" or "postgresql+asyncpg://user@host/recorder_{customer}"', found="(not shown)")
    for mode in _SSL_MODE.findall(written):
        if mode not in SSL_MODES:
            raise Wrong(f"sslmode= with one of {', '.join(SSL_MODES)}", found=f"sslmode={shown(mode)}")
    return written


def media_store(value: object) -> str:
    """Read where recordings are kept."""
    if value not in ("file", "s3"):
        raise Wrong('"file" or "s3"')
    return str(value)


def bucket(value: object) -> str:
    """Read the name of a bucket, which may become part of a host name."""
    if not isinstance(value, str) or not _BUCKET.fullmatch(value):
        raise Wrong("3 to 63 of the characters a to z, 0 to 9, - and ., beginning and ending with a letter or digit")
    return value


def prefix(value: object) -> str:
    """Read what the names of all objects begin with; return it with a slash at its end, or empty."""
    found = value.strip("/") if isinstance(value, str) else None
    if found is None or not _PREFIX.fullmatch(found):
        raise Wrong('names of letters, digits, - and _ with slashes between them, such as "recorder/rec1"')
    return f"{found}/" if found else ""


def duration(value: object) -> Duration:
    """Read a time such as "7d" or "12h"."""
    match = re.fullmatch(r"([0-9]{1,6})([smhd])", value) if isinstance(value, str) else None
    if match is None:
        raise Wrong('a number with s, m, h or d behind it, such as "7d"')
    return Duration(int(match[1]), match[2])


def lock(value: object) -> str:
    """Read whether objects are locked, and in which mode."""
    if value not in ("off", "governance", "compliance"):
        raise Wrong('"off", "governance" or "compliance"')
    return str(value)


def witness(value: object) -> str:
    """Read a place that gets checkpoints of the audit log."""
    found = text(value)
    kind, _, place = found.partition(":")
    host, _, port = place.rpartition(":")
    udp = kind == "syslog" and re.fullmatch(r"[A-Za-z0-9.:\[\]-]{1,253}", host) and _is_port(port)
    if found != "journald" and not (kind in ("file", "syslog") and place.startswith("/")) and not udp:
        raise Wrong('"journald", "file:/PATH", "syslog:/dev/log" or "syslog:HOST:PORT"')
    return found


def _is_port(found: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", found) is not None and 0 < int(found) < 1 << 16
