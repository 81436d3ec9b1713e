"""Decide which names of a client certificate count if customers have certificate authorities of their own.

TLS accepts a certificate of any configured authority. But one customer's authority must not be able to name another
customer's SBC. So once any customer has its own `client_ca`, a name counts only if the certificate was issued directly
by an authority in the customer's own file, or else in that of `[sip] client_ca`. Files are read again when they change.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from recorder.config.model import Customer

if TYPE_CHECKING:
    from cryptography import x509

MAX_KNOWN = 1_000
"""Cached authorities, by file and its age."""


class CertificateNames:
    """Checks the names of verified certificates."""

    def __init__(self, customers: Iterable[Customer], client_ca: Path | None) -> None:
        self._files: dict[str, Path | None] = {}
        self._apart = False
        for customer in customers:
            self._apart = self._apart or customer.client_ca is not None
            self._files |= dict.fromkeys(customer.certificates, customer.client_ca or client_ca)
        self._read: dict[tuple[Path, int], tuple[x509.Certificate, ...]] = {}

    def names(self, certificate: bytes, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return those names of a DER certificate, verified by TLS, that may be trusted."""
        if not self._apart:
            return names
        from cryptography import x509  # 15 ms that a start saves

        try:
            leaf = x509.load_der_x509_certificate(certificate)
        except (ValueError, x509.InvalidVersion):
            return ()
        return tuple(name for name in names if self._issued(leaf, self._files.get(name.rstrip("."))))

    def _issued(self, leaf: x509.Certificate, file: Path | None) -> bool:
        return file is not None and any(_issued_by(leaf, authority) for authority in self._authorities(file))

    def _authorities(self, file: Path) -> tuple[x509.Certificate, ...]:
        """Read a file of authorities; an unreadable file counts as empty, so it admits nobody."""
        from cryptography import x509

        try:
            key = (file, file.stat().st_mtime_ns)
            if key not in self._read:
                if len(self._read) >= MAX_KNOWN:
                    self._read.clear()
                self._read[key] = tuple(x509.load_pem_x509_certificates(file.read_bytes()))
            return self._read[key]
        except (OSError, ValueError):
            return ()


def _issued_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
