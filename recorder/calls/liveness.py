"""Silent calls: ask the client whether they still exist, and end them only if it says no.

An SBC that vanished sends no BYE, and without a session timer (RFC 4028) nothing else would end its calls. Silence
alone proves nothing: both sides may be muted and the client may send no silence. So if all streams of a call stay
silent for `silent_seconds`, the client is asked in the dialog (sip.ua.uac), and again after the same time if the call
still exists. A call that the client does not know (481) ends, unless something arrived meanwhile. So does a call after
two consecutive questions that fail (408 or no answer): one failure may only mean that our restart closed the call's
connection while its client still lives. A request from the client in the dialog is a sign of life like audio.

Held streams do not count as silent, and a paused call is not listened to. Asking late loses nothing there, so such
calls are asked about after `held_seconds`.

A client that names no interval is not asked to keep one, although RFC 4028 (section 9) allows it if `Supported` has
`timer`. Cisco's CUBE sends that in INVITEs without an interval, and whether such a client would refresh shows only when
it does not, by calls lost while their audio flows. A question ends no healthy call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import islice
from typing import Any

from recorder.calls.context import Node
from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.session import events as e
from recorder.workers.counters import Growth, growth
from recorder.workers.pool import Workers
from sip.endpoint import Endpoint
from sip.ua.events import Probed

UNKNOWN = 481
"""The dialog no longer exists (RFC 3261 section 12.2.1.2)."""

UNANSWERED = 2
"""Consecutive unanswered questions after which a client counts as gone."""

NEVER = math.inf

MOST_AT_ONCE = 50
"""Questions per second: an SBC that lost its network leaves thousands of calls silent at the same moment."""

SPOKEN = frozenset({"audio", "video"})
"""Media that flow all the time; a chat or a shared screen may be still."""


class Liveness:
    """Runs every second, and handles the answers."""

    def __init__(self, node: Node, endpoint: Endpoint, workers: Workers, live: Live, executor: Executor) -> None:
        self._node = node
        self._endpoint = endpoint
        self._workers = workers
        self._live = live
        self._executor = executor

    def look(self) -> None:
        """Ask about calls that have been silent for long."""
        sip, now = self._node.settings.sip, self._node.monotonic()
        since = now - min(sip.silent_seconds or NEVER, sip.held_seconds or NEVER)  # most calls need no closer look
        still = (call for call in self._live if call.quiet_since() <= since)
        silent = (call for call in still if now - call.quiet_since() >= self._limit(call))
        for call in islice(silent, MOST_AT_ONCE):
            call.asked(now)
            self._endpoint.probe(call.session, now)
        self._executor.flush()

    def _limit(self, call: LiveCall) -> float:
        """Return the seconds that a call may stay silent."""
        if not call.recording.under_way:
            return NEVER
        sip = self._node.settings.sip
        return (sip.silent_seconds if audible(call) else sip.held_seconds) or NEVER

    def noticed(self, call: LiveCall) -> None:
        """Take a request of the client in the call's dialog as a sign of life."""
        call.noticed(self._node.monotonic())

    def answered(self, event: Probed) -> None:
        """End a call whose client does not know it, if it is still silent."""
        call = self._live.by_session(event.session)
        if call is None:
            return
        unanswered = call.answered(event.status)
        if event.status == UNKNOWN or unanswered >= UNANSWERED:
            self._node.tasks.start(self._end(call, event.status), "silence")

    async def _end(self, call: LiveCall, status: int) -> None:
        """Ask the worker for current figures: its last ones are some seconds old."""
        figures = await self._workers.snapshot(call.id)
        if call.heard > call.probed or came(call, figures.streams):
            return
        self._node.log.warning("call.client_gone", call=call.id, status=status)
        self._node.incidents.add("client-gone", call.customer.name, call=call.id, status=status)
        self._executor.guarded(call, e.StopAsked("dialog-gone", interrupted=False))


def came(call: LiveCall, figures: Mapping[int, Mapping[str, Any]]) -> bool:
    """Tell whether a worker has counted more for a call than was known; packets from strangers do not count."""
    told = ((stream.figures, figures.get(stream.number)) for stream in call.recording.streams)
    return any(heard(growth(before, now)) for before, now in told if now is not None)


def heard(more: Growth) -> bool:
    """Tell whether packets of the client arrived, including those that could not be decrypted or stored."""
    return more.packets > 0 or more.late > 0 or more.duplicates > 0 or more.rejected > 0 or more.gap_ms > 0


def audible(call: LiveCall) -> bool:
    """Tell whether media are expected from a recorded call."""
    recording = call.recording
    if recording.paused:
        return False
    return any(s.line.media in SPOKEN and not (s.held or s.removed) for s in recording.streams)
