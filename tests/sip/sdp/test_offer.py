"""Offers of ours: a late one, and those that tell a pause (duty O6)."""

import base64
from dataclasses import replace

import pytest

from sip.errors import NotAcceptable
from sip.sdp.answer import plan, tls_id
from sip.sdp.description import SessionDescription
from sip.sdp.offer import SUITE, first_lines, plan_answer, with_certificate, with_direction, write_first
from sip.sdp.plan import LinePlan, Policy

KEY = b"K" * 30


def offered(policy: Policy) -> SessionDescription:
    keys = [KEY if policy.srtp == "required" else b""]
    text = write_first(first_lines(policy), address="198.51.100.7", ports=[20000], keys=keys, session_id=7)
    return SessionDescription.parse(text)


def test_a_late_offer_asks_for_one_recvonly_audio_line_o6() -> None:
    (line,) = offered(Policy("off")).media
    assert (line.kind, line.port, line.profile, line.direction) == ("audio", 20000, "RTP/AVP", "recvonly")
    assert [f.encoding for f in line.formats] == ["PCMU", "PCMA", "G722", "G729", "telephone-event"]


def test_where_srtp_is_required_the_late_offer_has_keys_of_ours() -> None:
    (line,) = offered(Policy("required")).media
    assert line.profile == "RTP/SAVP"
    assert line.attribute("crypto") == f"1 {SUITE} inline:{base64.b64encode(KEY).decode()}"


UNSAFE = Policy("required", secure=False, sdes_without_tls=False, dtls=True)


def test_a_late_offer_without_safe_sdes_asks_for_dtls_o6_d1() -> None:
    text = write_first(
        first_lines(UNSAFE), address="::1", ports=[20000], keys=[b""], session_id=7, fingerprint="sha-256 AA"
    )
    (line,) = SessionDescription.parse(text).media
    assert (line.profile, line.setup, line.fingerprints) == ("UDP/TLS/RTP/SAVP", "actpass", ("sha-256 AA",))
    assert line.attribute("crypto") is None
    answer = "v=0\r\nc=IN IP6 ::1\r\nm=audio 4000 UDP/TLS/RTP/SAVP 8\r\na=setup:active\r\na=fingerprint:sha-256 BB\r\n"
    (plan_,) = plan_answer(SessionDescription.parse(answer.encode()), UNSAFE, first_lines(UNSAFE))
    assert (plan_.accepted, plan_.answer_setup, plan_.fingerprints) == (True, "passive", ("sha-256 BB",))
    with pytest.raises(NotAcceptable) as caught:
        first_lines(Policy("required", secure=False, sdes_without_tls=False, dtls=False))
    assert caught.value.code == "sdes-without-tls"


def test_the_answer_to_a_late_offer_names_sources_and_keys_o6() -> None:
    theirs = base64.b64encode(b"T" * 30).decode()
    text = "v=0\r\nc=IN IP4 192.0.2.1\r\nm=audio 4000 RTP/SAVP 8\r\na=sendonly\r\n"
    text += f"a=crypto:1 {SUITE} inline:{theirs}\r\n"
    (line,) = plan_answer(SessionDescription.parse(text.encode()), Policy("required"), first_lines(Policy("required")))
    assert line.crypto is not None and line.crypto.key == b"T" * 30
    assert (line.accepted, line.source, line.suite) == (True, ("192.0.2.1", 4000), SUITE)


OFF = Policy("off")


def heard(*lines: str, offered: tuple[LinePlan, ...]) -> tuple[LinePlan, ...]:
    """What an answer of the client makes of our offer."""
    answer = SessionDescription.parse("\n".join(["v=0", "c=IN IP4 192.0.2.1", *lines, ""]).encode())
    return plan_answer(answer, OFF, offered, closed=lambda host, _: host == "192.0.2.10")


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        (["m=video 4 RTP/AVP 31"], "not-offered"),
        *((["m=audio 4000 RTP/AVP 8", f"c=IN IP4 {host}"], "target") for host in ("224.1.1.1", "255.255.255.255")),
        *((["m=audio 4000 RTP/AVP 8", f"c=IN IP4 {host}"], "target") for host in ("sbc.example", "192.0.2.10")),
    ],
)
def test_an_answer_that_takes_nothing_is_not_acceptable_o6(lines: list[str], code: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        heard(*lines, offered=first_lines(OFF))
    assert caught.value.code == code


def test_labels_stay_although_an_answer_does_not_repeat_them() -> None:
    (before,) = heard("m=audio 4 RTP/AVP 0", offered=first_lines(OFF))
    (line,) = heard("m=audio 4 RTP/AVP 0", "a=inactive", offered=(replace(before, label="7"),))
    assert (line.label, line.held) == ("7", True)


TWO = b"v=0\nc=IN IP4 192.0.2.1\nm=audio 4 RTP/AVP 0\na=label:7\nm=audio %d RTP/AVP 0\na=label:8\n"


@pytest.mark.parametrize(
    "answer",
    [
        TWO % 6,  # a line that we offered with port 0
        TWO % 0 + b"m=audio 8 RTP/AVP 0\n",  # one that we did not offer
        TWO.replace(b"m=audio %d RTP/AVP 0", b"m=video %d RTP/AVP 31") % 6,
    ],
)
def test_an_answer_cannot_add_what_was_not_offered(answer: bytes) -> None:
    first = plan(SessionDescription.parse(TWO % 6), Policy("off"))
    offered = plan(SessionDescription.parse(TWO % 0), Policy("off"), first)
    lines = plan_answer(SessionDescription.parse(answer), Policy("off"), offered)
    assert [line.accepted for line in lines[:3]] == [True, False, False][: len(lines)]
    assert [line.label for line in lines[:2]] == ["7", "8"]


def test_a_pause_turns_every_line_and_its_end_turns_it_back() -> None:
    """Duty F6."""
    ours = (
        b"v=0\r\no=- 7 3 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
        b"m=audio 20000 UDP/TLS/RTP/SAVP 0\r\na=recvonly\r\na=label:1\r\na=setup:active\r\n"
        b"m=video 0 RTP/AVP 97\r\na=label:2\r\n"
    )
    paused = with_direction(ours, paused=True, version=4)
    assert b"o=- 7 4 IN IP4 198.51.100.7\r\n" in paused
    assert b"a=inactive\r\na=label:1\r\na=setup:actpass\r\n" in paused and b"recvonly" not in paused
    assert b"m=video 0 RTP/AVP 97\r\na=label:2\r\n" in paused
    again = with_direction(paused, paused=False, version=5)
    assert b"a=recvonly\r\na=label:1\r\n" in again and b"inactive" not in again


def test_a_new_certificate_asks_for_new_associations() -> None:
    ours = (
        b"v=0\r\no=- 7 3 IN IP4 198.51.100.7\r\ns=-\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n"
        b"m=audio 20000 UDP/TLS/RTP/SAVP 0\r\na=recvonly\r\na=label:1\r\na=setup:active\r\n"
        b"a=fingerprint:sha-256 BB\r\na=tls-id:0123456789abcdef0123\r\n"
        b"m=audio 20002 RTP/SAVP 0\r\na=recvonly\r\na=label:2\r\n"
    )
    lines = [LinePlan(0, "audio", True, tls_id="abcdefghijklmnopqrst"), LinePlan(1, "audio", True)]
    again = with_certificate(ours, lines, fingerprint="sha-256 CC", session_id=7, version=4)
    name = tls_id(lines[0], "sha-256 CC", 7)
    assert name != tls_id(lines[0], "sha-256 BB", 7)
    assert again == (
        ours.replace(b"7 3", b"7 4").replace(b"active", b"actpass").replace(b"BB", b"CC")
        .replace(b"0123456789abcdef0123", name.encode())
    )  # fmt: skip
