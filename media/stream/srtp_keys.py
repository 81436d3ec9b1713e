"""The keys of one stream: for received RTP and RTCP, and for what we send."""

from __future__ import annotations

from collections.abc import Iterator

from media.rtp.sequence import Source
from media.spec import StreamSpec
from media.srtp.context import REPLAYED, Context
from media.srtp.keyring import Keyring, renewed
from media.srtp.srtcp import AUTHENTICATION, Srtcp
from media.stream.reception import Reception
from media.stream.srtp_recovery import recover, rekeyed

#: ns by which packets under a key may precede its offer, and how many of them are kept: 0.6 s of sound, since an INVITE
#: lost on UDP is repeated after 0.5 s (T1 of RFC 3261 section 17.1.1.1).
EARLY = 2_000_000_000
MAX_EARLY = 32
NO_CHECK = bytes(8)
#: Reports that a worker may have sent after its last commit.
UNCOMMITTED = 2


class SrtpKeys:
    """Keys, and packets that came before the offer with their key."""

    __slots__ = ("control", "early", "keyring", "outgoing", "reports")

    def __init__(self, spec: StreamSpec) -> None:
        self.keyring = Keyring(spec.suite, spec.key, spec.mki, spec.others, spec.alternates) if spec.suite else None
        #: Keys of the RTCP port if it has its own.
        self.control = Keyring(spec.rtcp_suite, spec.rtcp_key) if spec.rtcp_suite else None
        self.outgoing = Srtcp(spec.own_suite, spec.own_key) if spec.own_suite and spec.own_key else None
        #: Reports protected so far: a successor has to continue after this SRTCP index.
        self.reports = 0
        #: The newest packets that no key opened, with their arrivals (ns): the offer with their key may be on its way.
        self.early: tuple[tuple[bytes, int], ...] = ()

    # ---- what comes ----
    def open(
        self, reception: Reception, packet: bytes, arrival: int, tried: Context | None, status: int | None, *,
        expected: bool,
    ) -> tuple[bytes, int | None] | int:  # fmt: skip
        """Return the plaintext of an RTP packet and its extended number if that had to be found, or a libsrtp status.

        `tried` has refused it with `status` already; `expected`: it came from where the client may send from.
        """
        keyring = self.keyring
        if keyring is None:
            return AUTHENTICATION
        plain = keyring.open(packet, arrival, [s.ssrc for s in reception.sources], tried, expected=expected)
        if not isinstance(plain, int):
            return plain, None
        refused = (
            status if status is not None and status in REPLAYED else plain
        )  # of any key: it may belong to an older one
        source = _known(reception, packet)
        found = source and recover(keyring, source, packet, arrival, refused, reception.unit)
        return found or refused

    def genuine(self, source: Source, packet: bytes, extended: int) -> bool:
        """Return whether a packet belongs to a source and has this number, under the key in use."""
        return self.keyring is not None and self.keyring.contexts[0].genuine(packet, extended + (source.shift << 16))

    def keep(self, packet: bytes, arrival: int) -> None:
        """Keep a packet that no key opens, for an offer that may bring its key."""
        self.early = (*self.early, (packet, arrival))[-MAX_EARLY:]

    def open_early(self, reception: Reception, at: int) -> Iterator[tuple[bytes, int | None, int]]:
        """Open once what came under a key just before its offer, as rtpengine sends it.

        Yield plaintext, extended number if that had to be found, and arrival; the caller places each before the next.
        """
        early, self.early = self.early, ()
        keyring = self.keyring
        for packet, arrival in early:
            if keyring is None or at - arrival > EARLY:
                continue
            plain = keyring.open(packet, arrival, [s.ssrc for s in reception.sources])
            if not isinstance(plain, int):
                yield plain, None, arrival
                continue
            source = _known(reception, packet)
            found = source and rekeyed(keyring, source, packet, arrival)
            if found:
                yield *found, arrival

    def open_rtcp(self, packet: bytes, *, own_port: bool) -> bytes | int | None:
        """Return the plaintext of an RTCP compound, or a libsrtp status; None if there is no key.

        `own_port`: it did not come to the RTP port.
        """
        keyring = (self.control if own_port else None) or self.keyring
        return keyring.open_rtcp(packet) if keyring else None

    # ---- what goes ----
    def protect(self, packet: bytes) -> bytes | None:
        """Protect an RTCP compound of ours; None while there is no key for it."""
        if self.outgoing is None:
            return None
        self.reports += 1
        return self.outgoing.protect(packet)

    # ---- re-offer ----
    def expect(self, spec: StreamSpec) -> None:
        """Add the keys of a re-offer whose other changes follow."""
        if self.keyring and spec.suite:
            self.keyring.add(spec.suite, spec.key, spec.mki, spec.others, spec.alternates)

    def change(self, spec: StreamSpec, before: StreamSpec) -> None:
        """Set new keys; those of an association being replaced stay in use until its successor has some."""
        if spec.suite or spec.dtls is None:
            self.keyring = renewed(self.keyring, spec.suite, spec.key, spec.mki, spec.others, spec.alternates)
        if spec.rtcp_suite or spec.dtls is None:
            self.control = renewed(self.control, spec.rtcp_suite, spec.rtcp_key, 0)
        suite = spec.own_suite
        if suite is None and spec.dtls is None:
            self.outgoing = None
        elif suite and spec.own_key and (before.own_suite, before.own_key) != (suite, spec.own_key):
            self.outgoing = Srtcp(suite, spec.own_key, self.reports)  # a key may be used again: no index is repeated

    # ---- checkpoint ----
    @property
    def check(self) -> bytes:
        """Return a value that identifies the key in use without revealing it."""
        return self.keyring.check if self.keyring else NO_CHECK

    def restore(self, spec: StreamSpec, reception: Reception, check: bytes, reports: int) -> None:
        """Restore the keys to the state of a checkpoint."""
        self.reports = reports
        if self.keyring:
            current = reception.current
            known = [each for each in reception.sources if each.known]
            indexes = [(each.ssrc, each.highest + (each.shift << 16)) for each in known]
            self.keyring.restore_indexes(check, indexes, current.shift if current else None)
        if self.outgoing and spec.own_suite:
            self.reports += UNCOMMITTED
            self.outgoing = Srtcp(spec.own_suite, spec.own_key, self.reports)


def _known(reception: Reception, packet: bytes) -> Source | None:
    """Return the source that a packet names, if packets of it have come."""
    source = reception.source_of(int.from_bytes(packet[8:12]))
    return source if source is not None and source.known else None
