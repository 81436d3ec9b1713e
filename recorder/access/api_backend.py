"""What the admin API asks of the running daemon: live calls, rendered media, health (admin_api.http.ports)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from admin_api.http.messages import Message
from admin_api.http.ports import CannotRender, Rendered, Streamed
from media.export.encoder import Container
from media.export.timeline_survey import BASE_RATE
from recorder.calls.context import Node
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.calls.status import System
from recorder.exports.render_client import LATER, Renderer, RenderFailed, RenderStream
from recorder.exports.render_job import DAMAGED, PEAKS
from recorder.exports.render_sources import media_parts, render_streams
from recorder.exports.wav_stream import open_stream
from recorder.persist.indexer import Indexer
from recorder.session import events as e
from recorder.session.document_builder import figures
from recorder.session.index_row import parse_time
from recorder.workers.pool import Workers
from storage.calls.call_document import CallDocument, Stream, with_parties
from storage.calls.call_index import CallRow
from storage.calls.call_row import Fresh
from storage.customer.customers import Customer
from storage.errors import StorageError

CONTENT_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "opus": "audio/ogg",
    "mp3": "audio/mpeg",
    "mkv": "video/x-matroska",
    "pcap": "application/vnd.tcpdump.pcap",
    PEAKS: "application/json",
}

WHOLE = 16 << 20
"""Bytes of WAV, 9 minutes of stereo, up to which a call is rendered at once and cached briefly, so that a player can
seek.
"""

SETTLE_SECONDS = 5.0
"""Seconds a request waits for the database to take a call that just started."""


MEASURE_SECONDS = 1.0
"""Seconds to wait for a worker, which answers within milliseconds; a hanging one is replaced later."""


class Daemon:
    """The daemon's side of the admin API."""

    def __init__(
        self,
        node: Node,
        customers: Mapping[str, Customer],
        workers: Workers,
        indexer: Indexer,
        live: Live,
        executor: Executor,
        clock: Callable[[], datetime] | None = None,
        system: System | None = None,
    ) -> None:
        """`clock` returns the time that retention uses; `system` has the samples of the last hour."""
        self._system = system or System(node, customers, workers, indexer, live)
        self._clock = clock or (lambda: node.now().wall)
        self._node = node
        self._customers = customers
        self._workers = workers
        self._indexer = indexer
        self._live = live
        self._executor = executor
        self._renderer = Renderer()

    # ---- live calls ----
    def document(self, customer: str, call: str) -> CallDocument | None:
        """Return the newest document of a live call, or of one that ended and is not in the database yet."""
        found = self._live.by_id(call)
        if found is not None:
            own = found.customer.name == customer
            return _with_users(found.customer, found.recording.call_document(self._node.now())) if own else None
        row = self._indexer.pending(customer, call)
        if row is None or not self._customers[customer].keys.keeps(row.leaf):
            return None  # a call that was just erased may still be queued, but is never written
        return _with_users(self._customers[customer], row.document())

    async def documents(
        self, customer: str, calls: Sequence[str], *, measured: bool = False
    ) -> dict[str, CallDocument]:
        """Return the newest documents of the live ones among these calls, with what is stored of them so far.

        `measured`: ask a worker for current figures. Otherwise the figures are those of its last report, without times.
        """
        found = {call: self.document(customer, call) for call in calls}
        live = [one for call in calls if found[call] and (one := self._live.by_id(call)) and one.recording.alive]
        for one in live if measured else ():
            await self._measure(one, found)
        if live:
            sizes = await asyncio.to_thread(_written, [(one, one.files.parts) for one in live])
            for call, size in sizes.items():
                found[call] = {**(found[call] or {}), "size_bytes": size}
        return {call: document for call, document in found.items() if document is not None}

    async def _measure(self, call: LiveCall, found: dict[str, CallDocument | None]) -> None:
        """Put current figures into a document; if a worker does not answer, the older ones stay."""
        with suppress(TimeoutError):
            async with asyncio.timeout(MEASURE_SECONDS):
                figures_now = (await self._workers.snapshot(call.id)).streams
            shown = found[call.id]
            if shown is not None:
                numbered = zip(call.recording.streams, shown["streams"], strict=False)  # a re-offer may have added some
                streams: list[Stream] = [
                    {**each, **figures(figures_now[s.number])} if s.number in figures_now else each
                    for s, each in numbered
                ]
                found[call.id] = {**shown, "streams": streams}

    async def unwritten(self, customer: Customer, call: str | None = None) -> Sequence[Fresh]:
        """Return the changes that the index does not have yet, of a customer or of one call."""
        return await self._indexer.unwritten(customer, call)

    def pause(self, customer: str, call: str) -> bool:
        """Pause a recording; False if there is no such live call."""
        return self._ask(customer, call, e.PauseAsked())

    def resume(self, customer: str, call: str) -> bool:
        """Resume a recording; False if there is no such live call."""
        return self._ask(customer, call, e.ResumeAsked())

    async def settle(self, customer: str, call: str) -> bool:
        """Write a call to the index now, live or missing there; False on a timeout."""
        indexer = self._indexer
        if indexer.pending(customer, call) is not None:  # first, so that other missing calls do not delay this one
            return await indexer.hurry(customer, call, SETTLE_SECONDS)
        return await indexer.repaired(customer, SETTLE_SECONDS)

    async def settle_all(self, customer: str) -> bool:
        """Write everything that the index lacks for a customer now; False on a timeout."""
        if not await self._indexer.hurry_all(customer, SETTLE_SECONDS):
            return False
        indexed = self._customers[customer].indexed
        # Do not wait for nodes that are away: their last recordings are indexed when they return, if they do.
        return indexed is None or await indexed.reached(SETTLE_SECONDS, away=False)

    def lacking(self, customer: str) -> bool:
        """Return whether the index of a customer may lack finished recordings."""
        return self._indexer.lacks(customer)

    def sweep_terms(self) -> tuple[datetime, float]:
        """Return the time that retention uses, and the percentage above which a sweep asks first."""
        return self._clock(), self._node.settings.retention.brake_percent

    def _ask(self, customer: str, call: str, event: e.Event) -> bool:
        found = self._live.by_id(call)
        if found is None or found.customer.name != customer or not found.recording.alive:
            return False
        self._executor.guarded(found, event)
        self._executor.checkpoint(found)
        self._executor.flush()
        return True

    # ---- media ----
    async def render(self, customer: Customer, row: CallRow, form: str) -> Rendered:
        """Decrypt and render a call into unnamed memory, never on disk; the caller closes the descriptor."""
        content_type = CONTENT_TYPES.get(form)
        if content_type is None:
            raise CannotRender(Message("problem.unknown-format", "Unknown format."))
        out = os.memfd_create("render", os.MFD_CLOEXEC)
        try:
            async with media_parts(customer, row) as parts:
                await self._renderer.render(parts, self._streams(customer, row), form, out)
        except RenderFailed as problem:
            os.close(out)
            raise _refused(problem) from None
        except BaseException:
            os.close(out)
            raise
        return Rendered(out, os.fstat(out).st_size, content_type)

    def is_long(self, customer: Customer, row: CallRow, form: str) -> bool:
        """Return whether a call is sent as WAV while it is rendered."""
        document = self.document(customer.name, row.id)  # the index has a live call's document from its start
        duration = document["duration_ms"] if document else row.duration_ms
        return form == Container.WAV and _long(duration, self._streams(customer, row))

    async def stream(self, customer: Customer, row: CallRow) -> Streamed:
        """Open a call to be rendered as WAV while it is sent; the caller closes it."""
        try:
            async with media_parts(customer, row) as parts:
                return await open_stream(parts, self._streams(customer, row))
        except RenderFailed as problem:
            raise _refused(problem) from None

    def _streams(self, customer: Customer, row: CallRow) -> list[RenderStream]:
        document = self.document(customer.name, row.id) or row.details
        return render_streams(document["streams"])

    # ---- health ----
    def not_ready(self) -> str | None:
        """Return why no calls are accepted, or None."""
        return self._system.not_accepting()

    def unopened(self) -> int:
        """Return how many customers could not be opened yet."""
        return len(self._node.settings.customers) - len(self._customers)

    def metrics(self) -> bytes:
        """Return the Prometheus page."""
        return self._node.metrics.page()

    async def system(self, customer: str | None, *, node: bool) -> Mapping[str, Any]:
        """Return the state of a customer's calls and storage, and of the node if requested."""
        return await self._system.document(customer, node=node)

    def incidents(self, customer: str) -> Sequence[Mapping[str, Any]]:
        """Return the incidents of a customer, newest first."""
        return self._node.incidents.of(customer)


def _written(calls: Sequence[tuple[LiveCall, Sequence[str]]]) -> dict[str, int]:
    """Return what is stored of some calls, in a thread: a hanging disk delays only the caller."""
    sizes = {}
    for call, parts in calls:
        with suppress(StorageError, OSError):
            sizes[call.id] = call.customer.vault.written(call.id, call.leaf, parts)
    return sizes


def _refused(problem: RenderFailed) -> CannotRender:
    if str(problem) == DAMAGED:
        damaged = Message(
            "problem.recording-damaged", "The recording is damaged. `recorder verify` names what is damaged."
        )
        return CannotRender(damaged)
    why = Message("problem.cannot-render", "{why}").of(why=problem.sentence())
    return CannotRender(why, later=problem.status == LATER)


def _long(duration_ms: int | None, streams: Sequence[RenderStream]) -> bool:
    """Return whether a call as WAV is too large to be cached in memory for every listener."""
    sound = [stream for stream in streams if stream.media == "audio"]
    rate = max((each.clock for stream in sound for each in stream.payloads.values()), default=BASE_RATE)
    return duration_ms is None or duration_ms / 1000 * rate * 2 * len(sound) > WHOLE


def _with_users(customer: Customer, document: CallDocument) -> CallDocument:
    """Return a document with its users, as the index will have them."""
    began = parse_time(document["started_at"])
    return with_parties(document, customer.user_matcher.parties(document["parties"], began)) if began else document
