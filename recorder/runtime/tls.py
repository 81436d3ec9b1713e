"""TLS contexts of the listeners: TLS 1.2 with AEAD and 1.3 only, reloaded when the files change."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from recorder.errors import NotPossible

CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""TLS 1.2 suites with forward secrecy and authenticated encryption (RFC 9325 section 4.2)."""


def context(
    certificate: Path,
    private_key: Path,
    client_ca: Path | None,
    authorities: Iterable[Path] = (),
    protocols: Sequence[str] = (),
) -> ssl.SSLContext:
    """Return a server context; with `client_ca` a peer must present a certificate of that authority.

    `authorities` are those of single customers: their certificates are accepted as well, and without `client_ca` a peer
    need not present one. `protocols`: names for ALPN (RFC 7301).
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    if protocols:
        made.set_alpn_protocols(protocols)
    try:
        made.load_cert_chain(certificate, private_key)
        for file in (*([client_ca] if client_ca else []), *authorities):
            made.load_verify_locations(file)
            made.verify_mode = ssl.CERT_REQUIRED if client_ca else ssl.CERT_OPTIONAL
    except (OSError, ssl.SSLError):
        raise NotPossible(
            f"The certificate {certificate} cannot be loaded.", "recorder check-config says why."
        ) from None
    return made


def client_context(
    certificate: Path | None, private_key: Path | None, ca: Path | None, authorities: Iterable[Path] = ()
) -> ssl.SSLContext:
    """Return a context for connecting to an SBC whose own connection is gone; raises OSError without a certificate.

    If an authority for client certificates is configured, it verifies SBCs, and the names are compared with those of
    the dialog (RFC 5923), not with the address. Otherwise the system's authorities decide.
    """
    if certificate is None or private_key is None:
        raise OSError("no certificate")
    files = [str(file) for file in (ca, *authorities) if file]
    made = ssl.create_default_context(cafile=files[0] if files else None)
    for file in files[1:]:
        made.load_verify_locations(file)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_ciphers(CIPHERS)
    made.load_cert_chain(certificate, private_key)
    made.check_hostname = not files
    return made


class Certificates:
    """The newest context; ask for it at each new connection."""

    def __init__(
        self,
        certificate: Path,
        private_key: Path,
        client_ca: Path | None,
        authorities: Iterable[Path] = (),
        protocols: Sequence[str] = (),
    ) -> None:
        self._files = (certificate, private_key, client_ca)
        self._authorities = tuple(authorities)
        self._protocols = protocols
        self._stamp = self._times()
        self._context = self._made()

    def current(self) -> ssl.SSLContext:
        """Return the context, a new one if the files changed; if the new files are broken the old one stays in use."""
        stamp = self._times()
        if stamp != self._stamp:
            try:
                self._context = self._made()
            except NotPossible:
                return self._context
            self._stamp = stamp
        return self._context

    def _made(self) -> ssl.SSLContext:
        return context(*self._files, self._authorities, self._protocols)

    def _times(self) -> tuple[int, ...]:
        try:
            return tuple(f.stat().st_mtime_ns for f in (*self._files, *self._authorities) if f)
        except OSError:
            return ()


def https(certificate: Path | None, private_key: Path | None) -> Callable[[], ssl.SSLContext] | None:
    """Return a getter of an HTTP listener's newest context; None without a certificate; raises NotPossible."""
    if not certificate or not private_key:
        return None
    return Certificates(certificate, private_key, None, protocols=["http/1.1"]).current
