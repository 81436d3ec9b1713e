"""Recordings that replace others (RFC 3891): the old one ends when its client has our answer to the new one.

The result is two recordings, each with the start, end and participants of its own dialog and a note that names the
other. The old one ends as after a BYE. It ends not with our 200 but with the first request that the client sends in the
new dialog, usually the ACK: a client that never got the 200 has only the old dialog, and a BYE there would leave it
without a recording.
"""

from __future__ import annotations

from collections.abc import Callable

from recorder.calls.executor import Executor
from recorder.calls.live_call import LiveCall
from recorder.calls.registry import Live
from recorder.session import events as e
from sip.endpoint import Endpoint
from sip.errors import RemoteError
from sip.message.replaces import insisted
from sip.ua.events import Invited, Probed
from storage.customer.customers import Customer

REASON = "replaced"
"""Why the old recording ended, as its document and our BYE say."""


class Replacements:
    """Finds what an INVITE replaces, and ends it at the right time."""

    def __init__(self, endpoint: Endpoint, now: Callable[[], e.Now], live: Live, executor: Executor) -> None:
        self._endpoint = endpoint
        self._now = now
        self._live = live
        self._executor = executor

    def find(self, event: Invited, customer: Customer) -> str | None:
        """Return the id of the call that an INVITE replaces; raise RemoteError to refuse it.

        If that call does not exist, RFC 3891 section 3 asks for a refusal. A client that does not insist (`Require`) is
        recorded without it: where an SBC takes over a call whose recording died, a refusal would end all recording.
        """
        if event.replaces is None:
            return None
        try:
            call = self._live.by_session(self._endpoint.replaced(event.replaces, customer.name, event.flow))
            if call is None or not call.recording.alive:
                raise RemoteError("replaces-ended", 603)
        except RemoteError:
            if insisted(event.request.headers):
                raise
            return None
        return call.id

    def settle(self, call: LiveCall) -> None:
        """End the call that this one replaces, once its client is known to have our answer.

        A second call does nothing.
        """
        old = call.take_replaced()
        if old is None:
            return
        self._end(old, call.id)
        self._executor.guarded(call, e.Replaced(old))

    def answered(self, event: Probed) -> None:
        """Take the answer to a question (recorder.calls.resume) as proof that the client has our 200."""
        call = self._live.by_session(event.session)
        if call and event.status < 300:
            self.settle(call)

    def _end(self, name: str, by: str) -> None:
        call = self._live.by_id(name)
        if call and call.recording.alive:
            self.settle(call)  # the client of the replacing call has its 200 too, although the ACK may arrive later
            call.recording.note("replaced-by", self._now(), call=by)
            self._executor.guarded(call, e.StopAsked(REASON, interrupted=False))
