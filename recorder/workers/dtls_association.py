"""The DTLS associations of one stream, without sockets: one on the RTP port and, without rtcp-mux, another on the RTCP
port.

The caller reads the ports, gives every datagram that is not RTP to `receive`, calls `turn` every few hundredths of a
second while the association `waits`, and sends what `data_to_send` returns. `receive` returns keys with the very
datagram that completes a handshake, so that the packets after it in the same batch can be decrypted. If the peer is the
server and may send media first, the keys come as soon as our last flight is made. Then store `left` before sending
`data_to_send`: a successor continues from it.

Anybody can send to the ports. If the customer's networks are known, datagrams from elsewhere are ignored. Anybody can
also forge the peer's address, but does not know its port or see our cookie. So as the client we accept only the address
and port that we send to, unless nothing comes from there for LEARN_AFTER seconds. As the server we accept only a
ClientHello until somebody has returned our cookie, and then only that peer, or whoever sends a ClientHello from the
offered address and port: strangers get cookies too, and may not continue. As the client we ignore a ClientHello, and
always an unencrypted alert. A failed handshake is started again: as the client MAX_TRIES times, as the server, where
anybody can start one, until GIVE_UP seconds have passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Any

from media.errors import UnusableKey
from media.spec import Address, Allowed, Dtls, StreamSpec, pack_ip
from media.srtp.dtls import GIVE_UP, MAX_TRIES, Association, Identity, Keys, is_dtls
from media.srtp.dtls_resumption import ResumedAssociation, StoredAssociation

START_DELAY = 0.1
"""Seconds before our first flight. Our answer must reach the peer first: otherwise it drops the flight and receives the
next one a second later.
"""

RETRY_DELAY = 0.5
"""Seconds between a failed try and the next one as the active side; a passive side listens again at once."""

RENEWAL_DELAY = 3.0
"""Seconds to wait for main's re-offer after an interrupted handshake, before it is started again without one. A client
that has just learned of another certificate of ours must not see the previous one.
"""

LEARN_AFTER = 2.0
"""Seconds without a datagram from where we send to, after which others are accepted too; our first flight is repeated
after one second.
"""

STALL = 10.0
"""Seconds after which a stalled handshake as the server gives way to the next ClientHello."""

ALERT, HANDSHAKE, CLIENT_HELLO = 21, 22, 1
"""Content types and handshake type (RFC 6347 section 4.3.2); the type of the first message is at byte 13."""


@dataclass(frozen=True)
class Left:
    """The state of the handshake on one port that a worker leaves to its successor."""

    association: str  # media.spec.Dtls.name: the state for another offer is useless
    stored: StoredAssociation | None = field(
        default=None, repr=False
    )  # None: it had started, and only its own process could continue it
    target: tuple[str, int] | None = None  # where our last flight was sent

    def to_state(self) -> list[Any]:
        """Return a form that JSON can hold; it contains keys."""
        return [self.association, self.stored and self.stored.to_state(), self.target]

    @classmethod
    def from_state(cls, state: list[Any]) -> Left:
        """Restore what `to_state` returned."""
        name, stored, target = state
        return cls(
            str(name), stored and StoredAssociation.from_state(stored), target and (str(target[0]), int(target[1]))
        )


NOTHING: Mapping[bool, Left] = {}
"""The state of a worker that had started nothing."""


@dataclass(slots=True)
class _Port:
    """The handshake on one port."""

    association: Association | ResumedAssociation
    target: tuple[str, int] | None  # where datagrams are sent
    offered: tuple[str, int] | None = None  # the peer's address in the offer
    home: tuple[str, int] | None = None  # where our last flight was sent: strangers can move the target of a server
    begin_at: float | None = None  # when our first flight is due; None: START_DELAY after the first turn
    until: float | None = None  # when to give up, whoever interfered
    begun: bool = False
    met: bool = False  # a valid datagram came from where we send to
    # any datagram came from there: before our answer has arrived we only send to addresses that sent to us
    called: bool = False
    proven_at: float | None = None  # when the peer returned our cookie
    tries: int = 0  # failed tries
    why: str = "timeout"  # the last try failed
    lost: str | None = None  # why it was given up
    # a previous worker had started it, and the peer may wait for what only that worker could send
    severed: bool = False


class Handshake:
    """The DTLS handshakes and keys of one stream."""

    def __init__(self, spec: StreamSpec, dtls: Dtls, secret: bytes, left: Mapping[bool, Left] = NOTHING) -> None:
        """Start the handshakes that `dtls` requests, or continue what is `left` of them.

        `secret` makes cookies; raises UnusableKey without a usable fingerprint.
        """
        self.dtls = dtls
        self._name = dtls.name
        self.keys: dict[bool, Keys] = {}
        #: The peer has our answer.
        self.reached = spec.reached
        self._secret = secret
        self._identity = Identity.from_bytes(dtls.identity)
        self._allowed = Allowed.of(spec) if spec.networks else None
        self._ports: dict[bool, _Port] = {}
        for rtcp, wanted, target in ((False, dtls.rtp, spec.source), (True, dtls.rtcp, spec.rtcp_source)):
            before = left.get(rtcp)
            if before is not None and before.stored is not None:
                self._go_on(rtcp, before.stored, before.target or target)
            elif wanted:
                self._ports[rtcp] = _Port(self._fresh(), target, target, severed=before is not None)

    def _go_on(self, rtcp: bool, stored: StoredAssociation, target: tuple[str, int] | None) -> None:
        self._ports[rtcp] = _Port(ResumedAssociation(stored, active=self.dtls.active, home=target), target, home=target)
        self.keys[rtcp] = stored.keys

    def waits(self) -> bool:
        """Tell whether keys are still expected."""
        return any(not port.lost and not port.association.keys for port in self._ports.values())

    @property
    def failed(self) -> str | None:
        """Return why no keys will come."""
        return next((port.lost for port in self._ports.values() if port.lost), None)

    @property
    def severed(self) -> bool:
        """Tell whether a peer may wait for what only a previous worker could have sent."""
        return any(port.severed and not port.association.promised for port in self._ports.values())

    def left(self, proven: bool) -> dict[bool, Left]:
        """Return what a successor needs; `proven`: media arrived under the keys, so nobody needs
        our last flight again.
        """
        out = {}
        for rtcp, port in self._ports.items():
            made = port.association
            if made.promised is not None:
                flight = () if proven and not rtcp else made.last_flight
                stored = StoredAssociation(made.promised, flight, made.keys is not None)
                out[rtcp] = Left(self._name, stored, port.home)
            elif made.midway or port.severed:
                out[rtcp] = Left(self._name)
        return out

    def proven(self) -> None:
        """Note that the peer has the keys of the RTP port, since media arrived under them."""
        port = self._ports.get(False)
        if port is not None and isinstance(port.association, ResumedAssociation):
            port.association.settle()

    def agreed(self) -> dict[bool, Keys]:
        """Return the keys that the peer is known to have."""
        return {rtcp: port.association.keys for rtcp, port in self._ports.items() if port.association.keys}

    def aim(self, spec: StreamSpec) -> None:
        """Set the peer's address after a re-offer that continues this association."""
        self.reached = self.reached or spec.reached
        for rtcp, target in ((False, spec.source), (True, spec.rtcp_source)):
            port = self._ports.get(rtcp)
            if port is not None and target is not None and not port.association.keys:
                port.met = port.met and target == port.target
                port.target = port.home = port.offered = target

    def turn(self, now: float) -> None:
        """Start what is due, repeat flights, retry what failed."""
        for port in self._ports.values():
            if port.lost or port.association.keys or (not port.begun and self._must_wait(port)):
                continue
            if port.association.failed:
                port.why, port.tries = port.association.failed, port.tries + 1
            if port.until is not None and (now >= port.until or (self.dtls.active and port.tries >= MAX_TRIES)):
                port.lost = port.why
                continue
            if port.association.failed:
                port.association, port.begun, port.met, port.proven_at = self._fresh(), False, False, None
                port.begin_at = now + RETRY_DELAY if self.dtls.active else now
            due = port.association.next_timer()
            if not port.begun:
                self._begin(port, now)
            elif due is not None and now >= due:
                port.association.handle_timer(now)

    def receive(self, rtcp: bool, datagram: bytes, sender: Address, now: float) -> Keys | None:
        """Handle a datagram from a port; return new keys if there are any."""
        port = self._ports.get(rtcp)
        if port is not None and port.target and sender == (pack_ip(port.target[0]), port.target[1]):
            port.called = True
        if port is None or port.lost or not is_dtls(datagram) or not self._admits(datagram, sender):
            return None
        if not self._hears(port, datagram, sender, now):
            return None
        if not port.begun:
            if self._speaks_first(port):
                return None
            self._begin(port, now)
            if not port.begun:
                return None
        target = (str(ip_address(sender[0])), sender[1])
        # behind NAT the peer's address differs from the offered one; but a stranger must not redirect us
        if port.target is None or not self.dtls.active or self._allowed is not None:
            port.target = target
        port.association.receive(datagram, target, now)
        keys = port.association.promised
        port.proven_at = port.proven_at or (now if _proven(port) else None)
        if keys is None or self.keys.get(rtcp) == keys:
            return None
        self.keys[rtcp], port.home = keys, port.target
        return keys

    def data_to_send(self) -> list[tuple[bool, bytes, tuple[str, int]]]:
        """Return what to send: whether from the RTCP port, the datagram, the destination."""
        out = []
        for rtcp, port in self._ports.items():
            for datagram in port.association.data_to_send():
                if port.target is not None:
                    out.append((rtcp, datagram, port.target))
        return out

    def keyed(self, spec: StreamSpec) -> StreamSpec:
        """Return a stream's spec with the known keys."""
        rtp, rtcp = self.keys.get(False), self.keys.get(True)
        if rtp is not None:
            own = spec.own_key if self.dtls.rtcp or spec.rtcp_suite else rtp.ours
            spec = replace(spec, suite=rtp.suite, key=rtp.theirs, mki=0, others=(), own_key=own)
        if rtcp is not None:
            spec = replace(spec, rtcp_suite=rtcp.suite, rtcp_key=rtcp.theirs, own_key=rtcp.ours)
        return spec

    # Internals.

    def _fresh(self) -> Association:
        return Association(self._identity, self.dtls.fingerprints, active=self.dtls.active, secret=self._secret)

    def _speaks_first(self, port: _Port) -> bool:
        return self.dtls.active and isinstance(port.association, Association)

    def _must_wait(self, port: _Port) -> bool:
        """Tell whether no peer has yet shown at the offered address that it wants our first flight."""
        return self._speaks_first(port) and not (self.reached or port.called)

    def _begin(self, port: _Port, now: float) -> None:
        if port.begin_at is None:
            wait = START_DELAY if self._speaks_first(port) else 0.0
            wait = RENEWAL_DELAY if port.severed and self.dtls.renews else wait
            port.begin_at, port.until = now + wait, now + GIVE_UP
        if now >= port.begin_at:
            port.begun = True
            port.association.start(now)

    def _admits(self, datagram: bytes, sender: Address) -> bool:
        if datagram[3:5] == bytes(2) and (datagram[0] == ALERT or (self.dtls.active and _greets(datagram))):
            return False
        return self._allowed is None or sender[0] in self._allowed

    def _hears(self, port: _Port, datagram: bytes, sender: Address, now: float) -> bool:
        """Tell whether the peer may be continuing the handshake, rather than somebody forging its address."""
        if not self.dtls.active:
            return self._hears_greeting(port, datagram, sender, now)
        if port.target is None or sender == (pack_ip(port.target[0]), port.target[1]):
            port.met = True
            return True
        return not port.met and port.begin_at is not None and now >= port.begin_at + LEARN_AFTER

    def _hears_greeting(self, port: _Port, datagram: bytes, sender: Address, now: float) -> bool:
        proven = _proven(port)
        if proven is None:
            return _greets(datagram)
        if sender == (pack_ip(proven[0]), proven[1]):
            return True
        stalled = port.proven_at is not None and now >= port.proven_at + STALL and not port.association.keys
        named = port.offered is not None and sender == (pack_ip(port.offered[0]), port.offered[1])
        wins = named and port.association.promised is None
        if not (stalled or wins) or not _greets(datagram):
            return False
        port.association, port.proven_at = self._fresh(), None
        port.association.start(now)
        return True


def _proven(port: _Port) -> tuple[str, int] | None:
    """Return the peer whose address is proven; for an association of a dead process, where its last flight was sent."""
    return port.association.proven if isinstance(port.association, Association) else port.target


def _greets(datagram: bytes) -> bool:
    """Tell whether this is a ClientHello in epoch 0; in later epochs the type byte is ciphertext."""
    return datagram[0] == HANDSHAKE and datagram[3:5] == bytes(2) and datagram[13:14] == bytes([CLIENT_HELLO])


def begin(spec: StreamSpec, secret: bytes, left: Mapping[bool, Left] = NOTHING) -> Handshake | None:
    """Start the handshakes a stream requests, or continue what is `left` of them.

    Return None if it requests none or names no usable certificate.
    """
    if spec.dtls is None:
        return None
    name = spec.dtls.name
    left = {rtcp: each for rtcp, each in left.items() if each.association == name}
    if not (spec.dtls.rtp or spec.dtls.rtcp or left):
        return None
    try:
        return Handshake(spec, spec.dtls, secret, left)
    except UnusableKey:
        return None
