"""A checkpoint brings a recording back as it was, also one of an earlier version; a clock that was set does no harm."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from personal import revealed
from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from recorder.session.states import State
from recorder.session.stream import Certificate
from sip.sdp.answer import Policy
from sip.sdp.plan import Addresses
from sip.ua.events import Token
from tests.in_process.offers import now, offered, random, request, sdp
from tests.recorder.session.recordings import ID, NAMES, PREFERRED, TWO, begun, reoffer, restarted

WEEK = timedelta(days=7)


def test_a_restart_changes_neither_document_nor_answer() -> None:
    one = begun(TWO, NAMES)
    one.source = "192.0.2.7"
    reoffer(one, 2, "inactive", "sendonly", at=5)
    other = restarted(one)
    assert other.call_document(now(9)) == one.call_document(now(9))
    assert (other.state, other.source) == (State.RECORDING, "192.0.2.7")
    for each in (one, other):
        reoffer(each, 3, "sendonly", "sendonly", at=8)
    assert other.agreement.answer_sdp == one.agreement.answer_sdp
    (hold,) = other.call_document(now(9))["streams"][0]["pauses"]
    assert hold == ["2026-03-01T12:00:05.000Z", "2026-03-01T12:00:08.000Z"]
    older = {
        name: value
        for name, value in json.loads(json.dumps(one.to_state(), default=revealed)).items()
        if name != "source"
    }
    assert Recording.from_state(older, random).source is None


def kept_from(began: e.Now, end: e.Now) -> datetime | None:
    one = Recording(ID, PREFERRED, random)
    one.handle(offered(1, sdp("sendonly")), began)
    found = one.call_document(end).get("kept_from")
    return datetime.fromisoformat(found) if found else None


def test_a_set_back_clock_does_not_hide_when_a_call_ended() -> None:
    began, end = now(), now(60)
    assert kept_from(began, end) is None
    assert kept_from(began, end._replace(wall=end.wall - timedelta(seconds=59))) is None, "time servers correct clocks"
    assert kept_from(began, end._replace(wall=end.wall - WEEK)) == end.wall, "while it ran"
    both = [moment._replace(wall=moment.wall - WEEK, behind=WEEK) for moment in (began, end)]
    assert kept_from(*both) == end.wall, "before it began"
    assert kept_from(both[0], end) is None, "and then it was set right"


def test_a_clock_setback_survives_a_restart() -> None:
    began, end = (moment._replace(wall=moment.wall - WEEK, behind=WEEK) for moment in (now(), now(9)))
    one = Recording(ID, PREFERRED, random)
    one.handle(offered(1, sdp("sendonly")), began)
    later = end._replace(behind=timedelta(0))  # a daemon knows what was set while it ran
    assert restarted(one).call_document(later)["kept_from"] == one.call_document(end)["kept_from"]
    older = json.loads(json.dumps(one.to_state(), default=revealed))
    del older["started"][2]
    assert "kept_from" not in Recording.from_state(older, random).call_document(later)


def test_dtls_certificate_and_keys_survive_a_restart_d6() -> None:
    offer = (
        b"v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 30000 UDP/TLS/RTP/SAVP 8\r\n"
        b"a=setup:actpass\r\na=fingerprint:sha-256 AA\r\na=rtcp-mux\r\na=sendonly\r\n"
    )
    one = Recording(ID, Policy(srtp="required", dtls=True), random)
    one.agreement.certify = lambda: Certificate("sha-256 BB", b"certificate and key")
    one.handle(offered(1, offer), now())
    one.handle(e.Opened({0: 20000}), now())
    assert b"a=setup:active\r\na=fingerprint:sha-256 BB\r\n" in one.agreement.answer_sdp
    one.handle(e.Keyed(0, False, "AEAD_AES_128_GCM", b"t" * 28, b"o" * 28, ("sha-256 AA",)), now(1))
    other = restarted(one)
    other.agreement.certify = lambda: Certificate("sha-256 CC", b"another")
    assert other.streams[0].keys == one.streams[0].keys and other.streams[0].keys is not None
    other.handle(offered(2, offer, cseq=2), now(2))
    assert other.agreement.answer_sdp == one.agreement.answer_sdp
    assert other.agreement.certificate == one.agreement.certificate
    assert other.call_document(now(3))["streams"][0]["srtp"] == "DTLS-SRTP"
    other.handle(e.Unkeyed(0, "timeout"), now(70))
    assert "dtls-timeout" in [note["kind"] for note in other.notes]


def late_offer(srtp: str) -> Recording:
    """Offer our line to a client that sent none; its answer is to come."""
    one = Recording(ID, Policy(srtp=srtp, secure=True), random)  # type: ignore[arg-type]  # from a list
    one.handle(e.OfferWanted(Token(1), request(), None, True, Addresses("198.51.100.7")), now())
    one.handle(e.Opened({0: 20000}), now())
    return one


@pytest.mark.parametrize(("srtp", "locked"), [("required", True), ("off", False)])
def test_our_offer_awaits_its_answer_after_a_restart(srtp: str, locked: bool) -> None:
    one = late_offer(srtp)
    other = restarted(one)
    assert (other.offers_first, other.locked) == (True, locked)
    assert other.handle(e.Agreed(None), now(1))[0] == c.HangUp("no-answer")
    assert not other.locked
    older = json.loads(
        json.dumps({name: value for name, value in one.to_state().items() if name != "offers_first"}, default=revealed)
    )
    assert Recording.from_state(older, random).handle(e.Agreed(None), now(1)) == []


def test_a_failed_offer_of_the_client_leaves_ours_open() -> None:
    other = restarted(late_offer("required"))
    other.handle(offered(2, sdp("sendonly"), cseq=2), now(1))
    assert not other.locked
    other.handle(e.Unwanted(), now(1))
    assert other.locked
