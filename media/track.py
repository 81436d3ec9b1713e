"""One recorded stream: batches in, records and counters out (DESIGN section 3).

Order per batch: source check, SRTP, sequence, record; nothing unauthenticated changes any state. Two roads lead to
the same
records: `_evenly` for a batch in which everything is in order and equal, a handful of C calls for all its packets, and
`_singly` for everything else.
"""

from collections.abc import Callable
from itertools import repeat
from operator import floordiv

from media import holes, records, refusals, reporting, rtp
from media.batch import DELTAS, HEADS, LENGTHS, NEAR, TIMES, Lane, deltas_of, payloads, sizes
from media.errors import Malformed
from media.gaps import Gaps, Reason
from media.grouping import Item, group
from media.holes import NEVER
from media.keyring import Keyring, renewed
from media.pauses import Pauses
from media.quality import jitter_of, jitter_of_batch
from media.sequence import Source, Verdict
from media.spec import Address, Allowed, StreamSpec, pack_ip
from media.srtcp import Srtcp
from media.srtp import REPLAYED, Context, lib

_unprotect = lib.srtp_unprotect
_pack_run = records.pack_run
_RUN_FIXED = records.RUN_HEAD - records.HEAD
_RUN_TYPE = records.Kind.RUN << 24
_DELTA = records.DELTA_NS
_SECOND = 1_000_000_000
#: Sources of one stream that are told apart; beyond, the oldest is settled (RFC 3550 section 8 expects a change now
#: and then).
MAX_SOURCES = 16
#: A timestamp step above this many seconds is a pause, not a packet's length.
MAX_STEP_SECONDS = 1


class Track:
    """The state of one stream."""

    __slots__ = (
        "allowed", "cold", "connected", "control_keys", "current", "duplicates", "excused_from", "excused_until",
        "first_arrival", "foreign", "gaps", "greet", "jitter", "kept", "keyring", "last_arrival", "last_size",
        "latch_wish", "latched", "late", "name", "outgoing", "own_ssrc", "packets", "pauses", "payload_type", "pure",
        "refused", "rejected", "reordered", "report_base", "reports", "resumed_at", "retired", "sender_report", "sent",
        "since", "size", "sources", "spec", "unit", "unsettled",
    )  # fmt: skip

    def __init__(self, spec: StreamSpec, pauses: Pauses, own_ssrc: int) -> None:
        self.spec = spec
        self.pauses = pauses
        self.own_ssrc = own_ssrc
        self.keyring = Keyring(spec.suite, spec.key, spec.mki) if spec.suite else None
        #: Keys of the RTCP port where it has its own.
        self.control_keys = Keyring(spec.rtcp_suite, spec.rtcp_key) if spec.rtcp_suite else None
        self.outgoing = Srtcp(spec.own_suite, spec.own_key) if spec.own_suite and spec.own_key else None
        #: Takes (is RTCP port, datagram, sender) that is no RTP, and tells whether it was for it; with DTLS only.
        self.greet: Callable[[bool, bytes, Address], bool] | None = None
        self.allowed = Allowed(spec)
        #: The address that was chosen, its sockaddr, and the sockaddr the shell is asked to connect to.
        self.latched: Address | None = None
        self.name = b""
        self.latch_wish: bytes | None = None
        #: Connected, and nothing that came before that is left in the socket: the kernel vouches for the source.
        self.connected = False
        self.pure = False
        #: In the order of their first packets; nearly always one, for which a dict would take six times the memory.
        self.sources: tuple[Source, ...] = ()
        self.current: Source | None = None
        #: (expected, received, lost) of sources that were forgotten.
        self.retired = (0, 0, 0)
        self.packets = self.duplicates = self.rejected = self.foreign = self.late = self.reordered = self.size = 0
        self.first_arrival = self.last_arrival = 0
        self.jitter = 0.0
        self.payload_type = -1
        #: ns of one timestamp unit.
        self.unit = _SECOND / 8000
        self.gaps = Gaps()
        #: Holes that reach into this time (ns) are nobody's fault: hold, pause.
        self.excused_from = 0
        self.excused_until = NEVER if spec.held or pauses.lasting else 0
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
        #: (expected, received) at the last report, and (middle of NTP, arrival) of the last sender report.
        self.report_base = (0, 0)
        self.sender_report = (0, 0)
        #: Reports protected so far: the SRTCP index a successor has to begin behind.
        self.reports = 0
        #: Encoded rare state; None = to be encoded anew (media.state).
        self.cold: bytes | None = None

    # ---- batches ----
    def receive(self, lane: Lane, count: int, out: list[bytes]) -> None:
        """Take the `count` packets of a lane; append what is to be stored to `out`."""
        statuses: list[int] | None = None
        if self.pure and count > 1:
            lengths = LENGTHS[count](lane.headers, 0)
            longest = max(lengths)
            if longest <= NEAR:
                statuses = self._unprotect(lane, count, lengths) if self.keyring else None
                even = lengths.count(longest) == count and not self.pauses.items
                even = even and (statuses is None or statuses.count(0) == count)
                if even and self._evenly(lane, count, longest, out):
                    return
        self._singly(lane, count, statuses, out)

    def _unprotect(self, lane: Lane, count: int, lengths: tuple[int, ...]) -> list[int] | None:
        """Decrypt a whole batch in the workbench; None if a packet is too short or the suite is not libsrtp's."""
        keyring, bench = self.keyring, lane.workbench
        if keyring is None or keyring.session is None or min(lengths) < 12 + keyring.tag:
            return None
        bench.near[: count * NEAR] = lane.near[: count * NEAR]
        if lengths.count(lengths[0]) == count:
            bench.lengths[:] = sizes(lengths[0])
        else:
            bench.lengths[: 4 * count] = b"".join([length.to_bytes(4, "little") for length in lengths])
        return list(map(_unprotect, repeat(keyring.session, count), bench.packet_pointers, bench.length_pointers))

    def _evenly(self, lane: Lane, count: int, size: int, out: list[bytes]) -> bool:
        """Store a batch of equal packets in unbroken order as one run; False if it is not that, and nothing has
        changed.
        """
        source = self.current
        if source is None:
            return False
        near = lane.near
        if self.keyring:
            near, size = lane.workbench.near, size - self.keyring.tag
        heads = HEADS[count](near, 0)
        firsts, ssrc = heads[::2], source.ssrc
        first = firsts[0]
        # V=2, no padding, extension, CSRC and marker; then payload type, sequence and timestamp, which move all in one
        each = firsts[1] - first
        if first >> 55 != 0x100 or heads[1::2].count(ssrc) != count or each >> 32 != 1:
            return False
        if firsts != tuple(range(first, first + count * each, each)) or (first >> 48 & 127) != self.payload_type:
            return False
        step, timestamp = each & 0xFFFFFFFF, first & 0xFFFFFFFF
        if (first >> 32 & 0xFFFF) != (source.highest + 1) & 0xFFFF:
            return False
        times = TIMES[count](lane.control, 0)
        deltas = deltas_of(times)
        if deltas is None:
            return False
        arrival = times[0] * _SECOND + times[1]
        if arrival - self.last_arrival > holes.QUIET or self.unsettled:
            return False
        length = size - rtp.HEADER
        out.append(
            _pack_run(
                _RUN_TYPE | _RUN_FIXED + 2 * (count - 1) + count * length,
                self.spec.stream, self.payload_type, count, length, ssrc, step, source.highest + 1, timestamp, arrival,
            )
        )  # fmt: skip
        out.append(DELTAS[count - 1](*map(floordiv, deltas, repeat(_DELTA))))
        out.extend(payloads(count, size)(near, 0))
        unit = self.unit
        moved = (timestamp - source.timestamp) & 0xFFFFFFFF
        jitter = jitter_of(self.jitter, arrival - source.arrival - moved * unit)
        self.jitter = jitter_of_batch(jitter, deltas, int(step * unit))
        source.advance(count)
        source.step, source.timestamp = step, timestamp + (count - 1) * step
        source.arrival = self.last_arrival = times[-2] * _SECOND + times[-1]
        self.packets += count
        self.size += count * length
        self.last_size = length
        return True

    def _singly(self, lane: Lane, count: int, statuses: list[int] | None, out: list[bytes]) -> None:
        """Take packets one by one, whatever they are."""
        items: list[Item] = []
        tried = self.keyring.contexts[0] if self.keyring and statuses is not None else None
        self.cold = None
        for slot in range(count):
            packet, arrival = lane.packet(slot), lane.arrival(slot)
            if packet is None:
                self.rejected += 1
            elif not rtp.is_media(packet):
                self.stranger(False, lane, slot, packet)
            elif rtp.is_rtcp(packet):
                reporting.take(self, packet, lane.address(slot), arrival, out)
            else:
                self._take(lane, slot, packet, arrival, statuses, tried, items, out)
        out.extend(group(self.spec.stream, items))

    def _take(
        self, lane: Lane, slot: int, packet: bytes, arrival: int, statuses: list[int] | None, tried: Context | None,
        items: list[Item], out: list[bytes],
    ) -> None:  # fmt: skip
        """Check and decrypt one RTP packet, then place it."""
        if not (self.pure or (self.keyring and self.spec.learn)) and not self._admits(lane.address(slot)):
            self.foreign += 1
            return
        if self.keyring is None:
            if self.spec.dtls or (self.latched is None and self._is_former(lane.address(slot), packet)):
                self.foreign += 1
                if self.spec.dtls:
                    refusals.unopened(self, packet, arrival)
                return
        elif statuses is not None and not statuses[slot]:
            length = int.from_bytes(lane.workbench.lengths[4 * slot : 4 * slot + 4], "little")
            packet = bytes(lane.workbench.near[slot * NEAR : slot * NEAR + length])
            self.keyring.switched = False
        else:
            opened = self.keyring.open(packet, arrival, [s.ssrc for s in self.sources], tried)
            if isinstance(opened, int):
                self._unopened(packet, arrival, statuses[slot] if statuses else opened)
                return
            packet = opened
        try:
            header = rtp.parse(packet)
        except Malformed:
            self.rejected += 1
            return
        if self.latched is None:
            self._latch(lane, slot, arrival, out)
        if self.keyring and self.keyring.switched and self.sources:
            out.append(records.mark(self.spec.stream, records.Mark.KEY, arrival))
        item = self._place(header, packet, arrival)
        if item is not None:
            items.append(item)

    def _unopened(self, packet: bytes, arrival: int, status: int) -> None:
        """Count a packet that is not genuine, a replay, or too late for libsrtp to tell."""
        if status == refusals.OLD and refusals.too_late(self, packet):
            return
        self.rejected += 1
        if status not in REPLAYED:
            refusals.unopened(self, packet, arrival)

    def stranger(self, rtcp: bool, lane: Lane, slot: int, packet: bytes) -> None:
        """Take what is no media: a handshake's datagram where one is expected, else nothing of ours."""
        if self.greet is not None:
            sender = self.latched if self.pure and not rtcp and self.latched else lane.address(slot)
            if self.greet(rtcp, packet, sender):
                return
        self.foreign += 1

    # ---- where it comes from ----
    def _admits(self, address: Address) -> bool:
        """Tell whether plain RTP may come from there: the chosen address, or before the choice an allowed one."""
        return address == self.latched if self.latched else address[0] in self.allowed

    def _is_former(self, address: Address, packet: bytes) -> bool:
        """Tell whether it is who spoke here in the call before and does not stop; not if this offer names them."""
        former, source = self.spec.former, self.spec.source
        if former is None or int.from_bytes(packet[8:12]) not in former[2]:
            return False
        offered = source and (pack_ip(source[0]), source[1])
        return address == (pack_ip(former[0]), former[1]) != offered

    def _latch(self, lane: Lane, slot: int, arrival: int, out: list[bytes]) -> None:
        """Choose the source of the first genuine packet and wish the socket connected to it."""
        self.latched = lane.address(slot)
        self.name = self.latch_wish = lane.name(slot)
        if self.resumed_at or self.packets:
            out.append(records.mark(self.spec.stream, records.Mark.SOURCE, arrival))

    # ---- where it belongs ----
    def _place(self, header: rtp.Parsed, packet: bytes, arrival: int) -> Item | None:
        """Give a genuine packet its place in its source; None if it is not to be stored."""
        _, payload_type, sequence, timestamp, ssrc, begin, end = header
        source = self._source(ssrc, sequence, arrival)
        extended = source.extend(sequence)
        if arrival - self.last_arrival > holes.QUIET or self.unsettled:
            holes.broken(self, source if source.known else None, timestamp, arrival)
        if self.keyring is None and self._begins_anew(source, extended, timestamp, arrival):
            if source.arrival < self.resumed_at:
                holes.note_time(self, source, arrival, Reason.RESTART)
            extended = source.restart(sequence)
        elif self.keyring and self.keyring.switched:
            source.shift = self.keyring.rollover - (extended >> 16)
        if extended > source.highest + 1 and source.known:
            holes.note(self, source, extended, timestamp, arrival)
        followed = extended == source.highest + 1 and source.known
        first, verdict = source.first, source.accept(extended)
        if verdict in (Verdict.DUPLICATE, Verdict.OLD):
            self._refuse(verdict, source, extended)
            return None
        if verdict is Verdict.LATE:
            self.reordered += 1
            holes.late(self, source, extended, first, arrival)
        else:
            self._time(source, payload_type, timestamp, arrival, followed)
            self.last_size = end - begin
        if self.pauses.items and self.pauses.covers(arrival):
            return None
        self.packets += 1
        self.size += end - begin
        self.first_arrival = self.first_arrival or arrival
        self.last_arrival = max(self.last_arrival, arrival)
        return extended, arrival, header, packet

    def _begins_anew(self, source: Source, extended: int, timestamp: int, arrival: int) -> bool:
        """Tell a sender that starts anew from packets that are missing and from a late one."""
        if not source.jumped(extended) or holes.agrees(self, source, extended, arrival):
            return False
        return not refusals.overdue(self, source, extended, timestamp)

    def _refuse(self, verdict: Verdict, source: Source, extended: int) -> None:
        """Count a packet that was here before or comes too late; under SRTP it may be a replay."""
        if verdict is Verdict.OLD:
            refusals.late(self, source, extended)
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
            rollover = self.keyring.rollover if self.keyring and self.keyring.switched else 0
            source = Source(ssrc, rollover << 16 | sequence)
            self.sources = (*self.sources, source)
            if before is not None and before.arrival < self.resumed_at and not self.kept:
                holes.note_time(self, before, arrival, Reason.RESTART)
            if len(self.sources) > MAX_SOURCES:
                self._retire(self.sources[0])
                self.sources = self.sources[1:]
        self.current = source
        return source

    def _retire(self, old: Source) -> None:
        expected, received, lost = self.retired
        self.retired = expected + old.expected, received + old.received, lost + old.lost

    def _time(self, source: Source, payload_type: int, timestamp: int, arrival: int, followed: bool) -> None:
        """Note the clocks of the newest packet of a source."""
        if payload_type != self.payload_type:
            self.payload_type = payload_type
            self.unit = _SECOND / self.spec.codec(payload_type)[1]
        if followed:
            step = (timestamp - source.timestamp) & 0xFFFFFFFF
            self.jitter = jitter_of(self.jitter, arrival - source.arrival - _signed(step) * self.unit)
            if 0 < step * self.unit <= MAX_STEP_SECONDS * _SECOND and (not source.step or step < source.step):
                source.step = step
        source.timestamp, source.arrival = timestamp, arrival

    # ---- re-offer ----
    def expect(self, spec: StreamSpec) -> None:
        """Take the key of a re-offer whose other changes follow."""
        if self.keyring and spec.suite:
            self.keyring.add(spec.suite, spec.key, spec.mki)

    def change(self, spec: StreamSpec, at: int, out: list[bytes]) -> bool:
        """Take a re-offer; True if the socket has to hear everybody again until the first genuine packet."""
        before, self.spec, self.cold = self.spec, spec, None
        self.allowed = Allowed(spec)
        if spec.held != before.held:
            out.append(records.mark(spec.stream, records.Mark.HOLD if spec.held else records.Mark.UNHOLD, at))
            lasts = spec.held or self.pauses.lasting
            holes.forgive(self, at if spec.held else self.excused_from, NEVER if lasts else at)
        if self.payload_type >= 0:
            self.unit = _SECOND / spec.codec(self.payload_type)[1]
        self._rekey(spec, before)
        if (spec.source, spec.suite is None) == (before.source, before.suite is None):
            return False
        self.latched, self.latch_wish, self.connected, self.pure = None, None, False, False
        return True

    def rekey(self, spec: StreamSpec) -> None:
        """Take keys that a handshake gave."""
        before, self.spec, self.cold = self.spec, spec, None
        self._rekey(spec, before)

    def _rekey(self, spec: StreamSpec, before: StreamSpec) -> None:
        """Take new keys; those of an association that is being replaced serve until its successor has some."""
        if spec.suite or spec.dtls is None:
            self.keyring = renewed(self.keyring, spec.suite, spec.key, spec.mki)
        if spec.rtcp_suite or spec.dtls is None:
            self.control_keys = renewed(self.control_keys, spec.rtcp_suite, spec.rtcp_key, 0)
        suite = spec.own_suite
        if suite is None and spec.dtls is None:
            self.outgoing = None
        elif suite and spec.own_key and (before.own_suite, before.own_key) != (suite, spec.own_key):
            self.outgoing, self.reports = Srtcp(suite, spec.own_key), 0


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
