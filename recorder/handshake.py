"""The DTLS associations of one stream, without sockets: one on the RTP port, without rtcp-mux another on the RTCP port.

Whoever drains the ports gives every datagram that is no RTP to `receive`, calls `turn` every few hundredths of a second
while it `waits`, and sends what `data_to_send` has. Keys are given out by `receive` at the very datagram that completes
a handshake, so that what follows it in the same batch can be opened.

Ports are open to everybody. Where the networks of the customer are known, nobody else is listened to; a ClientHello
to us as the client is not looked at; a handshake that came to nothing is begun again: as the client MAX_TRIES times,
as the server, whom anybody can greet, until GIVE_UP seconds have passed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import ip_address

from media.dtls import GIVE_UP, MAX_TRIES, Association, Identity, Keys, is_dtls
from media.errors import UnusableKey
from media.spec import Address, Allowed, Dtls, StreamSpec

START_DELAY = 0.1
"""Seconds before our first flight: our answer has to reach the peer first, or it throws the flight away and hears the
next one a second later."""

RETRY_DELAY = 0.5
"""Seconds between a failed try and the next one as the active side; a passive one listens again at once."""

HANDSHAKE, CLIENT_HELLO = 22, 1
"""Content type and handshake type (RFC 6347 section 4.3.2); the type of the first message stands at byte 13."""


@dataclass(slots=True)
class _Port:
    """The handshake on one port."""

    association: Association
    target: tuple[str, int] | None  # where it is sent to
    begin_at: float | None = None  # when our first flight is due; None: START_DELAY from the first turn on
    until: float | None = None  # when to give up, whoever was in the way
    begun: bool = False
    tries: int = 0  # that came to nothing
    why: str = "timeout"  # the last one came to nothing
    lost: str | None = None  # why it was given up


class Handshake:
    """What is going on about the keys of one stream."""

    def __init__(self, spec: StreamSpec, dtls: Dtls, secret: bytes) -> None:
        """Begin the handshakes that `dtls` wants; `secret` makes cookies; UnusableKey without a usable fingerprint."""
        self.dtls = dtls
        self.keys: dict[bool, Keys] = {}
        self._secret = secret
        self._identity = Identity.from_bytes(dtls.identity)
        self._allowed = Allowed.of(spec) if spec.networks else None
        self._ports: dict[bool, _Port] = {}
        for rtcp, wanted, target in ((False, dtls.rtp, spec.source), (True, dtls.rtcp, spec.rtcp_source)):
            if wanted:
                self._ports[rtcp] = _Port(self._fresh(), target)

    def waits(self) -> bool:
        """Tell whether keys are still to come."""
        return any(not port.lost and not port.association.keys for port in self._ports.values())

    @property
    def failed(self) -> str | None:
        """Give the reason why keys will not come."""
        return next((port.lost for port in self._ports.values() if port.lost), None)

    def aim(self, spec: StreamSpec) -> None:
        """Take where the peer is after a re-offer that goes on with this association."""
        for rtcp, target in ((False, spec.source), (True, spec.rtcp_source)):
            port = self._ports.get(rtcp)
            if port is not None and target is not None and not port.association.keys:
                port.target = target

    def turn(self, now: float) -> None:
        """Begin what is due, repeat flights, begin again what failed."""
        for port in self._ports.values():
            if port.lost or port.association.keys:
                continue
            if port.association.failed:
                port.why, port.tries = port.association.failed, port.tries + 1
            if port.until is not None and (now >= port.until or (self.dtls.active and port.tries >= MAX_TRIES)):
                port.lost = port.why
                continue
            if port.association.failed:
                port.association, port.begun = self._fresh(), False
                port.begin_at = now + RETRY_DELAY if self.dtls.active else now
            due = port.association.next_timer()
            if not port.begun:
                self._begin(port, now)
            elif due is not None and now >= due:
                port.association.handle_timer(now)

    def receive(self, rtcp: bool, datagram: bytes, sender: Address, now: float) -> Keys | None:
        """Take a datagram from a port; give the keys if it completes the handshake there."""
        port = self._ports.get(rtcp)
        if port is None or port.lost or not is_dtls(datagram) or not self._admits(datagram, sender):
            return None
        if not port.begun:
            if self.dtls.active:
                return None
            self._begin(port, now)
        target = (str(ip_address(sender[0])), sender[1])
        # behind NAT the peer is elsewhere than it says; but a stranger must not draw us to himself
        if port.target is None or not self.dtls.active or self._allowed is not None:
            port.target = target
        port.association.receive(datagram, target, now)
        keys = port.association.keys
        if keys is None or rtcp in self.keys:
            return None
        self.keys[rtcp] = keys
        return keys

    def data_to_send(self) -> list[tuple[bool, bytes, tuple[str, int]]]:
        """Take what is to be sent: whether from the RTCP port, the datagram, where to."""
        out = []
        for rtcp, port in self._ports.items():
            for datagram in port.association.data_to_send():
                if port.target is not None:
                    out.append((rtcp, datagram, port.target))
        return out

    def keyed(self, spec: StreamSpec) -> StreamSpec:
        """Return a stream's spec with the keys there are."""
        rtp, rtcp = self.keys.get(False), self.keys.get(True)
        if rtp is not None:
            own = spec.own_key if self.dtls.rtcp or spec.rtcp_suite else rtp.ours
            spec = replace(spec, suite=rtp.suite, key=rtp.theirs, mki=0, others=(), own_key=own)
        if rtcp is not None:
            spec = replace(spec, rtcp_suite=rtcp.suite, rtcp_key=rtcp.theirs, own_key=rtcp.ours)
        return spec

    # Inside.

    def _fresh(self) -> Association:
        return Association(self._identity, self.dtls.fingerprints, active=self.dtls.active, secret=self._secret)

    def _begin(self, port: _Port, now: float) -> None:
        if port.begin_at is None:
            port.begin_at, port.until = now + (START_DELAY if self.dtls.active else 0.0), now + GIVE_UP
        if now >= port.begin_at:
            port.begun = True
            port.association.start(now)

    def _admits(self, datagram: bytes, sender: Address) -> bool:
        if self.dtls.active and datagram[0] == HANDSHAKE and datagram[13:14] == bytes([CLIENT_HELLO]):
            return datagram[3:5] != bytes(2)  # of epoch 0 it is one; later the byte is ciphertext
        return self._allowed is None or sender[0] in self._allowed


def begin(spec: StreamSpec, secret: bytes) -> Handshake | None:
    """Begin the handshakes a stream wants; None if it wants none or names no certificate that could be told."""
    if spec.dtls is None or not (spec.dtls.rtp or spec.dtls.rtcp):
        return None
    try:
        return Handshake(spec, spec.dtls, secret)
    except UnusableKey:
        return None
