"""The client's side of DTLS-SRTP (RFC 5763, RFC 5764): datagrams in, datagrams out, and finally keys.

OpenSSL does the handshake; this code decides who starts, which profile was agreed, and whether the recorder's
certificate is the one its answer named. The keys are for both directions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from recorder.simulate.plan import SUITES

MTU = 1200
_PROFILES = {
    b"SRTP_AEAD_AES_256_GCM": ("AEAD_AES_256_GCM", 12),
    b"SRTP_AEAD_AES_128_GCM": ("AEAD_AES_128_GCM", 12),
    b"SRTP_AES128_CM_SHA1_80": ("AES_CM_128_HMAC_SHA1_80", 14),
    b"SRTP_AES128_CM_SHA1_32": ("AES_CM_128_HMAC_SHA1_32", 14),
}
"""Protection profiles in our order of preference: suite, bytes of salt (RFC 5764 section 4.1.2, RFC 7714 14.2)."""
_HASHES = {"sha-256": hashes.SHA256(), "sha-384": hashes.SHA384(), "sha-512": hashes.SHA512()}


@dataclass(frozen=True, slots=True)
class Own:
    """Our certificate for a run."""

    pem: bytes = field(repr=False)
    """Key and certificate."""
    fingerprint: str
    """Value of a=fingerprint."""

    @classmethod
    def create(cls) -> Own:
        """Make a key and a certificate without personal data."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "recorder-simulate")])
        begin = datetime.now(UTC) - timedelta(days=1)
        made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        made = made.serial_number(x509.random_serial_number()).not_valid_before(begin)
        certificate = made.not_valid_after(begin + timedelta(days=30)).sign(key, hashes.SHA256())
        plain = serialization.NoEncryption()
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        return cls(pem + certificate.public_bytes(serialization.Encoding.PEM), _written("sha-256", certificate))


@dataclass(frozen=True, slots=True)
class Agreed:
    """The result of a handshake."""

    suite: str
    """SRTP suite by its SDES name."""
    ours: bytes = field(repr=False)
    """Key and salt of what we send."""
    theirs: bytes = field(repr=False)
    """Key and salt of what the recorder sends."""


class Association:
    """One association on one port."""

    def __init__(self, pem: bytes, offered: Sequence[str], *, active: bool) -> None:
        self.agreed: Agreed | None = None
        self.fault: str | None = None
        self._offered = [" ".join(value.split()).lower() for value in offered]
        self._active = active
        self._connection = SSL.Connection(_context(pem), None)
        self._connection.set_ciphertext_mtu(MTU)
        self._connection.set_connect_state() if active else self._connection.set_accept_state()
        self._out: list[bytes] = []
        if active:
            self._turn()

    @property
    def over(self) -> bool:
        """Whether there are keys, or there never will be."""
        return self.agreed is not None or self.fault is not None

    def receive(self, datagram: bytes) -> None:
        """Take a DTLS datagram."""
        if self.fault is None:
            self._connection.bio_write(datagram)
            self._turn()

    def repeat(self) -> None:
        """Send the last flight again if OpenSSL's timer says so; call it several times a second."""
        if self.over:
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self.fault = "nobody answers"
        self._flush()

    def data_to_send(self) -> list[bytes]:
        """Return the datagrams to send."""
        out, self._out = self._out, []
        return out

    def _turn(self) -> None:
        try:
            if self.agreed is None:
                self._connection.do_handshake()
                self._finish()
            else:
                self._connection.recv(MTU)  # a repeated flight is answered again
        except SSL.WantReadError:
            pass  # more must arrive
        except SSL.Error:
            self.fault = self.fault if self.agreed else "the handshake failed"
        self._flush()

    def _finish(self) -> None:
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        shown = {_written(name, certificate).lower() for name in _HASHES} if certificate else set()
        found = _PROFILES.get(self._connection.get_selected_srtp_profile())
        if not shown.intersection(self._offered):
            self.fault = "the recorder's certificate is not the one its answer names"
        elif found is None:
            self.fault = "no SRTP profile was agreed"
        else:
            suite, salt = found
            key = SUITES[suite] - salt
            raw = self._connection.export_keying_material(b"EXTRACTOR-dtls_srtp", 2 * (key + salt))
            client = raw[:key] + raw[2 * key : 2 * key + salt]
            server = raw[key : 2 * key] + raw[2 * key + salt :]
            self.agreed = Agreed(suite, *((client, server) if self._active else (server, client)))

    def _flush(self) -> None:
        try:
            self._out.append(self._connection.bio_read(65_536))
        except SSL.WantReadError:
            return  # nothing to send


@lru_cache(4)
def _context(pem: bytes) -> SSL.Context:
    made = SSL.Context(SSL.DTLS_METHOD)
    # The fingerprint is compared after the handshake; there is no certificate chain.
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    made.use_privatekey(serialization.load_pem_private_key(pem, None))  # type: ignore[arg-type]  # it is an EC key
    made.use_certificate(x509.load_pem_x509_certificate(pem))
    made.set_tlsext_use_srtp(b":".join(_PROFILES))
    return made


def _written(name: str, certificate: x509.Certificate) -> str:
    return f"{name} {certificate.fingerprint(_HASHES[name]).hex(':').upper()}"
