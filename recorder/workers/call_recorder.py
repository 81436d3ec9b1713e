"""One call inside a media worker: empty the sockets of its streams and write the media part, commit by commit.

A commit: empty the sockets into the receive region, turn the packets into records, seal whole segments, write once to
the part, write the commit slot once to the spool. If the slot cannot hold what has changed, the base is written anew
first. The slot decides: whatever a kill interrupts, a successor finds either the previous commit (and replays the
region) or this one.
"""

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from media.receive.batch import SLOTS
from media.receive.receive_region import LANES, RTCP
from media.receive.recvmmsg import OrphanedRegion, Region
from media.receive.sockets import disconnect
from media.records import commit_slots, record_format
from media.spec import StreamSpec
from media.stream import checkpoint
from media.stream.gaps import MAX_GAPS
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from media.stream.report import figures
from recorder.workers.messages import Counts, NewCall, Part, StreamFigures
from recorder.workers.part_writer import Missed, PartWriter
from recorder.workers.rtcp_sender import Reports, counts, leave
from recorder.workers.stream_sockets import StreamSockets, close_all, expect, newest_slot, overwrite_unsealed, replay

if TYPE_CHECKING:
    from recorder.workers.dtls_sockets import Handshakes

#: Rounds of one tick: 16 × 64 packets a socket are 20 s of audio; a fuller socket waits for the next tick.
MAX_ROUNDS = 16
#: Rounds when there is no next tick, because a stream ends or changes: more than the largest buffer holds.
LAST_ROUNDS = 1_024


class CallRecorder:
    """Records one call: empties its sockets, and writes its part and its spool for a successor."""

    __slots__ = (
        "_base",
        "_based_on",
        "_key",
        "_knows_pauses",
        "_nonces",
        "_parts",
        "_pauses",
        "_random",
        "_reports",
        "_send_event",
        "_spool_fd",
        "_unsaved",
        "_writer",
        "clean",
        "closed",
        "generation",
        "handshakes",
        "id",
        "sockets",
    )  # fmt: skip

    def __init__(
        self, new: NewCall, part_fd: int, spool_fd: int, random: Callable[[int], bytes],
        tell: Callable[[Any], None] = lambda _: None, nonces: commit_slots.Nonces | None = None,
    ) -> None:  # fmt: skip
        """`nonces`: the worker's, for everything it seals in all its spools."""
        self.id = new.call
        self._key = new.spool_key
        self._nonces = nonces or commit_slots.Nonces(random(commit_slots.KEY))
        self._random = random
        self._spool_fd = spool_fd
        self._pauses = Pauses(new.pauses or ())
        self._knows_pauses = new.pauses is not None
        self.sockets: dict[int, StreamSockets] = {}
        #: With DTLS-SRTP only.
        self.handshakes: Handshakes | None = None
        self._send_event = tell
        self.generation = 0
        #: errno of the last save if it failed.
        self._unsaved: int | None = None
        self._parts: tuple[tuple[str, int | None], ...] = ()
        self._writer = PartWriter(new.part, part_fd, self._key)
        #: Number of the base that the last slot names, and a digest of what that holds; None: the next slot needs one.
        self._base = 0
        self._based_on: int | None = None
        self._reports = Reports(random)
        self.clean = True
        self.closed = False

    # ---- streams ----
    def add_streams(self, streams: Iterable[StreamSpec], descriptors: Mapping[int, list[int]], at: int) -> None:
        """Start streams with their sockets; media are expected from `at` on (ns since the epoch).

        A stream without sockets was removed before a worker died: only its figures continue.
        """
        for spec in streams:
            stream = ReceivedStream(spec, self._pauses, int.from_bytes(self._random(4), "big"))
            sockets = self.sockets[spec.stream] = StreamSockets(stream, descriptors.get(spec.stream, ()))
            stream.gaps.expect(None if sockets.rtp < 0 else spec.since or at)
            if sockets.rtp < 0:
                continue
            self._reports.watch(spec)
            if spec.dtls:
                self._associate(sockets)

    def change(
        self, region: Region, streams: Iterable[StreamSpec], descriptors: Mapping[int, list[int]],
        removed: Iterable[int], at: int,
    ) -> None:  # fmt: skip
        """Take a re-offer: its keys at once, since packets under them may be waiting; the rest after those packets."""
        expect(self.sockets, streams)
        self.drain(region, at, rounds=LAST_ROUNDS)
        if self.handshakes is not None:
            streams = [self.handshakes.keyed(spec) for spec in streams]
        out: list[bytes] = []
        for number in removed:
            sockets = self.sockets.get(number)
            if sockets:
                out.append(record_format.mark(number, record_format.Mark.HOLD, at))
                sockets.stream.forgive(at, None)
                leave(sockets, at)
                self._silence(sockets)
        known = [spec for spec in streams if spec.stream in self.sockets and self.sockets[spec.stream].rtp >= 0]
        for spec in known:
            sockets = self.sockets[spec.stream]
            if sockets.stream.change(spec, at, out):
                disconnect(sockets.rtp)
            if spec.dtls or sockets.stream.greet:
                self._associate(sockets)
        fresh = {number: fds for number, fds in descriptors.items() if number not in {spec.stream for spec in known}}
        self._renew(streams, fresh, at)
        for number, fds in descriptors.items():
            if number not in fresh:
                close_all(fds)
        self._commit(out, at)

    def _renew(self, streams: Iterable[StreamSpec], fresh: Mapping[int, list[int]], at: int) -> None:
        """Start new streams; one that was removed before continues with new sockets."""
        for spec in streams:
            sockets = self.sockets.get(spec.stream)
            if sockets is not None and spec.stream in fresh:
                sockets.stream.change(spec, at, [])
                if not (spec.held or self._pauses.lasting):
                    sockets.stream.gaps.end_excuse(spec, at)
                self.sockets[spec.stream] = StreamSockets(sockets.stream, fresh[spec.stream])
                if spec.dtls:
                    self._associate(self.sockets[spec.stream])
        self.add_streams([spec for spec in streams if spec.stream not in self.sockets], fresh, at)

    def _silence(self, sockets: StreamSockets) -> None:
        sockets.close()
        if self.handshakes is not None:
            self.handshakes.end(sockets)

    # ---- DTLS ----
    @property
    def handshaking(self) -> bool:
        """Return whether a handshake is in progress, so that waiting for a tick takes too long."""
        return self.handshakes is not None and self.handshakes.pending

    def advance_handshakes(self, region: Region, now: int) -> None:
        """Read what arrived, and send what is due in the handshakes in progress."""
        self.drain(region, now)
        if self.handshakes is not None and self.handshakes.turn():
            self._commit([], now)

    def reached(self) -> None:
        """Note that the client has our answer."""
        if self.handshakes is not None:
            self.handshakes.reached()

    def _associate(self, sockets: StreamSockets) -> None:
        """Continue the DTLS association if a re-offer names the same one, otherwise start the one it names."""
        if self.handshakes is None:
            from recorder.workers.dtls_sockets import Handshakes  # 50 ms and 8 MB that a node without DTLS-SRTP saves

            self.handshakes = Handshakes(self.id, self._random, self._send_event)
        self.handshakes.begin(sockets)

    # ---- pauses ----
    @property
    def paused(self) -> bool:
        """Return whether recording is paused."""
        return self._pauses.lasting

    def pause(self, at: int) -> None:
        """Drop everything that arrives from `at` on; each packet's arrival time decides, whenever it is read."""
        if self._pauses.begin(at):
            self._forgive(at, None)
            self._mark(record_format.Mark.PAUSE, at)

    def unpause(self, at: int) -> None:
        """Store what arrives from `at` on."""
        if self._pauses.end(at):
            self._forgive(self._pauses.items[-1][0], at)
            self._mark(record_format.Mark.RESUME, at)

    def _forgive(self, begin: int, end: int | None) -> None:
        for sockets in self.sockets.values():
            if sockets.rtp >= 0 and not sockets.stream.spec.held:  # media of a removed stream are no longer expected
                sockets.stream.forgive(begin, end)

    def _mark(self, kind: record_format.Mark, at: int, value: int = 0) -> None:
        self._commit([record_format.mark(record_format.ALL_STREAMS, kind, at, value)], at)

    # ---- the tick ----
    def drain(self, region: Region, now: int, *, reports: bool = False, rounds: int = MAX_ROUNDS) -> None:
        """Empty the sockets and commit, until nothing is left or the other calls have their turn.

        `now` is in ns since the epoch; `reports` also reads RTCP, which otherwise has its own interval.
        """
        hearing = [sockets for sockets in self.sockets.values() if sockets.rtp >= 0]
        sources = [(sockets, False) for sockets in hearing if not sockets.open_to_all]
        emptied = len(sources) == len(hearing)
        due = self._reports.due(now)
        if self.handshakes is not None:
            self.handshakes.start_round(now)
        if due or reports or self.handshaking:
            sources += [(sockets, True) for sockets in self.sockets.values() if sockets.rtcp >= 0]
        for start in range(0, len(sources), LANES):
            group = sources[start : start + LANES]
            for _ in range(rounds):
                if not self._round(region, group, now):
                    break
            else:
                emptied = False
        if emptied and self._pauses.items:
            self._pauses.forget(now)
        if emptied and not self.heard and sum(sockets.stream.listens(now) for sockets in hearing):
            self._save()
        if due:
            self._reports.send(self.sockets.values(), now)
        if not self._pauses.lasting:
            self._reports.ask(self.sockets, now)

    def _round(self, region: Region, group: list[tuple[StreamSockets, bool]], now: int) -> bool:
        """Read one batch of each socket and commit them; True if a socket may hold more."""
        streams = [sockets.stream.spec.stream | RTCP if rtcp else sockets.stream.spec.stream for sockets, rtcp in group]
        named = [rtcp or not sockets.stream.latch.pure for sockets, rtcp in group]
        region.begin(self.id.encode(), self.generation + 1, streams, named)
        out: list[bytes] = []
        more = got = False
        for i, (sockets, rtcp) in enumerate(group):
            count = region.receive(i, sockets.rtcp if rtcp else sockets.rtp)
            if count:
                got = True
                more = more or count == SLOTS
                if rtcp:
                    sockets.stream.receive_rtcp(region.lanes[i], count, out)
                else:
                    sockets.stream.receive(region.lanes[i], count, out)
            if not rtcp and not sockets.stream.latch.pure:
                sockets.settle(count)
        if got or self._writer.open:
            self._commit(out, now)
        if got and not self._unsaved:  # otherwise a successor needs them
            for i, (sockets, _) in enumerate(group):
                if sockets.stream.srtp.keyring is None:
                    region.erase(i)
        return more

    # ---- commit ----
    def _commit(self, out: list[bytes], now: int) -> None:
        """Seal and write records, then the slot."""
        self._writer.write(b"".join(out), now)
        self._miss(self._writer.missed(), now)
        self.clean = self.clean and not self._writer.dropping
        handshakes = self.handshakes if self.handshakes and self.handshakes.waiting else None
        if handshakes is not None:
            handshakes.note()
        self._save()
        if handshakes is not None:  # what waits may be sent, because a successor would know about it
            handshakes.speak()

    def _miss(self, missed: Missed, end: int) -> None:
        """Mark with each commit what the disk has refused so far: a successor could not tell."""
        for number, count in missed.packets.items():
            if number in self.sockets:
                self.sockets[number].stream.unstored(count, missed.since, end)

    def _save(self) -> None:
        """Write the commit slot; if that fails, the call continues and the previous slot stays valid."""
        writer, generation = self._writer, self.generation + 1
        streams = [sockets.stream for sockets in self.sockets.values()]
        rest, basis = writer.rest, self._basis(streams)
        anew = basis != self._based_on
        try:
            if anew:
                self._rebase(streams)
            slot = commit_slots.pack_slot(
                writer.cipher, self._nonces, generation, writer.committed, self._base + anew, writer.number,
                self.closed, checkpoint.moving(streams), rest,
            )  # fmt: skip
            at = commit_slots.middle(generation) - len(slot)
            written = os.pwrite(self._spool_fd, slot, at)
        except OSError as problem:
            self._unsaved = problem.errno or errno.EIO
            return
        self._unsaved = None if written == len(slot) else errno.ENOSPC
        if not self._unsaved:
            self.generation = generation
            self._base += anew
            self._based_on = basis
            writer.leave_rest(self._spool_fd, at, len(slot))

    def _basis(self, streams: list[ReceivedStream]) -> int:
        """Return a digest of what a base holds."""
        handshakes = self.handshakes.revision if self.handshakes else None
        return hash((self._parts, tuple(self._pauses.items), handshakes, checkpoint.steady(streams)))

    def _rebase(self, streams: list[ReceivedStream]) -> None:
        """Write the base anew, next to the one that the last slot names; raises OSError."""
        dtls = {"dtls": self.handshakes.state()} if self.handshakes else {}
        head = {"parts": self._parts, "pauses": self._pauses.items, **dtls}
        base = commit_slots.pack_base(
            self._writer.cipher, self._nonces, self._base + 1, json.dumps(head).encode(), checkpoint.pack(streams)
        )  # fmt: skip
        if os.pwrite(self._spool_fd, base, commit_slots.middle(self._base + 1)) != len(base):
            raise OSError(errno.ENOSPC, "the base of a commit slot is truncated")

    # ---- parts ----
    def next_part(
        self, region: Region, part: Part, descriptor: int, now: int, finished: int = 0
    ) -> tuple[str, int]:  # fmt: skip
        """Seal this part as far as it can be written and continue in the next one, which gets the rest.

        `finished`: number up to which main has finished the earlier parts. Return the name and length of this one.
        """
        self.drain(region, now)
        self._writer.finish(b"", now)
        rest = self._writer.remainder + self._writer.hole(now)
        ended = self._writer.name, self._writer.committed
        self._parts = (*(each for each in self._parts if int(each[0][1:]) > finished), ended)
        self._writer.close()
        self._writer = PartWriter(part, descriptor, self._key)
        self._commit([rest] if rest else [], now)
        return ended

    def close(self, region: Region, at: int) -> int:
        """Read the sockets a last time and seal the part; return its ciphertext length."""
        self.drain(region, at, reports=True, rounds=LAST_ROUNDS)
        for sockets in self.sockets.values():
            sockets.stream.finish(at)
            leave(sockets, at)
            sockets.decide()
        self.closed = self._writer.finish(record_format.mark(record_format.ALL_STREAMS, record_format.Mark.END, at), at)
        self.clean = self.clean and self.closed
        if not self.closed:
            self._miss(self._writer.untaken(at), at)
        self._save()
        return self._writer.committed

    def release(self) -> None:
        """Close all our descriptors."""
        for sockets in self.sockets.values():
            sockets.close()
        self._writer.close()
        os.close(self._spool_fd)

    # ---- resume ----
    def resume(self, region: Region, raw: str | int | None, kept: bool, at: int) -> None:
        """Continue from a dead worker's spool: first what it had not sealed, then what it had not committed.

        `raw`: its receive region, a path or a descriptor, which is closed.
        """
        slot = newest_slot(self._spool_fd, self._key)
        out: list[bytes] = []
        looked: dict[int, int] = {}
        if slot is not None:
            head = json.loads(slot.head)
            self._parts = (*((name, length) for name, length in head["parts"]), (f"m{slot.part}", slot.committed))
            expected = max((sockets.stream.spec.since for sockets in self.sockets.values()), default=0)
            self._pauses.take_over(
                [(a, b) for a, b in head["pauses"]], (expected or at) if self._knows_pauses else None
            )
            if self.handshakes is not None and "dtls" in head:  # earlier versions did not write it
                self.handshakes.inherit(head["dtls"], self.sockets.values())
            knew = checkpoint.restore(
                slot.state, slot.moving, {number: sockets.stream for number, sockets in self.sockets.items()}
            )
            looked = dict.fromkeys(knew, self.heard)
            self.generation, self._base = slot.generation, slot.base
            out.append(slot.remainder)
        if self.handshakes is not None:
            self.handshakes.start_round(at)
        replayed = raw and replay(OrphanedRegion(raw, region.buffer), self.id, self.generation + 1, self.sockets, out)
        if slot is None and not replayed:  # lost, or nothing arrived: a successor could not tell either
            self._parts = tuple((f"m{number}", None) for number in range(1, self._writer.number))
        lost = 0 if kept or not self.heard else max(0, at - self.heard)
        out.append(record_format.mark(record_format.ALL_STREAMS, record_format.Mark.RESTART, at, lost))
        for number, sockets in self.sockets.items():
            if sockets.rtp >= 0:  # otherwise it was removed, and no packet can have been missed since
                sockets.stream.resume(at, kept, looked.get(number, 0))
                if sockets.stream.trial:
                    disconnect(sockets.rtp)  # earlier versions connected it permanently after ten seconds
        with contextlib.suppress(OSError):  # the valid copy is in memory; the next one in the file comes after it
            overwrite_unsealed(self._spool_fd, but=slot.generation if slot else -1)
        self._commit(out, at)
        if not self._unsaved:
            with contextlib.suppress(OSError):
                overwrite_unsealed(self._spool_fd)
        self._catch_up(region, at)

    def _catch_up(self, region: Region, at: int) -> None:
        """Apply the re-offers that the dead worker never received, after the packets that came before them."""
        moved = [sockets for sockets in self.sockets.values() if sockets.stream.latch.coming]
        if moved:
            self.drain(region, at, rounds=LAST_ROUNDS)
        for sockets in moved:
            sockets.stream.latch.move(at)
            disconnect(sockets.rtp)  # main may have died before it did
        if moved:
            self._save()

    # ---- figures ----
    @property
    def part(self) -> str:
        """Return the name of the part being written."""
        return self._writer.name

    @property
    def heard(self) -> int:
        """Return when the newest packet of any stream arrived, ns since the epoch; 0 if none did."""
        return max((sockets.stream.reception.last_arrival for sockets in self.sockets.values()), default=0)

    @property
    def trouble(self) -> int | None:
        """Return the errno of the last write of the part or the spool that failed; None if both succeeded."""
        return self._writer.trouble or self._unsaved

    @property
    def parts(self) -> tuple[tuple[str, int | None], ...]:
        """Return the earlier parts with their committed lengths, None if unknown."""
        return self._parts

    def figures(self, most_gaps: int = MAX_GAPS) -> tuple[StreamFigures, ...]:
        """Return everything known about the streams; at most `most_gaps` gaps of each are listed."""
        return tuple(cast(StreamFigures, figures(sockets.stream, most_gaps)) for sockets in self.sockets.values())

    def counts(self) -> tuple[Counts, ...]:
        """Return the counters of the streams."""
        return tuple(counts(sockets.stream) for sockets in self.sockets.values())
