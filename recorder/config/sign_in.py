"""Who vouches for people who sign in to the admin page, as configured: [[sign_in]], one OpenID provider each."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from recorder.config import readers as read
from recorder.config.readers import Wrong
from recorder.config.settings_fields import option, required
from storage.access.api_tokens import ROLES

MAX_GROUPS = 200
_ISSUER = 'an https address as the provider writes it, such as "https://login.example/realms/acme"'
_ROLES = f"a table of groups and their roles out of {', '.join(ROLES)}"


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
