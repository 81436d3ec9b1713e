"""Offers and what a recorder answers."""

import base64
import json
from dataclasses import replace
from ipaddress import ip_address

import pytest

from sip.errors import LocalError, NotAcceptable
from sip.sdp.answer import LinePlan, Policy, answer, plan
from sip.sdp.description import SessionDescription
from sip.sdp.offer import next_offer, with_certificate, with_direction
from tests.sip.offered import HEAD, PREFERRED, SDES, answered, key_line, offered, refusal, written


def test_offered_picture_requests_are_answered_r26() -> None:
    lines = ("a=rtcp-fb:96 nack pli", "a=rtcp-fb:*  CCM  fir", "a=rtcp-fb:96 nack", "a=rtcp-fb:97 nack pli")
    offer = offered("m=video 5000 RTP/AVPF 96", "a=rtpmap:96 H264/90000", *lines)
    (line,) = plans = plan(offer, PREFERRED)
    assert line.feedback == ("pli", "fir")
    assert [text for text in answered(offer, plans) if "rtcp-fb" in text] == [
        "a=rtcp-fb:96 nack pli", "a=rtcp-fb:* CCM fir",
    ]  # fmt: skip
    assert LinePlan.from_state(json.loads(json.dumps(line.to_state()))) == line
    for other in ("m=video 5000 RTP/AVP 96", "m=audio 5000 RTP/AVPF 96"):
        assert plan(offered(other, "a=rtpmap:96 H264/90000", *lines), PREFERRED)[0].feedback == ()


SIX = HEAD.replace("IP4 192.0.2.1\nt=", "IP6 2001:db8::1\nt=")


@pytest.mark.parametrize(
    ("more", "lines"),
    [
        (
            ("m=audio 4002 RTP/AVP 0", "c=IN IP4 192.0.2.1"),
            [
                "o=- 77 3 IN IP4 198.51.100.7",
                "c=IN IP4 198.51.100.7",
                "m=audio 20000 RTP/AVP 0",
                "c=IN IP6 2001:db8::7",
                "m=audio 20002 RTP/AVP 0",
            ],
        ),
        ((), ["o=- 77 3 IN IP6 2001:db8::7", "c=IN IP6 2001:db8::7", "m=audio 20000 RTP/AVP 0"]),
    ],
)
def test_each_line_is_answered_with_its_ip_version_s32(more: tuple[str, ...], lines: list[str]) -> None:
    offer = offered("m=audio 4000 RTP/AVP 0", *more, head=SIX)
    plans = plan(offer, PREFERRED)
    assert [line.family for line in plans] == ["IP6", "IP4"][: len(plans)]
    found = answered(offer, plans, other="2001:db8::7")
    assert [line for line in found if line[:2] in ("o=", "c=", "m=")] == lines


def test_a_line_of_an_ip_version_we_lack_is_refused_s32() -> None:
    four = frozenset({"IP4"})
    offer = offered("m=audio 4000 RTP/AVP 0", "m=audio 4002 RTP/AVP 0", "c=IN IP4 192.0.2.1", head=SIX)
    assert [(line.reason, line.accepted) for line in plan(offer, PREFERRED, (), four)] == [
        ("address", False),
        (None, True),
    ]
    with pytest.raises(NotAcceptable) as caught:
        plan(offered("m=audio 4000 RTP/AVP 0", head=SIX), PREFERRED, (), four)
    assert (caught.value.code, caught.value.warning) == ("address", 301)
    mapped = offered("m=audio 4000 RTP/AVP 0", head=SIX.replace("2001:db8::1", "::ffff:192.0.2.1"))
    assert plan(mapped, PREFERRED, (), four)[0].accepted


def test_a_hold_keeps_the_ip_version_s32() -> None:
    before = plan(offered("m=audio 4000 RTP/AVP 0", head=SIX), PREFERRED)
    hold = HEAD.replace("192.0.2.1\nt=", "0.0.0.0\nt=")
    (held,) = plan(offered("m=audio 4000 RTP/AVP 0", head=hold), PREFERRED, before)
    assert (held.family, held.held) == ("IP6", True)


def test_two_labelled_srtp_streams_are_answered_exactly() -> None:
    """Duties C2, O1, O10, R9, R16."""
    offer = offered(
        "m=audio 40000 RTP/SAVP 8",
        "a=rtpmap:8 PCMA/8000",
        "a=sendonly",
        "a=label:1",
        key_line(),
        "m=audio 40002 RTP/SAVP 0 101",
        "a=sendonly",
        "a=label:b_leg",
        "a=fmtp:101 0-15",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtcp-mux",
        key_line("AES_CM_128_HMAC_SHA1_32", 4),
    )
    plans = plan(offer, Policy("required"))
    ours = base64.b64encode(b"K" * 30).decode()
    assert answered(offer, plans) == [
        "v=0",
        "o=- 77 3 IN IP4 198.51.100.7",
        "s=-",
        "c=IN IP4 198.51.100.7",
        "t=0 0",
        "m=audio 20000 RTP/SAVP 8",
        "a=rtpmap:8 PCMA/8000",
        "a=recvonly",
        "a=label:1",
        f"a=crypto:1 {SDES} inline:{ours}",
        "m=audio 20002 RTP/SAVP 0 101",
        "a=rtpmap:0 PCMU/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=fmtp:101 0-15",
        "a=recvonly",
        "a=label:b_leg",
        "a=rtcp-mux",
        f"a=crypto:4 AES_CM_128_HMAC_SHA1_32 inline:{ours}",
    ]
    assert [(line.suite, line.source, line.rtcp_source) for line in plans] == [
        (SDES, ("192.0.2.1", 40000), ("192.0.2.1", 40001)),
        ("AES_CM_128_HMAC_SHA1_32", ("192.0.2.1", 40002), ("192.0.2.1", 40002)),
    ]
    assert plans[0].crypto is not None and plans[0].crypto.key == b"\1" * 30


@pytest.mark.parametrize(
    ("attribute", "ours", "held"),
    [
        ("a=sendonly", "recvonly", False),
        ("a=sendrecv", "recvonly", False),
        ("a=x", "recvonly", False),
        ("a=recvonly", "inactive", True),
        ("a=inactive", "inactive", True),
    ],
)
def test_the_direction_answers_this_offer_only(attribute: str, ours: str, held: bool) -> None:
    """Duties F2, O2, R11, R12."""
    offer = offered("m=audio 4000 RTP/AVP 0", attribute)
    before = plan(offered("m=audio 4000 RTP/AVP 0", "a=inactive"), PREFERRED)
    (line,) = plan(offer, PREFERRED, before)
    assert (line.answer_direction, line.held) == (ours, held)
    assert f"a={ours}" in answered(offer, (line,))


@pytest.mark.parametrize("address", ["IP4 0.0.0.0", "IP6 ::"])
def test_the_zero_address_is_a_hold_that_keeps_the_port(address: str) -> None:
    """Duties F3, O4."""
    offer = offered("m=audio 4000 RTP/AVP 0", f"c=IN {address}")
    (line,) = plan(offer, PREFERRED)
    assert (line.accepted, line.held, line.source, line.rtcp_source) == (True, True, None, None)
    assert "m=audio 20000 RTP/AVP 0" in answered(offer, (line,))


def test_every_line_is_answered_in_order() -> None:
    """Duties O13, R13, R23, T13."""
    offer = offered(
        "m=message 2855 TCP/MSRP *",
        "a=label:9",
        "m=audio 4000 RTP/AVP 8 0 98",
        "m=image 5000 udptl t38",
        "m=application 9 UDP/DTLS/SCTP webrtc-datachannel",
        "m=video 6000 RTP/AVPF 97",
        "m=audio 0 RTP/AVP 0",
        "m=",
        "m=text 11000/2 RTP/AVP 98",
    )
    plans = plan(offer, PREFERRED)
    assert [line.reason for line in plans] == ["kind", None, "kind", "profile", None, "port-zero", "port-zero", None]
    assert [line for line in answered(offer, plans) if line[:2] == "m="] == [
        "m=message 0 TCP/MSRP *",
        "m=audio 20002 RTP/AVP 8 0 98",
        "m=image 0 udptl t38",
        "m=application 0 UDP/DTLS/SCTP webrtc-datachannel",
        "m=video 20008 RTP/AVPF 97",
        "m=audio 0 RTP/AVP 0",
        "m=audio 0 RTP/AVP 0",
        "m=text 20014 RTP/AVP 98",
    ]


def test_only_chosen_kinds_and_a_limited_number_are_recorded() -> None:
    """Duty R14."""
    offer = offered("m=video 4 RTP/AVP 97", "m=audio 6 RTP/AVP 0", "m=audio 8 RTP/AVP 0")
    policy = Policy("off", max_lines=2, kinds=frozenset({"audio"}))
    assert [line.reason for line in plan(offer, policy)] == ["kind", None, "too-many-lines"]


@pytest.mark.parametrize(
    ("line", "warning"),
    [
        ("m=audio 4 RTP/AVP x", 305),
        ("m=audio 4 TCP/RTP/AVP 0", 302),
        ("m=image 4 udptl t38", 304),
        ("m=audio 0 RTP/AVP 0", 304),
        ("a=no lines", 304),
    ],
)
def test_an_offer_of_nothing_recordable_names_the_reason(line: str, warning: int) -> None:
    """Duties 8.8, O5."""
    assert refusal(offered(line), PREFERRED).warning == warning


def test_streams_are_added_removed_and_their_slots_used_again() -> None:
    """Duties F9, R15."""
    first = plan(offered("m=audio 4 RTP/AVP 0", "m=audio 6 RTP/AVP 0"), PREFERRED)
    without = offered("m=audio 0 RTP/AVP 0", "m=audio 6 RTP/AVP 0", "m=audio 8 RTP/AVP 0")
    second = plan(without, PREFERRED, first)
    assert [(line.accepted, line.removed) for line in second] == [(False, True), (True, False), (True, False)]
    nothing = offered("m=audio 0 RTP/AVP 0", "m=audio 0 RTP/AVP 0", "m=audio 0 RTP/AVP 0")
    third = plan(nothing, PREFERRED, second)
    assert [line.reason for line in third] == ["removed"] * 3
    assert [line[:11] for line in answered(nothing, third)[5:]] == ["m=audio 0 R"] * 3
    (again, *_) = plan(offered("m=video 4 RTP/AVP 97"), PREFERRED, third)
    assert again.accepted and not again.removed


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("a=rtcp:53020", ("192.0.2.1", 53020)),
        ("a=rtcp:53020 IN IP4 192.0.2.9", ("192.0.2.9", 53020)),
        ("a=rtcp:x", ("192.0.2.1", 4001)),
        ("a=rtcp:99999", ("192.0.2.1", 4001)),
        ("a=rtcp-mux", ("192.0.2.1", 4000)),
    ],
)
def test_where_rtcp_comes_from(attribute: str, expected: tuple[str, int] | None) -> None:
    """Duty O9."""
    assert plan(offered("m=audio 4000 RTP/AVP 0", attribute), PREFERRED)[0].rtcp_source == expected


def test_a_host_name_gives_no_source() -> None:
    offer = offered("m=audio 4 RTP/AVP 0", "c=IN IP4 sbc.example", "m=audio 6 RTP/AVP 0", "c=IN IP6 ::ffff:192.0.2.2")
    assert [line.source for line in plan(offer, PREFERRED)] == [None, ("192.0.2.2", 6)]


def test_an_answer_omits_what_we_do_not_support_r8_o8_o12_o14() -> None:
    """Duty O11: BUNDLE, ICE, capability negotiation, marks of the recorded call; nonsense too."""
    offer = offered(
        "a=group:BUNDLE 0",
        "m=audio 4/2 RTP/AVP 0",
        *("a=mid:0", "a=candidate:1 1 udp 1 192.0.2.1 4 typ host", "a=record:on", "a=recordpref:off"),
        *("a=content:main", "a=lang:de", "a=acap:1 crypto:1 x", "a=pcfg:1 t=1", "a=ptime:30", "a=maxptime:1e9"),
    )
    lines = answered(offer, plan(offer, PREFERRED))[5:]
    assert lines == ["m=audio 20000 RTP/AVP 0", "a=rtpmap:0 PCMU/8000", "a=ptime:30", "a=recvonly"]
    assert {"content", "lang"} <= {name for name, _ in offer.media[0].attributes}  # they are stored


def test_an_ipv6_answer_and_the_times_of_the_offer() -> None:
    offer = offered("m=audio 4 RTP/AVP 0", head=HEAD.replace("t=0 0", "t=3149328700 0"))
    lines = answered(offer, plan(offer, PREFERRED), address="2001:db8::7")
    assert lines[1:5] == ["o=- 77 3 IN IP6 2001:db8::7", "s=-", "c=IN IP6 2001:db8::7", "t=3149328700 0"]
    bare = offered("m=audio 4 RTP/AVP 0", head="")
    assert "t=0 0" in answered(bare, plan(bare, PREFERRED))


@pytest.mark.parametrize(
    ("ports", "keys"), [({}, {0: b"K" * 30}), ({0: 4}, {}), ({0: 4}, {0: b"K" * 29}), ({0: 4}, {0: b"\1" * 30})]
)
def test_an_answer_without_port_or_key_is_a_local_error(ports: dict[int, int], keys: dict[int, bytes]) -> None:
    offer = offered("m=audio 4 RTP/SAVP 0", key_line())
    with pytest.raises(LocalError):
        answer(offer, plan(offer, Policy()), address="h", ports=ports, keys=keys, session_id=1, version=1)


def test_a_plan_survives_a_checkpoint() -> None:
    key = base64.b64encode(bytes(30)).decode()
    several = f"a=crypto:1 {SDES} inline:{key}|2^20|1:4;inline:{key}|2:4"
    offer = offered(
        "m=audio 4 RTP/SAVP 8 96",
        "a=label:1",
        several,
        "m=audio 0 RTP/AVP 0",
        "m=audio 6 RTP/AVP 0",
        "a=fingerprint:x y",
    )
    for line in plan(offer, Policy("preferred", several_keys=True)):
        assert LinePlan.from_state(json.loads(json.dumps(line.to_state()))) == line


def ours(host: str, port: int) -> bool:
    """A listener of ours."""
    return (host, port) == ("192.0.2.10", 5060)


@pytest.mark.parametrize(
    ("connection", "more", "fine"),
    [
        ("IN IP4 192.0.2.1", "", True),
        ("IN IP4 192.0.2.1", "a=rtcp:5060 IN IP4 192.0.2.1", True),
        ("IN IP4 192.0.2.10", "", True),
        ("IN IP4 0.0.0.0", "", True),  # holds
        ("IN IP6 ::", "", True),
        ("IN IP4 0.0.0.0", "a=rtcp:4001 IN IP4 0.0.0.0", True),
        ("IN IP4 224.2.1.1/127", "", False),
        ("IN IP4 239.255.255.250", "", False),
        ("IN IP6 ff02::1", "", False),
        ("IN IP6 ::ffff:224.0.0.1", "", False),
        ("IN IP4 255.255.255.255", "", False),
        ("IN IP4 240.0.0.1", "", False),
        ("IN IP4 0.0.0.7", "", False),
        ("IN IP4 media.example", "", False),
        ("IN IP4 localhost", "", False),
        ("IN IP4 192.0.2.1", "a=rtcp:4001 IN IP4 224.0.0.1", False),
        ("IN IP4 192.0.2.1", "a=rtcp:9 IN IP4 0.0.0.0", True),  # nowhere: there is no RTCP
        ("IN IP4 192.0.2.1", "a=rtcp:9 IN IP6 ::", True),
        ("IN IP4 192.0.2.1", "a=rtcp-mux\r\na=rtcp:9 IN IP4 0.0.0.0", True),  # as browsers write it
        ("IN IP4 192.0.2.1", "a=rtcp-mux\r\na=rtcp:4001 IN IP4 name.example", True),  # says nothing beside it
        ("IN IP4 192.0.2.10", "a=rtcp-mux\r\na=rtcp:5060", True),
        ("IN IP4 192.0.2.1", "a=rtcp:4001 IN IP4 name.example", False),
        ("IN IP4 192.0.2.1", "a=rtcp:5060 IN IP4 192.0.2.10", False),
        ("IN IP4 192.0.2.10", "a=rtcp:5060", False),
    ],
)
def test_a_line_without_a_single_foreign_host_is_refused(connection: str, more: str, fine: bool) -> None:
    lines = ["m=audio 4000 RTP/AVP 0", f"c={connection}", *([more] if more else [])]
    good = ["m=audio 4004 RTP/AVP 0", "c=IN IP4 192.0.2.1"]
    plans = plan(offered(*lines, *good), PREFERRED, closed=ours)
    assert [line.reason for line in plans] == [None if fine else "target", None]
    assert not (plans[0].rtcp_source and ip_address(plans[0].rtcp_source[0]).is_unspecified)
    if not fine:
        with pytest.raises(NotAcceptable) as caught:
            plan(offered(*lines), PREFERRED, closed=ours)
        assert (caught.value.code, caught.value.status, caught.value.warning) == ("target", 488, 301)


@pytest.mark.parametrize("port", [5060, 5059])
def test_neither_port_of_a_line_may_be_a_listener_of_ours(port: int) -> None:
    with pytest.raises(NotAcceptable, match="target"):
        plan(offered(f"m=audio {port} RTP/AVP 0", "c=IN IP4 192.0.2.10"), PREFERRED, closed=ours)


def test_many_dtls_lines_are_answered_with_one_fingerprint() -> None:
    fingerprint = "sha-256 " + ":".join(["AB"] * 32)
    lines = [f"m=audio {4000 + 2 * n} UDP/TLS/RTP/SAVP 0 8 9 18" for n in range(40)]
    offer = offered(f"a=fingerprint:{fingerprint}", "a=setup:actpass", *lines)
    plans = plan(offer, replace(PREFERRED, dtls=True))
    data = "\r\n".join([*answered(offer, plans, fingerprint=fingerprint), ""]).encode()
    assert data.count(b"a=fingerprint:") == 1
    assert len(data) < 2 * len(written(offer))

    def read(text: bytes) -> set[object]:
        return {(media.fingerprints, media.setup) for media in SessionDescription.parse(text).media}

    assert read(data) == {((fingerprint,), "active")}
    for again in (with_direction(data, paused=True, version=2), next_offer(data, paused=True)):
        assert read(again) == {((fingerprint,), "actpass")}
    other = fingerprint.replace("AB", "CD")
    assert read(with_certificate(data, plans, fingerprint=other, session_id=1, version=2)) == {((other,), "actpass")}
