"""Make recordings, new ones and those of checkpoints, with what they need of this node."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from recorder.session.session import Recording
from recorder.session.stream import Certificate
from recorder.signalling.local_address import Closed
from sip.sdp.answer import Policy


def new_certificate() -> Certificate:
    """Make a certificate of ours for DTLS-SRTP."""
    from media.srtp.dtls import Identity  # 50 ms that a start without such calls saves

    identity = Identity.create(datetime.now(UTC))
    return Certificate(identity.fingerprint, bytes(identity))


class Recordings:
    """Gives each recording its id, our certificate, and a check whether media may be sent to an address."""

    def __init__(self, closed: Closed) -> None:
        self._closed = closed
        self._certificate: Certificate | None = None
        self._certify = self._current  # one bound method for all calls

    def new(self, policy: Policy, source: str, *, swapped: bool) -> Recording:
        """Start a recording for an INVITE from `source`.

        `swapped`: the client attributes streams to the wrong party.
        """
        return Recording(
            str(uuid.uuid4()),
            policy,
            os.urandom,
            source=source,
            swapped=swapped,
            certify=self._certify,
            closed=self._closed.of(source),
        )

    def restore(self, state: Mapping[str, Any]) -> Recording:
        """Restore the recording of a checkpoint."""
        return Recording.from_state(state, os.urandom, self._certify, self._closed.of(state.get("source")))

    def _current(self) -> Certificate:
        """Return this process's certificate, made for the first call that needs one."""
        if self._certificate is None:
            self._certificate = new_certificate()
        return self._certificate
