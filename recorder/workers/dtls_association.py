"""The DTLS associations of one stream, without sockets: one on the RTP port, without rtcp-mux another on the RTCP port.

Whoever drains the ports gives every datagram that is no RTP to `receive`, calls `turn` every few hundredths of a second
while it `waits`, and sends what `data_to_send` has. Keys are given out by `receive` at the very datagram that completes
a handshake, so that what follows it in the same batch can be opened; where the peer is the server and may speak first,
already when our last flight is made. What is `left` then has to be stored before `data_to_send` is sent: a successor
begins with it and goes on.

Ports are open to everybody. Where the networks of the customer are known, nobody else is listened to. And anybody can
write the peer's address on a datagram, but does not know its port or see our cookie. So as the client we hear only the
address and port that we speak to, unless nothing comes from there for LEARN_AFTER seconds. As the server we hear only
greetings, until somebody has sent our cookie back, and then only that one, or whoever greets us from the offered
address and port: strangers have cookies too, and need not go on. A ClientHello to us as the client is not looked at,
nor is an alert in the clear. A handshake that came to nothing is begun again: as the client MAX_TRIES times, as the
server, whom anybody can greet, until GIVE_UP seconds have passed.
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
"""Seconds before our first flight: our answer has to reach the peer first, or it throws the flight away and hears the
next one a second later."""

RETRY_DELAY = 0.5
"""Seconds between a failed try and the next one as the active side; a passive one listens again at once."""

RENEWAL_DELAY = 3.0
"""Seconds for the re-offer that main makes where a handshake was cut short, before that one is begun anew without it: a
client that has just heard of another certificate of ours must not be shown the one before."""

LEARN_AFTER = 2.0
"""Seconds of silence where we speak to, after which others are heard, too: our first flight was repeated after one."""

STALL = 10.0
"""Seconds after which a handshake as the server that got no further gives way to the next greeting."""

ALERT, HANDSHAKE, CLIENT_HELLO = 21, 22, 1
"""Content types and handshake type (RFC 6347 section 4.3.2); the type of the first message stands at byte 13."""


@dataclass(frozen=True)
class Left:
    """What a worker leaves of the handshake on one port."""

    association: str  # media.spec.Dtls.name: that of another offer is of no use
    bequest: StoredAssociation | None = field(
        default=None, repr=False
    )  # None: it had begun, and only it could have gone on
    target: tuple[str, int] | None = None  # where our last flight went

    def to_state(self) -> list[Any]:
        """Give a form that JSON can carry; it holds keys."""
        return [self.association, self.bequest and self.bequest.to_state(), self.target]

    @classmethod
    def from_state(cls, state: list[Any]) -> Left:
        """Take back what `to_state` gave."""
        name, bequest, target = state
        return cls(
            str(name), bequest and StoredAssociation.from_state(bequest), target and (str(target[0]), int(target[1]))
        )


NOTHING: Mapping[bool, Left] = {}
"""What a worker leaves that had begun nothing."""


@dataclass(slots=True)
class _Port:
    """The handshake on one port."""

    association: Association | ResumedAssociation
    target: tuple[str, int] | None  # where it is sent to
    offered: tuple[str, int] | None = None  # where the offer says that the peer is
    home: tuple[str, int] | None = None  # where our last flight went: strangers move the target of a server
    begin_at: float | None = None  # when our first flight is due; None: START_DELAY from the first turn on
    until: float | None = None  # when to give up, whoever was in the way
    begun: bool = False
    met: bool = False  # something came from where we speak to
    called: bool = False  # the same, whatever it was: before our answer has arrived we only speak to who spoke
    proven_at: float | None = None  # when the peer had sent our cookie back
    tries: int = 0  # that came to nothing
    why: str = "timeout"  # the last one came to nothing
    lost: str | None = None  # why it was given up
    severed: bool = False  # a worker before us had begun it, and the peer may wait for what only that one could say


class Handshake:
    """What is going on about the keys of one stream."""

    def __init__(self, spec: StreamSpec, dtls: Dtls, secret: bytes, left: Mapping[bool, Left] = NOTHING) -> None:
        """Begin the handshakes that `dtls` wants, or go on with what is `left` of them.

        `secret` makes cookies; UnusableKey without a usable fingerprint.
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
            if before is not None and before.bequest is not None:
                self._go_on(rtcp, before.bequest, before.target or target)
            elif wanted:
                self._ports[rtcp] = _Port(self._fresh(), target, target, severed=before is not None)

    def _go_on(self, rtcp: bool, bequest: StoredAssociation, target: tuple[str, int] | None) -> None:
        self._ports[rtcp] = _Port(
            ResumedAssociation(bequest, active=self.dtls.active, home=target), target, home=target
        )
        self.keys[rtcp] = bequest.keys

    def waits(self) -> bool:
        """Tell whether keys are still to come."""
        return any(not port.lost and not port.association.keys for port in self._ports.values())

    @property
    def failed(self) -> str | None:
        """Give the reason why keys will not come."""
        return next((port.lost for port in self._ports.values() if port.lost), None)

    @property
    def severed(self) -> bool:
        """Tell whether a peer may wait for what only a worker before us could have said."""
        return any(port.severed and not port.association.promised for port in self._ports.values())

    def left(self, proven: bool) -> dict[bool, Left]:
        """Give what a successor needs; `proven`: media came under the keys, so nobody wants our last flight again."""
        out = {}
        for rtcp, port in self._ports.items():
            made = port.association
            if made.promised is not None:
                flight = () if proven and not rtcp else made.last_flight
                bequest = StoredAssociation(made.promised, flight, made.keys is not None)
                out[rtcp] = Left(self._name, bequest, port.home)
            elif made.midway or port.severed:
                out[rtcp] = Left(self._name)
        return out

    def proven(self) -> None:
        """Take it that the peer has the keys of the RTP port, since media came under them."""
        port = self._ports.get(False)
        if port is not None and isinstance(port.association, ResumedAssociation):
            port.association.settle()

    def agreed(self) -> dict[bool, Keys]:
        """Give the keys that the peer is known to have."""
        return {rtcp: port.association.keys for rtcp, port in self._ports.items() if port.association.keys}

    def aim(self, spec: StreamSpec) -> None:
        """Take where the peer is after a re-offer that goes on with this association."""
        self.reached = self.reached or spec.reached
        for rtcp, target in ((False, spec.source), (True, spec.rtcp_source)):
            port = self._ports.get(rtcp)
            if port is not None and target is not None and not port.association.keys:
                port.met = port.met and target == port.target
                port.target = port.home = port.offered = target

    def turn(self, now: float) -> None:
        """Begin what is due, repeat flights, begin again what failed."""
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
        """Take a datagram from a port; give the keys if there are new ones now."""
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
        # behind NAT the peer is elsewhere than it says; but a stranger must not draw us to himself
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

    def _speaks_first(self, port: _Port) -> bool:
        return self.dtls.active and isinstance(port.association, Association)

    def _must_wait(self, port: _Port) -> bool:
        """Tell whether nobody has shown yet that our first flight is wanted where the offer says."""
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
        """Tell whether it may be the peer that goes on with the handshake, and not somebody else in its name."""
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
    """Give who has proven to be where it says it is; of an association whose process died, where its flight went."""
    return port.association.proven if isinstance(port.association, Association) else port.target


def _greets(datagram: bytes) -> bool:
    """Tell a ClientHello, which is of epoch 0; later the byte that says so is ciphertext."""
    return datagram[0] == HANDSHAKE and datagram[3:5] == bytes(2) and datagram[13:14] == bytes([CLIENT_HELLO])


def begin(spec: StreamSpec, secret: bytes, left: Mapping[bool, Left] = NOTHING) -> Handshake | None:
    """Begin the handshakes a stream wants, or go on with what is `left` of them.

    None if it wants none or names no certificate that could be told.
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
