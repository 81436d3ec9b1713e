"""Certificates: of a server on loopback, of an application, and of an authority that issues them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PEM = serialization.Encoding.PEM
PRIVATE = (PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def issue(
    subject: str, key: Key, issuer: str = "", signer: Key | None = None, *, ca: bool = False, days: float = 9
) -> x509.Certificate:  # fmt: skip
    """Issue a certificate that is valid for `days` days; without a signer, it is self-signed.

    `subject` is the common name and, as host name or address, the alternative name.
    """
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in (subject, issuer or subject)]
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(names[0]).issuer_name(names[1]).public_key(key.public_key())
    made = made.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=400))
    made = made.not_valid_after(now + timedelta(days=days))
    made = made.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    other = x509.IPAddress(ip_address(subject)) if subject[0].isdigit() else x509.DNSName(subject)
    made = made.add_extension(x509.SubjectAlternativeName([other]), critical=False)
    return made.sign(signer or key, hashes.SHA256())


def application(days: float = 365.0) -> tuple[bytes, bytes]:
    """Make a certificate of limited validity; return it in PEM, with its RSA key and alone."""
    key = rsa.generate_private_key(65537, 2048)
    public = issue("recorder", key, days=days).public_bytes(PEM)
    return public + key.private_bytes(*PRIVATE), public


def certificate(folder: Path, name: str = "admin") -> tuple[Path, Path]:
    """Write a self-signed certificate for loopback and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(issue("127.0.0.1", key).public_bytes(PEM))
    files[1].write_bytes(key.private_bytes(*PRIVATE))
    return files


class Authority:
    """A certificate authority with its file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = issue(name, self.key, ca=True)
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(self.certificate.public_bytes(PEM))

    def issue(self, host: str) -> Path:
        """Make a certificate for a host; key and certificate in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        path = self.folder / f"{host}-by-{self.name}.pem"
        path.write_bytes(key.private_bytes(*PRIVATE) + issue(host, key, self.name, self.key).public_bytes(PEM))
        return path
