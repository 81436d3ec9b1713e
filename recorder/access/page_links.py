"""The address of the admin page, and the one-time links to it."""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import urlencode

from recorder.config.model import Settings


def page_address(settings: Settings) -> str:
    """Return the address without a trailing slash: as configured, else from the listener's name.

    Loopback is called localhost: certificates and passkeys use names.
    """
    api = settings.admin_api
    if api.address:
        return api.address
    scheme = "https" if api.certificate else "http"
    host = ipaddress.ip_address(api.listen.host)
    if host.is_loopback:
        return f"{scheme}://localhost:{api.listen.port}"
    if host.is_unspecified:
        return f"{scheme}://{socket.gethostname()}:{api.listen.port}"
    return f"{scheme}://{api.listen}"


def invitation(settings: Settings, customer: str, secret: str) -> str:
    """Return the one-time link with which somebody sets a password."""
    return f"{page_address(settings)}/invitation?{urlencode({'customer': customer, 'key': secret})}"
