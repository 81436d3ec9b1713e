"""What becomes of an offer of ours whose answer went with the process that made it."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from recorder.calls.live_call import LiveCall
from recorder.session.states import State
from sip.message.message import Request, parse
from sip.transaction.timers import T2
from tests.in_process.offers import KEYS, sdp
from tests.in_process.recorder_node import CONFIG, FLOW, Stage, sip_request, stage
from tests.in_process.worker_call import Sender
from tests.recorder.calls.restart import resumed

OURS = CONFIG + 'siprec = "plain"\nlate_offer = true\n'


def asked_again(one: Stage) -> tuple[LiveCall, str, Request]:
    """Have a client's answer to our first offer go with the process and its connection; our successor asks anew."""
    one.hear(sip_request("INVITE", "c1", 1))
    (call,) = one.live
    tag, endpoint = one.tag(), one.node.endpoint
    session = endpoint._context.sessions.get(call.session)
    assert session
    session.flow = replace(session.flow, transport="tcp", connection=5)
    again = resumed(one, call)
    endpoint.handle_timer(time.monotonic() + T2 + 0.1)
    one.flush()
    asked = parse(one.said[-1])
    assert isinstance(asked, Request) and asked.method == "INVITE"
    return again, tag, asked


def unreachable(one: Stage) -> None:
    """Let the connection that was asked for be refused."""
    one.node.endpoint.connection_lost(replace(FLOW, transport="tcp"), time.monotonic())


@pytest.mark.parametrize("codec", [8, 101])
@pytest.mark.parametrize("srtp", ["off", "required"])
async def test_a_clients_offer_stands_in_for_its_lost_answer(tmp_path: Path, srtp: str, codec: int) -> None:
    async with stage(tmp_path, OURS + f'srtp = "{srtp}"\n') as one:
        again, tag, _ = asked_again(one)
        unreachable(one)
        sender = Sender(KEYS[0] if srtp == "required" else None, 7)
        peer = sender.socket.getsockname()[1]
        line = b"RTP/SAVP %d" % codec if srtp == "required" else b"RTP/AVP %d" % codec
        meant = b"" if codec == 8 else b"\r\na=rtpmap:101 PCMA/8000"
        offer = sdp("sendonly").replace(b"30000 RTP/SAVP 8", b"%d %s%s" % (peer, line, meant))
        one.hear(sip_request("INVITE", "c1", 2, offer, to=tag))
        answer = parse(one.said[-1])
        one.hear(sip_request("ACK", "c1", 2, to=tag))
        assert b"a=recvonly\r\n" in answer.body
        assert b"a=label:1\r\n" in answer.body  # it answers the client's: ours had no labels
        assert (again.recording.state, again.started) == (State.RECORDING, True)
        stream = next(each for each in again.recording.streams if not each.removed)
        # Another meaning of a payload type is another stream where something may have been kept.
        assert stream.number == (codec == 101 and srtp == "off")
        sender.send(stream.port, 5)
        figures = (await one.node.workers.snapshot(again.id)).streams
        assert figures[stream.number]["packets"] == 5
        sender.socket.close()
        assert one.faults == []


@pytest.mark.parametrize(("srtp", "state"), [("off", State.RECORDING), ("required", State.CLOSING)])
async def test_readable_media_are_kept_without_a_new_answer(tmp_path: Path, srtp: str, state: State) -> None:
    async with stage(tmp_path, OURS + f'srtp = "{srtp}"\n') as one:
        again, _, asked = asked_again(one)
        names = ("Via", "From", "To", "Call-ID", "CSeq")
        head = "".join(f"{name}: {asked.headers.get(name)}\r\n" for name in names)
        one.hear(f"SIP/2.0 488 Not Acceptable Here\r\n{head}Content-Length: 0\r\n\r\n".encode())
        assert again.recording.state is state
