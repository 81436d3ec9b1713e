"""Ask for another handshake where one was cut short by the death of a worker, so that nobody can finish it; pure.

The peer has state that hangs on what only the dead worker knew. Some clients see by a fresh ClientHello that they have
to begin again (RFC 6347 section 4.2.8), most do not: OpenSSL takes it for an old one that comes late. What moves all of
them is another association (RFC 8842 section 4), and what makes one is an offer with another certificate of ours.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from recorder.session import commands as c
from sip.sdp import offer
from sip.sdp.answer import tls_id
from sip.sdp.description import SessionDescription
from sip.sdp.plan import LinePlan

if TYPE_CHECKING:
    from recorder.session.session import Recording
    from recorder.session.stream import Certificate


def renew(recording: Recording, certificate: Certificate) -> list[c.Command]:
    """Offer the same lines under another certificate, where the customer's clients take offers of ours.

    It is asked for once, however many streams wait for it, and touches all that have a handshake: those that have keys
    go on under them until they have the next ones.
    """
    agreement = recording.agreement
    if not recording.under_way or not recording.policy.reoffers or recording.offers_first:
        return []
    if agreement.renewal is not None or not agreement.answer_sdp:
        return []
    return [c.Reoffer(agreement.renewed(certificate), recording.paused)]


def agreed(recording: Recording, answer: SessionDescription, asked: bytes) -> tuple[LinePlan, ...]:
    """Decide on the answer to an offer of ours; it takes up the certificate that one named. Raise NotAcceptable."""
    agreement, before = recording.agreement, {line.index: line for line in recording.agreement.lines}
    plans = offer.plan_answer(answer, recording.policy, agreement.lines, agreement.closed)
    own = agreement.settle(asked, taken=True)
    if own is None:
        return plans
    for stream in recording.streams:
        stream.forsake()
    ids = {n: tls_id(line, own.fingerprint, agreement.session) for n, line in before.items() if line.tls_id}
    return tuple(replace(plan, own_tls_id=ids.get(plan.index) if plan.tls_id else None) for plan in plans)


def refused(recording: Recording, asked: bytes) -> list[c.Command]:
    """Stay with the certificate of before: the client has not taken our offer."""
    recording.agreement.settle(asked, taken=False)
    return []
