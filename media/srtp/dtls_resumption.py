"""An association whose process died once its last flight was made: its keys, and that flight for who asks again.

Theory of operation.  Whoever makes the last flight stores it with the keys before it sends it. The DTLS state dies with
the process, and is not missed: of that flight nothing would be made anew but its record numbers, and a peer that has
not seen these takes it as it is (RFC 6347 section 4.2.4).

    we were   the peer knows the keys                  it asks again by         and is done, as seen from here, by
    client    when it has our last flight, not sooner  its own flight before    its Finished, or media under the keys
    server    when it made its last flight             that flight              having made it

So a server has nothing to wait for. A client has: until its flight has arrived it repeats it, and reports no `keys`.
The crank is that of media.srtp.dtls.

Keys open a whole call, so what is stored is `sealed`, under a key that follows from the one of our certificate: main
keeps that sealed, and gives it to whoever goes on.
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

#: Seconds until the flight is repeated unasked for the first time, twice as long each time (RFC 6347 section 4.2.4.1).
FIRST_TIMER = 1.0
#: Least seconds between two answers to who asks again: nobody sees by what right. Where the flight went before is
#: counted apart, lest strangers use up what is the peer's.
APART = 0.2
#: Bytes of a nonce, a fresh one each time something is stored.
NONCE = 12


def sealed(state: Any, identity: bytes, nonce: bytes, place: str) -> str:
    """Seal what JSON can carry for whoever has our certificate and its key; `place` says what it is of."""
    data = AESGCM(_key(identity)).encrypt(nonce, json.dumps(state).encode(), place.encode())
    return base64.b64encode(nonce + data).decode()


def unsealed(text: str, identity: bytes, place: str) -> Any:
    """Open what was sealed; None if it is not of this certificate or this place."""
    data = base64.b64decode(text)
    try:
        return json.loads(AESGCM(_key(identity)).decrypt(data[:NONCE], data[NONCE:], place.encode()))
    except InvalidTag:
        return None


def _key(identity: bytes) -> bytes:
    return hmac.digest(identity, b"what is left of handshakes", "sha256")


@dataclass(frozen=True)
class StoredAssociation:
    """What is stored of an association for whoever has to go on with it."""

    keys: Keys
    # the datagrams of our last flight; none once the peer has shown that it has them
    flight: tuple[bytes, ...] = field(default=(), repr=False)
    # the peer is known to have the keys
    settled: bool = False

    def to_state(self) -> list[Any]:
        """Give a form that JSON can carry; it holds keys."""
        keys = self.keys
        flight = [datagram.hex() for datagram in self.flight]
        return [keys.suite, keys.theirs.hex(), keys.ours.hex(), flight, self.settled]

    @classmethod
    def from_state(cls, state: list[Any]) -> StoredAssociation:
        """Take back what `to_state` gave."""
        suite, theirs, ours, flight, settled = state
        keys = Keys(str(suite), bytes.fromhex(theirs), bytes.fromhex(ours))
        return cls(keys, tuple(bytes.fromhex(each) for each in flight), bool(settled))


class ResumedAssociation:
    """What is left of one association."""

    def __init__(self, left: StoredAssociation, *, active: bool, home: Source | None = None) -> None:
        """`home`: where the flight went before."""
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
        #: When somebody else and when the peer was answered.
        self._answered: dict[bool, float] = {}

    def start(self, now: float) -> None:
        """Begin: as the client by saying the flight again, since it may never have been sent."""
        if self.keys is None:
            self._say(now)

    def receive(self, datagram: bytes, source: Source, now: float) -> None:
        """Take a datagram: answer one of the flight before our last, learn by the peer's last one that it is done."""
        if not is_dtls(datagram):
            return
        found = kinds(datagram)
        if self._active and (CHANGE_CIPHER_SPEC in found or FINISHED in found):
            self.settle()
        elif (HANDSHAKE if self._active else FINISHED) in found and not self._lately(source == self._home, now):
            self._out += self.last_flight

    def settle(self) -> None:
        """Take it that the peer has the keys."""
        self.keys, self._due = self.promised, None

    def data_to_send(self) -> list[bytes]:
        """Take the datagrams to send, in order."""
        out, self._out = self._out, []
        return out

    def next_timer(self) -> float | None:
        """Return when `handle_timer` wants to be called, None if never."""
        return None if self.keys else self._due

    def handle_timer(self, now: float) -> None:
        """Repeat the flight if it is due; when to give up is the caller's business."""
        if not self.keys and self._due is not None and now >= self._due:
            self._say(now)

    def _say(self, now: float) -> None:
        self._out += self.last_flight
        self._due = now + self._wait
        self._wait *= 2

    def _lately(self, at_home: bool, now: float) -> bool:
        lately = now - self._answered.get(at_home, -inf) < APART
        if not lately:
            self._answered[at_home] = now
        return lately
