"""End a recording: seal the media, write the last document, sync, answer the BYE, index, release."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from media.records import record_format
from recorder.calls.context import Node, Resources
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.calls.repair_queue import Left, RepairQueue
from recorder.errors import NotPossible
from recorder.persist.checkpoint import Checkpoints, Mark
from recorder.persist.durability import Durability
from recorder.persist.indexer import Indexer
from recorder.persist.repair import take_back
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.index_row import row_of
from storage.calls.call_document import CallDocument
from storage.calls.call_row import CallRow
from storage.errors import StorageError, SyncFailed

CLOSE_SECONDS = 60.0
"""Seconds to seal a part before it is recovered instead, without what waits in the sockets. Long enough for several
workers in a row to hang and be replaced.
"""


class Finalizer:
    """Runs the last steps of every recording of the node."""

    def __init__(
        self,
        node: Node,
        resources: Resources,
        checkpoints: Checkpoints,
        live: Live,
        repairs: RepairQueue,
        indexer: Indexer,
        feed: Callable[[LiveCall, e.Event], None],
        *,
        flush: Callable[[], None],
        load_changed: Callable[[], None],
    ) -> None:
        """`feed` gives a recording an event; `flush`, `load_changed`: see recorder.calls.executor."""
        self._node = node
        self._endpoint = resources.endpoint
        self._ports = resources.ports
        self._notify = resources.notify
        self._workers = resources.workers
        self._disk = resources.disk
        self._storage = resources.storage
        self._indexer = indexer
        self._flush = flush
        self._load_changed = load_changed
        self._checkpoints = checkpoints
        self._live = live
        self._repairs = repairs
        self._feed = feed
        self._durability = Durability(resources.syncer)

    async def close_media(self, call: LiveCall) -> None:
        """Have the worker seal the media part, then report that to the recording."""
        figures: Mapping[int, Mapping[str, Any]] = {}
        clean = False
        try:
            if call.started:
                async with asyncio.timeout(CLOSE_SECONDS):
                    final = await self._workers.close(call.id)
                figures, clean = final.streams, final.clean
                if final.part:
                    self._checkpoints.returned(call.id)
        except (TimeoutError, OSError):
            self._node.log.warning("media.close_failed", call=call.id)
            self._workers.drop(call.id)
        self._feed(call, e.MediaClosed(figures, clean))

    async def finish(self, call: LiveCall, command: c.Finish) -> None:
        """Write and seal everything, wait until it is durable, then answer and index."""
        try:
            async with call.files.lock:
                call.files.seal(command.document)
                await self._disk.together(partial(call.files.put_away, sealed=command.sealed))
                if call.files.media_part > 1 or not command.sealed:  # a repair keeps the disk busy for a while
                    await asyncio.to_thread(call.files.end_media)
            await self._durability.wait(call.files.epoch)
        except (StorageError, NotPossible, OSError) as problem:
            self._not_durable(call, command.document, problem)
            return
        self._mark_over(call)
        self._answer_bye(call, durable=True)
        self._release(call)
        self._ended(call)
        self.index(call, self._sized(call, command.document), done=lambda: self._checkpoints.remove(call.id))
        self._load_changed()

    def _ended(self, call: LiveCall) -> None:
        """Count a finished recording. An incomplete one is an incident of its customer only."""
        recording, customer, state = call.recording, call.customer.name, call.recording.shown_state()
        self._node.metrics.call(state, customer)
        seconds = recording.seconds(self._node.now())
        self._node.log.info(
            "call.ended", call=recording.id, customer=customer, source=recording.source, seconds=seconds, result=state
        )
        if state == "interrupted":
            self._node.incidents.add("call-interrupted", customer, call=recording.id, reason=recording.reason or "")
        self._node.metrics.inferred_owners.inc(recording.inferred)

    def _not_durable(self, call: LiveCall, document: CallDocument, problem: Exception) -> None:
        """Tell the client that the recording is not durable, and queue it for repair."""
        self._storage.trouble(problem)
        self._node.log.fault("call.finish_failed", problem, call=call.id)
        if isinstance(problem, SyncFailed):
            call.recording.not_durable()
            document = {**document, "state": "interrupted"}
        self.abandon(call, document)
        self._ended(call)

    def _sized(self, call: LiveCall, document: CallDocument) -> CallDocument:
        try:
            return {**document, "size_bytes": call.files.size()}
        except (StorageError, OSError) as problem:
            self._node.log.fault("call.size_unknown", problem, call=call.id)
            return document

    def _answer_bye(self, call: LiveCall, *, durable: bool) -> None:
        token = call.recording.take_bye()
        if token is None:
            return
        if durable:
            self._endpoint.confirm(token, self._node.monotonic())
        else:
            self._endpoint.refuse(token, 500, self._node.monotonic())
        self._flush()

    async def cut(self, call: LiveCall, before: int, parts: Sequence[tuple[str, int | None]]) -> None:
        """Finish the media parts below number `before` at the lengths that their dead worker had committed.

        A length of None means that the worker's spool was lost: then all genuine data are kept, and the streams'
        figures are lost.
        """
        whole = dict(parts)
        lengths = {f"m{n}": whole.get(f"m{n}", 0) for n in range(1, before)}
        await self._guarded(call, partial(call.files.end_before, before, lengths))
        lost = [name for name, length in parts if length is None]
        if not lost:
            return
        if await asyncio.to_thread(_has_media, call, lost):
            self._node.log.error("media.spool_lost", call=call.id)
            self._feed(call, e.Distrusted("spool-lost"))

    async def end_controls(self, call: LiveCall, before: int) -> None:
        """Finish the control parts below number `before`, which a previous process wrote."""

        def work() -> None:
            for number in range(1, before):
                call.files.end_part(f"c{number}")

        await self._guarded(call, work)

    async def part_ended(self, call: LiveCall, part: str, committed: int) -> None:
        """Finish a media part that its worker has left for the next one."""
        number = int(part[1:])
        if number < call.files.media_part:  # the newest is being written, whatever a worker says
            await self._guarded(call, partial(call.files.end_one, number, committed))

    async def _guarded(self, call: LiveCall, work: Callable[[], None]) -> None:
        """Finish parts in a thread, not two at once."""
        async with call.files.lock:
            try:
                await asyncio.to_thread(work)
            except (StorageError, OSError) as problem:  # retried at the end of the recording or at the next start
                self._node.log.fault("call.part_not_ended", problem, call=call.id)

    def index(self, call: LiveCall, document: CallDocument, done: Callable[[], None] | None = None) -> None:
        """Queue the call for its customer's database."""
        live, began = document["state"] == "recording", call.recording.started
        started_at = began.wall if began else self._node.now().wall
        make = partial(self._row, call, document)
        self._indexer.put_later(call.customer, call.id, call.leaf, started_at, make, live=live, done=done)

    def _row(self, call: LiveCall, document: CallDocument) -> tuple[CallRow, tuple[str, ...]]:
        """Return the row of a call, and the forms it is found by."""
        row = row_of(document, call.leaf)
        return row, call.search_forms(document)

    def _release(self, call: LiveCall) -> None:
        """Release everything that was held for the call."""
        call.files.close()
        streams = (
            call.recording.streams or ()
        )  # the recording's state may be damaged by a bug: its ports are released regardless
        for pair, former in call.sockets.release(self._notify, {s.number: s.figures for s in streams}):
            self._ports.release(pair, former)
        call.recording.release()
        self._live.remove(call)

    def _mark_over(self, call: LiveCall) -> None:
        """Keep a successor of this process from continuing the call; only indexing is left."""
        try:
            self._checkpoints.mark_over(call.id)
        except OSError:
            self._checkpoints.remove(call.id)

    def discard(self, call: LiveCall) -> None:
        """Discard a recording that never started: its files hold nothing but a refused offer."""
        self._workers.drop(call.id)  # even if a worker received only some of the messages
        self._release(call)
        if call.files.maybe_there:
            self._repairs.refuse(call.id)
            self._mark_refused(call)
            self._node.tasks.start(self._remove(call), "discard")
        else:
            self._checkpoints.remove(call.id)
        self._load_changed()

    def _mark_refused(self, call: LiveCall) -> None:
        """Keep a successor of this process from taking the files for those of an interrupted call."""
        try:
            self._checkpoints.mark_refused(Mark(call.id, call.customer.name, call.leaf, ()), call.customer.keys)
        except (OSError, StorageError) as problem:
            self._node.log.fault("call.not_discarded", problem, call=call.id)

    async def _remove(self, call: LiveCall) -> None:
        """Remove the files once the disk has finished their pending requests, or as soon as it can."""
        await self._disk.without_limit(_nothing)
        try:
            await asyncio.to_thread(take_back, call.customer, call.id, call.leaf)
        except (StorageError, OSError) as problem:
            self._node.log.fault("call.not_discarded", problem, call=call.id)
            self._repairs.put(Left(call.customer, call.id, call.leaf))
        else:
            self._repairs.taken_back(call.id)
            self._checkpoints.remove(call.id)

    def abandon(self, call: LiveCall, document: CallDocument | None = None) -> None:
        """Release a call that cannot be finished normally; the repair queue repairs and indexes its parts."""
        self._answer_bye(call, durable=False)
        self._workers.drop(call.id)
        self._mark_over(call)
        self._release(call)
        self._repairs.put(Left(call.customer, call.id, call.leaf, document))
        self._load_changed()


def _nothing() -> None:
    pass


def _has_media(call: LiveCall, parts: Sequence[str]) -> bool:
    """Return whether any of these parts holds media."""
    for part in parts:
        ref = call.customer.vault.find(call.id, call.leaf, part)
        with suppress(StorageError, ValueError):  # `verify` names the defect
            for record in record_format.read(call.customer.vault.read(ref, live=True)) if ref else ():
                if isinstance(record, record_format.Run | record_format.Mixed | record_format.Packet):
                    return True
    return False
