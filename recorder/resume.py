"""Go on with the live calls of a former life of this process: sockets, dialog, media part, recording."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from media.errors import MediaError
from media.sockets import Pair
from recorder.checkpoint import Checkpoints, Outer
from recorder.control import ControlPart
from recorder.live import Live, LiveCall
from recorder.node import Node
from recorder.recording_state import from_state
from recorder.runner import Runner
from recorder.worker_events import WorkerEvents
from storage.customers import Customer
from storage.errors import StorageError


class Resume:
    """Reads the checkpoints once, at the start, before the first SIP message is taken."""

    def __init__(self, node: Node, live: Live, runner: Runner, checkpoints: Checkpoints, workers: WorkerEvents) -> None:
        self._node = node
        self._live = live
        self._runner = runner
        self._checkpoints = checkpoints
        self._workers = workers

    def run(self, sockets: Mapping[str, Sequence[socket.socket]], bound: dict[int, Pair]) -> None:
        """Resume what can be resumed; the rest is left to recovery and marked interrupted there."""
        unused = {name: list(group) for name, group in sockets.items() if name.startswith("m")}
        for outer in self._checkpoints.left():
            customer = self._node.customers.get(outer.customer)
            state = self._checkpoints.unseal(outer, customer.keys) if customer else None
            if customer is None or state is None:
                self._checkpoints.remove(outer.call)
                continue
            try:
                self._resume(outer, customer, state, unused, bound)
            except (StorageError, MediaError, OSError, ValueError, KeyError, TypeError) as problem:
                self._node.log.error("call.resume_failed", call=outer.call, exc_info=problem)
                self._checkpoints.remove(outer.call)
        for pair in bound.values():
            pair.close()
        for name, group in unused.items():
            for left in group:
                left.close()
            self._node.notify.remove(name)

    def _resume(
        self,
        outer: Outer,
        customer: Customer,
        state: Mapping[str, Any],
        unused: dict[str, list[socket.socket]],
        bound: dict[int, Pair],
    ) -> None:
        if state["over"]:
            self._checkpoints.remove(outer.call)  # it was finished: recovery indexes it
            return
        recording = from_state(state["recording"], os.urandom)
        now = self._node.monotonic()
        session = self._node.endpoint.restore(state["dialog"], now)
        call = LiveCall(recording, customer, outer.leaf, session)
        call.media_part, call.fd_name = state["media_part"], state["fd_name"]
        self._live.add(call)
        try:
            kept = self._sockets(call, unused.pop(call.fd_name, []), bound)
            self._files(call, state["control"])
            self._workers.go_on(call, kept=kept)
        except BaseException:
            self._node.endpoint.hang_up(session, "internal", now)
            self._runner.finishing.abandon(call)
            raise

    def _sockets(self, call: LiveCall, stored: Sequence[socket.socket], bound: dict[int, Pair]) -> bool:
        """Take the sockets of before, or bind the same ports again; tell whether all are those of before."""
        by_port = {s.getsockname()[1]: s for s in stored}
        kept = True
        fresh: list[int] = []
        for stream in call.recording.streams:
            if not stream.port:
                continue
            rtcp = not stream.line.rtcp_mux
            ports = [stream.port, stream.port + 1][: 2 if rtcp else 1]
            if all(p in by_port for p in ports):
                call.pairs[stream.number] = Pair.adopt([by_port.pop(p).detach() for p in ports])
                self._node.ports.adopt(stream.port)
            else:
                kept = False
                early = bound.pop(stream.port, None)
                call.pairs[stream.number] = early or self._node.ports.reopen(stream.port, rtcp)
                self._node.ports.adopt(stream.port)
                fresh += call.pairs[stream.number].filenos()
        for left in by_port.values():
            left.close()
        if fresh:
            self._node.notify.store(call.fd_name, fresh)
        return kept

    def _files(self, call: LiveCall, control: str) -> None:
        """End the old control part, begin a new one; the media part follows when the worker is asked."""
        name = f"c{int(control[1:]) + 1}"
        call.control = ControlPart(name, call.customer.vault.create(call.id, call.leaf, name))
        self._runner.finishing.end_part(call, control)
        path = self._runner.spool(call.id)
        call.spool_fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
