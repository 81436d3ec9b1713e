"""DTLS-SRTP (RFC 5763, 5764) without sockets: datagrams in, datagrams out, SRTP keys once the peer is authenticated.

How to use it
-------------
One `Identity` serves a process for a day: `identity.fingerprint` goes into every SDP answer (`a=fingerprint`), and
`bytes(identity)` is what another process needs to continue. For each stream whose `LinePlan` uses DTLS, and without
rtcp-mux for its RTCP port as well (RFC 5764 section 3), create an `Association`, `active` if our answer says
`a=setup:active`. Then:

    association.start(now)                       active: writes the first flight; passive: waits
    association.receive(datagram, source, now)   every datagram of which `is_dtls` is true (RFC 7983)
    send(data_to_send())                         to `source` of the newest datagram, at first to the offer's address
    at next_timer(): association.handle_timer(now)      retransmissions; OpenSSL uses its own clock for them, so a call
                                                        that comes too early has no effect
    association.promised                         not None: our last flight waits in `data_to_send`; the peer has these
                                                 keys once it receives that, and until then only we know them
    association.keys                             not None: done; put them into the StreamSpec of the stream
    association.failed                           not None: a code word; there will be no keys

`Keys` fit the stream's spec like SDES keys: `StreamSpec(suite=keys.suite, key=keys.theirs, own_key=keys.ours)`. SRTP
that arrives before the keys is dropped (nothing is stored from an unauthenticated peer). Keep feeding the association
afterwards, because the peer may repeat its last flight. A re-offer with the same fingerprint keeps the association and
its keys (RFC 8842); another fingerprint needs a new one. Keys may be stored in a checkpoint: SRTP continues without the
DTLS state. If `promised` and `last_flight` are stored before that flight is sent, media.srtp.dtls_resumption continues
the association in another process. An association that has sent anything but is not that far (`midway`) cannot be
continued.

Anybody can send to a passive association. A ClientHello uses no state until its cookie has come back, a certificate
that was not offered only ends that handshake, and after MAX_TRIES of them the association stops listening.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL

from media.errors import UnusableKey
from media.srtp.suites import SUITES

#: By name in use_srtp (RFC 5764 section 4.1.2, RFC 7714 section 14.2): SDES name of the suite.
#: The best first; the NULL profiles are left out on purpose.
PROFILES = {
    b"SRTP_AEAD_AES_256_GCM": "AEAD_AES_256_GCM",
    b"SRTP_AEAD_AES_128_GCM": "AEAD_AES_128_GCM",
    b"SRTP_AES128_CM_SHA1_80": "AES_CM_128_HMAC_SHA1_80",
    b"SRTP_AES128_CM_SHA1_32": "AES_CM_128_HMAC_SHA1_32",
}
EXPORTER = b"EXTRACTOR-dtls_srtp"
#: Version number of DTLS 1.2 (RFC 6347 section 4.1); pyOpenSSL has no name for it.
DTLS_1_2 = 0xFEFD
#: Only forward secrecy and authenticated encryption (RFC 9325 section 4.2); neither NULL nor anonymous.
CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"
#: Hash functions of RFC 8122 section 5, the strongest first; MD5 and MD2 are forbidden there.
HASHES = {
    "sha-512": hashes.SHA512(),
    "sha-384": hashes.SHA384(),
    "sha-256": hashes.SHA256(),
    "sha-224": hashes.SHA224(),
    "sha-1": hashes.SHA1(),  # noqa: S303 - RFC 8122 allows it, and only where the offer names nothing better
}
#: Bytes of our datagrams: fits every path that carries IPv6.
MTU = 1200
#: Seconds from the first datagram to giving up: twice as long as SIP waits for an ACK.
GIVE_UP = 64.0
#: Handshakes with a wrong certificate that a passive association tolerates; more are no accident.
MAX_TRIES = 8
#: Longest datagram read; handshake messages are split into much shorter ones.
MAX_DATAGRAM = 4096
#: Days for which a certificate is valid; nobody checks, since its fingerprint counts.
VALID_DAYS = 30

#: Address from which a datagram came, in whatever form the caller uses.
Source = tuple[str, int]


def is_dtls(datagram: bytes) -> bool:
    """Return whether the first byte is that of DTLS, not of RTP, RTCP or STUN (RFC 7983 section 7)."""
    return 13 <= len(datagram) <= MAX_DATAGRAM and 20 <= datagram[0] <= 63


#: Contents of a record, by content type and epoch (RFC 6347 section 4.1).
Kind = tuple[int, int]
HANDSHAKE, CHANGE_CIPHER_SPEC, FINISHED = (22, 0), (20, 0), (22, 1)
_RECORD_HEAD = 13


def kinds(datagram: bytes) -> set[Kind]:
    """Return what the records of a datagram contain; what follows a truncated one is ignored."""
    found: set[Kind] = set()
    at = 0
    while at + _RECORD_HEAD <= len(datagram):
        found.add((datagram[at], int.from_bytes(datagram[at + 3 : at + 5], "big")))
        at += _RECORD_HEAD + int.from_bytes(datagram[at + 11 : at + 13], "big")
    return found


@dataclass(frozen=True)
class Keys:
    """The result of a handshake."""

    # SDES name of the suite
    suite: str
    # key‖salt of what the peer sends
    theirs: bytes = field(repr=False)
    # key‖salt of what we send
    ours: bytes = field(repr=False)


class Identity:
    """Our self-signed certificate and its key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self.key = key
        self.certificate = certificate

    @classmethod
    def create(cls, now: datetime) -> "Identity":
        """Create a key and a certificate for it that says nothing about us."""
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "recorder")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(days=1))
        return cls(key, builder.not_valid_after(now + timedelta(days=VALID_DAYS)).sign(key, hashes.SHA256()))

    @classmethod
    def from_bytes(cls, data: bytes) -> "Identity":
        """Restore what `bytes()` returned; raise UnusableKey."""
        try:
            key = serialization.load_pem_private_key(data, None)
            certificate = x509.load_pem_x509_certificate(data)
        except ValueError:
            raise UnusableKey("not an identity") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise UnusableKey("not an identity")
        return cls(key, certificate)

    def __bytes__(self) -> bytes:
        form = serialization.PrivateFormat.PKCS8
        key = self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        return key + self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def fingerprint(self) -> str:
        """Return the value of our a=fingerprint."""
        return "sha-256 " + _colons(self.certificate.fingerprint(HASHES["sha-256"]))


class Fingerprints:
    """What the offer says about the peer's certificate (RFC 8122 section 5)."""

    def __init__(self, offered: Sequence[str]) -> None:
        """Parse `a=fingerprint` values; raise UnusableKey if none uses a trusted hash function."""
        words = [value.split() for value in offered]
        pairs = [(pair[0].lower(), pair[1].upper()) for pair in words if len(pair) == 2 and pair[0].lower() in HASHES]
        self._hash = next((name for name in HASHES if any(pair[0] == name for pair in pairs)), "")
        # Of several hash functions the strongest counts; any certificate listed under it is accepted.
        self._values = tuple(value for name, value in pairs if name == self._hash)
        if not self._values:
            raise UnusableKey("no usable fingerprint")

    def match(self, certificate: x509.Certificate) -> bool:
        """Return whether this certificate was offered."""
        found = _colons(certificate.fingerprint(HASHES[self._hash])).encode()
        return any(hmac.compare_digest(found, value.encode()) for value in self._values)


class Association:
    """One DTLS association, during and after its handshake."""

    def __init__(self, identity: Identity, offered: Sequence[str], *, active: bool, secret: bytes) -> None:
        """`offered` holds the peer's fingerprints (raises UnusableKey); `secret` makes the cookies of this process."""
        self.keys: Keys | None = None
        self.failed: str | None = None
        self.promised: Keys | None = None
        #: The datagrams with our Finished, once `promised` is set.
        self.last_flight: tuple[bytes, ...] = ()
        self.tries = 0
        #: Passive: the source that returned our cookie, and so can receive at its address.
        self.proven: Source | None = None
        self._peer = Fingerprints(offered)
        self._active = active
        self._secret = secret
        self._context = _context(identity, self._cookie)
        self._out: list[bytes] = []
        self._deadline: float | None = None
        self._timer: float | None = None
        self._source: Source = ("", 0)
        self._fresh()

    def start(self, now: float) -> None:
        """Start: the active side writes its first flight, the passive one waits."""
        self._deadline = now + GIVE_UP
        if self._active:
            self._turn()
        self._arm(now)

    def receive(self, datagram: bytes, source: Source, now: float) -> None:
        """Process a datagram of which `is_dtls` is true; ignore others."""
        if self.failed or not is_dtls(datagram):
            return
        self._source = source
        self._connection.bio_write(datagram)
        self._turn()
        self._arm(now)

    def data_to_send(self) -> list[bytes]:
        """Return the datagrams to send, in order."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """Return the time at which to call `handle_timer`, or None."""
        return None if self.failed or self.keys else self._timer

    @property
    def midway(self) -> bool:
        """Return whether there are no keys yet and the peer may have state that depends on ours."""
        return self._said and self._known and self.promised is None and not self.failed

    def handle_timer(self, now: float) -> None:
        """Repeat the last flight if it is due; give up after GIVE_UP seconds."""
        if self.failed or self.keys:
            return
        if self._deadline is not None and now >= self._deadline:
            self._fail("timeout")
            return
        try:
            self._connection.DTLSv1_handle_timeout()
        except SSL.Error:
            self._fail("timeout")
            return
        self._flush()
        self._arm(now)

    # Private.

    def _fresh(self) -> None:
        """Start a new handshake."""
        self._connection = SSL.Connection(self._context, None)
        self._connection.set_ciphertext_mtu(MTU)
        self._known, self.proven = self._active, None
        self._said = False
        self.promised, self.last_flight = None, ()
        if self._active:
            self._connection.set_connect_state()
        else:
            self._connection.set_accept_state()

    def _turn(self) -> None:
        if self.keys:
            self._afterwards()
            return
        try:
            if not self._known:
                self._connection.DTLSv1_listen()
                self._known, self.proven = True, self._source
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._promise(self._flush())
            return
        except SSL.Error:
            self._flush()
            self._give_up("handshake")
            return
        self._promise(self._flush())
        self._finish()

    def _afterwards(self) -> None:
        """Let OpenSSL process what follows the handshake: a repeated flight, a close."""
        try:
            self._connection.recv(MAX_DATAGRAM)
        except SSL.Error:
            # Nothing to read, or an alert: the keys stay, since only SIP ends a stream.
            pass
        self._flush()

    def _promise(self, flight: list[bytes]) -> None:
        """Derive the keys once our last flight is written: if the peer is the server, that flight completes it."""
        if any(CHANGE_CIPHER_SPEC in kinds(datagram) for datagram in flight):
            found = self._derive()
            if isinstance(found, Keys):
                self.promised, self.last_flight = found, tuple(flight)

    def _finish(self) -> None:
        found = self._derive()
        if isinstance(found, Keys):
            self.keys = self.promised = found
        else:
            self._give_up(found)

    def _derive(self) -> Keys | str:
        """Return the keys, or the reason why there are none."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        if certificate is None or not self._peer.match(certificate):
            return "fingerprint"
        suite = PROFILES.get(self._connection.get_selected_srtp_profile())
        if suite is None:
            return "profile"
        key, salt = SUITES[suite].key, SUITES[suite].salt
        material = self._connection.export_keying_material(EXPORTER, 2 * (key + salt))
        salts = material[2 * key :]
        client, server = material[:key] + salts[:salt], material[key : 2 * key] + salts[salt:]
        return Keys(suite, server, client) if self._active else Keys(suite, client, server)

    def _give_up(self, reason: str) -> None:
        """End this try. A passive side may have met a stranger, so it listens again, up to a limit."""
        self.tries += 1
        if self._active or self.tries >= MAX_TRIES:
            self._fail(reason)
        else:
            self._fresh()

    def _fail(self, reason: str) -> None:
        self.failed, self._timer, self.promised = reason, None, None

    def _flush(self) -> list[bytes]:
        """Queue and return what OpenSSL wrote."""
        fresh: list[bytes] = []
        while True:
            try:
                data = self._connection.bio_read(1 << 16)
            except SSL.WantReadError:
                self._out += fresh
                self._said = self._said or bool(fresh)
                return fresh
            fresh += _datagrams(data)

    def _arm(self, now: float) -> None:
        wait = self._connection.DTLSv1_get_timeout() if self._known else None
        times = [self._deadline] if self._deadline is not None else []
        self._timer = min([*times, now + wait] if wait is not None else times, default=None)

    def _cookie(self) -> bytes:
        return hmac.digest(self._secret, repr(self._source).encode(), "sha256")


def _context(identity: Identity, cookie: Callable[[], bytes]) -> SSL.Context:
    made = SSL.Context(SSL.DTLS_METHOD)
    made.set_min_proto_version(DTLS_1_2)
    # The chain of a self-signed certificate proves nothing; its fingerprint is verified after the handshake.
    made.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, lambda *_: True)
    made.use_privatekey(identity.key)
    made.use_certificate(identity.certificate)
    made.set_cipher_list(CIPHERS)
    made.set_tlsext_use_srtp(b":".join(PROFILES))
    made.set_options(SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_NO_QUERY_MTU)
    made.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    # Cookies (RFC 6347 section 4.2.1): whoever returns one can receive at its address.
    made.set_cookie_generate_callback(lambda _: cookie())
    made.set_cookie_verify_callback(lambda _, given: hmac.compare_digest(given, cookie()))
    return made


def _datagrams(data: bytes) -> list[bytes]:
    """Split what OpenSSL wrote, at record boundaries, into datagrams of at most MTU bytes."""
    found: list[bytes] = []
    at = begin = 0
    while at < len(data):
        end = at + 13 + int.from_bytes(data[at + 11 : at + 13], "big")
        if end - begin > MTU and at > begin:
            found.append(data[begin:at])
            begin = at
        at = end
    return [*found, data[begin:]] if data[begin:] else found


def _colons(digest: bytes) -> str:
    return digest.hex(":").upper()
