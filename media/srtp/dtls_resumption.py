"""An association whose process died after its last flight was written: its keys, and that flight for repetition.

The side that writes the last flight stores it with the keys before sending it. The DTLS state is lost with the process
and is not needed: only the record numbers of that flight would change, and a peer that has not seen these accepts them
(RFC 6347 section 4.2.4).

    we were   the peer has the keys                    it asks again by         and is known to be done by
    client    once it has our last flight              its previous flight      its Finished, or media under the keys
    server    once it has written its last flight      that flight              having written it

So a server has nothing to wait for. A client repeats its flight until it has arrived, and reports no `keys` before.
The methods are those of media.srtp.dtls.

Keys open a whole call, so what is stored is `sealed`, with a key derived from that of our certificate. Main keeps it
sealed and passes it to the process that continues.
"""

from __future__ import annotations

import base64
import hmac
import json
from dataclasses import dataclass, field
from math import inf
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from media.srtp.dtls import CHANGE_CIPHER_SPEC, FINISHED, HANDSHAKE, Keys, Source, is_dtls, kinds

#: Seconds until the flight is first repeated unasked; doubled each time (RFC 6347 section 4.2.4.1).
FIRST_TIMER = 1.0
#: Least seconds between two answers to repeated requests, whose senders are not authenticated. The address to which the
#: flight was sent before is counted separately, so that strangers cannot use up the peer's share.
APART = 0.2
#: Bytes of a nonce; a new one is used each time something is stored.
NONCE = 12


def sealed(state: Any, identity: bytes, nonce: bytes, place: str) -> str:
    """Seal a JSON value for whoever has our certificate and its key; `place` says to what it belongs."""
    data = AESGCM(_key(identity)).encrypt(nonce, json.dumps(state).encode(), place.encode())
    return base64.b64encode(nonce + data).decode()


def unsealed(text: str, identity: bytes, place: str) -> Any:
    """Open what was sealed; None if it belongs to another certificate or place."""
    data = base64.b64decode(text)
    try:
        return json.loads(AESGCM(_key(identity)).decrypt(data[:NONCE], data[NONCE:], place.encode()))
    except InvalidTag:
        return None


def _key(identity: bytes) -> bytes:
    return hmac.digest(identity, b"what is left of handshakes", "sha256")


@dataclass(frozen=True)
class StoredAssociation:
    """What is stored of an association so that another process can continue it."""

    keys: Keys
    # the datagrams of our last flight; empty once the peer has shown that it has them
    flight: tuple[bytes, ...] = field(default=(), repr=False)
    # whether the peer is known to have the keys
    settled: bool = False

    def to_state(self) -> list[Any]:
        """Return a form that JSON can hold; it contains keys."""
        keys = self.keys
        flight = [datagram.hex() for datagram in self.flight]
        return [keys.suite, keys.theirs.hex(), keys.ours.hex(), flight, self.settled]

    @classmethod
    def from_state(cls, state: list[Any]) -> StoredAssociation:
        """Restore what `to_state` returned."""
        suite, theirs, ours, flight, settled = state
        keys = Keys(str(suite), bytes.fromhex(theirs), bytes.fromhex(ours))
        return cls(keys, tuple(bytes.fromhex(each) for each in flight), bool(settled))


class ResumedAssociation:
    """The rest of one association."""

    def __init__(self, left: StoredAssociation, *, active: bool, home: Source | None = None) -> None:
        """`home`: the address to which the flight was sent before."""
        self.promised = left.keys
        self.last_flight = left.flight
        self.keys = left.keys if left.settled or not active else None
        self.failed: str | None = None
        self.midway = False
        self._active = active
        self._out: list[bytes] = []
        self._wait = FIRST_TIMER
        self._due: float | None = None
        self._home = home
        #: When the last answer was sent to somebody else, and to the peer.
        self._answered: dict[bool, float] = {}

    def start(self, now: float) -> None:
        """Start: a client sends the flight again, since it may never have been sent."""
        if self.keys is None:
            self._send_flight(now)

    def receive(self, datagram: bytes, source: Source, now: float) -> None:
        """Process a datagram: answer the flight before our last one; the peer's last one shows that it is done."""
        if not is_dtls(datagram):
            return
        found = kinds(datagram)
        if self._active and (CHANGE_CIPHER_SPEC in found or FINISHED in found):
            self.settle()
        elif (HANDSHAKE if self._active else FINISHED) in found and not self._just_answered(source == self._home, now):
            self._out += self.last_flight

    def settle(self) -> None:
        """Note that the peer has the keys."""
        self.keys, self._due = self.promised, None

    def data_to_send(self) -> list[bytes]:
        """Return the datagrams to send, in order."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """Return the time at which to call `handle_timer`, or None."""
        return None if self.keys else self._due

    def handle_timer(self, now: float) -> None:
        """Repeat the flight if it is due; the caller decides when to give up."""
        if not self.keys and self._due is not None and now >= self._due:
            self._send_flight(now)

    def _send_flight(self, now: float) -> None:
        self._out += self.last_flight
        self._due = now + self._wait
        self._wait *= 2

    def _just_answered(self, at_home: bool, now: float) -> bool:
        lately = now - self._answered.get(at_home, -inf) < APART
        if not lately:
            self._answered[at_home] = now
        return lately
