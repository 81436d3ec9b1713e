"""One uvicorn connection with the limits it lacks: first byte, slow or invalid head, client that does not read."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from admin_api.http import responses
from admin_api.http.error_middleware import HEADERS, full
from admin_api.http.problems import Problem, malformed, too_many_connections
from admin_api.server import connection_limits

HEAD_SECONDS = 10.0
"""Time for a client to send the head of a request; a waiting connection counts against the limit."""

STALLED_SECONDS = 75.0
"""Time after which a client that reads nothing of its answer is dropped. A paused player may be dropped earlier
(admin_api.calls.playback), but without TLS a closed connection would wait for its last bytes for ever."""

MAX_HEAD = 32 << 10
"""Bytes of the head of a request; ours have under 2 KB."""


class Connection(H11Protocol):
    """HTTP/1.1 over one TLS or TCP connection."""

    place = ""  # key of the client's address for the limits
    _head_timer: asyncio.TimerHandle | None = None
    _stalled_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin, and wait for the head of the first request."""
        super().connection_made(transport)
        self.place = connection_limits.subscriber(self.client[0] if self.client else "")
        if len(self.connections) > connection_limits.MAX_CONNECTIONS and not self._is_served():
            self.app = full  # earlier clients keep being served
            if (
                len(self.connections)
                > connection_limits.MAX_CONNECTIONS + connection_limits.SPARE + connection_limits.MAX_TURNED_AWAY
            ):
                self._tell(too_many_connections())
                transport.abort()
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """End."""
        self._stop_waiting()
        self._goes_on()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Pause an answer that the client does not read; check later whether it read any."""
        super().pause_writing()
        self._look_again(self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Resume an answer."""
        self._goes_on()
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Receive bytes; a head that has begun must be complete in time."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._wait_for_head()
        else:
            self._stop_waiting()

    def on_response_complete(self) -> None:
        """Wait for the next request; uvicorn closes an idle connection after a while."""
        self._stop_waiting()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer invalid HTTP with a problem document, or close the connection if an answer is under way."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self._tell(malformed())
        self.transport.close()

    def _is_served(self) -> bool:
        served = [one.place for one in self.connections if isinstance(one, Connection) and one.app is not full]
        return connection_limits.has_room(served, self.place)

    def _tell(self, problem: Problem) -> None:
        """Send an answer without the application."""
        answer = responses.problem(problem)
        head = [*answer.raw_headers, *HEADERS]
        body = h11.Data(data=bytes(answer.body))
        for part in (h11.Response(status_code=answer.status_code, headers=head), body, h11.EndOfMessage()):
            self.transport.write(self.conn.send(part) or b"")

    def _look_again(self, left: int) -> None:
        self._stalled_timer = self.loop.call_later(STALLED_SECONDS, self._look, left)

    def _look(self, left: int) -> None:
        """Close the connection if the client has read nothing since."""
        now = self.transport.get_write_buffer_size()
        if now < left:
            self._look_again(now)
        else:
            self.transport.abort()

    def _goes_on(self) -> None:
        if self._stalled_timer is not None:
            self._stalled_timer.cancel()
            self._stalled_timer = None

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
