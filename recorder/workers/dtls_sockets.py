"""The DTLS handshakes of one call on its sockets; recorder.workers.dtls_association holds their logic.

Everything is saved before it is sent: what a batch of datagrams or a timer produces waits until the commit slot has
what a successor needs to continue from there (`note`, `state`), and is sent then (`speak`). So whenever a process is
killed, either the successor knows more than the peer has received, or the peer has received nothing.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

from media.receive.sockets import send
from media.spec import Address, StreamSpec
from media.srtp.dtls import Keys
from media.srtp.dtls_resumption import NONCE, sealed, unsealed
from recorder.workers.dtls_association import NOTHING, Handshake, Left, begin
from recorder.workers.messages import Keyed, Severed, Unkeyed
from recorder.workers.stream_sockets import StreamSockets

SECOND = 1_000_000_000
SECRET = 32
"""Bytes of the secret that makes the cookies of a call's handshakes; a successor uses the same one."""


class Handshakes:
    """One handshake per stream."""

    def __init__(
        self, call: str, random: Callable[[int], bytes], tell: Callable[[Keyed | Unkeyed | Severed], None]
    ) -> None:
        self._call = call
        self._random = random
        self._secret = random(SECRET)
        self._tell = tell
        #: Start of the present round, ns since the epoch.
        self._now = 0
        #: Something may have to be saved or sent.
        self.waiting = False
        self._all: dict[int, tuple[Handshake, StreamSockets]] = {}
        self._out: list[tuple[StreamSockets, bool, bytes, tuple[str, int]]] = []
        #: What main knows about each stream and port.
        self._told: dict[tuple[int, bool], Keys] = {}
        #: What a successor needed at the last `note`, and how often that has changed.
        self._noted: dict[int, dict[bool, Left]] = {}
        self.revision = 0
        #: What was last saved for each stream and port: a base is written anew for many reasons.
        self._texts: dict[tuple[int, bool], tuple[Left, str]] = {}

    @property
    def pending(self) -> bool:
        """Tell whether any stream waits for keys."""
        return any(handshake.waits() for handshake, _ in self._all.values())

    def start_round(self, now: int) -> None:
        """Set the time (ns since the epoch) at which the ports are read next."""
        self._now = now

    def begin(self, sockets: StreamSockets, left: Mapping[bool, Left] = NOTHING) -> None:
        """Continue the current association if the stream's spec names the same one, otherwise start the one it names.

        `left`: what a dead worker left of it.
        """
        stream = sockets.stream
        number, dtls = stream.spec.stream, stream.spec.dtls
        before = self._all.get(number)
        same = before is not None and dtls is not None and before[0].dtls.same(dtls)
        if before is not None and same and (before[0].waits() or not before[0].failed):
            before[0].aim(stream.spec)
            self._all[number] = before[0], sockets
            self.note()
            return
        self.end(sockets)
        made = begin(stream.spec, self._secret, left)
        if made is None:
            return
        self._all[number] = made, sockets
        self.note()
        stream.give_dtls_to(partial(self._greet, number))
        for rtcp, keys in made.agreed().items():
            if dtls is not None and not (dtls.rtcp if rtcp else dtls.rtp):
                self._told[number, rtcp] = keys

    def reached(self) -> None:
        """Let handshakes start whose peers are known to have our answer."""
        for handshake, _ in self._all.values():
            handshake.reached = True

    def end(self, sockets: StreamSockets) -> None:
        """Forget the handshake of a stream."""
        number = sockets.stream.spec.stream
        self._all.pop(number, None)
        for rtcp in (False, True):
            self._told.pop((number, rtcp), None)
        sockets.stream.give_dtls_to(None)
        self.note()

    def keyed(self, spec: StreamSpec) -> StreamSpec:
        """Add keys that main did not know when it made this spec."""
        found = self._all.get(spec.stream)
        return found[0].keyed(spec) if found and spec.dtls and found[0].dtls.same(spec.dtls) else spec

    def turn(self) -> bool:
        """Start, repeat and give up what is due; tell whether something may have to be saved or sent."""
        for number, (handshake, sockets) in self._all.items():
            if not handshake.waits():
                continue
            handshake.turn(self._now / SECOND)
            if _proven(handshake, sockets):
                handshake.proven()
                self.waiting = True
            self._take(handshake, sockets)
            if not handshake.waits() and handshake.failed:
                self._tell(Unkeyed(self._call, number, handshake.failed))
        return self.waiting

    # ---- the spool ----
    def note(self) -> None:
        """Note whether what a successor needs has changed."""
        left = self._left()
        self.revision += left != self._noted
        self._noted = left

    def state(self) -> dict[str, Any]:
        """Return what a successor needs, for the head of a base: the secret, and what is left on each port."""
        all_left = self._left().items()
        left = [
            [number, rtcp, self._sealed(number, rtcp, each)]
            for number, ports in all_left
            for rtcp, each in ports.items()
        ]
        return {"secret": self._secret.hex(), "left": left}

    def _sealed(self, number: int, rtcp: bool, left: Left) -> str:
        before, text = self._texts.get((number, rtcp), (None, ""))
        if before != left:
            identity = self._all[number][0].dtls.identity
            text = sealed(left.to_state(), identity, self._random(NONCE), f"{self._call} {number}")
            self._texts[number, rtcp] = left, text
        return text

    def inherit(self, state: Mapping[str, Any], streams: Iterable[StreamSockets]) -> None:
        """Continue what a dead worker saved; its keys are in use at once."""
        self._secret = bytes.fromhex(state["secret"])
        for sockets in streams:
            number, dtls = sockets.stream.spec.stream, sockets.stream.spec.dtls
            if sockets.rtp < 0 or dtls is None:
                continue
            known: dict[bool, Left] = {}
            for whose, rtcp, text in state["left"]:
                left = unsealed(text, dtls.identity, f"{self._call} {number}") if whose == number else None
                known |= {bool(rtcp): Left.from_state(left)} if left else {}
            self.end(sockets)
            self.begin(sockets, known)
            if number not in self._all:
                continue
            handshake = self._all[number][0]
            if handshake.keys:
                sockets.stream.rekey(handshake.keyed(sockets.stream.spec))
            if handshake.severed:
                self._tell(Severed(self._call, number))
        self.waiting = True

    def speak(self) -> None:
        """Send what waits, and report keys that the peer has to main; all of it is saved already."""
        self.waiting, out, self._out = False, self._out, []
        for sockets, rtcp, datagram, target in out:
            descriptor = sockets.rtcp if rtcp else sockets.rtp
            if descriptor >= 0:
                with contextlib.suppress(OSError):  # a lost datagram is repeated by the handshake
                    send(
                        descriptor,
                        datagram,
                        target,
                        sockets.stream.latch.connected and not rtcp,
                        sockets.stream.spec.here,
                    )
        for number, (handshake, _) in self._all.items():
            for rtcp, keys in handshake.agreed().items():
                if self._told.get((number, rtcp)) != keys:
                    self._told[number, rtcp] = keys
                    known = handshake.dtls.fingerprints
                    self._tell(Keyed(self._call, number, rtcp, keys.suite, keys.theirs, keys.ours, known))

    # Internals.

    def _greet(self, number: int, rtcp: bool, datagram: bytes, sender: Address) -> bool:
        """Handle a datagram from a port; later packets of the same batch are already decrypted with its keys."""
        if number not in self._all:
            return False
        handshake, sockets = self._all[number]
        if handshake.receive(rtcp, datagram, sender, self._now / SECOND) is not None:
            sockets.stream.rekey(handshake.keyed(sockets.stream.spec))
        self._take(handshake, sockets)
        self.waiting = True
        return True

    def _take(self, handshake: Handshake, sockets: StreamSockets) -> None:
        said = [(sockets, *each) for each in handshake.data_to_send()]
        self._out += said
        self.waiting = self.waiting or bool(said)

    def _left(self) -> dict[int, dict[bool, Left]]:
        return {
            number: handshake.left(_proven(handshake, sockets)) for number, (handshake, sockets) in self._all.items()
        }


def _proven(handshake: Handshake, sockets: StreamSockets) -> bool:
    """Tell whether media arrived under the keys of the RTP port, which proves that the peer has them."""
    keys, ring = handshake.keys.get(False), sockets.stream.srtp.keyring
    if keys is None or ring is None:
        return False
    front = ring.contexts[0]
    return front.key == keys.theirs and front.shift is not None
