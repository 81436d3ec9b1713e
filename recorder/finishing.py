"""How a recording ends: seal the media, write the last document, make all durable, answer the BYE, index, let go."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recorder import commands as c
from recorder import events as e
from recorder.checkpoint import Checkpoints
from recorder.errors import NotPossible
from recorder.live import Live, LiveCall
from recorder.node import Node
from recorder.recording import State
from recorder.rows import forms_of, row_of
from storage.errors import StorageError

CLOSE_SECONDS = 10.0
"""A worker that has not sealed a part by then is stuck; the part is recovered instead."""


def encode(document: Mapping[str, Any]) -> bytes:
    """Return a document as a control record."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogateescape")


class Finishing:
    """The last steps of every recording of the node."""

    def __init__(self, node: Node, checkpoints: Checkpoints, live: Live, feed: Callable[[LiveCall, e.Event], None]) -> None:
        self.node = node
        self._checkpoints = checkpoints
        self._live = live
        self._feed = feed

    async def close_media(self, call: LiveCall) -> None:
        """Have the worker seal the media part, then tell the recording."""
        figures: Mapping[int, Mapping[str, Any]] = {}
        clean = False
        try:
            if call.started:
                final = await asyncio.wait_for(self.node.workers.close(call.id), CLOSE_SECONDS)
                figures, clean = final.streams, final.clean
        except (TimeoutError, OSError):
            self.node.log.warning("media.close_failed", call=call.id)
        call.recording.measured(figures)
        self._feed(call, e.MediaClosed(figures, clean))

    async def finish(self, call: LiveCall, command: c.Finish) -> None:
        """Write and seal everything, wait until it is durable, then answer and index."""
        durable = False
        try:
            self._seal(call, command.document, sealed=command.sealed)
            await asyncio.wrap_future(self.node.syncer.wait())
            durable = not call.trouble
        except (StorageError, NotPossible, OSError) as problem:
            self.node.storage_trouble(problem)
            self.node.log.error("call.finish_failed", call=call.id, exc_info=problem)
        self._answer_bye(call, durable)
        self.release(call)
        call.recording.state = State.OVER
        self._live.remove(call)
        self.node.ended(call.recording)
        document = {**command.document, "size_bytes": call.customer.vault.size(call.id, call.leaf)}
        self.index(call, document, done=lambda: self._forget(call))
        self.node.load_changed()

    def _answer_bye(self, call: LiveCall, durable: bool) -> None:
        token = call.recording.take_bye()
        if token is None:
            return
        if durable:
            self.node.endpoint.confirm(token, self.node.monotonic())
        else:
            self.node.endpoint.refuse(token, 500, self.node.monotonic())
        self.node.flush()

    def _seal(self, call: LiveCall, document: Mapping[str, Any], *, sealed: bool) -> None:
        vault = call.customer.vault
        if call.control:
            call.control.keep(c.Kept.CALL, encode(document))
            call.control.finish()
            vault.finish(call.id, call.leaf, call.control.name)
        if call.media_fd >= 0:
            os.close(call.media_fd)
            call.media_fd = -1
        if call.media_part and sealed:
            vault.finish(call.id, call.leaf, f"m{call.media_part}")
        for number in range(1, call.media_part + 1):
            self.end_part(call, f"m{number}")

    def end_part(self, call: LiveCall, part: str, committed: int | None = None) -> None:
        """Repair a part if its writer died, and move it to its day; a finished one is left as it is."""
        vault = call.customer.vault
        ref = vault.find(call.id, call.leaf, part)
        if ref is None or ref.finished:
            return
        vault.recover(ref, committed)
        vault.finish(call.id, call.leaf, part)

    def cut(self, call: LiveCall, parts: Sequence[tuple[str, int]]) -> None:
        """End the parts of a dead worker at what it had committed; the rest is in the new part."""
        whole = dict(parts)
        for number in range(1, call.media_part):
            name = f"m{number}"
            self.end_part(call, name, whole.get(name, 0))

    def index(self, call: LiveCall, document: Mapping[str, Any], done: Callable[[], None] | None = None) -> None:
        """Queue the call for its customer's database."""
        days = call.customer.settings.retention_days
        row = row_of(document, call.leaf, days)
        self.node.indexer.put(call.customer, row, forms_of(document, call.customer.settings.country), done)

    def release(self, call: LiveCall) -> None:
        """Close the sockets and the spool; the ports cool down before they are used again."""
        for pair in call.pairs.values():
            self.node.ports.release(pair)
        call.pairs.clear()
        if call.fd_name:
            self.node.notify.remove(call.fd_name)
        if call.spool_fd >= 0:
            os.close(call.spool_fd)
            call.spool_fd = -1
        (self.node.runtime_dir / "spool" / call.id).unlink(missing_ok=True)

    def _forget(self, call: LiveCall) -> None:
        self._checkpoints.remove(call.id)

    def discard(self, call: LiveCall) -> None:
        """Take back a recording that never began: its files hold nothing but the offer that was refused."""
        if call.control:
            call.control.abandon()
        self.release(call)
        if call.control:
            call.customer.vault.remove(call.id, call.leaf)
        self._live.remove(call)
        self._checkpoints.remove(call.id)
        self.node.load_changed()

    def abandon(self, call: LiveCall) -> None:
        """Let go of a call after a fault of ours; its files stay for recovery at the next start."""
        if call.control:
            call.control.abandon()
        if call.media_fd >= 0:
            os.close(call.media_fd)
        self.node.workers.drop(call.id)
        self.release(call)
        self._live.remove(call)
        self.node.load_changed()
