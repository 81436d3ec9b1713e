"""Another handshake is asked for by an offer of ours under another certificate."""

from __future__ import annotations

import pytest

from recorder.session import commands as c
from recorder.session import events as e
from recorder.session.commands import DtlsKeys, PortKeys
from recorder.session.session import Recording
from recorder.session.stream import Certificate
from sip.sdp.answer import Policy
from sip.sdp.description import SessionDescription
from tests.in_process.offers import now, offered, random
from tests.recorder.session.recordings import ID, only, restarted

BEFORE, NEXT = Certificate("sha-256 BB", b"certificate and key"), Certificate("sha-256 CC", b"another")
KEYS = PortKeys("AEAD_AES_128_GCM", b"t" * 28, b"o" * 28)


def sdp(setup: str = "actpass", *, tls_id: str | None = None, version: int = 1, lines: int = 2) -> bytes:
    out = [f"v=0\r\no=- 7 {version} IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0"]
    for n in range(lines):
        out += [f"m=audio {30000 + 2 * n} UDP/TLS/RTP/SAVP 8\r\na=setup:{setup}\r\na=fingerprint:sha-256 AA"]
        out += ["a=rtcp-mux\r\na=sendonly"] + ([f"a=tls-id:{tls_id}{n}"] if tls_id else [])
    return ("\r\n".join(out) + "\r\n").encode()


def begun(*, reoffers: bool = True, tls_id: str | None = None) -> Recording:
    """A call of two streams with DTLS-SRTP, the second of which has its keys."""
    one = Recording(ID, Policy("required", dtls=True, reoffers=reoffers), random)
    one.agreement.certify = lambda: BEFORE
    one.handle(offered(1, sdp(tls_id=tls_id)), now())
    one.handle(e.Opened({0: 20000, 1: 20002}), now())
    one.handle(e.Keyed(1, False, KEYS.suite, KEYS.theirs, KEYS.ours, ("sha-256 AA",)), now(1))
    return one


def named(body: bytes) -> list[tuple[str, str | None, str | None]]:
    """Fingerprint, role and tls-id of each line."""
    return [(m.fingerprints[0], m.setup, m.attribute("tls-id")) for m in SessionDescription.parse(body).media]


def offer_of(one: Recording, certificate: Certificate = NEXT) -> bytes:
    """Have a handshake severed; give what is offered then."""
    return only(one.handle(e.Severed(certificate), now(2)), c.Reoffer).sdp


@pytest.mark.parametrize(("theirs", "ours"), [("active", "passive"), ("passive", "active")])
def test_a_renewal_is_offered_once_and_counts_when_agreed_d6(theirs: str, ours: str) -> None:
    one = begun()
    asked = only(one.handle(e.Severed(NEXT), now(2)), c.Reoffer)
    assert named(asked.sdp) == [("sha-256 CC", "actpass", None)] * 2 and not asked.paused
    assert b"o=- 1108152157446 2 IN" in asked.sdp and b"m=audio 20002 " in asked.sdp
    assert one.handle(e.Severed(NEXT), now(2)) == []
    assert one.agreement.certificate == BEFORE
    media = only(one.handle(e.Agreed(sdp(theirs), asked.sdp), now(3)), c.ChangeMedia)
    assert one.agreement.certificate == NEXT
    # both are to shake hands again, and what has keys goes on under them until then
    assert [plan.keys for plan in media.streams] == [DtlsKeys(), DtlsKeys(KEYS, stale=True)]
    assert [plan.line.answer_setup for plan in media.streams] == [ours, ours]
    one.handle(offered(2, sdp(version=3), cseq=2), now(4))
    assert {name for name, _, _ in named(one.agreement.answer_sdp)} == {"sha-256 CC"}


def test_each_association_has_its_own_name() -> None:
    """RFC 8842 sections 5.2 and 5.3: the client's changes with its answer."""
    one = begun(tls_id="abcdefghijklmnopqrst")
    first, asked = named(one.agreement.answer_sdp), offer_of(one)
    wanted = named(asked)
    assert not {name for _, _, name in first} & {name for _, _, name in wanted}
    one.handle(e.Agreed(sdp("active", tls_id="ABCDEFGHIJKLMNOPQRST"), asked), now(3))
    other = restarted(one)
    other.handle(offered(2, sdp(tls_id="ABCDEFGHIJKLMNOPQRST", version=3), cseq=2), now(4))
    assert [name for _, _, name in named(other.agreement.answer_sdp)] == [name for _, _, name in wanted]
    other.handle(offered(3, sdp(tls_id="zbcdefghijklmnopqrst", version=4), cseq=3), now(5))
    assert not {name for _, _, name in named(other.agreement.answer_sdp)} & {name for _, _, name in wanted}


@pytest.mark.parametrize("answer", [None, b"no SDP at all"])
def test_where_the_client_does_not_agree_all_stays_as_it_was(answer: bytes | None) -> None:
    one = begun()
    assert one.handle(e.Agreed(answer, offer_of(one)), now(3)) == []
    assert (one.agreement.certificate, one.agreement.renewal) == (BEFORE, None)
    assert [stream.keys for stream in one.streams] == [DtlsKeys(), DtlsKeys(KEYS)]
    assert {name for name, _, _ in named(one.agreement.answer_sdp)} == {"sha-256 BB"}
    assert b" 3 IN IP4" in offer_of(one)


def test_an_offer_during_a_renewal_gets_the_old_certificate() -> None:
    one = begun()
    asked = offer_of(one)
    one.handle(offered(2, sdp(version=2), cseq=2), now(3))
    assert {name for name, _, _ in named(one.agreement.answer_sdp)} == {"sha-256 BB"}
    for each in (restarted(one), one):
        each.handle(e.Agreed(sdp("active", version=3), asked), now(4))
        assert each.agreement.certificate == NEXT
    assert {name for name, _, _ in named(one.agreement.answer_sdp)} == {"sha-256 CC"}


def test_clients_that_take_no_offers_of_ours_get_none() -> None:
    assert begun(reoffers=False).handle(e.Severed(NEXT), now(2)) == []
    ended = begun()
    ended.handle(e.Lost("gone"), now(2))
    assert ended.handle(e.Severed(NEXT), now(3)) == []


@pytest.mark.parametrize("answer", [sdp("passive"), None])
def test_an_answer_to_another_offer_does_not_end_the_renewal(answer: bytes | None) -> None:
    one = begun()
    paused = only(one.handle(e.PauseAsked(), now(2)), c.Reoffer)
    asked = offer_of(one)
    one.handle(e.Agreed(answer, paused.sdp), now(3))
    assert (one.agreement.certificate, one.agreement.renewal) == (BEFORE, NEXT)
    assert [stream.keys for stream in one.streams] == [DtlsKeys(), DtlsKeys(KEYS)]
    one.handle(e.Agreed(sdp("active"), asked), now(4))
    assert (one.agreement.certificate, one.agreement.renewal) == (NEXT, None)


def test_a_pause_offer_during_a_renewal_renews_too() -> None:
    one = begun()
    offer_of(one)
    one.handle(offered(2, sdp(version=2), cseq=2), now(3))  # it waits until that is answered, under the one of before
    paused = only(one.handle(e.PauseAsked(), now(3)), c.Reoffer)
    assert {name for name, _, _ in named(paused.sdp)} == {"sha-256 CC"}
    assert b"a=inactive" in paused.sdp
    one.handle(e.Agreed(sdp("active", version=3), paused.sdp), now(4))
    assert one.agreement.certificate == NEXT


def test_a_refused_renewal_leaves_the_association_names() -> None:
    one = begun(tls_id="abcdefghijklmnopqrst")
    first = offer_of(one)
    one.handle(e.Agreed(sdp("active", tls_id="ABCDEFGHIJKLMNOPQRST"), first), now(3))
    second = offer_of(one, Certificate("sha-256 DD", b"a third"))
    assert not {name for _, _, name in named(first)} & {name for _, _, name in named(second)}
    one.handle(e.Agreed(None, second), now(4))
    paused = only(one.handle(e.PauseAsked(), now(5)), c.Reoffer)
    assert named(paused.sdp) == named(first)
