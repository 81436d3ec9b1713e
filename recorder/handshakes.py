"""Shell: the DTLS handshakes of one call on its sockets (recorder.handshake has what happens in each)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from media.sockets import send
from media.spec import Address, StreamSpec
from recorder.handshake import Handshake, begin
from recorder.lanes import Lanes
from recorder.wire import Keyed, Unkeyed

SECOND = 1_000_000_000
SECRET = 32
"""Bytes of the secret that makes the cookies of a handshake."""


class Handshakes:
    """One handshake a stream; what they give is told first and used then."""

    def __init__(self, call: str, random: Callable[[int], bytes], tell: Callable[[Keyed | Unkeyed], None]) -> None:
        self._call = call
        self._random = random
        self._tell = tell
        #: Now in ns since the epoch: to be set before ports are drained.
        self.now = 0
        self._all: dict[int, tuple[Handshake, Lanes]] = {}

    @property
    def pending(self) -> bool:
        """Tell whether any stream waits for keys."""
        return any(handshake.waits() for handshake, _ in self._all.values())

    def begin(self, lanes: Lanes) -> None:
        """Go on with the association of before if the stream's spec names the same one, else begin the one it names."""
        track = lanes.track
        number, dtls = track.spec.stream, track.spec.dtls
        before = self._all.get(number)
        same = before is not None and dtls is not None and before[0].dtls.same(dtls)
        if before is not None and same and (before[0].waits() or not before[0].failed):
            before[0].aim(track.spec)
            self._all[number] = before[0], lanes
            return
        self.end(lanes)
        made = begin(track.spec, self._random(SECRET))
        if made is not None:
            self._all[number] = made, lanes
            track.greet = partial(self._greet, number)

    def end(self, lanes: Lanes) -> None:
        """Forget the handshake of a stream."""
        self._all.pop(lanes.track.spec.stream, None)
        lanes.track.greet = None

    def keyed(self, spec: StreamSpec) -> StreamSpec:
        """Add keys that main had not heard of when it made this spec."""
        found = self._all.get(spec.stream)
        return found[0].keyed(spec) if found and spec.dtls and found[0].dtls.same(spec.dtls) else spec

    def turn(self) -> None:
        """Begin, repeat and give up what is due."""
        for number, (handshake, lanes) in self._all.items():
            if not handshake.waits():
                continue
            handshake.turn(self.now / SECOND)
            _speak(handshake, lanes)
            if not handshake.waits() and handshake.failed:
                self._tell(Unkeyed(self._call, number, handshake.failed))

    def _greet(self, number: int, rtcp: bool, datagram: bytes, sender: Address) -> bool:
        """Take a datagram from a port; what comes behind it in the same batch is opened with its keys already."""
        if number not in self._all:
            return False
        handshake, lanes = self._all[number]
        keys = handshake.receive(rtcp, datagram, sender, self.now / SECOND)
        _speak(handshake, lanes)
        if keys is not None:
            # main has to know them before anything is committed that only they open
            known = handshake.dtls.fingerprints
            self._tell(Keyed(self._call, number, rtcp, keys.suite, keys.theirs, keys.ours, known))
            lanes.track.rekey(handshake.keyed(lanes.track.spec))
        return True


def _speak(handshake: Handshake, lanes: Lanes) -> None:
    for rtcp, datagram, target in handshake.data_to_send():
        descriptor = lanes.rtcp if rtcp else lanes.rtp
        if descriptor >= 0:
            with contextlib.suppress(OSError):  # lost is lost: it is sent again
                send(descriptor, datagram, target, lanes.track.connected and not rtcp)
