"""Ask the running daemon over its own HTTP listeners on this machine; only what needs no token."""

from __future__ import annotations

import http.client
import socket
import ssl
from pathlib import Path

from recorder.config.model import Settings
from recorder.config.value_readers import Address

SECONDS = 5.0
"""Time limit of one request."""
MAX_BODY = 8 << 20
"""Bytes of an answer; the metrics of a thousand customers have less."""
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - what a listener on all addresses is reached by


def reachable(host: str) -> str:
    """Return the address by which a listener is reached from this machine."""
    return ANYWHERE.get(host, host)


def get(settings: Settings, path: str) -> tuple[int, str]:
    """GET a path of the admin API; return status and body. Raises OSError."""
    return _get(settings.admin_api.listen, path, tls=settings.admin_api.certificate is not None)


def metrics(settings: Settings) -> str:
    """Return the metrics; raises OSError."""
    listen = settings.metrics.listen or settings.admin_api.listen
    return _get(listen, "/metrics", tls=settings.admin_api.certificate is not None)[1]


def _get(listen: Address, path: str, *, tls: bool) -> tuple[int, str]:
    host = reachable(listen.host)
    link = (
        http.client.HTTPSConnection(host, listen.port, timeout=SECONDS, context=unverified())
        if tls
        else http.client.HTTPConnection(host, listen.port, timeout=SECONDS)
    )
    try:
        link.request("GET", path)
        answer = link.getresponse()
        return answer.status, answer.read(MAX_BODY).decode("utf-8", "replace")
    except http.client.HTTPException as problem:
        raise OSError("no HTTP") from problem
    finally:
        link.close()


def unverified() -> ssl.SSLContext:
    """Return a context that accepts any certificate: nothing secret is sent, and another check verifies it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def presented(listen: Address) -> bytes | None:
    """Return the certificate (DER) that a TLS listener of this machine presents; raises OSError."""
    with socket.create_connection((reachable(listen.host), listen.port), SECONDS) as plain:
        plain.settimeout(SECONDS)
        with unverified().wrap_socket(plain) as link:
            return link.getpeercert(binary_form=True)


def first_certificate(file: Path) -> bytes:
    """Return the first certificate of a PEM file as DER; raises OSError, ValueError."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    return x509.load_pem_x509_certificate(file.read_bytes()).public_bytes(Encoding.DER)
