"""Make what `init` and `demo` need: self-signed certificates, a root key, a configuration, a first token."""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from storage.files.durable_files import write_all

CERTIFICATE_DAYS = 825
"""The longest validity that clients commonly accept."""

MAX_COMMON_NAME = 64
"""Characters (RFC 5280 appendix A.1); host names may be longer, and the alternative names hold them in full."""


def write_new(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Write a file that does not exist yet, durably; False if it exists and was left alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, mode)
    except FileExistsError:
        return False
    try:
        write_all(fd, data, 0)
        os.fsync(fd)
    except OSError:
        path.unlink()  # otherwise half a key would stay for ever
        raise
    finally:
        os.close(fd)
    return True


def certificate(hosts: list[str], now: datetime | None = None) -> tuple[bytes, bytes]:
    """Return (certificate, private key) as PEM: self-signed ECDSA P-256 for the given names and addresses."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:MAX_COMMON_NAME])])
    begin = (now or datetime.now(UTC)) - timedelta(minutes=5)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=CERTIFICATE_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(h) for h in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return made.public_bytes(serialization.Encoding.PEM), private


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def pair(certificate_path: Path, key_path: Path, hosts: list[str]) -> bool:
    """Make a certificate and its key if both are missing; False if either existed."""
    if certificate_path.exists() or key_path.exists():
        return False
    public, private = certificate(hosts)
    write_new(key_path, private)
    return write_new(certificate_path, public, 0o644)


def root_key(path: Path) -> bool:
    """Make a root secret of 32 random bytes; an existing one is never changed."""
    return write_new(path, os.urandom(32))
