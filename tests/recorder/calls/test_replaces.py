"""An INVITE that replaces a recording (RFC 3891): the old one ends whole when the new one stands, and not before."""

from __future__ import annotations

from pathlib import Path

import pytest

from recorder.calls.live_call import LiveCall
from sip.message.header_values import Flow
from sip.message.message import Request, parse
from storage.calls.call_document import CallDocument
from tests.in_process.offers import sdp
from tests.in_process.recorder_node import CONFIG, Stage, sip_request, stage
from tests.recorder.calls.client import of
from tests.recorder.calls.restart import leave, resume
from tests.recorder.calls.test_liveness import answer, asked

OFFER = sdp("sendonly", "sendonly")
PLAIN = (
    b"v=0\r\no=- 7 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8\r\na=sendonly\r\n"
)
TWO = CONFIG.replace('["127.0.0.0/8"]', '["127.0.0.0/8"]\ndomains = ["acme.example"]') + (
    '[[customer]]\nname = "globex"\nsources = ["127.0.0.0/8"]\ndomains = ["globex.example"]\n'
)


def replacing(old: LiveCall, call: str = "c2", body: bytes = OFFER, more: str = "", require: bool = True) -> bytes:
    """An INVITE that names the dialog of a call."""
    name = old.recording.call_id
    lines = f"Replaces: {name};to-tag={old.session};from-tag=t{name}{more}"
    plain = sip_request("INVITE", call, 1, body)
    return plain.replace(b"Require: siprec", f"Require: siprec{', replaces' if require else ''}\r\n{lines}".encode())


def byes(one: Stage) -> list[str]:
    """The Call-IDs of the dialogs in which we sent BYE."""
    return [m.call_id for m in map(parse, one.said) if isinstance(m, Request) and m.method == "BYE"]


async def ended(one: Stage, call: LiveCall) -> CallDocument:
    """Wait until a call has ended; its document."""
    await one.until(lambda: one.live.by_id(call.id) is None)
    return call.recording.call_document(one.node.now())


@pytest.mark.parametrize("require", [True, False])
async def test_the_old_recording_ends_once_the_client_has_our_answer(one: Stage, require: bool) -> None:
    old = one.invite("c1")
    one.hear(replacing(old, require=require))
    new, tag = of(one, "c2"), one.tag()
    assert one.statuses("INVITE") == [200, 200]
    assert old.recording.alive  # the 200 may be lost
    assert byes(one) == []
    one.hear(sip_request("ACK", "c2", 1, to=tag))
    assert byes(one) == ["c1"]
    told = await ended(one, old)
    assert (told["state"], told["end_reason"]) == ("complete", "replaced")
    assert [(n["kind"], n["call"]) for n in told["notes"]] == [("replaced-by", new.id)]
    shown = new.recording.call_document(one.node.now())
    assert (shown["state"], shown["id"] != told["id"]) == ("recording", True)
    assert [(n["kind"], n["call"]) for n in shown["notes"]] == [("replaces", old.id)]
    parts = old.customer.vault.parts(old.id, old.leaf)
    assert [d for part in parts for d in old.customer.vault.verify(part)] == []
    one.hear(sip_request("BYE", "c2", 2, to=tag))
    assert (await ended(one, new))["end_reason"] == "bye"
    assert one.node.incidents.of("acme") == []


@pytest.mark.parametrize(
    ("config", "more", "body", "change", "status", "reason"),
    [
        pytest.param(CONFIG, "", OFFER, (b"from-tag=t", b"from-tag=x"), 481, "replaces-unknown", id="from-tag"),
        pytest.param(CONFIG, "", OFFER, (b"to-tag=", b"to-tag=0"), 481, "replaces-unknown", id="to-tag"),
        pytest.param(CONFIG, ";early-only", OFFER, (b"", b""), 486, "replaces-early-only", id="early-only"),
        pytest.param(CONFIG, "", OFFER, (b"to-tag=", b"tag="), 400, "replaces", id="no to-tag"),
        pytest.param(CONFIG + 'srtp = "required"\n', "", PLAIN, (b"", b""), 488, "srtp-required", id="plain RTP"),
        pytest.param(
            CONFIG.replace("max_calls = 5", "max_calls = 1"), "", OFFER, (b"", b""), 503, "full", id="no room"
        ),
    ],
)
async def test_a_refused_replacement_leaves_the_old_recording_alone(
    one: Stage, more: str, body: bytes, change: tuple[bytes, bytes], status: int, reason: str
) -> None:
    old = one.invite("c1")
    one.hear(replacing(old, body=body, more=more).replace(*change))
    one.hear(sip_request("ACK", "c2", 1, to=one.tag()))
    assert one.statuses("INVITE") == [200, status]
    listed = [(i["kind"], i["status"], i["reason"]) for i in one.node.incidents.of("acme")]
    assert listed == [("call-refused", status, reason)]
    assert [call.id for call in one.live] == [old.id] and byes(one) == []
    assert old.recording.alive


async def test_an_optional_replaces_without_match_is_recorded(one: Stage) -> None:
    old, tag = one.invite("c1"), one.tag()
    one.hear(replacing(old, "c2", require=False).replace(b"to-tag=", b"to-tag=0"))
    one.hear(sip_request("BYE", "c1", 2, to=tag))
    await ended(one, old)
    one.hear(replacing(old, "c3", require=False))
    assert one.statuses("INVITE") == [200, 200, 200]
    assert [call.recording.call_id for call in one.live] == ["c2", "c3"]
    assert [call.replaces for call in one.live] == [None, None]
    assert one.node.incidents.of("acme") == []


async def test_a_recording_that_has_ended_is_not_replaced_603(one: Stage) -> None:
    old, tag = one.invite("c1"), one.tag()
    one.hear(sip_request("BYE", "c1", 2, to=tag), replacing(old))  # before all of it is durable
    assert one.statuses("INVITE") == [200, 603]
    await ended(one, old)
    one.hear(replacing(old, "c3"))
    assert one.statuses("INVITE") == [200, 603, 603]
    assert not len(one.live)


@pytest.mark.parametrize("config", [pytest.param(TWO, id="two customers")])
async def test_the_recording_of_another_customer_is_no_match_481(one: Stage) -> None:
    one.hear(sip_request("INVITE", "c1", 1, OFFER).replace(b"sip:rec@127.0.0.1 ", b"sip:rec@acme.example "))
    one.hear(sip_request("ACK", "c1", 1, to=one.tag()))
    old = of(one, "c1")
    assert old.customer.name == "acme"
    foreign = replacing(old).replace(b"sip:rec@127.0.0.1 ", b"sip:rec@globex.example ")
    one.hear(foreign)
    assert one.statuses("INVITE") == [200, 481]
    listed = [i["reason"] for i in one.node.incidents.of("globex")]
    assert (listed, one.node.incidents.of("acme")) == (["replaces-unknown"], [])
    assert old.recording.alive


@pytest.mark.parametrize(("method", "body"), [("UPDATE", b""), ("INFO", b""), ("INVITE", OFFER), ("BYE", b"")])
async def test_any_request_in_the_new_dialog_confirms_our_answer(one: Stage, method: str, body: bytes) -> None:
    old = one.invite("c1")
    one.hear(replacing(old))
    new = of(one, "c2")
    one.hear(sip_request(method, "c2", 2, body, to=one.tag()))
    assert byes(one) == ["c1"]
    assert (await ended(one, old))["end_reason"] == "replaced"
    assert new.recording.alive is (method != "BYE")


async def test_an_unacknowledged_200_replaces_nothing(one: Stage) -> None:
    old = one.invite("c1")
    one.hear(replacing(old))
    new = of(one, "c2")
    one.resources.endpoint.handle_timer(one.node.monotonic() + 40)
    one.flush()
    assert (await ended(one, new))["end_reason"] == "no-ack"
    assert old.recording.alive
    assert byes(one) == ["c2"]


async def test_a_late_offer_replaces_only_with_its_answer(tmp_path: Path) -> None:
    late = CONFIG + 'siprec = "plain"\nlate_offer = true\nsrtp = "off"\n'
    async with stage(tmp_path, late) as one:
        old = one.invite("c1", PLAIN)
        one.hear(replacing(old, body=b""))
        one.hear(sip_request("UPDATE", "c2", 2, to=one.tag()))  # it has our 200, but nothing is agreed
        assert old.recording.alive
        one.hear(sip_request("ACK", "c2", 1, to=one.tag()))
        assert old.recording.alive
        assert byes(one) == ["c2"]
        one.hear(replacing(old, "c3", b""))
        one.hear(sip_request("ACK", "c3", 1, PLAIN, to=one.tag()))
        assert (await ended(one, old))["end_reason"] == "replaced"
        assert of(one, "c3").recording.alive


def restart(one: Stage, *, stream: bool = False) -> None:
    """Kill and start a node; the way of its calls to us was a connection, or datagrams."""
    for session in one.resources.endpoint._context.sessions:
        flow = session.flow
        session.flow = Flow("tcp", flow.local, flow.remote, 7, flow.listener) if stream else flow
    leave(one, *one.live)
    resume(one)
    one.flush()


async def test_a_restart_before_the_ack_keeps_the_old_call(one: Stage) -> None:
    one.hear(replacing(one.invite("c1")))
    tag = one.tag()
    restart(one)
    old = of(one, "c1")
    assert old.recording.alive and asked(one) == []
    one.hear(sip_request("ACK", "c2", 1, to=tag))
    assert (await ended(one, old))["end_reason"] == "replaced"
    assert of(one, "c2").recording.alive


@pytest.mark.parametrize(("status", "left"), [(200, "c2"), (481, "c1")])
async def test_a_client_is_probed_if_its_ack_may_have_been_lost(one: Stage, status: int, left: str) -> None:
    one.hear(replacing(one.invite("c1")))
    restart(one, stream=True)
    assert {call.recording.call_id for call in one.live if call.recording.alive} == {"c1", "c2"}
    (question,) = asked(one)
    assert question.call_id == "c2"
    await answer(one, question, status)
    await one.until(lambda: [call.recording.call_id for call in one.live] == [left])
