"""Sign in to Microsoft Entra ID as an application, by client secret or certificate; pure, the time is passed in.

Sources: "OAuth 2.0 client credentials flow on the Microsoft identity platform", "Microsoft identity platform
application authentication certificate credentials" and "Microsoft Entra authentication and authorization error codes".
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from recorder.directory.delta import Cloud
from recorder.errors import NotPossible, WrongUse

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_SECONDS = 600
"""Lifetime of an assertion; Microsoft advises five to ten minutes."""
MIN_BITS = 2048
"""Shortest key that Entra accepts."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The application's credential: a secret, or a certificate with its key."""

    secret: str = field(default="", repr=False)
    certificate: x509.Certificate | None = field(default=None, repr=False)
    key: RSAPrivateKey | None = field(default=None, repr=False)
    expires: datetime | None = None  # of the certificate, or of the secret if the configuration has it


def from_secret(data: bytes, expires: datetime | None) -> Credential:
    """Read a client secret; raises WrongUse."""
    try:
        secret = data.decode("ascii").strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(secret) > 1000:
        raise WrongUse(
            "The file of [[directory]] secret holds no client secret.", "Copy the secret's value, not its id."
        )
    return Credential(secret=secret, expires=expires)


def from_certificate(data: bytes) -> Credential:
    """Read a certificate and its RSA key, PEM, in one file; raises WrongUse."""
    hint = "It needs one certificate and its RSA key of at least 2048 bits, PEM, without a password."
    try:
        certificate = x509.load_pem_x509_certificate(data)
        key = serialization.load_pem_private_key(data, None)
    except (ValueError, TypeError):
        raise WrongUse("The file of [[directory]] certificate cannot be read.", hint) from None
    if not isinstance(key, RSAPrivateKey) or key.key_size < MIN_BITS:
        raise WrongUse("The key in [[directory]] certificate is not an RSA key or is too short.", hint)
    if key.public_key() != certificate.public_key():
        raise WrongUse("The key in [[directory]] certificate does not belong to the certificate.", hint)
    return Credential(certificate=certificate, key=key, expires=certificate.not_valid_after_utc)


def token_link(cloud: Cloud, tenant: str) -> str:
    """Return the address that issues tokens."""
    return f"{cloud.login}/{tenant}/oauth2/v2.0/token"


def token_form(
    cloud: Cloud, tenant: str, client: str, credential: Credential, now: datetime, id: str
) -> dict[str, str]:
    """Return the form that asks for a token; `id` is a random number of the assertion."""
    form = {"grant_type": "client_credentials", "client_id": client, "scope": f"{cloud.graph}/.default"}
    if credential.certificate is None or credential.key is None:
        return {**form, "client_secret": credential.secret}
    assertion = _assertion(token_link(cloud, tenant), client, credential.certificate, credential.key, now, id)
    return {**form, "client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}


def _assertion(
    audience: str, client: str, certificate: x509.Certificate, key: RSAPrivateKey, now: datetime, id: str
) -> str:
    from joserfc import jwt  # takes 0.1 s to import, which a start does not need
    from joserfc.jwk import RSAKey

    der = certificate.public_bytes(serialization.Encoding.DER)
    thumb = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
    at = int(now.timestamp())
    claims = {"aud": audience, "iss": client, "sub": client, "jti": id, "nbf": at, "exp": at + ASSERTION_SECONDS}
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    header = {"alg": "PS256", "typ": "JWT", "x5t#S256": thumb}
    return jwt.encode(header, claims, RSAKey.import_key(pem), algorithms=["PS256"])


ERRORS: Mapping[int, tuple[str, str]] = {
    90002: ("Entra knows no such tenant.", "Correct [[directory]] tenant: the directory (tenant) ID."),
    900023: ("[[directory]] tenant is neither an id nor a domain.", "Copy the directory (tenant) ID."),
    700016: ("The tenant knows no such application.", "Correct [[directory]] client: the application (client) ID."),
    7000215: ("The client secret is wrong.", "Copy the secret's value, which is shown once, not its id."),
    7000222: ("The client secret has expired.", "Make a new one under Certificates & secrets, and put it in place."),
    700027: ("Entra does not know the certificate.", "Upload it under Certificates & secrets."),
    7000112: ("The application is disabled in Entra.", "Enable it under Enterprise applications."),
    500011: ("Entra knows no Microsoft Graph in this cloud.", "Correct [[directory]] cloud."),
}
"""AADSTS codes → what is wrong and what to do, in the words of Entra's own pages."""


def login_refused(document: object) -> NotPossible:
    """Return the error for a refused token; the answer's own text is left out, because it names accounts."""
    found = document.get("error_codes") if isinstance(document, dict) else None
    codes = [code for code in found if type(code) is int] if isinstance(found, list) else []
    for code in codes:
        if code in ERRORS:
            return NotPossible(*ERRORS[code])
    shown = ", ".join(f"AADSTS{code}" for code in codes)
    return NotPossible(
        f"Entra refused to sign the recorder in{f' ({shown})' if shown else ''}.",
        "Look the code up at login.microsoftonline.com/error." if shown else "Check tenant, client and credential.",
    )


def expiry(credential: Credential, now: datetime) -> int | None:
    """Return in how many whole days the credential expires, negative afterwards; None if that is unknown."""
    if credential.expires is None:
        return None
    return (credential.expires.astimezone(UTC) - now).days
