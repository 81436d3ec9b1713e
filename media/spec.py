"""What has to be known of a stream before its first packet; made by whoever negotiated it."""

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from sys import intern
from typing import Any

DEFAULT_CLOCK = 8000
#: Keys kept of a stream: those of an offer of nine (sip.sdp.sdes.MAX_OTHER_KEYS), and of the offers before that while a
#: worker is waited for or packets under them are on their way.
MAX_CONTEXTS = 24

#: Packed IP address (4 or 16 bytes, IPv4 in IPv6 unwrapped) and port.
Address = tuple[bytes, int]


#: Different codec lists and lists of networks that are kept once for all calls; a node has a handful.
MAX_SHARED = 256
Network = IPv4Network | IPv6Network
Payloads = tuple[tuple[int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Dtls:
    """How the keys of a stream come about that are agreed on the media ports (RFC 5763)."""

    # a=fingerprint values and a=tls-id of the peer: with the role and our certificate they name the association
    fingerprints: tuple[str, ...] = ()
    tls_id: str | None = None
    # we begin the handshake
    active: bool = True
    # our certificate and its key, as media.srtp.dtls.Identity gives them
    identity: bytes = field(default=b"", repr=False)
    # handshakes still to be made: on the RTP port, on the RTCP port
    rtp: bool = True
    rtcp: bool = False
    # main makes a re-offer where a handshake was cut short
    renews: bool = False

    def same(self, other: "Dtls") -> bool:
        """Tell whether two offers name one association (RFC 8842 section 4)."""
        return self.name == other.name

    @property
    def name(self) -> str:
        """Give what tells the association from others, without telling our key."""
        named = (self.tls_id, self.active, sorted(set(self.fingerprints)), self.identity)
        return blake2b(repr(named).encode(), digest_size=16).hexdigest()


Former = tuple[str, int, tuple[int, ...]]


@dataclass(slots=True)
class StreamSpec:
    """One stream: its key, its codecs, where it comes from.

    Nobody changes one; frozen it would take twice as long to make, in main and in the worker of every call.
    """

    # number of the stream in the records, 0 to 254
    stream: int
    # crypto suite and key‖salt of the peer; None and empty for plain RTP
    suite: str | None = None
    key: bytes = field(default=b"", repr=False)
    # length of the MKI in the peer's packets, 0 = none
    mki: int = 0
    # further keys of the same line, which the peer may use in turn
    others: tuple[bytes, ...] = field(default=(), repr=False)
    # suite, key‖salt and length of the MKI of the other lines of the offer, used by the peer before it has our answer
    alternates: tuple[tuple[str, bytes, int], ...] = field(default=(), repr=False)
    # our own key‖salt, protects what we send; empty for plain RTP
    own_key: bytes = field(default=b"", repr=False)
    # (payload type, encoding name, clock rate) of the offer
    payloads: Payloads = ()
    # (ip, port) of the offer's c= and m= lines
    source: tuple[str, int] | None = None
    # where plain RTP may come from beside that address
    networks: tuple[str, ...] = ()
    # address of this machine at which media arrive that are sent to the one the peer was told; empty = not known
    here: str = ""
    # where receiver reports go
    rtcp_source: tuple[str, int] | None = None
    # RTCP on the RTP socket (RFC 5761)
    rtcp_mux: bool = False
    # the offer says that nothing will come
    held: bool = False
    # something has to come all the time: sound, unlike pictures, text or slides
    continuous: bool = True
    # encrypted media may come from another address than the offered one, as behind NAT
    learn: bool = True
    # requests for a picture that the offer takes: pli, fir
    feedback: tuple[str, ...] = ()
    # keys by DTLS: nothing is kept before they are there; None = keys by SDES, or plain RTP
    dtls: Dtls | None = None
    # crypto suite and key‖salt of the RTCP port, where it has keys of its own (DTLS without rtcp-mux)
    rtcp_suite: str | None = None
    rtcp_key: bytes = field(default=b"", repr=False)
    # since when media are expected, ns since the epoch; 0 = from when a worker has the stream
    since: int = 0
    # (ip, port, SSRCs) that the calls before heard at our port: plain RTP of theirs is not of this call
    former: tuple[Former, ...] = ()
    # the peer has our answer: it acknowledged it; before, we begin no handshake
    reached: bool = True
    # reports may go to `rtcp_source` before anything came from there: it is the customer's, or the INVITE came from it
    known: bool = True

    @property
    def own_suite(self) -> str | None:
        """Give the suite that goes with our own key."""
        return self.rtcp_suite or self.suite

    def codec(self, payload_type: int) -> tuple[str, int]:
        """Give encoding name and clock rate of a payload type; unknown ones count 8000 a second."""
        for known, name, clock in self.payloads:
            if known == payload_type:
                return name, clock or DEFAULT_CLOCK
        return "", DEFAULT_CLOCK

    def __post_init__(self) -> None:
        # thousands of calls offer the same: one copy of it serves all of them
        self.payloads = _shared(self.payloads)
        if self.networks:
            self.networks = _shared(self.networks)
        if self.suite:
            self.suite = intern(self.suite)
        if self.rtcp_suite:
            self.rtcp_suite = intern(self.rtcp_suite)
        if self.here:
            self.here = intern(self.here)
        if self.source:
            self.source = intern(self.source[0]), self.source[1]
        if self.rtcp_source:
            self.rtcp_source = intern(self.rtcp_source[0]), self.rtcp_source[1]


@lru_cache(MAX_SHARED)
def unit_of(clock: int) -> float:
    """Give the ns of one timestamp unit; one number for all streams of a clock."""
    return 1e9 / clock


@lru_cache(MAX_SHARED)
def _shared(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return value


@lru_cache(MAX_SHARED)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


class Allowed:
    """Addresses plain RTP may come from before the first genuine packet."""

    __slots__ = ("_address", "_networks")

    def __init__(self, address: str | None, networks: tuple[str, ...]) -> None:
        self._address = pack_ip(address) if address else None
        self._networks = _networks(networks)

    @classmethod
    def of(cls, spec: StreamSpec) -> "Allowed":
        """Give those of a stream; one object for all streams of the same client."""
        return _allowed(spec.source[0] if spec.source else None, spec.networks)

    def __contains__(self, packed: bytes) -> bool:
        if packed == self._address:
            return True
        if not self._networks:
            return False
        address = ip_address(packed)
        return any(address in network for network in self._networks if network.version == address.version)


@lru_cache(MAX_SHARED)
def _allowed(address: str | None, networks: tuple[str, ...]) -> Allowed:
    return Allowed(address, networks)


@lru_cache(MAX_SHARED)
def pack_ip(text: str) -> bytes:
    """Give the packed form of an IP address, IPv4 in IPv6 unwrapped; ValueError if it is none."""
    return unwrap(ip_address(text.strip("[]").partition("%")[0]).packed)


def unwrap(packed: bytes) -> bytes:
    """Turn an IPv4 address written as IPv6 (::ffff:a.b.c.d) into its four bytes."""
    return packed[12:] if packed[:12] == b"\0\0\0\0\0\0\0\0\0\0\xff\xff" else packed
