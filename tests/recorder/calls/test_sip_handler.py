"""Whose call it is, whether it may be recorded, and that every question gets an answer."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from recorder.calls import sip_handler
from recorder.errors import NotPossible
from recorder.session import events as e
from recorder.session.stream import Certificate
from recorder.signalling.customer_lookup import CustomerLookup
from recorder.signalling.local_address import LocalAddresses
from sip.message.digest import FREE_WRONG
from sip.message.header_values import Flow
from sip.message.message import Request, parse
from sip.ua.events import Reanswered
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import CONFIG, Stage, configured, sip_request, stage, standing
from tests.in_process.worker_call import Sender
from tests.recorder.calls.client import answered, hang_up, hear, of, signed, users

OFFER = sdp("sendonly", "sendonly")
INVITE = sip_request("INVITE", "c1", 1, OFFER)
PLAIN = INVITE.replace(b";+sip.src", b"")  # without one of the marks of a recording session
LATE = CONFIG + 'siprec = "plain"\nlate_offer = true\nsrtp = "off"\n'
TWO = CONFIG.replace('"127.0.0.0/8"', '"127.0.0.1"') + '[[customer]]\nname = "globex"\nsources = ["127.0.0.3"]\n'
FOREIGN = Flow("udp", ("127.0.0.1", 5060), ("127.0.0.3", 5070), 0, 0, ())
ANYWHERE = replace(FOREIGN, remote=("203.0.113.1", 5070))


@pytest.mark.parametrize(
    ("config", "invite", "status", "require"),
    [
        pytest.param(CONFIG.replace("127.0.0.0/8", "192.0.2.0/24"), INVITE, 403, None, id="of no customer"),
        pytest.param(CONFIG, sip_request("INVITE", "c1", 1), 488, None, id="without an offer"),
        pytest.param(CONFIG, sip_request("INVITE", "c1", 1, b"v=0\r\n"), 488, None, id="without a line"),
        pytest.param(CONFIG + 'siprec = "strict"\n', PLAIN, 421, "siprec", id="with one mark, to a strict customer"),
    ],
)
async def test_a_refused_invite_leaves_nothing(one: Stage, invite: bytes, status: int, require: str | None) -> None:
    """Duties 8.4, 8.7, R2."""
    one.hear(invite)
    assert one.statuses("INVITE") == [status] and answered(one).headers.get("Require") == require
    assert not len(one.live) and not list(one.checkpoints.left())
    assert list(one.customers["acme"].vault.walk()) == []


async def test_siprec_marks_and_addresses_of_a_call_are_noted_r2(one: Stage) -> None:
    one.hear(PLAIN.replace(b"c1", b"c2"))
    recording = one.invite("c1").recording
    shown = recording.call_document(one.node.now())
    assert (shown["source"], shown["direction"]) == ("127.0.0.1", None)
    assert b"c=IN IP4 127.0.0.1" in recording.agreement.answer_sdp
    page = one.node.metrics.page().decode()
    assert 'recorder_sip_marks_total{marks="both"} 1.0' in page
    assert 'recorder_sip_marks_total{marks="option-tag"} 1.0' in page


@pytest.mark.parametrize(
    ("where", "line", "reason", "wait"),
    [
        ("[sip]", "source_invites = 1", "source-rate", "5"),
        ("[[customer]]", "max_invites = 1", "customer-rate", "5"),
        ("[sip]", "source_calls = 2", "source-full", "30"),
        ("[[customer]]", "max_calls = 2", "customer-full", "30"),
        ("max_calls = 5", "max_calls = 2", "full", "30"),
    ],
)
async def test_an_invite_beyond_a_limit_gets_503_s29(
    tmp_path: Path, where: str, line: str, reason: str, wait: str
) -> None:
    text = CONFIG.replace(where, line if "calls" in where else f"{where}\n{line}")
    async with stage(tmp_path, text) as one:
        with standing(one, time.monotonic()):
            first, _ = one.invite("c1"), one.invite("c2")
            opened = one.descriptors()
            one.hear(sip_request("INVITE", "c3", 1, OFFER))
        assert one.statuses("INVITE") == [200, 200, 503]
        assert answered(one).headers.get("Retry-After") == wait
        assert len(one.live) == 2
        await one.until(lambda: one.descriptors() <= opened)  # a thread may be syncing a folder still
        assert [(x["kind"], x["reason"]) for x in one.node.incidents.of("acme")] == [("call-refused", reason)]
        assert f'reason="{reason}",status="503"' in one.node.metrics.page().decode()
        one.forget(first)
        one.hear(sip_request("INVITE", "c4", 1, OFFER))
        assert "rate" in reason or one.statuses("INVITE")[-1] == 200  # a call that ended made room


async def test_failing_storage_and_a_peer_without_a_route_give_503(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Duty 8.10."""

    def no_route(*_: object) -> None:
        raise OSError("cannot be reached")

    with monkeypatch.context() as unreachable:
        unreachable.setattr(LocalAddresses, "addresses", no_route)
        one.hear(INVITE)
    one.resources.storage.trouble(OSError(28, "full"))
    one.hear(sip_request("INVITE", "c2", 1, OFFER))
    assert one.statuses("INVITE") == [503, 503] and not len(one.live)


async def test_a_bug_on_the_way_is_answered_500(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Duty 8.11."""
    monkeypatch.setattr(CustomerLookup, "customer_of", lambda *_: 1 / 0)
    one.hear(INVITE)
    assert one.statuses("INVITE") == [500]


@pytest.mark.parametrize("status", [488, 200])
async def test_any_answer_to_a_renewal_offer_ends_the_wait_d6(one: Stage, status: int) -> None:
    call = one.invite()
    agreement: Any = call.recording.agreement
    agreement.renewal = Certificate("sha-256 CC", b"another")
    answer = OFFER if status == 200 else None
    one.signalling.on_event(Reanswered(call.session, status, answer, None, b"a=fingerprint:sha-256 CC"))
    assert agreement.renewal is None and call.recording.alive


@pytest.mark.parametrize("config", [pytest.param(LATE, id="late offer")])
async def test_an_invite_without_sdp_gets_an_offer_if_configured_o6(one: Stage) -> None:
    for cseq, more in ((1, ""), (2, "m=audio 4002 RTP/AVP 8\r\n")):  # too many lines do not end the call
        one.hear(sip_request("INVITE", f"c{cseq}", 1))
        call, answer = of(one, f"c{cseq}"), answered(one)
        assert (answer.status, b"a=recvonly" in answer.body, call.started) == (200, True, False)
        theirs = f"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio 4000 RTP/AVP 8\r\na=sendonly\r\n{more}".encode()
        one.hear(sip_request("ACK", f"c{cseq}", 1, theirs, to=one.tag()))
        assert call.started and [s.line.source for s in call.recording.streams] == [("127.0.0.1", 4000)]
        await hang_up(one, f"c{cseq}")
    one.hear(sip_request("INVITE", "c3", 1))
    one.hear(sip_request("ACK", "c3", 1, to=one.tag()))
    assert one.said[-1].startswith(b"BYE ")
    await one.until(lambda: not len(one.live))


async def test_a_digest_customer_is_challenged_s28(tmp_path: Path) -> None:
    async with stage(tmp_path, CONFIG + f'digest = "{users(tmp_path)}"\n') as one:
        one.hear(INVITE)
        assert "SHA-256" in (answered(one).headers.get("WWW-Authenticate") or "")
        wrong = signed(one, sip_request("INVITE", "c3", 3, OFFER), "0" * 64)
        right = signed(one, sip_request("INVITE", "c2", 2, OFFER))
        one.hear(wrong)
        one.hear(right)
        assert one.statuses("INVITE") == [401, 401, 200]
        assert [(x["status"], x["count"]) for x in one.node.incidents.of("acme")] == [(401, 1)]


async def test_after_wrong_passwords_the_next_try_waits(tmp_path: Path) -> None:
    async with stage(tmp_path, CONFIG + f'digest = "{users(tmp_path)}"\n') as one:
        with standing(one, time.monotonic()):
            one.hear(INVITE)
            for number in range(FREE_WRONG):
                one.hear(signed(one, sip_request("INVITE", f"w{number}", 2, OFFER), "0" * 64))
            one.hear(signed(one, sip_request("INVITE", "c2", 2, OFFER)))
        reasons = {each["reason"]: each["count"] for each in one.node.incidents.of("acme")}
        assert reasons == {"digest": FREE_WRONG, "digest-early": 1}
        assert set(one.statuses("INVITE")) == {401} and not len(one.live)


def test_users_that_cannot_be_read_stop_the_start(tmp_path: Path) -> None:
    (tmp_path / "users").write_text("nonsense\n")
    with pytest.raises(NotPossible, match="line 1"):
        sip_handler.realms(configured(tmp_path, CONFIG + f'digest = "{tmp_path}/users"\n').customers)


@pytest.mark.parametrize("config", [pytest.param(CONFIG + "pause_by_reinvite = true\n", id="pause by re-INVITE")])
async def test_a_pause_is_offered_to_the_client_if_configured_f6(one: Stage) -> None:
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


def video(direction: str, profile: str) -> bytes:
    """Offer one line of video."""
    lines = (f"m=video 5000 {profile} 96", "a=rtpmap:96 H264/90000", "a=rtcp-fb:96 nack pli", f"a={direction}")
    return ("\r\n".join(("v=0", "c=IN IP4 127.0.0.1", *lines)) + "\r\n").encode()


@pytest.mark.parametrize("config", [pytest.param(CONFIG + 'srtp = "preferred"\n', id="SRTP preferred")])
@pytest.mark.parametrize(("profile", "expected"), [("RTP/AVP", [1, 0, 1]), ("RTP/AVPF", [0, 0, 0])])
async def test_video_without_rtcp_feedback_is_asked_for_by_info_r26(
    one: Stage, profile: str, expected: list[int]
) -> None:
    asked = []
    for cseq, direction in ((1, "sendonly"), (2, "inactive"), (3, "sendonly")):
        to = one.tag() if cseq > 1 else ""
        invite = sip_request("INVITE", "c1", cseq, video(direction, profile), to=to)
        one.hear(invite.replace(b"Require:", b"Allow: INVITE, ACK, BYE, INFO\r\nRequire:"))
        one.said, before = one.said[-1:], one.tag()
        one.hear(sip_request("ACK", "c1", cseq, to=before))
        asked.append(sum(data.startswith(b"INFO ") for data in one.said))
        one.said = one.said[:1]
    assert asked == expected


@pytest.mark.parametrize("config", [pytest.param(TWO, id="two customers")])
async def test_another_customers_requests_in_a_dialog_change_nothing(one: Stage) -> None:
    call = one.invite("c1")
    before = one.resources.endpoint.export(call.session)
    for method in ("INVITE", "UPDATE", "BYE"):
        hear(one, sip_request(method, "c1", 7, b"" if method == "BYE" else OFFER, to=one.tag()), FOREIGN)
        assert one.statuses(method)[-1] == 481
    assert one.resources.endpoint.export(call.session) == before
    assert call.recording.alive and len(call.recording.streams) == 2
    listed = [(x["kind"], x["call"], x["count"]) for x in one.node.incidents.of("acme")]
    assert (listed, one.node.incidents.of("globex")) == ([("dialog-strangers", call.id, 3)], [])
    assert (await hang_up(one, cseq=8))[-1] == 200


def with_domain(folder: Path, more: str = "") -> str:
    """Configure a customer that is known by its domain and authenticates, beside two that are known by address."""
    return TWO + f'[[customer]]\nname = "delta"\ndomains = ["127.0.0.1"]\n{more}digest = "{users(folder)}"\n'


async def test_a_customer_with_digest_authenticates_in_the_dialog_too(tmp_path: Path) -> None:
    async with stage(tmp_path, with_domain(tmp_path).replace('"127.0.0.1"', '"127.0.0.9"', 1)) as one:
        hear(one, INVITE, ANYWHERE)
        hear(one, signed(one, sip_request("INVITE", "c1", 2, OFFER)), ANYWHERE)
        assert one.statuses("INVITE") == [401, 200]
        (call,) = one.live
        tag = one.tag()
        hear(one, sip_request("ACK", "c1", 2, to=tag), replace(ANYWHERE, remote=("203.0.113.2", 5070)))
        unknown = call.acknowledged  # whoever has no password may be anybody
        hear(one, sip_request("ACK", "c1", 2, to=tag), ANYWHERE)
        assert (unknown, call.acknowledged) == (False, True)
        for flow in (ANYWHERE, FOREIGN):
            hear(one, sip_request("BYE", "c1", 3, to=tag, branch="x" * (flow is ANYWHERE)), flow)
        assert one.statuses("BYE") == [401, 401] and call.recording.alive  # anybody can call a domain
        hear(one, sip_request("BYE", "c1", 4, to=tag), ANYWHERE)
        hear(one, signed(one, sip_request("BYE", "c1", 5, to=tag)), ANYWHERE)
        await one.until(lambda: not len(one.live))
        assert one.statuses("BYE") == [401, 401, 401, 200]
        assert one.node.incidents.of("delta") == []


@pytest.mark.parametrize(("sources", "counts"), [('"127.0.0.1", "127.0.0.3"', True), ('"127.0.0.1"', False)])
async def test_an_unchallenged_ack_counts_from_known_sources_only(tmp_path: Path, sources: str, counts: bool) -> None:
    text = CONFIG.replace('"127.0.0.0/8"', sources) + f'digest = "{users(tmp_path)}"\n'
    shared = '[[customer]]\nname = "globex"\nsources = ["127.0.0.3"]\n'
    async with stage(tmp_path, text if counts else text + shared) as one:
        one.hear(INVITE)
        one.hear(signed(one, sip_request("INVITE", "c1", 2, OFFER)))
        (call,) = one.live
        hear(one, sip_request("ACK", "c1", 2, to=one.tag()), FOREIGN)
        assert call.acknowledged is counts


async def test_an_unauthenticated_sender_uses_up_no_rate(tmp_path: Path) -> None:
    text = with_domain(tmp_path, "max_invites = 1\n").replace('"127.0.0.1"', '"127.0.0.9"', 1)
    async with stage(tmp_path, text) as one:
        with standing(one, time.monotonic()):
            for number in range(5):
                stranger = replace(FOREIGN, remote=(f"203.0.113.{number}", 5070))
                hear(one, sip_request("INVITE", f"x{number}", 1, OFFER), stranger)
            one.hear(INVITE)
            assert one.statuses("INVITE") == [401] * 6
            for again in [signed(one, sip_request("INVITE", f"c{n}", 2, OFFER), number=n + 1) for n in range(3)]:
                one.hear(again)
            assert one.statuses("INVITE")[6:] == [200, 200, 503]


@pytest.mark.parametrize("known", [True, False])
async def test_a_refusal_is_retransmitted_only_to_known_sources(tmp_path: Path, known: bool) -> None:
    """Where a customer is known by domain anybody is heard, and any address can be written on a datagram."""
    async with stage(tmp_path, with_domain(tmp_path)) as one:
        requests = [
            INVITE,
            sip_request("INVITE", "c2", 1, OFFER, to=";tag=x"),
            sip_request("INVITE", "c3", 1, OFFER).replace(b"siprec", b"other"),
        ]
        for request in requests:
            hear(one, request, FOREIGN if known else ANYWHERE)
        assert sorted(one.statuses("INVITE")) == [401, 420, 481]
        one.resources.endpoint.handle_timer(time.monotonic() + 0.6)
        one.flush()
        assert len(one.statuses("INVITE")) == (6 if known else 3)


@pytest.mark.parametrize(
    "config", [pytest.param(CONFIG.replace('"127.0.0.0/8"', '"127.0.0.0/8", "203.0.113.0/24"'), id="two networks")]
)
async def test_a_remote_client_gets_nothing_sent_to_our_loopback(one: Stage) -> None:
    own = OFFER.replace(b"192.0.2.1", b"127.0.0.1")
    assert one.invite("c1", own).recording.alive  # an SBC on this machine
    hear(one, sip_request("INVITE", "c2", 1, own), ANYWHERE)
    assert one.statuses("INVITE") == [200, 488]
    assert [x["reason"] for x in one.node.incidents.of("acme")] == ["target"]


# --- an answer in an ACK of which no worker can be told: a BYE with the reason; what was recorded is kept ---

KINDS = range(96, 128)


def answer(port: int = 4000, letters: int = 0) -> bytes:
    """An answer, whose codecs have names of so many letters."""
    line = f"v=0\r\nc=IN IP4 127.0.0.1\r\nm=audio {port} RTP/AVP 8"
    if letters:
        line += "".join(f" {kind}" for kind in KINDS)
    names = [f"a=rtpmap:{kind} {kind}{'x' * letters}/8000" for kind in KINDS if letters]
    return "\r\n".join([line, "a=sendonly", *names, ""]).encode()


@pytest.mark.parametrize("letters", [5_800, 7_000])
@pytest.mark.parametrize("config", [pytest.param(LATE, id="late offer")])
async def test_a_too_long_answer_ends_the_call_with_its_recording(one: Stage, letters: int) -> None:
    """Also one that just fits, but would leave no room for what a successor of the worker has to be told beside it."""
    phone = Sender(None, 7)
    one.hear(sip_request("INVITE", "c1", 1))
    (call,) = one.live
    one.hear(sip_request("ACK", "c1", 1, answer(phone.socket.getsockname()[1]), to=one.tag()))
    for _ in range(20):
        phone.send(call.recording.streams[0].port)
    phone.socket.close()
    one.hear(sip_request("INVITE", "c1", 2, to=one.tag()))
    one.hear(sip_request("ACK", "c1", 2, answer(letters=letters), to=one.tag()))
    bye = next(data for data in one.said if data.startswith(b"BYE "))
    assert b'Reason: SIP;cause=200;text="too-long"\r\n' in bye
    await one.until(lambda: not len(one.live))
    assert not len(one.repairs) and one.faults == []
    await one.indexer.drain(30)
    row = await one.customers["acme"].calls.get(call.id)
    assert row is not None
    (stream,) = row.details["streams"]
    assert (row.state.value, stream["packets"], stream["lost"]) == ("interrupted", 20, 0)
    listed = [(each["kind"], each["reason"]) for each in one.node.incidents.of("acme")]
    assert listed == [("call-interrupted", "too-long")]
