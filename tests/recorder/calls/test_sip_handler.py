"""Whose call it is, whether it may be recorded, and that every question gets an answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.calls import sip_handler
from recorder.errors import NotPossible
from recorder.session import events as e
from recorder.session.stream import Certificate
from recorder.signalling import local_address
from sip.message.header_values import Flow
from sip.message.message import Request, Response, parse
from sip.ua.events import Reanswered
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import CONFIG, FLOW, Stage, configured, sip_request, stage, standing

OFFER = sdp("sendonly", "sendonly")


def test_a_call_of_no_customer_gets_403(tmp_path: Path) -> None:
    """Duty 8.4."""

    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("127.0.0.0/8", "192.0.2.0/24")) as one:
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [403]
            assert not len(one.live)

    asyncio.run(story())


def test_a_call_knows_where_it_came_from(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            shown = one.invite().recording.call_document(one.node.now())
            assert (shown["source"], shown["direction"]) == ("127.0.0.1", None)

    asyncio.run(story())


def test_an_invite_without_an_offer_is_refused_with_488(tmp_path: Path) -> None:
    """Duty 8.7."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            one.hear(sip_request("INVITE", "c1", 1))
            assert one.statuses("INVITE") == [488]

    asyncio.run(story())


def test_beyond_the_limit_it_is_503_with_retry_after(tmp_path: Path) -> None:
    """Duty S29."""

    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("max_calls = 5", "max_calls = 1")) as one:
            one.invite("c1")
            one.hear(sip_request("INVITE", "c2", 1, OFFER))
            assert one.statuses("INVITE") == [200, 503]
            refusal = parse(one.said[-1])
            assert isinstance(refusal, Response)
            assert refusal.headers.get("Retry-After") == "30"

    asyncio.run(story())


@pytest.mark.parametrize(
    ("where", "line", "reason", "wait"),
    [
        ("[sip]", "source_invites = 1", "source-rate", "5"),
        ("[[customer]]", "max_invites = 1", "customer-rate", "5"),
        ("[sip]", "source_calls = 2", "source-full", "30"),
        ("[[customer]]", "max_calls = 2", "customer-full", "30"),
    ],
)
def test_a_source_or_customer_over_its_limit_gets_503(
    tmp_path: Path, where: str, line: str, reason: str, wait: str
) -> None:
    """Duty S29."""

    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace(where, f"{where}\n{line}")) as one:
            with standing(one, time.monotonic()):
                one.invite("c1")
                one.invite("c2")
                opened = one.descriptors()
                one.hear(sip_request("INVITE", "c3", 1, OFFER))
            assert one.statuses("INVITE") == [200, 200, 503]
            refusal = parse(one.said[-1])
            assert isinstance(refusal, Response) and refusal.headers.get("Retry-After") == wait
            assert one.descriptors() == opened and len(one.live) == 2
            assert [(x["kind"], x["reason"]) for x in one.node.incidents.of("acme")] == [("call-refused", reason)]
            assert f'reason="{reason}",status="503"' in one.node.metrics.page().decode()

    asyncio.run(story())


def test_a_call_that_ended_makes_room_for_its_source(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("[sip]", "[sip]\nsource_calls = 1")) as one:
            one.forget(one.invite("c1"))
            one.invite("c2")
            assert one.statuses("INVITE") == [200, 200]

    asyncio.run(story())


def test_ill_storage_is_503(tmp_path: Path) -> None:
    """Duty 8.10."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            one.node.storage.trouble(OSError(28, "full"))
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [503]

    asyncio.run(story())


def test_a_peer_without_a_way_back_is_refused_and_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            monkeypatch.setattr(local_address, "_route_source", lambda remote: "")
            monkeypatch.setattr(one.signalling, "_reachable", local_address.LocalAddresses("0.0.0.0", None))
            flow = replace(FLOW, local=("0.0.0.0", 5060))
            one.node.endpoint.receive_datagram(sip_request("INVITE", "c1", 1, OFFER), flow, time.monotonic())
            one.flush()
            assert one.statuses("INVITE") == [503]
            assert not len(one.live)

    asyncio.run(story())


def test_a_bug_on_the_way_is_answered_500(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Duty 8.11."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            monkeypatch.setattr(one.signalling, "_customer", lambda event: 1 / 0)
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [500]

    asyncio.run(story())


def test_the_answer_names_the_address_that_was_called(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            assert b"c=IN IP4 127.0.0.1" in one.invite().recording.agreement.answer_sdp

    asyncio.run(story())


def test_a_refused_reoffer_is_no_refused_call(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            one.hear(sip_request("INVITE", "c1", 2, b"v=0\r\n", to=one.tag()))
            assert one.statuses("INVITE") == [200, 488]
            assert call.recording.alive
            assert b'recorder_calls_total{result="refused"} 0.0' in one.node.metrics.page()

    asyncio.run(story())


@pytest.mark.parametrize("status", [488, 200])
def test_any_answer_to_a_renewal_offer_ends_the_wait_d6(tmp_path: Path, status: int) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite()
            call.recording.agreement.renewal = Certificate("sha-256 CC", b"another")
            answer = OFFER if status == 200 else None
            one.signalling.on_event(Reanswered(call.session, status, answer, None, b"a=fingerprint:sha-256 CC"))
            assert call.recording.agreement.renewal is None
            assert call.recording.alive

    asyncio.run(story())


def test_a_bye_of_an_unknown_dialog_is_481(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.hear(sip_request("BYE", "c1", 1, to=";tag=unknown"))
            assert one.statuses("BYE") == [481]

    asyncio.run(story())


def plain(text: bytes, *, require: bool = False) -> bytes:
    """Take the marks of a recording session out of a request."""
    text = text.replace(b";+sip.src", b"")
    return text if require else text.replace(b"Require: siprec\r\n", b"")


def refused(one: Stage) -> Response:
    answer = parse(one.said[-1])
    assert isinstance(answer, Response)
    return answer


def test_a_strict_customer_wants_both_marks_r2(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG + 'siprec = "strict"\n') as one:
            one.hear(plain(sip_request("INVITE", "c1", 1, OFFER), require=True))
            assert one.statuses("INVITE") == [421]
            assert refused(one).headers.get("Require") == "siprec"
            one.invite("c2")
            assert one.statuses("INVITE") == [421, 200]

    asyncio.run(story())


def test_siprec_marks_of_an_invite_are_counted_r2(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.invite("c1")
            one.hear(plain(sip_request("INVITE", "c2", 1, OFFER), require=True))
            page = one.node.metrics.page().decode()
            assert 'recorder_sip_marks_total{marks="both"} 1.0' in page
            assert 'recorder_sip_marks_total{marks="option-tag"} 1.0' in page

    asyncio.run(story())


LATE = CONFIG + 'siprec = "plain"\nlate_offer = true\nsrtp = "off"\n'


def test_an_invite_without_sdp_gets_an_offer_if_configured_o6(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, LATE) as one:
            one.hear(sip_request("INVITE", "c1", 1))
            (call,) = one.live
            answer = refused(one)
            assert (answer.status, b"a=recvonly" in answer.body, call.started) == (200, True, False)
            theirs = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\na=sendonly\r\n"
            one.hear(sip_request("ACK", "c1", 1, theirs, to=one.tag()))
            assert call.started
            assert call.recording.streams[0].line.source == ("127.0.0.1", 4000)
            one.bye()
            await one.until(lambda: not len(one.live))

    asyncio.run(story())


def test_an_answer_with_too_many_lines_does_not_end_the_call(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, LATE) as one:
            one.hear(sip_request("INVITE", "c1", 1))
            (call,) = one.live
            theirs = b"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\nm=audio 4002 RTP/AVP 8\r\n"
            one.hear(sip_request("ACK", "c1", 1, theirs, to=one.tag()))
            assert (call.started, len(call.recording.streams)) == (True, 1)
            one.bye()
            await one.until(lambda: not len(one.live))
        async with stage(tmp_path) as one:
            call = one.invite()
            for number, body in enumerate([sdp("sendonly", "gone", version=2), b""], start=2):
                one.hear(sip_request("INVITE", "c1", number, body, to=one.tag()))
                answer = sdp("sendonly", "sendonly", version=3) if not body else b""
                one.hear(sip_request("ACK", "c1", number, answer, to=one.tag()))
            assert call.recording.alive
            assert [stream.away for stream in call.recording.streams] == [False, True]
            assert one.faults == []

    asyncio.run(story())


def test_an_ack_without_the_answer_ends_a_late_offer(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, LATE) as one:
            one.hear(sip_request("INVITE", "c1", 1))
            one.hear(sip_request("ACK", "c1", 1, to=one.tag()))
            assert one.said[-1].startswith(b"BYE ")
            await one.until(lambda: not len(one.live))

    asyncio.run(story())


def test_a_digest_customer_is_challenged_s28(tmp_path: Path) -> None:
    secret = hashlib.sha256(b"sbc:rec:sesame").hexdigest()
    (tmp_path / "users").write_text(f"sbc:rec:{secret}\n")

    async def story() -> None:
        async with stage(tmp_path, CONFIG + f'digest = "{tmp_path}/users"\n') as one:
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            challenge = refused(one).headers.get("WWW-Authenticate") or ""
            assert one.statuses("INVITE") == [401] and "SHA-256" in challenge
            nonce = challenge.split('nonce="')[1].partition('"')[0]
            uri = "sip:rec@127.0.0.1"
            ha2 = hashlib.sha256(f"INVITE:{uri}".encode()).hexdigest()
            right = hashlib.sha256(f"{secret}:{nonce}:1:x:auth:{ha2}".encode()).hexdigest()
            for response in ("0" * 64, right):
                value = f'Digest username="sbc", realm="rec", nonce="{nonce}", uri="{uri}", response="{response}", '
                value += 'algorithm=SHA-256, qop=auth, nc=1, cnonce="x"'
                cseq = 2 if response is right else 3
                again = sip_request("INVITE", f"c{cseq}", cseq, OFFER)
                one.hear(again.replace(b"Require:", f"Authorization: {value}\r\nRequire:".encode()))
            assert one.statuses("INVITE") == [401, 401, 200]
            listed = one.node.incidents.of("acme")
            assert [(x["status"], x["count"]) for x in listed] == [(401, 1)]

    asyncio.run(story())


def test_users_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("nonsense\n")
    text = CONFIG + f'digest = "{tmp_path}/users"\n'
    with pytest.raises(NotPossible, match="line 1"):
        sip_handler.realms(configured(tmp_path, text).customers)


def test_a_pause_is_offered_to_the_client_if_configured(tmp_path: Path) -> None:
    """Duty F6."""

    async def story() -> None:
        async with stage(tmp_path, CONFIG + "pause_by_reinvite = true\n") as one:
            call = one.invite("c1")
            one.executor.guarded(call, e.PauseAsked())
            one.flush()
            invite = parse(one.said[-1])
            assert isinstance(invite, Request) and invite.method == "INVITE"
            assert invite.body.count(b"a=inactive") == 2
            one.executor.guarded(call, e.ResumeAsked())
            reply = [f"SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: {len(OFFER)}\r\n"]
            reply += [f"{n}: {invite.headers.get(n)}\r\n" for n in ("Via", "From", "To", "Call-ID", "CSeq")]
            one.hear(("".join(reply) + "\r\n").encode() + OFFER)
            assert one.said[-2].startswith(b"ACK ") and one.said[-1].startswith(b"INVITE ")
            assert one.said[-1].count(b"a=recvonly") == 2
            assert len(one.live) == 1

    asyncio.run(story())


def test_video_without_rtcp_feedback_is_asked_for_by_info_r26(tmp_path: Path) -> None:
    def video(direction: str, profile: str = "RTP/AVP") -> bytes:
        lines = (f"m=video 5000 {profile} 96", "a=rtpmap:96 H264/90000", "a=rtcp-fb:96 nack pli", f"a={direction}")
        return ("\r\n".join(("v=0", "c=IN IP4 127.0.0.1", *lines)) + "\r\n").encode()

    async def story() -> None:
        async with stage(tmp_path, CONFIG + 'srtp = "preferred"\n') as one:
            for call, profile in (("c1", "RTP/AVP"), ("c2", "RTP/AVPF")):
                asked = []
                for cseq, direction in ((1, "sendonly"), (2, "inactive"), (3, "sendonly")):
                    to = one.tag() if cseq > 1 else ""
                    invite = sip_request("INVITE", call, cseq, video(direction, profile), to=to)
                    one.hear(invite.replace(b"Require:", b"Allow: INVITE, ACK, BYE, INFO\r\nRequire:"))
                    one.said, before = one.said[-1:], one.tag()
                    one.hear(sip_request("ACK", call, cseq, to=before))
                    asked.append(sum(data.startswith(b"INFO ") for data in one.said))
                    one.said = one.said[:1]
                assert asked == ([1, 0, 1] if profile == "RTP/AVP" else [0, 0, 0])

    asyncio.run(story())


def test_an_ack_on_a_connection_needs_no_other_checkpoint(tmp_path: Path) -> None:
    """Nobody can repeat a 200 where the connection went with the process; over UDP a successor would."""

    async def story() -> None:
        async with stage(tmp_path) as one:
            assert one.invite("c1").dirty
            flow = replace(FLOW, transport="tcp", connection=1)
            one.node.endpoint.connection_made(flow, time.monotonic())
            for method, body in (("INVITE", OFFER), ("ACK", b"")):
                sent = sip_request(method, "c2", 1, body, to=one.tag() if method == "ACK" else "")
                one.node.endpoint.receive_stream(sent.replace(b"/UDP", b"/TCP"), flow, time.monotonic())
                one.flush()
            (call,) = [each for each in one.live if each.recording.call_id == "c2"]
            assert call.started
            assert not call.dirty
            assert not one.node.endpoint.export(call.session)["unacked"]

    asyncio.run(story())


TWO = CONFIG.replace('"127.0.0.0/8"', '"127.0.0.1"') + '[[customer]]\nname = "globex"\nsources = ["127.0.0.3"]\n'
FOREIGN = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.3", 5070), 0, 0, ())


def test_another_customers_requests_in_a_dialog_change_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, TWO) as one:
            call = one.invite("c1")
            before = one.node.endpoint.export(call.session)
            for method in ("INVITE", "UPDATE", "BYE"):
                body = b"" if method == "BYE" else OFFER
                request = sip_request(method, "c1", 7, body, to=one.tag())
                one.node.endpoint.receive_datagram(request, FOREIGN, time.monotonic())
                one.flush()
                assert one.statuses(method)[-1] == 481
            assert one.node.endpoint.export(call.session) == before
            assert call.recording.alive and len(call.recording.streams) == 2
            listed = [(x["kind"], x["call"], x["count"]) for x in one.node.incidents.of("acme")]
            assert (listed, one.node.incidents.of("globex")) == ([("dialog-strangers", call.id, 3)], [])
            one.bye(cseq=8)
            await one.until(lambda: not len(one.live))
            assert one.statuses("BYE")[-1] == 200

    asyncio.run(story())


def test_a_customer_with_digest_authenticates_in_the_dialog_too(tmp_path: Path) -> None:
    secret, uri = hashlib.sha256(b"sbc:rec:sesame").hexdigest(), "sip:rec@127.0.0.1"
    (tmp_path / "users").write_text(f"sbc:rec:{secret}\n")
    domain = f'[[customer]]\nname = "delta"\ndomains = ["127.0.0.1"]\ndigest = "{tmp_path}/users"\n'

    def signed(data: bytes, nonce: str) -> bytes:
        ha2 = hashlib.sha256(data.partition(b" ")[0] + f":{uri}".encode()).hexdigest()
        right = hashlib.sha256(f"{secret}:{nonce}:1:x:auth:{ha2}".encode()).hexdigest()
        value = f'Digest username="sbc", realm="rec", nonce="{nonce}", uri="{uri}", response="{right}", '
        value += 'algorithm=SHA-256, qop=auth, nc=1, cnonce="x"'
        return data.replace(b"Require:", f"Authorization: {value}\r\nRequire:".encode(), 1)

    def nonce(one: Stage) -> str:
        return (refused(one).headers.get("WWW-Authenticate") or "").split('nonce="')[1].partition('"')[0]

    def hear(one: Stage, data: bytes, flow: Flow) -> None:
        one.node.endpoint.receive_datagram(data, flow, time.monotonic())
        one.flush()

    async def story() -> None:
        async with stage(tmp_path, TWO.replace('"127.0.0.1"', '"127.0.0.9"') + domain) as one:
            home = replace(FOREIGN, remote=("203.0.113.1", 5070))
            hear(one, sip_request("INVITE", "c1", 1, OFFER), home)
            hear(one, signed(sip_request("INVITE", "c1", 2, OFFER), nonce(one)), home)
            assert one.statuses("INVITE") == [401, 200]
            (call,) = one.live
            tag = one.tag()
            hear(one, sip_request("ACK", "c1", 2, to=tag), replace(home, remote=("203.0.113.2", 5070)))
            assert not call.acknowledged  # whoever has no password may be anybody
            hear(one, sip_request("ACK", "c1", 2, to=tag), home)
            assert call.acknowledged
            for flow in (home, FOREIGN):
                hear(one, sip_request("BYE", "c1", 3, to=tag, branch="x" * (flow is home)), flow)
            assert one.statuses("BYE") == [401, 401] and call.recording.alive  # anybody can call a domain
            hear(one, sip_request("BYE", "c1", 4, to=tag), home)
            hear(one, signed(sip_request("BYE", "c1", 5, to=tag), nonce(one)), home)
            await one.until(lambda: not len(one.live))
            assert one.statuses("BYE") == [401, 401, 401, 200]
            assert [x["kind"] for x in one.node.incidents.of("delta")] == []

    asyncio.run(story())


@pytest.mark.parametrize(("sources", "counts"), [('"127.0.0.1", "127.0.0.3"', True), ('"127.0.0.1"', False)])
def test_an_unchallenged_ack_counts_from_known_sources_only(tmp_path: Path, sources: str, counts: bool) -> None:
    secret, uri = hashlib.sha256(b"sbc:rec:sesame").hexdigest(), "sip:rec@127.0.0.1"
    (tmp_path / "users").write_text(f"sbc:rec:{secret}\n")
    text = CONFIG.replace('"127.0.0.0/8"', sources) + f'digest = "{tmp_path}/users"\n'
    shared = '[[customer]]\nname = "globex"\nsources = ["127.0.0.3"]\n'

    async def story() -> None:
        async with stage(tmp_path, text if counts else text + shared) as one:
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            nonce = (refused(one).headers.get("WWW-Authenticate") or "").split('nonce="')[1].partition('"')[0]
            ha2 = hashlib.sha256(f"INVITE:{uri}".encode()).hexdigest()
            right = hashlib.sha256(f"{secret}:{nonce}:1:x:auth:{ha2}".encode()).hexdigest()
            value = f'Digest username="sbc", realm="rec", nonce="{nonce}", uri="{uri}", response="{right}", '
            value += 'algorithm=SHA-256, qop=auth, nc=1, cnonce="x"'
            invite = sip_request("INVITE", "c1", 2, OFFER)
            one.hear(invite.replace(b"Require:", f"Authorization: {value}\r\nRequire:".encode()))
            (call,) = one.live
            ack = sip_request("ACK", "c1", 2, to=one.tag())
            one.node.endpoint.receive_datagram(ack, FOREIGN, time.monotonic())
            one.flush()
            assert call.acknowledged is counts

    asyncio.run(story())


def test_an_unauthenticated_sender_uses_up_no_rate(tmp_path: Path) -> None:
    secret, uri = hashlib.sha256(b"sbc:rec:sesame").hexdigest(), "sip:rec@127.0.0.1"
    (tmp_path / "users").write_text(f"sbc:rec:{secret}\n")
    domain = f'[[customer]]\nname = "delta"\ndomains = ["127.0.0.1"]\nmax_invites = 1\ndigest = "{tmp_path}/users"\n'

    async def story() -> None:
        async with stage(tmp_path, TWO.replace('"127.0.0.1"', '"127.0.0.9"') + domain) as one:
            now = time.monotonic()
            for number in range(5):
                anybody = replace(FOREIGN, remote=(f"203.0.113.{number}", 5070))
                one.node.endpoint.receive_datagram(sip_request("INVITE", f"x{number}", 1, OFFER), anybody, now)
                one.flush()
            one.hear(sip_request("INVITE", "c1", 1, OFFER))
            assert one.statuses("INVITE") == [401] * 6
            nonce = (refused(one).headers.get("WWW-Authenticate") or "").split('nonce="')[1].partition('"')[0]
            ha2 = hashlib.sha256(f"INVITE:{uri}".encode()).hexdigest()
            right = hashlib.sha256(f"{secret}:{nonce}:1:x:auth:{ha2}".encode()).hexdigest()
            value = f'Digest username="sbc", realm="rec", nonce="{nonce}", uri="{uri}", response="{right}", '
            value += 'algorithm=SHA-256, qop=auth, nc=1, cnonce="x"'
            for number in range(3):
                again = sip_request("INVITE", f"c{number}", 2, OFFER)
                again = again.replace(b"Require:", f"Authorization: {value}\r\nRequire:".encode())
                one.node.endpoint.receive_datagram(again, FLOW, now)
                one.flush()
            assert one.statuses("INVITE")[6:] == [200, 200, 503]

    asyncio.run(story())


@pytest.mark.parametrize("known", [True, False])
def test_a_refusal_is_retransmitted_only_to_known_sources(tmp_path: Path, known: bool) -> None:
    """Where a customer is known by domain anybody is heard, and any address can be written on a datagram."""
    secret = hashlib.sha256(b"sbc:rec:sesame").hexdigest()
    (tmp_path / "users").write_text(f"sbc:rec:{secret}\n")
    domain = f'[[customer]]\nname = "delta"\ndomains = ["127.0.0.1"]\ndigest = "{tmp_path}/users"\n'

    async def story() -> None:
        async with stage(tmp_path, TWO + domain) as one:
            flow = FOREIGN if known else replace(FOREIGN, remote=("203.0.113.1", 5070))
            requests = [
                sip_request("INVITE", "c1", 1, OFFER),
                sip_request("INVITE", "c2", 1, OFFER, to=";tag=x"),
                sip_request("INVITE", "c3", 1, OFFER).replace(b"siprec", b"other"),
            ]
            for request in requests:
                one.node.endpoint.receive_datagram(request, flow, time.monotonic())
            one.flush()
            assert sorted(one.statuses("INVITE")) == [401, 420, 481]
            one.node.endpoint.handle_timer(time.monotonic() + 0.6)
            one.flush()
            assert len(one.statuses("INVITE")) == (6 if known else 3)

    asyncio.run(story())


def test_a_remote_client_gets_nothing_sent_to_our_loopback(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace('"127.0.0.0/8"', '"127.0.0.0/8", "203.0.113.0/24"')) as one:
            own = OFFER.replace(b"192.0.2.1", b"127.0.0.1")
            assert one.invite("c1", own).recording.alive  # an SBC on this machine
            away = replace(FLOW, remote=("203.0.113.1", 5070))
            one.node.endpoint.receive_datagram(sip_request("INVITE", "c2", 1, own), away, time.monotonic())
            one.flush()
            assert one.statuses("INVITE") == [200, 488]
            assert [x["reason"] for x in one.node.incidents.of("acme")] == ["target"]

    asyncio.run(story())


def test_no_update_leads_from_srtp_to_rtp(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path, CONFIG.replace("[media]", '[media]\nsrtp = "preferred"')) as one:
            call = one.invite("c1")
            plain = OFFER.replace(b"RTP/SAVP 8", b"RTP/AVP 8").replace(b"a=crypto", b"a=x-crypto")
            for method in ("UPDATE", "INVITE"):
                one.hear(sip_request(method, "c1", 5 if method == "UPDATE" else 6, plain, to=one.tag()))
                assert one.statuses(method)[-1] == 488
            assert [stream.line.protection for stream in call.recording.streams] == ["AES_CM_128_HMAC_SHA1_80"] * 2
            listed = one.node.incidents.of("acme")
            assert [(x["kind"], x["reason"]) for x in listed] == [("offer-refused", "srtp-downgrade")]

    asyncio.run(story())
