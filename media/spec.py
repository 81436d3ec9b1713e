"""What must be known about a stream before its first packet; supplied by whoever negotiated it."""

from dataclasses import dataclass, field, fields
from functools import lru_cache
from hashlib import blake2b
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from operator import attrgetter
from sys import intern
from typing import Any

DEFAULT_CLOCK = 8000
#: Keys kept for a stream: those of an offer of nine (sip.sdp.sdes.MAX_OTHER_KEYS), and of earlier offers while no
#: worker is available or packets under them are on their way.
MAX_CONTEXTS = 24

#: Packed IP address (4 or 16 bytes; an IPv4-mapped IPv6 address as IPv4) and port.
Address = tuple[bytes, int]


#: Number of different lists of codecs and networks that all calls share; a node has a handful.
MAX_SHARED = 256
Network = IPv4Network | IPv6Network
Payloads = tuple[tuple[int, str, int], ...]


@dataclass(frozen=True, slots=True)
class Dtls:
    """How the keys of a stream are agreed on the media ports (RFC 5763)."""

    # a=fingerprint values and a=tls-id of the peer: with our role and certificate they identify the association
    fingerprints: tuple[str, ...] = ()
    tls_id: str | None = None
    # whether we start the handshake
    active: bool = True
    # our certificate and its key, from media.srtp.dtls.Identity
    identity: bytes = field(default=b"", repr=False)
    # handshakes that are still needed: on the RTP port, on the RTCP port
    rtp: bool = True
    rtcp: bool = False
    # whether main sends a re-offer if a handshake was interrupted
    renews: bool = False

    def same(self, other: "Dtls") -> bool:
        """Return whether two offers name the same association (RFC 8842 section 4)."""
        return self.name == other.name

    @property
    def name(self) -> str:
        """Return an identifier of the association that does not reveal our key."""
        named = (self.tls_id, self.active, sorted(set(self.fingerprints)), self.identity)
        return blake2b(repr(named).encode(), digest_size=16).hexdigest()


Former = tuple[str, int, tuple[int, ...]]


@dataclass(slots=True)
class StreamSpec:
    """One stream: its key, its codecs, where it comes from.

    It is never changed. Frozen it would take twice as long to create, in main and in the worker of every call.
    """

    # number of the stream in the records, 0 to 254
    stream: int
    # crypto suite and key‖salt of the peer; None and empty for plain RTP
    suite: str | None = None
    key: bytes = field(default=b"", repr=False)
    # length of the MKI in the peer's packets; 0 = none
    mki: int = 0
    # further keys of the same line, any of which the peer may use
    others: tuple[bytes, ...] = field(default=(), repr=False)
    # suite, key‖salt and MKI length of the other lines of the offer, which the peer may use until it has our answer
    alternates: tuple[tuple[str, bytes, int], ...] = field(default=(), repr=False)
    # our own key‖salt, which protects what we send; empty for plain RTP
    own_key: bytes = field(default=b"", repr=False)
    # (payload type, encoding name, clock rate) of the offer
    payloads: Payloads = ()
    # (ip, port) from the c= and m= lines of the offer
    source: tuple[str, int] | None = None
    # networks besides that address from which plain RTP may come
    networks: tuple[str, ...] = ()
    # local address at which media for the address in our answer arrive; empty = unknown
    here: str = ""
    # where receiver reports are sent
    rtcp_source: tuple[str, int] | None = None
    # RTCP on the RTP socket (RFC 5761)
    rtcp_mux: bool = False
    # the offer says that no media will be sent
    held: bool = False
    # media must arrive all the time: true for audio, not for pictures, text or slides
    continuous: bool = True
    # encrypted media may come from another address than the offered one, as behind NAT
    learn: bool = True
    # picture requests that the offer accepts: pli, fir
    feedback: tuple[str, ...] = ()
    # keys by DTLS: nothing is stored before they are known; None = keys by SDES, or plain RTP
    dtls: Dtls | None = None
    # crypto suite and key‖salt of the RTCP port, if it has keys of its own (DTLS without rtcp-mux)
    rtcp_suite: str | None = None
    rtcp_key: bytes = field(default=b"", repr=False)
    # from when media are expected, ns since the epoch; 0 = from when a worker has the stream
    since: int = 0
    # (ip, port, SSRCs) that earlier calls heard at our port: their plain RTP does not belong to this call
    former: tuple[Former, ...] = ()
    # the peer has acknowledged our answer; until then we start no handshake
    reached: bool = True
    # reports may be sent to `rtcp_source` before anything came from there: it is the customer's, or sent the INVITE
    known: bool = True

    def without_networks(self) -> "StreamSpec":
        """Return a copy without networks, for whoever keeps them once for all streams."""
        copy = StreamSpec(*_fields_of(self))  # a fifth of the work of dataclasses.replace
        copy.networks = ()
        return copy

    @property
    def own_suite(self) -> str | None:
        """Return the suite of our own key."""
        return self.rtcp_suite or self.suite

    def codec(self, payload_type: int | None) -> tuple[str, int]:
        """Return encoding name and clock rate of a payload type; "" and 8000 if it is unknown."""
        for known, name, clock in self.payloads:
            if known == payload_type:
                return name, clock or DEFAULT_CLOCK
        return "", DEFAULT_CLOCK

    def __post_init__(self) -> None:
        # thousands of calls offer the same, so they share one copy
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


_fields_of = attrgetter(*(item.name for item in fields(StreamSpec)))


@lru_cache(MAX_SHARED)
def unit_of(clock: int) -> float:
    """Return the ns of one timestamp unit; all streams with a clock rate share one number."""
    return 1e9 / clock


@lru_cache(MAX_SHARED)
def _shared(value: tuple[Any, ...]) -> tuple[Any, ...]:
    return value


@lru_cache(MAX_SHARED)
def _networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


class Allowed:
    """Addresses from which plain RTP may come before the first genuine packet."""

    __slots__ = ("_address", "_networks")

    def __init__(self, address: str | None, networks: tuple[str, ...]) -> None:
        self._address = pack_ip(address) if address else None
        self._networks = _networks(networks)

    @classmethod
    def of(cls, spec: StreamSpec) -> "Allowed":
        """Return those of a stream; all streams of the same client share one object."""
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
    """Return the packed form of an IP address, IPv4-mapped as IPv4; raise ValueError if it is none."""
    return unwrap(ip_address(text.strip("[]").partition("%")[0]).packed)


def unwrap(packed: bytes) -> bytes:
    """Convert an IPv4-mapped IPv6 address (::ffff:a.b.c.d) to its four bytes."""
    return packed[12:] if packed[:12] == b"\0\0\0\0\0\0\0\0\0\0\xff\xff" else packed
