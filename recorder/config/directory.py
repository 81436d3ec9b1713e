"""The directories that users come from, as configured: one [[directory]] a customer."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from recorder.config import readers as read
from recorder.config.readers import Wrong
from recorder.config.settings_fields import option, required

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


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


def _origin(value: object) -> str:
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
    login: str | None = option(_origin, None, "Address of the sign-in service, for a cloud without a name above.")
    graph: str | None = option(_origin, None, "Address of Microsoft Graph, for a cloud without a name above.")
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
