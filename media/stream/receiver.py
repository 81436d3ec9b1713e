"""One recorded stream: batches in, records and counters out (DESIGN section 3).

Order per batch: source check, SRTP, sequence, record; nothing unauthenticated changes any state. Two roads lead to the
same packets: `media.stream.fast_path` for a batch in unbroken order, a handful of C calls for all of it, and `_singly`
for everything else.
"""

import contextlib
from collections.abc import Callable

from media.errors import Malformed
from media.receive.batch import Lane, address
from media.records import record_format
from media.records.writer import Item, group
from media.rtp import header as rtp
from media.rtp.sequence import Source, Verdict
from media.rtp.statistics import jitter_of
from media.spec import DEFAULT_CLOCK, Address, Allowed, StreamSpec, pack_ip, unit_of
from media.srtp.context import REPLAYED
from media.srtp.keyring import Keyring, renewed
from media.srtp.srtcp import Srtcp
from media.stream import (
    fast_path,
    gap_detection,
    outage,
    overtaken,
    pause_filter,
    refused_packets,
    rekeyed,
    rtcp_reports,
    source_latch,
    source_probation,
)
from media.stream.gap_detection import NEVER
from media.stream.gaps import Gaps, Reason
from media.stream.pauses import Pauses
from media.stream.source_probation import Unproven

_SECOND = 1_000_000_000
#: Sources of one stream that are told apart; beyond, the one is settled that was heard least lately (RFC 3550 section 8
#: expects a change now and then).
MAX_SOURCES = 16
#: A timestamp step above this many seconds is a pause, not a packet's length.
MAX_STEP_SECONDS = 1
#: ns after a re-offer in which packets from where the source was before may still be on their way.
STRAGGLE = 2_000_000_000
#: ns by which packets under a key may be ahead of the offer that tells it, and how many of them are kept: 0.6 s of
#: sound, since an INVITE that UDP has lost comes again after 0.5 s (T1 of RFC 3261 section 17.1.1.1).
EARLY = 2_000_000_000
MAX_EARLY = 32


class Track:
    """The state of one stream."""

    __slots__ = (
        "allowed",
        "cold",
        "coming",
        "connected",
        "control_keys",
        "current",
        "duplicates",
        "early", "epoch",
        "excused_from",
        "excused_until",
        "first_arrival",
        "foreign",
        "gaps",
        "greet",
        "jitter",
        "kept",
        "keyring",
        "last_arrival",
        "last_size",
        "latch_wish",
        "late",
        "left",
        "listened",
        "name",
        "outgoing",
        "own_ssrc",
        "packets",
        "pauses",
        "payload_type",
        "pure",
        "refused",
        "rejected",
        "reordered",
        "report_base",
        "reports",
        "resumed_at",
        "retired",
        "sender_report",
        "sent",
        "since",
        "size",
        "sources",
        "spec",
        "unit",
        "unproven",
        "unsettled",
    )  # fmt: skip

    def __init__(self, spec: StreamSpec, pauses: Pauses, own_ssrc: int) -> None:
        self.spec = spec
        self.pauses = pauses
        self.own_ssrc = own_ssrc
        self.keyring = Keyring(spec.suite, spec.key, spec.mki, spec.others, spec.alternates) if spec.suite else None
        #: Keys of the RTCP port where it has its own.
        self.control_keys = Keyring(spec.rtcp_suite, spec.rtcp_key) if spec.rtcp_suite else None
        self.outgoing = Srtcp(spec.own_suite, spec.own_key) if spec.own_suite and spec.own_key else None
        #: Takes (is RTCP port, datagram, sender) that is no RTP, and tells whether it was for it; with DTLS only.
        self.greet: Callable[[bool, bytes, Address], bool] | None = None
        self.allowed = Allowed.of(spec)
        #: Where packets may come from besides: the sources of re-offers that were heard of and not followed yet.
        self.coming: tuple[Allowed, ...] = ()
        #: The sockaddr that was chosen, empty before; and the one the shell is asked to connect to.
        self.name = b""
        self.latch_wish: bytes | None = None
        #: The one before a re-offer that moved the source, and until when (ns) its packets may still come.
        self.left = (b"", 0)
        #: Connected, and nothing that came before that is left in the socket: the kernel vouches for the source.
        self.connected = False
        self.pure = False
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing heard and nothing missed."""
        #: In the order of their first packets; nearly always one, for which a dict would take six times the memory.
        self.sources: tuple[Source, ...] = ()
        self.current: Source | None = None
        #: The newest packets that no key opened, with their arrivals (ns): the offer that tells it may be under way.
        self.early: tuple[tuple[bytes, int], ...] = ()
        #: Bits above 16 of the numbers with which plain sources begin: no number is used by who was heard first and by
        #: who the offer names.
        self.epoch = 0
        #: Packets of plain RTP that do not follow and that no second one has borne out yet
        #: (media.stream.source_probation).
        self.unproven: tuple[Unproven, ...] = ()
        #: (expected, received, lost) of sources that were forgotten.
        self.retired = (0, 0, 0)
        self.packets = self.duplicates = self.rejected = self.foreign = self.late = self.reordered = self.size = 0
        self.first_arrival = self.last_arrival = 0
        self.jitter = 0.0
        self.payload_type = -1
        #: ns of one timestamp unit.
        self.unit = unit_of(DEFAULT_CLOCK)
        self.gaps = Gaps()
        #: Holes that reach into this time (ns) are nobody's fault: hold, pause.
        self.excused_from = 0
        self.excused_until = NEVER if self.spec.held or self.pauses.lasting else 0
        #: From when on (ns) silence is a gap: answer, end of a hold, a report of silence; 0 = never, NEVER = not now.
        self.since = 0
        #: A silence is marked that the next packet may explain.
        self.unsettled = False
        #: How many packets no key opened since the last good one, and when the first of them came.
        self.refused = (0, 0)
        #: Payload bytes of the newest packet; packets that the sender counted in its last report, -1 before one.
        self.last_size = 0
        self.sent = -1
        #: When a successor took over; whether the sockets were those of before.
        self.resumed_at = 0
        self.kept = True
        #: When (ns) its socket was last known to be empty, while nobody was ever heard.
        self.listened = 0
        #: (expected, received) at the last report, and (middle of NTP, arrival) of the last sender report.
        self.report_base = (0, 0)
        self.sender_report = (0, 0)
        #: Reports protected so far: the SRTCP index a successor has to begin behind.
        self.reports = 0
        #: Encoded rare state; None = more has changed than a batch in unbroken order does (media.stream.checkpoint).
        self.cold: bytes | None = None

    # ---- batches ----
    def receive(self, lane: Lane, count: int, out: list[bytes]) -> None:
        """Take the `count` packets of a lane; append what is to be stored to `out`.

        A report on a shared port lies among packets in unbroken order, which it does not break.
        """
        begin, sole = 0, self.pure or (count > 1 and source_latch.sole(self, lane, count))
        for slot in rtcp_reports.among(lane, count, self.payload_type) if sole else ():
            self._receive(lane.behind(begin), slot - begin, out, sole)
            rtcp_reports.receive(self, lane.behind(slot), 1, out, own_port=False)
            begin = slot + 1
        self._receive(lane.behind(begin), count - begin, out, sole)

    def _receive(self, lane: Lane, count: int, out: list[bytes], sole: bool) -> None:
        """Take packets by the fast path, or by the slow one where they are not for that.

        `sole`: all of them come from the source that was chosen.
        """
        if not count:
            return
        opened: fast_path.Opened | None = None
        if sole and count > 1 and not self.unproven and not (self.current and self.current.lag):
            stored, opened = fast_path.take(self, lane, count, out)
            if stored:
                return
        self._singly(lane, count, opened, out)

    def _singly(self, lane: Lane, count: int, opened: fast_path.Opened | None, out: list[bytes]) -> None:
        """Take packets one by one, whatever they are."""
        items: list[Item] = []
        self.cold = None
        for slot in range(count):
            packet, arrival = lane.packet(slot), lane.arrival(slot)
            if packet is None:
                self.rejected += 1
            elif not rtp.is_media(packet):
                self.stranger(False, lane, slot, packet)
            elif rtp.is_rtcp(packet):
                rtcp_reports.take(self, packet, lane.address(slot), arrival, out)
            else:
                self._take(lane, slot, packet, arrival, opened, items, out)
        out.extend(group(self.spec.stream, items))

    def _take(
        self, lane: Lane, slot: int, packet: bytes, arrival: int, opened: fast_path.Opened | None, items: list[Item],
        out: list[bytes],
    ) -> None:  # fmt: skip
        """Check and decrypt one RTP packet, then place it."""
        if not (self.pure or (self.keyring and self.spec.learn)) and not source_latch.admits(self, lane, slot):
            self.foreign += 1
            return
        extended = None
        if self.keyring is None:
            if self.spec.dtls or (self.latched is None and source_latch.is_former(self, lane.address(slot), packet)):
                self.foreign += 1
                if self.spec.dtls:
                    refused_packets.unopened(self, packet, arrival)
                return
        elif opened is not None and not opened.statuses[slot]:
            packet = opened.bench.opened(slot)
            self.keyring.switched = False
        else:
            known, tried = [s.ssrc for s in self.sources], opened and opened.context
            expected = bool(self.name) or lane.address(slot)[0] in self.allowed
            plain = self.keyring.open(packet, arrival, known, tried, expected=expected)
            if isinstance(plain, int):
                status = opened.statuses[slot] if opened else plain
                status = status if status in REPLAYED else plain  # of any key: it may be an older one's
                found = overtaken.find(self, packet, status) or outage.find(self, packet, arrival)
                found = found or rekeyed.find(self, packet, arrival)
                if found is None:
                    self._unopened(packet, arrival, status)
                    return
                plain, extended = found
            packet = plain
        try:
            header = rtp.parse(packet)
        except Malformed:
            self.rejected += 1
            return
        if not self.name or self.trial:
            mark = source_latch.choose(self, lane, slot, arrival)
            if mark:  # behind what came before it
                out.extend((*group(self.spec.stream, items), mark))
                items.clear()
        if self.keyring and self.keyring.switched and self.sources:
            out.append(record_format.mark(self.spec.stream, record_format.Mark.KEY, arrival))
        doubtful = self.keyring is None and source_probation.doubtful(self, header, arrival)
        if doubtful or self.unproven:
            self._prove(Unproven(header, packet, arrival), doubtful, items)
            return
        item = self._place(header, packet, arrival, extended)
        if item is not None:
            items.append(item)

    def _prove(self, one: Unproven, doubtful: bool, items: list[Item]) -> None:
        """Place a packet of plain RTP with those that waited for it, unless it has to wait itself."""
        for each in source_probation.proven(self, one, doubtful):
            item = self._place(each.header, each.packet, each.arrival)
            if item is not None:
                items.append(item)

    def _unopened(self, packet: bytes, arrival: int, status: int) -> None:
        """Count a packet that is not genuine, a replay, or too late for libsrtp to tell."""
        if status == refused_packets.OLD and refused_packets.too_late(self, packet):
            return
        self.rejected += 1
        if status not in REPLAYED:
            refused_packets.unopened(self, packet, arrival)
            self.early = (*self.early, (packet, arrival))[-MAX_EARLY:]

    def stranger(self, rtcp: bool, lane: Lane, slot: int, packet: bytes) -> None:
        """Take what is no media: a handshake's datagram where one is expected, else nothing of ours."""
        if self.greet is not None and self.greet(rtcp, packet, self.sender(rtcp, lane, slot)):
            return
        self.foreign += 1

    def give_dtls_to(self, handshake: Callable[[bool, bytes, Address], bool] | None) -> None:
        """Have what is no media given to a handshake, which tells whether it took it; None: there is none."""
        self.greet = handshake

    def sender(self, rtcp: bool, lane: Lane, slot: int) -> Address:
        """Give where a packet came from; the kernel is not asked for who is the only one there can be."""
        return self.latched if self.pure and not rtcp and self.latched else lane.address(slot)

    # ---- where it comes from ----
    @property
    def latched(self) -> Address | None:
        """Give the address that was chosen, None before."""
        return address(self.name) if self.name else None

    @property
    def trial(self) -> bool:
        """Tell whether the source that was chosen gives way to the one that the offer names."""
        return (
            bool(self.name) and self.keyring is None and not self.pure and not self.coming
            and self.spec.source is not None and self.latched != self.offered
        )  # fmt: skip

    @property
    def offered(self) -> Address | None:
        """Return where the offer says that media come from."""
        source = self.spec.source
        return source and (pack_ip(source[0]), source[1])

    # ---- where it belongs ----
    def _place(self, header: rtp.Parsed, packet: bytes, arrival: int, extended: int | None = None) -> Item | None:
        """Give a genuine packet its place in its source (`extended`, if known); None if it is not to be stored."""
        _, payload_type, sequence, timestamp, ssrc, begin, end = header
        source = self._source(ssrc, sequence, arrival)
        found, keyring = extended is not None, self.keyring
        extended = source.extend(sequence) if extended is None else extended
        free = keyring is None or (keyring.fresh and not found)
        anew = free and self._begins_anew(source, extended, timestamp, arrival)
        explains = source if source.known and not anew else None
        if anew:
            if source.arrival < self.resumed_at:
                gap_detection.note_time(self, source, arrival, Reason.RESTART)
            extended = source.restart(sequence)
        if keyring and keyring.switched:
            source.shift = keyring.shift(extended)
        if extended > source.highest + 1 and source.known:
            gap_detection.note(self, source, extended, timestamp, arrival)
        followed = extended == source.highest + 1 and source.known
        first, verdict = source.first, source.accept(extended)
        if verdict in (Verdict.DUPLICATE, Verdict.OLD):
            self._refuse(verdict, source, extended)
            return None
        if arrival - self.last_arrival > gap_detection.QUIET or self.unsettled:
            gap_detection.broken(self, explains, timestamp, arrival)
        if verdict is Verdict.LATE:
            self.reordered += 1
            gap_detection.late(self, source, extended, first, arrival)
            source.lag = self._transit(source, timestamp, arrival)
        else:
            self._time(source, payload_type, timestamp, arrival, explains is not None, followed)
            self.last_size = end - begin
        if self.pauses.items and pause_filter.unwanted(self.spec, self.pauses, header, packet, arrival):
            return None
        self.packets += 1
        self.size += end - begin
        self.first_arrival = self.first_arrival or arrival
        self.last_arrival = max(self.last_arrival, arrival)
        return extended, arrival, header, packet

    def _begins_anew(self, source: Source, extended: int, timestamp: int, arrival: int) -> bool:
        """Tell a sender that starts anew from packets that are missing and from a late one."""
        if not source.jumped(extended) or gap_detection.agrees(self, source, extended, arrival):
            return False
        return not refused_packets.overdue(self, source, extended, timestamp, arrival)

    def _refuse(self, verdict: Verdict, source: Source, extended: int) -> None:
        """Count a packet that was here before or comes too late; under SRTP it may be a replay."""
        if verdict is Verdict.OLD:
            refused_packets.late(self, source, extended)
        elif self.keyring:
            self.rejected += 1
        else:
            self.duplicates += 1

    def _source(self, ssrc: int, sequence: int, arrival: int) -> Source:
        """Give the source of an SSRC; a new one is a new source in the same stream (RFC 3550 section 8)."""
        if self.current is not None and self.current.ssrc == ssrc:
            return self.current
        source = next((each for each in self.sources if each.ssrc == ssrc), None)
        if source is None:
            before = self.current
            if before is None:
                gap_detection.first_heard(self, arrival)
            rollover = (self.keyring.rollover if self.keyring.switched else 0) if self.keyring else self.epoch
            source = Source(ssrc, rollover << 16 | sequence)
            self.sources = (*self.sources, source)
            if before is not None and before.arrival < self.resumed_at and not self.kept:
                gap_detection.note_time(self, before, arrival, Reason.RESTART)
            if len(self.sources) > MAX_SOURCES:
                self._settle_one()
        self.current = source
        return source

    def _settle_one(self) -> None:
        """Forget one source for a new one, never the one that was heard most: anybody can name sources in plain RTP."""
        most = max(self.sources, key=lambda each: each.received)
        old = min((each for each in self.sources[:-1] if each is not most), key=lambda each: each.arrival)
        if self.keyring is None:  # should it come back, no number of it is used twice
            self.epoch = max(self.epoch, 1 + (old.highest >> 16))
        self._retire(old)
        self.sources = tuple(each for each in self.sources if each is not old)

    def displace(self) -> None:
        """Let whom the offer names take the place of who was heard until now, with numbers of its own."""
        self.epoch = max([self.epoch, *(1 + (each.highest >> 16) for each in self.sources)])
        for each in self.sources:
            self._retire(each)
        self.foreign += len(self.unproven)
        self.sources, self.current, self.unproven = (), None, ()

    def _retire(self, old: Source) -> None:
        expected, received, lost = self.retired
        self.retired = expected + old.expected, received + old.received, lost + old.lost

    def _transit(self, source: Source, timestamp: int, arrival: int) -> float:
        """Move the jitter by a packet against the one that arrived before it, whatever their numbers (RFC 3550 6.4.1).

        Give how much longer (ns) it was on its way than the packet with the highest number.
        """
        longer = arrival - source.arrival - _signed((timestamp - source.timestamp) & 0xFFFFFFFF) * self.unit
        self.jitter = jitter_of(self.jitter, longer - source.lag)
        return longer

    def _time(
        self, source: Source, payload_type: int, timestamp: int, arrival: int, goes_on: bool, followed: bool
    ) -> None:
        """Note the clocks of the newest packet of a source."""
        if payload_type != self.payload_type:
            self.payload_type = payload_type
            self.unit = unit_of(self.spec.codec(payload_type)[1])
        if goes_on:
            self._transit(source, timestamp, arrival)
        if followed:
            step = (timestamp - source.timestamp) & 0xFFFFFFFF
            if 0 < step * self.unit <= MAX_STEP_SECONDS * _SECOND and (not source.step or step < source.step):
                source.step = step
        source.timestamp, source.arrival, source.lag = timestamp, arrival, 0.0

    # ---- re-offer ----
    def expect(self, spec: StreamSpec) -> None:
        """Take the key of a re-offer whose other changes follow, and bear with packets from where it moves to."""
        if self.keyring and spec.suite:
            self.keyring.add(spec.suite, spec.key, spec.mki, spec.others, spec.alternates)
        if _moves(self.spec, spec):
            self.coming = (*self.coming, Allowed.of(spec))
            self.connected = self.pure = False  # the kernel vouches for nobody any more

    def change(self, spec: StreamSpec, at: int, out: list[bytes]) -> bool:
        """Take a re-offer; True if the socket has to hear everybody again until the first genuine packet."""
        before, self.spec, self.cold, self.coming = self.spec, spec, None, ()
        self.allowed = Allowed.of(spec)
        if spec.held != before.held:
            out.append(
                record_format.mark(spec.stream, record_format.Mark.HOLD if spec.held else record_format.Mark.UNHOLD, at)
            )
            lasts = spec.held or self.pauses.lasting
            gap_detection.forgive(self, at if spec.held else self.excused_from, NEVER if lasts else at)
        if self.payload_type >= 0:
            self.unit = unit_of(spec.codec(self.payload_type)[1])
        self._rekey(spec, before)
        self._open_early(at, out)
        if not _moves(before, spec):
            return False
        self.move(at)
        return True

    def _open_early(self, at: int, out: list[bytes]) -> None:
        """Open what came under a key just before the offer that told it, as rtpengine sends it."""
        early, self.early, items = self.early, (), list[Item]()
        for packet, arrival in early if self.keyring else ():
            if at - arrival > EARLY or self.keyring is None:
                continue
            plain, extended = self.keyring.open(packet, arrival, [s.ssrc for s in self.sources]), None
            if isinstance(plain, int):
                found = rekeyed.find(self, packet, arrival)
                if found is None:
                    continue
                plain, extended = found
            self.rejected -= 1
            if self.keyring.switched and self.sources:
                out.append(record_format.mark(self.spec.stream, record_format.Mark.KEY, arrival))
            with contextlib.suppress(Malformed):
                item = self._place(rtp.parse(plain), plain, arrival, extended)
                items += [item] if item is not None else []
        out.extend(group(self.spec.stream, items))

    def move(self, at: int) -> None:
        """Forget the source that was chosen under another offer; the next genuine packet chooses anew."""
        self.left = (self.name, at + STRAGGLE) if self.name else self.left
        self.name, self.latch_wish = b"", None
        self.connected, self.pure, self.coming = False, False, ()

    def rekey(self, spec: StreamSpec) -> None:
        """Take keys that a handshake gave."""
        before, self.spec, self.cold = self.spec, spec, None
        self._rekey(spec, before)

    def _rekey(self, spec: StreamSpec, before: StreamSpec) -> None:
        """Take new keys; those of an association that is being replaced serve until its successor has some."""
        if spec.suite or spec.dtls is None:
            self.keyring = renewed(self.keyring, spec.suite, spec.key, spec.mki, spec.others, spec.alternates)
        if spec.rtcp_suite or spec.dtls is None:
            self.control_keys = renewed(self.control_keys, spec.rtcp_suite, spec.rtcp_key, 0)
        suite = spec.own_suite
        if suite is None and spec.dtls is None:
            self.outgoing = None
        elif suite and spec.own_key and (before.own_suite, before.own_key) != (suite, spec.own_key):
            self.outgoing = Srtcp(suite, spec.own_key, self.reports)  # a key may come back: no index is used twice


def _moves(before: StreamSpec, after: StreamSpec) -> bool:
    return (before.source, before.here, before.suite is None) != (after.source, after.here, after.suite is None)


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
