"""What both sides agreed on: lines, the newest offer and our answer (RFC 3264); pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from recorder.session.stream import Certificate, Stream
from recorder.session.streams import stream_of
from sip.sdp import answer, offer
from sip.sdp.answer import Closed, LinePlan, Policy, closes_nothing, tls_id
from sip.sdp.description import SessionDescription
from sip.sdp.plan import Addresses


class Before(NamedTuple):
    """State that a failed later offer restores."""

    lines: tuple[LinePlan, ...] = ()
    offer_sdp: bytes = b""
    answer_sdp: bytes = b""
    version: int = 0


class Agreement:
    """The state of offer and answer of one dialog."""

    __slots__ = (
        "_offer", "answer_sdp", "certificate", "certify", "closed", "lines", "offer_sdp", "renewal", "session",
        "version",
    )  # fmt: skip

    def __init__(
        self, session: int, certify: Callable[[], Certificate] | None = None, closed: Closed = closes_nothing
    ) -> None:
        """`session`: the number in our o= line, which never changes. For the other arguments see Recording."""
        self.session = session
        self.version = 0
        self.lines: tuple[LinePlan, ...] = ()
        self.offer_sdp = b""  # the client's newest offer until it is answered
        self.answer_sdp = b""
        self.certificate: Certificate | None = None  # our certificate, once a line with DTLS-SRTP was answered
        self.certify = certify
        self.closed = closed
        # our next certificate, from when our offer names it until that is answered
        self.renewal: Certificate | None = None
        self._offer: SessionDescription | None = None  # our newest offer until it is answered

    def before(self) -> Before:
        """Return the state for `go_back`."""
        return Before(self.lines, self.offer_sdp, self.answer_sdp, self.version)

    def go_back(self, before: Before) -> None:
        """Undo what a later offer changed."""
        self.lines, self.offer_sdp, self.answer_sdp, self.version = before

    def offered(self, offer: SessionDescription, sdp: bytes) -> None:
        """Store the client's offer until it is answered."""
        self._offer, self.offer_sdp = offer, sdp

    def answer(self, live: Sequence[Stream], ours: Addresses, *, paused: bool) -> bytes:
        """Answer the newest offer; the o= version increases only with a change (RFC 3264 section 8).

        `paused`: ask the client to send nothing for now.
        """
        offer, self._offer = self._offer or SessionDescription.parse(self.offer_sdp), None
        ports, keys = {s.line.index: s.port for s in live}, {s.line.index: s.own_key for s in live}
        fingerprint = self._fingerprint(live)

        def body() -> bytes:
            return answer.answer(
                offer,
                self.lines,
                address=ours.address,
                other=ours.other,
                ports=ports,
                keys=keys,
                session_id=self.session,
                version=self.version,
                fingerprint=fingerprint,
                paused=paused,
            )

        if not self.version or body() != self.answer_sdp:
            self.version += 1
            self.answer_sdp = body()
        self.offer_sdp = b""  # it is in the control part, and nobody needs it again
        return self.answer_sdp

    def agree(self, lines: tuple[LinePlan, ...]) -> None:
        """Store the lines that both sides agreed on."""
        self.lines = lines

    def invite(self, live: Sequence[Stream], address: str) -> bytes:
        """Offer our lines."""
        ports, keys = [s.port for s in live], [s.own_key for s in live]
        self.version, fingerprint = 1, self._fingerprint(live)
        self.answer_sdp = offer.write_first(
            self.lines, address=address, ports=ports, keys=keys, session_id=self.session, fingerprint=fingerprint
        )
        return self.answer_sdp

    def offered_again(self, *, paused: bool) -> None:
        """Note that the endpoint answered an INVITE without an offer from our last SDP."""
        again = offer.next_offer(self.answer_sdp, paused=paused)
        self.version += again != self.answer_sdp
        self.answer_sdp = again

    def turned(self, *, paused: bool) -> bytes:
        """Offer the same lines with another direction."""
        self.version += 1
        self.answer_sdp = offer.with_direction(self.answer_sdp, paused=paused, version=self.version)
        if self.renewal is not None:  # an offer that names it may still be waiting, and this one replaces it
            self._name(self.renewal)
        return self.answer_sdp

    def renewed(self, certificate: Certificate) -> bytes:
        """Offer the same lines with another certificate of ours; it takes effect once the client accepts."""
        self.version += 1
        self.renewal = certificate
        self._name(certificate)
        return self.answer_sdp

    def answered(
        self, answer: SessionDescription, policy: Policy, asked: bytes
    ) -> tuple[tuple[LinePlan, ...], Certificate | None]:
        """Decide on the client's answer to our offer, `asked`; raises NotAcceptable.

        Return the lines, for `agree`, and the certificate to adopt with them if the offer named another one.
        """
        plans = offer.plan_answer(answer, policy, self.lines, self.closed)
        own = self.settle(asked, taken=True)
        if own is None:
            return plans, None
        ids = {line.index: tls_id(line, own.fingerprint, self.session) for line in self.lines if line.tls_id}
        return tuple(replace(p, own_tls_id=ids.get(p.index) if p.tls_id else None) for p in plans), own

    def settle(self, asked: bytes, *, taken: bool) -> Certificate | None:
        """Adopt the certificate that our offer named, or stay with the current one; return the adopted one."""
        offered = self.renewal
        if offered is None or offered.fingerprint.encode() not in asked:  # the offer that names it is still waiting
            return None
        self.renewal = None
        if taken:
            self.certificate = offered
        if self.certificate is not None:
            # an offer of the client in the meantime was answered with the old certificate
            self._name(self.certificate, again=not taken)
        return offered if taken else None

    def _name(self, certificate: Certificate, *, again: bool = False) -> None:
        self.answer_sdp = offer.with_certificate(
            self.answer_sdp,
            self.lines,
            fingerprint=certificate.fingerprint,
            session_id=self.session,
            version=self.version,
            again=again,
        )

    def _fingerprint(self, live: Sequence[Stream]) -> str:
        """Return our certificate's fingerprint, one for the whole recording; empty if no line needs one."""
        if self.certificate is None and self.certify and any(s.keys for s in live):
            self.certificate = self.certify()
        return self.certificate.fingerprint if self.certificate else ""

    # ---- checkpoints ----
    def to_state(self, streams: Sequence[Stream]) -> dict[str, Any]:
        """Return the agreement for a checkpoint with these streams; what the streams hold is not written twice."""
        return {
            "lines": [None if _known(streams, line) else line.to_state() for line in self.lines],
            "offer": base64.b64encode(self.offer_sdp).decode(),
            "answer": base64.b64encode(self.answer_sdp).decode(),
            "sdp_session": self.session,
            "version": self.version,
            "certificate": self.certificate and self.certificate.to_state(),
            "renewal": self.renewal and self.renewal.to_state(),
        }

    def restore(self, state: Mapping[str, Any], streams: Sequence[Stream]) -> None:
        """Restore the agreement from a checkpoint with these streams."""
        lines = {s.line.index: s.line for s in streams if not s.removed}
        self.lines = tuple(LinePlan.from_state(line) if line else lines[n] for n, line in enumerate(state["lines"]))
        self.session, self.version = state["sdp_session"], state["version"]
        self.offer_sdp, self.answer_sdp = base64.b64decode(state["offer"]), base64.b64decode(state["answer"])
        own, renewal = state.get("certificate"), state.get("renewal")  # earlier versions did not store them
        self.certificate = Certificate.from_state(own) if own else None
        self.renewal = Certificate.from_state(renewal) if renewal else None


def _known(streams: Sequence[Stream], line: LinePlan) -> bool:
    """Tell whether a stream holds exactly this plan."""
    stream = stream_of(streams, line.index)
    return stream is not None and stream.line is line
