"""Plans as values: what they say of DTLS, and their way through a checkpoint (duty D6)."""

import json

from sip.sdp.answer import plan
from sip.sdp.description import SessionDescription
from sip.sdp.plan import Addresses, LinePlan, Policy

DTLS = Policy("required", dtls=True)


def line(fingerprint: str = "sha-256 AA:BB", *more: str, before: tuple[LinePlan, ...] = ()) -> LinePlan:
    text = ["v=0", "c=IN IP4 192.0.2.1", "m=audio 4 UDP/TLS/RTP/SAVPF 0", "a=setup:actpass"]
    text.append(f"a=fingerprint:{fingerprint}")
    (found,) = plan(SessionDescription.parse("\n".join([*text, *more, ""]).encode()), DTLS, before)
    return found


def test_an_unchanged_fingerprint_keeps_the_association_d6() -> None:
    first = line()
    assert LinePlan.from_state(json.loads(json.dumps(first.to_state()))) == first
    assert line(before=(first,)).same_association(first)
    assert not line("sha-256 CC:DD", before=(first,)).same_association(first)
    assert not line("sha-256 AA:BB", "a=tls-id:abcdefghijklmnopqrst", before=(first,)).same_association(first)


def test_media_arrive_at_our_address_of_their_ip_version() -> None:
    both = Addresses("192.0.2.7", "2001:db8::7")
    assert [both.reached(family) for family in ("IP4", "IP6", "")] == ["192.0.2.7", "2001:db8::7", "192.0.2.7"]
    assert Addresses("192.0.2.7").reached("IP6") == "192.0.2.7"
    natted = Addresses("192.0.2.7", "2001:db8::7", behind="10.0.0.7")
    assert [natted.reached(family) for family in ("IP4", "IP6", "")] == ["10.0.0.7", "2001:db8::7", "10.0.0.7"]


def test_plain_rtp_has_no_association_and_no_protection() -> None:
    plain = LinePlan(0, "audio", accepted=True)
    assert plain.protection is None and not plain.same_association(plain)
    assert line().protection == "DTLS-SRTP"
