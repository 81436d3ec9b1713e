"""The handshakes of one stream in the media process: one on the RTP port and, without rtcp-mux, another on the RTCP
port.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from recorder.simulate.outgoing import Outgoing

if TYPE_CHECKING:
    import socket

    from recorder.simulate.association import Association

DTLS_BYTES = range(20, 64)
"""First byte of a DTLS record (RFC 7983 section 7)."""
Name = tuple[str, int]
"""Numeric address and port of the recorder."""


class Handshakes:
    """The state of a stream's handshakes until it has its keys."""

    def __init__(
        self, words: dict[str, Any], pem: bytes, stream: Outgoing, sockets: tuple[socket.socket, socket.socket]
    ) -> None:
        from recorder.simulate.association import (
            Association,
        )  # loads OpenSSL's binding, which runs without DTLS do not need

        self._stream = stream
        self._ports: dict[Name, tuple[Association, socket.socket]] = {}
        self._rtp, self._rtcp = (words["host"], words["port"]), (words["host"], words["rtcp_port"])
        places = {self._rtp: sockets[0]} if stream.mux else {self._rtp: sockets[0], self._rtcp: sockets[1]}
        for name, place in places.items():
            made = Association(pem, words["fingerprints"], active=words["active"])
            self._ports[name] = (made, place)
            self._speak(name)

    @property
    def names(self) -> list[Name]:
        """Where the recorder's datagrams come from."""
        return list(self._ports)

    @property
    def over(self) -> bool:
        """Whether all handshakes have ended."""
        return all(made.over for made, _ in self._ports.values())

    @property
    def fault(self) -> str | None:
        """Why there will be no keys."""
        return next((made.fault for made, _ in self._ports.values() if made.fault), None)

    def receive(self, name: Name, datagram: bytes) -> None:
        """Take a datagram of the recorder; the last one gives the stream its keys."""
        before = self.over
        self._ports[name][0].receive(datagram)
        self._speak(name)
        if self.over and not before and self.fault is None:
            self._hand_over()

    def repeat(self) -> None:
        """Repeat what got no answer."""
        for name, (made, _) in self._ports.items():
            made.repeat()
            self._speak(name)

    def _speak(self, name: Name) -> None:
        made, place = self._ports[name]
        for datagram in made.data_to_send():
            with contextlib.suppress(OSError):  # repeated later
                place.sendto(datagram, name)

    def _hand_over(self) -> None:
        rtp = self._ports[self._rtp][0].agreed
        rtcp = rtp if self._stream.mux else self._ports[self._rtcp][0].agreed
        if rtp is not None and rtcp is not None:
            self._stream.keyed((rtp.suite, rtp.ours), (rtcp.suite, rtcp.ours, rtcp.theirs))
