"""An answer in an ACK of which no worker can be told: a BYE with the reason, and what was recorded is kept in order."""

from __future__ import annotations

import pytest

from tests.in_process.recorder_node import Stage, sip_request
from tests.in_process.worker_call import Sender
from tests.recorder.calls.test_sip_handler import LATE

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
    await one.node.indexer.drain(30)
    row = await one.node.customers["acme"].calls.get(call.id)
    assert row is not None
    (stream,) = row.details["streams"]
    assert (row.state.value, stream["packets"], stream["lost"]) == ("interrupted", 20, 0)
    listed = [(each["kind"], each["reason"]) for each in one.node.incidents.of("acme")]
    assert listed == [("call-interrupted", "too-long")]
