"""Make the client of a customer's directory from the configuration."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import TYPE_CHECKING

from recorder.config.model import Directory
from recorder.directory import token
from recorder.directory.delta import CLOUDS, Cloud
from recorder.directory.token import Credential
from recorder.errors import WrongUse
from recorder.runtime.secret_refs import bytes_of

if TYPE_CHECKING:
    from recorder.directory.client import GraphClient

WARN_DAYS = 30
"""Days before a credential expires that the warning begins: enough to find somebody who may renew it."""


def client_of(directory: Directory, credential: Credential) -> GraphClient:
    """Return a client; it sends nothing yet. The first call imports an HTTP client, which takes 0.2 s."""
    from recorder.directory.client import GraphClient

    return GraphClient(cloud_of(directory), directory.tenant, directory.client, credential, proxy_ca=directory.proxy_ca)


def cloud_of(directory: Directory) -> Cloud:
    """Return the addresses of a directory's cloud."""
    if directory.login and directory.graph:
        return Cloud(directory.login, directory.graph)
    return CLOUDS[directory.cloud.value]


def credential_of(directory: Directory) -> Credential:
    """Read the application's credential, each time again, because it may have been renewed. Raises RecorderError."""
    if directory.certificate is not None:
        return token.from_certificate(bytes_of(directory.certificate))
    if directory.secret is None:
        raise WrongUse("The directory has neither certificate nor secret.", "recorder check-config says more.")
    last = directory.secret_expires
    expires = datetime.combine(last, time.max, UTC) if last else None
    return token.from_secret(bytes_of(directory.secret), expires)


def warning(credential: Credential, now: datetime) -> str:
    """Return the warning for a credential that expires soon, "" for one that does not."""
    days = token.expiry(credential, now)
    what = "certificate" if credential.certificate is not None else "secret"
    if days is None or days > WARN_DAYS:
        return ""
    if days < 0:
        return f"The {what} of the application has expired."
    return f"The {what} of the application expires in {days} days."
