"""What the admin API asks of the running daemon: live calls, rendered media, health (admin_api.ports)."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from admin_api.ports import CannotRender, Rendered, Streamed
from media.encode import Container
from media.survey import BASE_RATE
from recorder import events as e
from recorder.listing import item
from recorder.live import Live
from recorder.node import Node
from recorder.playing import media_parts, render_streams
from recorder.render_job import PEAKS
from recorder.rendering import LATER, Renderer, RenderFailed, RenderStream
from recorder.rows import parse_time
from recorder.runner import Runner
from recorder.streaming import open_stream
from recorder.system import System
from storage.calls import CallRow
from storage.customers import Customer

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
"""Bytes of WAV, 9 minutes of stereo, that are rendered at once and kept for a moment, so that a player may seek."""

SETTLE_SECONDS = 5.0
"""A request waits so long for the database to take a call that began a moment ago."""


class Desk:
    """The daemon's side of the admin API."""

    def __init__(
        self,
        node: Node,
        live: Live,
        runner: Runner,
        clock: Callable[[], datetime] | None = None,
        system: System | None = None,
    ) -> None:
        """`clock` gives the time that retention decides by; `system` has the samples of the last hour."""
        self._system = system or System(node, live)
        self._clock = clock or (lambda: node.now().wall)
        self._node = node
        self._live = live
        self._runner = runner
        self._renderer = Renderer()

    # ---- live calls ----
    def document(self, customer: str, call: str) -> dict[str, Any] | None:
        """Return the newest document of a live call, or of one that ended and is not in the database yet."""
        found = self._live.by_id(call)
        if found is not None:
            own = found.customer.name == customer
            return _with_users(found.customer, found.recording.call_document(self._node.now())) if own else None
        row = self._node.indexer.pending(customer, call)
        if row is None or not self._node.customers[customer].keys.keeps(row.leaf):
            return None  # what was erased a moment ago may wait to be written; it never will be
        return _with_users(self._node.customers[customer], item(customer, row))

    def pause(self, customer: str, call: str) -> bool:
        """Stop keeping what is said; False if there is no such live call."""
        return self._ask(customer, call, e.PauseAsked())

    def resume(self, customer: str, call: str) -> bool:
        """Keep again; False if there is no such live call."""
        return self._ask(customer, call, e.ResumeAsked())

    async def settle(self, customer: str, call: str) -> bool:
        """Have a call written to the index now, a live one or one that it lacks; False if that takes too long."""
        indexer = self._node.indexer
        if indexer.pending(customer, call) is not None:  # so others that are missing keep nobody waiting
            return await indexer.hurry(customer, call, SETTLE_SECONDS)
        return await indexer.whole(customer, SETTLE_SECONDS)

    async def settle_all(self, customer: str) -> bool:
        """Have all that the index lacks of a customer written now; False if that takes too long."""
        return await self._node.indexer.hurry_all(customer, SETTLE_SECONDS)

    def lacking(self, customer: str) -> bool:
        """Say whether the index of a customer may lack finished recordings."""
        return self._node.indexer.lacks(customer)

    def sweep_terms(self) -> tuple[datetime, float]:
        """Return the time that retention decides by, and the percentage above which a sweep asks first."""
        return self._clock(), self._node.settings.retention.brake_percent

    def _ask(self, customer: str, call: str, event: e.Event) -> bool:
        found = self._live.by_id(call)
        if found is None or found.customer.name != customer or not found.recording.alive:
            return False
        self._runner.guarded(found, event)
        self._runner.checkpoint(found)
        self._node.flush()
        return True

    # ---- media ----
    async def render(self, customer: Customer, row: CallRow, form: str) -> Rendered:
        """Decrypt and render a call into memory that has no name on any disk; the caller closes the descriptor."""
        content_type = CONTENT_TYPES.get(form)
        if content_type is None:
            raise CannotRender("The format is not known.")
        out = os.memfd_create("render", os.MFD_CLOEXEC)
        try:
            with media_parts(customer, row) as parts:
                await self._renderer.render(parts, self._streams(customer, row), form, out)
        except RenderFailed as problem:
            os.close(out)
            raise _refused(problem) from None
        except BaseException:
            os.close(out)
            raise
        return Rendered(out, os.fstat(out).st_size, content_type)

    def is_long(self, customer: Customer, row: CallRow, form: str) -> bool:
        """Say whether a call is sent as WAV while it is rendered."""
        return form == Container.WAV and _long(row.duration_ms, self._streams(customer, row))

    async def stream(self, customer: Customer, row: CallRow) -> Streamed:
        """Open a call to be rendered as WAV while it is sent; whoever takes it closes it."""
        try:
            with media_parts(customer, row) as parts:
                return await open_stream(parts, self._streams(customer, row))
        except RenderFailed as problem:
            raise _refused(problem) from None

    def _streams(self, customer: Customer, row: CallRow) -> list[RenderStream]:
        document = self.document(customer.name, row.id) or row.details
        return render_streams(document["streams"])

    # ---- health ----
    def not_ready(self) -> str | None:
        """Return why no calls are accepted, or None."""
        return self._node.not_accepting()

    def metrics(self) -> bytes:
        """Return the Prometheus page."""
        return self._node.metrics.page()

    async def system(self, customer: str | None, *, node: bool) -> Mapping[str, Any]:
        """Return how a customer's calls and storage fare, and the node if wanted."""
        return await self._system.document(customer, node=node)

    def incidents(self, customer: str) -> Sequence[Mapping[str, Any]]:
        """Return the incidents of a customer, newest first."""
        return self._node.incidents.of(customer)


def _refused(problem: RenderFailed) -> CannotRender:
    return CannotRender(problem.sentence(), later=problem.status == LATER)


def _long(duration_ms: int | None, streams: Sequence[RenderStream]) -> bool:
    """Say whether the sound of a call as WAV is too much to be held in memory for everyone who hears one."""
    sound = [stream for stream in streams if stream.media == "audio"]
    rate = max((each.clock for stream in sound for each in stream.payloads.values()), default=BASE_RATE)
    return duration_ms is None or duration_ms / 1000 * rate * 2 * len(sound) > WHOLE


def _with_users(customer: Customer, document: dict[str, Any]) -> dict[str, Any]:
    """Return a document with the users who take part, as the index will have them."""
    began = parse_time(document["started_at"])
    return {**document, "parties": customer.correlation.parties(document["parties"], began)} if began else document
