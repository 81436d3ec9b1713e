"""One recorded stream: batches in, records and counters out.

The stream owns its parts and calls them in order: choice of the source (`latch`, `probation`), SRTP keys (`srtp`), what
has arrived (`reception`), what is missing and why (`gaps`), and reports (`rtcp`). Each part has its own state and its
share of a checkpoint, and does not know the stream: it is given what it needs as arguments and returns its decisions.

A batch goes through source check, SRTP, sequence, record; nothing unauthenticated changes any state. There are two ways
to the same result: `media.stream.fast_path` takes a batch in sequence with a handful of C calls, and `_singly` takes
everything else packet by packet.
"""

import contextlib
from collections.abc import Callable

from media.errors import Malformed
from media.receive.batch import Lane
from media.records import record_format
from media.records.writer import Item, group
from media.rtp import header as rtp
from media.rtp.sequence import Source, Verdict
from media.spec import Address, StreamSpec
from media.srtp.context import REPLAYED
from media.stream import fast_path
from media.stream.gap_detection import QUIET, GapTracker
from media.stream.gaps import Reason
from media.stream.pauses import Pauses
from media.stream.reception import Reception
from media.stream.rtcp_reports import RtcpReports, among
from media.stream.source_latch import Choice, SourceLatch, is_former
from media.stream.source_probation import SourceProbation, Unproven, doubtful
from media.stream.srtp_keys import SrtpKeys
from media.stream.srtp_recovery import OLD


class ReceivedStream:
    """The state of one stream."""

    __slots__ = ("gaps", "greet", "latch", "pauses", "probation", "reception", "rtcp", "spec", "srtp")

    def __init__(self, spec: StreamSpec, pauses: Pauses, own_ssrc: int) -> None:
        self.spec = spec
        self.pauses = pauses
        self.latch = SourceLatch(spec)
        self.srtp = SrtpKeys(spec)
        self.reception = Reception()
        #: Packets of plain RTP that do not follow and wait for a second one in sequence.
        self.probation = SourceProbation()
        self.gaps = GapTracker(self.reception, quiet=spec.held or pauses.lasting)
        self.rtcp = RtcpReports(own_ssrc)
        #: Given (is RTCP port, datagram, sender) of what is no RTP; returns whether it took it. Only with DTLS.
        self.greet: Callable[[bool, bytes, Address], bool] | None = None

    # ---- batches ----
    def receive(self, lane: Lane, count: int, out: list[bytes]) -> None:
        """Process the first `count` packets of a lane; append what is to be stored to `out`.

        Reports on a shared port are taken out first and do not interrupt the sequence.
        """
        begin, sole = 0, self.latch.pure or (count > 1 and self._sole(lane, count))
        for slot in among(lane, count, self.reception.payload_type) if sole else ():
            self._receive(lane.behind(begin), slot - begin, out, sole)
            self.receive_rtcp(lane.behind(slot), 1, out, own_port=False)
            begin = slot + 1
        self._receive(lane.behind(begin), count - begin, out, sole)

    def _sole(self, lane: Lane, count: int) -> bool:
        """Return whether all packets come from the chosen source; a stream with keys is connected to it at once."""
        return self.srtp.keyring is None and self.spec.dtls is None and self.latch.sole(lane, count)

    def _receive(self, lane: Lane, count: int, out: list[bytes], sole: bool) -> None:
        """Process packets by the fast path, or by the slow one if that does not take them.

        `sole`: all of them come from the chosen source.
        """
        if not count:
            return
        opened: fast_path.Opened | None = None
        current = self.reception.current
        if sole and count > 1 and not self.probation.unproven and not (current and current.lag):
            storing = not (self.gaps.unsettled or self.pauses.items)
            stored, opened = fast_path.take(self.spec, self.reception, self.srtp.keyring, storing, lane, count, out)
            if stored:
                return
        self._singly(lane, count, opened, out)

    def _singly(self, lane: Lane, count: int, opened: fast_path.Opened | None, out: list[bytes]) -> None:
        """Process packets one by one, whatever they are."""
        items: list[Item] = []
        for slot in range(count):
            packet, arrival = lane.packet(slot), lane.arrival(slot)
            if packet is None:
                self.reception.reject()
            elif not rtp.is_media(packet):
                self.stranger(False, lane, slot, packet)
            elif rtp.is_rtcp(packet):
                self.take_rtcp(packet, lane.address(slot), arrival, out)
            else:
                self._take(lane, slot, packet, arrival, opened, items, out)
        out.extend(group(self.spec.stream, items))

    def _take(
        self, lane: Lane, slot: int, packet: bytes, arrival: int, opened: fast_path.Opened | None, items: list[Item],
        out: list[bytes],
    ) -> None:  # fmt: skip
        """Check and decrypt one RTP packet, then place it."""
        if not (self.latch.pure or (self.srtp.keyring and self.spec.learn)) and not self.latch.admits(
            self.spec, lane, slot
        ):
            self.reception.ignore()
            return
        extended, keyring = None, self.srtp.keyring
        if keyring is None:
            if self.spec.dtls or (self.latched is None and is_former(self.spec, lane.address(slot), packet)):
                self.reception.ignore()
                if self.spec.dtls:
                    self.gaps.unopened(packet, arrival)
                return
        elif opened is not None and not opened.statuses[slot]:
            packet = opened.buffer.opened(slot)
            keyring.stay()
        else:
            tried, status = (opened.context, opened.statuses[slot]) if opened else (None, None)
            expected = bool(self.latch.name) or lane.address(slot)[0] in self.latch.allowed
            found = self.srtp.open(self.reception, packet, arrival, tried, status, expected=expected)
            if isinstance(found, int):
                self._unopened(packet, arrival, found)
                return
            packet, extended = found
        try:
            header = rtp.parse(packet)
        except Malformed:
            self.reception.reject()
            return
        if not self.latch.name or self.trial:
            mark = self._choose(lane, slot, arrival)
            if mark:  # after what came before it
                out.extend((*group(self.spec.stream, items), mark))
                items.clear()
        if keyring and keyring.switched and self.reception.sources:
            out.append(record_format.mark(self.spec.stream, record_format.Mark.KEY, arrival))
        unsure = keyring is None and doubtful(self.spec, self.reception, self.gaps, header, arrival)
        if unsure or self.probation.unproven:
            self._prove(Unproven(header, packet, arrival), unsure, items)
            return
        item = self._place(header, packet, arrival, extended)
        if item is not None:
            items.append(item)

    def _choose(self, lane: Lane, slot: int, arrival: int) -> bytes:
        """Choose the source of a genuine packet; return the mark to store before the packet, or empty.

        What was stored from a source that is replaced stays, and the mark says so.
        """
        choice = self.latch.choose(self.spec, lane, slot, arrival, encrypted=self.srtp.keyring is not None)
        gave_way = choice is Choice.GAVE_WAY
        if gave_way:
            self.reception.displace()
            self.reception.ignore(self.probation.drop())
        if choice is None or (self.gaps.resumed_at is None and not self.reception.packets):
            return b""
        value = record_format.GAVE_WAY if gave_way else 0
        return record_format.mark(self.spec.stream, record_format.Mark.SOURCE, arrival, value)

    def _prove(self, one: Unproven, unsure: bool, items: list[Item]) -> None:
        """Place a packet of plain RTP with those that waited for it, unless it has to wait itself."""
        proven, thrown = self.probation.proven(self.spec, self.reception, one, doubtful=unsure)
        self.reception.ignore(thrown)
        for each in proven:
            item = self._place(each.header, each.packet, each.arrival)
            if item is not None:
                items.append(item)

    def _unopened(self, packet: bytes, arrival: int, status: int) -> None:
        """Count a packet that is not genuine, is a replay, or is too late for libsrtp to tell."""
        if status == OLD and self._too_late(packet):
            return
        self.reception.reject()
        if status not in REPLAYED:
            self.gaps.unopened(packet, arrival)
            self.srtp.keep(packet, arrival)

    def _too_late(self, packet: bytes) -> bool:
        """Return whether a packet that libsrtp found too old is genuine and missing; if so, count it."""
        source = self.reception.source_of(int.from_bytes(packet[8:12]))
        if source is None:
            return False
        extended = source.extend(int.from_bytes(packet[2:4]))
        if not (self.gaps.holds(source.ssrc, extended) and self.srtp.genuine(source, packet, extended)):
            return False
        self._late(source, extended)
        return True

    def _late(self, source: Source, extended: int) -> None:
        """Count a packet that came too late to be stored."""
        self.reception.miss()
        self.gaps.too_late(source, extended)

    # ---- reports ----
    def receive_rtcp(self, lane: Lane, count: int, out: list[bytes], *, own_port: bool = True) -> None:
        """Process the packets of the RTCP socket; `own_port` False: reports that came to the RTP port."""
        for slot in range(count):
            packet = lane.packet(slot)
            if packet is None:
                self.reception.ignore()
            elif not rtp.is_rtcp(packet):
                self.stranger(own_port, lane, slot, packet)
            else:
                # a key proves more than an address
                sender = None if self.srtp.keyring else self.sender(own_port, lane, slot)
                self.take_rtcp(packet, sender, lane.arrival(slot), out, own_port=own_port)

    def take_rtcp(
        self, packet: bytes, address: Address | None, arrival: int, out: list[bytes], *, own_port: bool = False
    ) -> None:
        """Check, decrypt and store one RTCP compound; `own_port`: it did not come to the RTP port.

        `address` is only called if there is no key.
        """
        opened = self.srtp.open_rtcp(packet, own_port=own_port)
        if isinstance(opened, int):
            self.reception.reject()
            return
        if opened is None and (self.spec.dtls or address is None or not self.latch.admits_host(address[0])):
            self.reception.ignore()
            return
        packet = packet if opened is None else opened
        try:
            silent, reported = self.rtcp.take(packet, arrival)
        except Malformed:
            self.reception.reject()
            return
        if silent is not None:
            self.gaps.silent(silent, arrival)
        if reported and not self.pauses.covers(arrival):
            out.append(record_format.rtcp(self.spec.stream, arrival, packet))

    def report(self, now: int, cname: bytes, more: bytes = b"") -> bytes | None:
        """Write the receiver report that is due (ns since the epoch); None before the first packet or without a key.

        `more` holds RTCP packets to add to the compound: a picture request, a BYE.
        """
        packet = self.rtcp.report(self.reception, now, cname, more)
        if packet is None or (self.srtp.keyring is None and self.spec.dtls is None):
            return packet
        return self.srtp.protect(packet)

    def stranger(self, rtcp: bool, lane: Lane, slot: int, packet: bytes) -> None:
        """Process a datagram that is no media: it may belong to a handshake; otherwise it is not ours."""
        if self.greet is not None and self.greet(rtcp, packet, self.sender(rtcp, lane, slot)):
            return
        self.reception.ignore()

    def give_dtls_to(self, handshake: Callable[[bool, bytes, Address], bool] | None) -> None:
        """Set the handshake that is given what is no media, and returns whether it took it; None: no handshake."""
        self.greet = handshake

    def sender(self, rtcp: bool, lane: Lane, slot: int) -> Address:
        """Return where a packet came from; if there is only one possible sender, the kernel is not asked."""
        return self.latched if self.latch.pure and not rtcp and self.latched else lane.address(slot)

    # ---- where it comes from ----
    @property
    def latched(self) -> Address | None:
        """Return the address of the chosen source; None before the choice."""
        return self.latch.latched

    @property
    def trial(self) -> bool:
        """Return whether the chosen source gives way to the one that the offer names."""
        return self.latch.on_trial(self.spec, encrypted=self.srtp.keyring is not None)

    def replay(self, lane: Lane, count: int, out: list[bytes]) -> None:
        """Process what a dead worker had received. Its choice of a source holds; our socket is not connected yet."""
        self.latch.vouch(pure=not lane.named)
        self.receive(lane, count, out)
        self.latch.vouch(pure=False)

    # ---- where it belongs ----
    def _place(self, header: rtp.Parsed, packet: bytes, arrival: int, extended: int | None = None) -> Item | None:
        """Return the place of a genuine packet in its source (`extended`, if known); None if it is not to be stored."""
        _, payload_type, sequence, timestamp, ssrc, begin, end = header
        source, reception = self._source(ssrc, sequence, arrival), self.reception
        found, keyring, gaps = extended is not None, self.srtp.keyring, self.gaps
        extended = source.extend(sequence) if extended is None else extended
        free = keyring is None or (keyring.fresh and not found)
        anew = free and self._begins_anew(source, extended, timestamp, arrival)
        explains = source if source.known and not anew else None
        if anew:
            if gaps.before_restart(source.arrival):
                gaps.note_time(source, arrival, Reason.RESTART)
            extended = source.restart(sequence)
        if keyring and keyring.switched:
            source.roll(keyring.shift(extended))
        if extended > source.highest + 1 and source.known:
            gaps.note(source, extended, timestamp, arrival)
        followed = extended == source.highest + 1 and source.known
        first, verdict = source.first, source.accept(extended)
        if verdict in (Verdict.DUPLICATE, Verdict.OLD):
            self._refuse(verdict, source, extended)
            return None
        if arrival - reception.last_arrival > QUIET or gaps.unsettled:
            gaps.broken(self.spec, explains, timestamp, arrival)
        if verdict is Verdict.LATE:
            gaps.late(source, extended, first, arrival)
            reception.reorder(source, timestamp, arrival)
        else:
            if payload_type != reception.payload_type:
                reception.switch(payload_type, self.spec.codec(payload_type)[1])
            reception.follow(source, timestamp, arrival, end - begin, goes_on=explains is not None, followed=followed)
        if self.pauses.items and self.pauses.unwanted(self.spec, header, packet, arrival):
            return None
        reception.store(end - begin, arrival)
        return extended, arrival, header, packet

    def _begins_anew(self, source: Source, extended: int, timestamp: int, arrival: int) -> bool:
        """Tell a restarted sender from missing packets and from a late one."""
        if not source.jumped(extended) or self.reception.agrees(source, extended, arrival):
            return False
        return not self.gaps.overdue(source, extended, timestamp, arrival)

    def _refuse(self, verdict: Verdict, source: Source, extended: int) -> None:
        """Count a packet that was here before or comes too late; under SRTP it may be a replay."""
        if verdict is Verdict.OLD:
            self._late(source, extended)
        elif self.srtp.keyring:
            self.reception.reject()
        else:
            self.reception.repeat()

    def _source(self, ssrc: int, sequence: int, arrival: int) -> Source:
        """Return the source of an SSRC; a new SSRC is a new source in the same stream (RFC 3550 section 8)."""
        before, keyring, gaps = self.reception.current, self.srtp.keyring, self.gaps
        if before is not None and before.ssrc == ssrc:
            return before
        if before is None:
            gaps.first_heard(self.spec, arrival)
        elif self.reception.source_of(ssrc) is None and gaps.before_restart(before.arrival) and not gaps.kept:
            gaps.note_time(before, arrival, Reason.RESTART)
        rollover = (keyring.rollover if keyring.switched else 0) if keyring else None
        return self.reception.turn_to(ssrc, sequence, rollover)

    # ---- what is missing ----
    def forgive(self, begin: int, end: int | None) -> None:
        """Excuse what is missing in this time (ns; to None while it lasts): hold and pause."""
        self.gaps.forgive(self.spec, begin, end)

    def unstored(self, count: int, begin: int, end: int) -> None:
        """Subtract packets that were not written to disk, and note when (ns) they came; it may continue."""
        self.gaps.unstored(self.spec, count, begin, end)
        self.reception.lose(count)

    def listens(self, now: int) -> bool:
        """Note from time to time that the socket of a stream that was never heard was empty; True if it was noted."""
        return self.gaps.listens(now)

    def finish(self, at: int) -> None:
        """At the end, note what is missing up to then (ns)."""
        self.gaps.finish(self.spec, at)

    def resume(self, at: int, kept: bool, heard: int = 0) -> None:
        """Continue as the successor of a worker: `kept` with its sockets; `heard` as in GapTracker.resume."""
        self.gaps.resume(self.spec, self.pauses, at, kept, heard)
        self.latch.resume(self.spec, encrypted=self.srtp.keyring is not None)

    def steady(self) -> tuple[object, ...]:
        """Return all that a successor has to know and batches in sequence do not change, as values to compare."""
        return (
            self.spec.stream, self.spec.source, self.latch.name, self.srtp.check, self.probation.unproven,
            self.reception.steady(), self.gaps.steady(),
        )  # fmt: skip

    # ---- re-offer ----
    def expect(self, spec: StreamSpec) -> None:
        """Add the key of a re-offer whose other changes follow, and accept packets from its new source."""
        self.srtp.expect(spec)
        if _moves(self.spec, spec):
            self.latch.expect(spec)

    def change(self, spec: StreamSpec, at: int, out: list[bytes]) -> bool:
        """Apply a re-offer; return True if the socket must hear everybody again until the first genuine packet."""
        before, self.spec = self.spec, spec
        self.latch.change(spec)
        if spec.held != before.held:
            out.append(
                record_format.mark(spec.stream, record_format.Mark.HOLD if spec.held else record_format.Mark.UNHOLD, at)
            )
            if spec.held:
                self.gaps.forgive(spec, at, None)
            else:
                self.gaps.end_excuse(spec, None if self.pauses.lasting else at)
        if self.reception.payload_type is not None:
            self.reception.switch(self.reception.payload_type, spec.codec(self.reception.payload_type)[1])
        self.srtp.change(spec, before)
        self._open_early(at, out)
        if not _moves(before, spec):
            return False
        self.latch.move(at)
        return True

    def _open_early(self, at: int, out: list[bytes]) -> None:
        """Open what came under a key just before its offer, as rtpengine sends it."""
        items: list[Item] = []
        for plain, extended, arrival in self.srtp.open_early(self.reception, at):
            self.reception.reject(-1)
            if self.srtp.keyring and self.srtp.keyring.switched and self.reception.sources:
                out.append(record_format.mark(self.spec.stream, record_format.Mark.KEY, arrival))
            with contextlib.suppress(Malformed):
                item = self._place(rtp.parse(plain), plain, arrival, extended)
                items += [item] if item is not None else []
        out.extend(group(self.spec.stream, items))

    def rekey(self, spec: StreamSpec) -> None:
        """Set the keys from a handshake."""
        before, self.spec = self.spec, spec
        self.srtp.change(spec, before)


def _moves(before: StreamSpec, after: StreamSpec) -> bool:
    return (before.source, before.here, before.suite is None) != (after.source, after.here, after.suite is None)
