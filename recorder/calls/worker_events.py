"""Handle what media workers report: figures for recordings and metrics, failures, their death."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from recorder.calls.context import Node
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.liveness import heard
from recorder.calls.recordings import new_certificate
from recorder.calls.registry import Live
from recorder.calls.storage_health import StorageHealth
from recorder.calls.stream_specs import new_call
from recorder.errors import NotPossible
from recorder.session import events as e
from recorder.workers import messages
from recorder.workers.counters import Growth, Tally, growth
from recorder.workers.pool import Workers
from storage.errors import StorageError

COUNTED = (
    ("stored", "packets"),
    ("rejected", "rejected"),
    ("foreign", "foreign"),
    ("late", "late"),
    ("duplicate", "duplicates"),
)
"""Result label of recorder_rtp_packets_total and the figure it counts."""


MANY_STRANGERS = 200
"""Bad packets a second on one stream that raise an alarm: twice what a stream and its RTCP normally bring."""


class WorkerEvents:
    """Handles every event of the workers."""

    def __init__(
        self,
        node: Node,
        workers: Workers,
        storage: StorageHealth,
        live: Live,
        executor: Executor,
        make_way: Callable[[], None],
    ) -> None:
        """`make_way` ends the daemon so that a successor from the new files can start."""
        self._node = node
        self._workers = workers
        self._storage = storage
        self._make_way = make_way
        self._live = live
        self._executor = executor
        self._take: Mapping[type, Callable[[Any], None]] = {
            messages.Stats: self._stats,
            messages.Final: self._final,
            messages.NeedPart: self._need_part,
            messages.Resumed: self._resumed,
            messages.PartEnded: self._part_ended,
            messages.DiskTrouble: self._disk_trouble,
            messages.CallFault: self._fault,
            messages.RefusedPackets: self._strangers,
            messages.Keyed: self._keyed,
            messages.Unkeyed: self._unkeyed,
            messages.Severed: self._severed,
            messages.WorkerDied: self._died,
            messages.OtherVersion: self._other_version,
        }

    def on_event(self, event: messages.WorkerEvent) -> None:
        """Handle one event; a bug ends only the call it belongs to."""
        take = self._take.get(type(event))
        try:
            if take:
                take(event)
        except Exception as problem:
            self._node.log.fault("worker_event.fault", problem)
            call = self._live.by_id(getattr(event, "call", ""))
            if call:
                self._executor.give_up(call, problem)

    # ---- figures ----
    def _stats(self, event: messages.Stats) -> None:
        """Take figures of many calls; a bug in one call does not lose the figures of another."""
        sums = [0] * len(Growth._fields)
        for name, counts in event.calls.items():
            call = self._live.by_id(name)
            if call is None:
                continue
            try:
                self._count(call, {each.stream: Tally(each) for each in counts}, sums)
            except Exception as problem:
                self._executor.give_up(call, problem)
        self._add(sums)

    def _final(self, event: messages.Final) -> None:
        sums, call = [0] * len(Growth._fields), self._live.by_id(event.call)
        if call is not None:
            self._count(call, event.streams, sums)
            self._add(sums)

    def _count(self, call: LiveCall, figures: Mapping[int, Mapping[str, Any]], sums: list[int]) -> None:
        """Add what is new since the last report to `sums`, and give the figures to the streams."""
        spoke = False
        for stream in call.recording.streams:
            fresh = figures.get(stream.number)
            if fresh is None:
                continue
            more = growth(stream.figures, fresh)
            spoke = spoke or heard(more)
            for at, count in enumerate(more):
                if count > 0:
                    sums[at] += count
            stream.measured(_renewed(stream.figures, fresh))  # not an event: nothing ever follows from it
        if spoke:
            call.noticed(self._node.monotonic())

    def _add(self, sums: Iterable[int]) -> None:
        """Add to the metrics once for all calls of a message: a metric costs more than the figures of a call."""
        more, metrics = Growth._make(sums), self._node.metrics
        for label, name in COUNTED:
            if count := getattr(more, name):
                metrics.rtp.labels(label).inc(count)
        if more.lost:
            metrics.rtp_lost.inc(more.lost)
        if more.gap_ms:
            metrics.gaps.inc(more.gap_ms / 1000)

    # ---- failures ----
    def _need_part(self, event: messages.NeedPart) -> None:
        """A worker died: its calls continue in new parts, from their spools."""
        call = self._live.by_id(event.call)
        if call is None:
            self._workers.drop(event.call)
            return
        try:
            call.strand()
            self.go_on(call, kept=True)
        except (StorageError, NotPossible, OSError) as problem:
            self._storage.trouble(problem)
            self._node.log.fault("media.resume_failed", problem, call=call.id)

    def help_stranded(self) -> None:
        """Retry calls that nobody records because no part could be made; runs every second."""
        for call in self._live:
            if call.stranded:
                self.on_event(messages.NeedPart(call.id))

    def go_on(self, call: LiveCall, *, kept: bool, earlier: Iterable[messages.Key] = ()) -> None:
        """Have a worker continue a call in a new part.

        `kept`: the sockets are the previous ones; `earlier`: keys of earlier offers that a previous main process knew.
        """
        part = self._executor.next_part(call)
        self._executor.checkpoint(call)
        self._executor.checkpoints.lend(call.id)
        streams = call.recording.streams
        new = new_call(
            call.recording, part, self._executor.specs(call, [s.plan() for s in streams]), call.spool_key
        )  # fmt: skip
        pairs, files = call.sockets.pairs, call.files
        self._workers.resume(new, pairs, files.media_fd, files.spool_fd, kept=kept, earlier=earlier)
        if earlier:  # successors need them too, until the packets under them have been read
            self._executor.checkpoint(call)
        # the previous process may have died before it did this
        if gone := [s.number for s in streams if s.removed and not s.port]:
            self._workers.change(call.id, (), {}, gone)
        call.taken()

    def _resumed(self, event: messages.Resumed) -> None:
        """Finish the earlier parts at the reported lengths; what lies behind was written again in the new one."""
        call = self._live.by_id(event.call)
        if call is None:
            return
        before = min(int(event.part[1:]), call.files.media_part)
        self._node.tasks.start(self._executor.finishing.cut(call, before, event.parts), "cut")
        self._executor.guarded(call, e.Resumed(event.part))
        self._node.log.info("media.resumed", call=event.call, part=event.part)

    def _part_ended(self, event: messages.PartEnded) -> None:
        """Finish a part that is complete although its call goes on."""
        call = self._live.by_id(event.call)
        if call is not None:
            self._node.tasks.start(self._executor.finishing.part_ended(call, event.part, event.committed), "part")

    def _disk_trouble(self, event: messages.DiskTrouble) -> None:
        self._storage.trouble(OSError(event.errno, "a media part cannot be written"))

    def _fault(self, event: messages.CallFault) -> None:
        self._node.log.error("media.call_fault", call=event.call, at=event.where)
        call = self._live.by_id(event.call)
        if call:
            self._executor.guarded(call, e.StopAsked("media-fault", interrupted=True))
            self._executor.flush()

    def _keyed(self, event: messages.Keyed) -> None:
        """Save keys of a handshake at once: the peer would not repeat the handshake for our successor."""
        call = self._live.by_id(event.call)
        if call is None:
            return
        self._node.metrics.dtls.labels("keyed").inc()
        keys = e.Keyed(event.stream, event.rtcp, event.suite, event.theirs, event.ours, event.fingerprints)
        self._executor.guarded(call, keys)
        if call.recording.alive:
            self._executor.checkpoint(call)
        self._node.log.info("media.keyed", call=event.call, stream=event.stream)

    def _unkeyed(self, event: messages.Unkeyed) -> None:
        """Raise an alarm: the call continues, but nothing of this stream can be stored."""
        call = self._live.by_id(event.call)
        if call is None:
            return
        self._node.metrics.dtls.labels(event.reason).inc()
        self._node.incidents.add("dtls-failed", call.customer.name, call=event.call, reason=event.reason)
        self._node.log.error("media.unkeyed", call=event.call, stream=event.stream, reason=event.reason)
        self._executor.guarded(call, e.Unkeyed(event.stream, event.reason))

    def _severed(self, event: messages.Severed) -> None:
        """Ask the client for another handshake; if it accepts no offers from us, the worker tries alone."""
        call = self._live.by_id(event.call)
        if call is None:
            return
        self._node.metrics.dtls.labels("severed").inc()
        self._node.log.warning("media.severed", call=event.call, stream=event.stream)
        self._executor.guarded(call, e.Severed(new_certificate()))
        if call.recording.alive:
            self._executor.checkpoint(call)
        self._executor.flush()

    def _strangers(self, event: messages.RefusedPackets) -> None:
        call = self._live.by_id(event.call)
        if call is not None and event.rejected + event.foreign >= MANY_STRANGERS:
            self._node.incidents.add("media-strangers", call.customer.name, call=event.call)
        self._node.log.warning(
            "media.strangers", call=event.call, stream=event.stream, rejected=event.rejected, foreign=event.foreign
        )

    def _died(self, event: messages.WorkerDied) -> None:
        self._node.metrics.worker_restarts.inc()
        self._node.incidents.add("worker-died", None, reason=event.why)
        self._node.log.error("media.worker_died", worker=event.worker, reason=event.why, calls=event.calls)

    def _other_version(self, event: messages.OtherVersion) -> None:
        """End the daemon: its successor and the successor's workers run the same files, and keep all calls."""
        hint = "The recorder's files were replaced while it was running. It stops now so that it can be restarted."
        self._node.log.error("media.other_version", worker=event.worker, hint=hint)
        self._make_way()


def _renewed(known: Mapping[str, Any], fresh: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the newest of everything known; counters alone stay as small as they are."""
    return fresh if isinstance(known, Tally) or not known else {**known, **fresh}
