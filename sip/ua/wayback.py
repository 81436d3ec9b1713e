"""The way back to a peer whose connection is gone, mostly with an earlier process of ours.

On a stream nobody can be told anything until a connection leads there: one to where the peer listens, or one of its
own. The latter is known by the first message of a dialog that comes on it.
"""

from __future__ import annotations

from sip.message.header_values import Flow
from sip.ua.core import Context
from sip.ua.session import Session
from sip.ua.uac import Calling


class WayBack:
    """Tell the peer what had to wait, once there is a way."""

    def __init__(self, context: Context, calling: Calling) -> None:
        self._context = context
        self._calling = calling

    def found(self, session: Session, before: Flow, now: float) -> None:
        """Look whether a message has brought a way where there was none `before`.

        Dialogs that shared a connection of an earlier process share its next; a certificate tells whether that is of
        the same peer, an address where there is none (RFC 5923).
        """
        way, alive = session.flow, self._context.alive
        if alive(before) or not alive(way):
            return
        self._speak(session, now)
        if _peer(before) != _peer(way):
            return
        for key in self._context.orphans.pop(before, ()):
            other = self._context.sessions.get(key)
            if other and other.flow == before:
                other.flow = way
                self._speak(other, now)

    def _speak(self, session: Session, now: float) -> None:
        """Repeat a 200 that waits for its ACK, else do what had to wait."""
        stranded, session.stranded = session.stranded, False
        if stranded and session.unacked:
            self._context.send(session.flow, session.unacked)
        elif stranded:
            self._calling.catch_up(session, now)


def _peer(flow: Flow) -> tuple[str, str, tuple[str, ...]]:
    return flow.transport, flow.remote[0], flow.certificate_names
