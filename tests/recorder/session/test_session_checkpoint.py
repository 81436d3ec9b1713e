"""A checkpoint brings a recording back as it was."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.session import Recording
from recorder.session.states import State
from recorder.session.stream import Certificate
from sip.sdp.answer import Policy
from sip.sdp.plan import Addresses
from sip.ua.events import Token
from tests.in_process.offers import metadata, now, offered, random, request, sdp


def living() -> Recording:
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random)
    one.handle(offered(1, sdp("sendonly", "sendonly"), metadata("Alice", "Bob")), now())
    one.handle(e.Opened({0: 20000, 1: 20002}), now())
    one.handle(offered(2, sdp("inactive", "sendonly", version=2), cseq=2), now(5))
    return one


def test_the_document_is_the_same_after_a_detour_through_json() -> None:
    one = living()
    other = Recording.from_state(json.loads(json.dumps(one.to_state())), random)
    assert other.call_document(now(9)) == one.call_document(now(9))
    assert other.state is State.RECORDING


def test_the_next_answer_is_the_same() -> None:
    one = living()
    other = Recording.from_state(json.loads(json.dumps(one.to_state())), random)
    for each in (one, other):
        each.handle(offered(3, sdp("sendonly", "sendonly", version=3), cseq=3), now(6))
    assert other.agreement.answer_sdp == one.agreement.answer_sdp


def test_a_hold_goes_on_over_the_restart() -> None:
    other = Recording.from_state(json.loads(json.dumps(living().to_state())), random)
    other.handle(offered(3, sdp("sendonly", "sendonly", version=3), cseq=3), now(8))
    assert other.call_document(now(9))["streams"][0]["pauses"] == [
        ["2026-03-01T12:00:05.000Z", "2026-03-01T12:00:08.000Z"]
    ]


def test_the_source_survives_a_restart() -> None:
    one = living()
    one.source = "192.0.2.7"
    state = json.loads(json.dumps(one.to_state()))
    assert Recording.from_state(state, random).call_document(now(9))["source"] == "192.0.2.7"
    del state["source"]
    assert Recording.from_state(state, random).source is None


def test_a_clock_setback_survives_a_restart() -> None:
    week = timedelta(days=7)
    began, end = (moment._replace(wall=moment.wall - week, behind=week) for moment in (now(), now(9)))
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="preferred"), random)
    one.handle(offered(1, sdp("sendonly")), began)
    state = json.loads(json.dumps(one.to_state()))
    restarted = end._replace(behind=timedelta(0))  # a daemon knows what was set while it ran
    assert (
        Recording.from_state(state, random).call_document(restarted)["kept_from"] == one.call_document(end)["kept_from"]
    )
    del state["started"][2]
    assert "kept_from" not in Recording.from_state(state, random).call_document(restarted)


def test_dtls_certificate_and_keys_survive_a_restart_d6() -> None:
    offer = (
        b"v=0\r\no=- 7 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 30000 UDP/TLS/RTP/SAVP 8\r\n"
        b"a=setup:actpass\r\na=fingerprint:sha-256 AA\r\na=rtcp-mux\r\na=sendonly\r\n"
    )
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="required", dtls=True), random)
    one.agreement.certify = lambda: Certificate("sha-256 BB", b"certificate and key")
    one.handle(offered(1, offer), now())
    one.handle(e.Opened({0: 20000}), now())
    assert b"a=setup:active\r\na=fingerprint:sha-256 BB\r\n" in one.agreement.answer_sdp
    one.handle(e.Keyed(0, False, "AEAD_AES_128_GCM", b"t" * 28, b"o" * 28, ("sha-256 AA",)), now(1))
    other = Recording.from_state(json.loads(json.dumps(one.to_state())), random)
    other.agreement.certify = lambda: Certificate("sha-256 CC", b"another")
    assert other.streams[0].keys == one.streams[0].keys and other.streams[0].keys is not None
    other.handle(offered(2, offer, cseq=2), now(2))
    assert other.agreement.answer_sdp == one.agreement.answer_sdp
    assert other.agreement.certificate == one.agreement.certificate
    assert other.call_document(now(3))["streams"][0]["srtp"] == "DTLS-SRTP"
    other.handle(e.Unkeyed(0, "timeout"), now(70))
    assert "dtls-timeout" in [note["kind"] for note in other.notes]


@pytest.mark.parametrize(("srtp", "locked"), [("required", True), ("off", False)])
def test_our_offer_awaits_its_answer_after_a_restart(srtp: str, locked: bool) -> None:
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp=srtp, secure=True), random)
    one.handle(e.OfferWanted(Token(1), request(), None, True, Addresses("198.51.100.7")), now())
    one.handle(e.Opened({0: 20000}), now())
    state = json.loads(json.dumps(one.to_state()))
    other = Recording.from_state(state, random)
    assert (other.offers_first, other.locked) == (True, locked)
    assert other.handle(e.Agreed(None), now(1))[0] == c.HangUp("no-answer")
    assert not other.locked
    del state["offers_first"]
    assert Recording.from_state(state, random).handle(e.Agreed(None), now(1)) == []


def test_a_failed_offer_of_the_client_leaves_ours_open() -> None:
    one = Recording("11111111-2222-4333-8444-555555555555", Policy(srtp="required", secure=True), random)
    one.handle(e.OfferWanted(Token(1), request(), None, True, Addresses("198.51.100.7")), now())
    one.handle(e.Opened({0: 20000}), now())
    other = Recording.from_state(json.loads(json.dumps(one.to_state())), random)
    other.handle(offered(2, sdp("sendonly"), cseq=2), now(1))
    assert not other.locked
    other.handle(e.Unwanted(), now(1))
    assert other.locked
