"""Requests of the recorder within a call, with a link and a media process that only keep what they get."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from recorder.simulate.call import SimulatedCall
from recorder.simulate.dialog import Self
from recorder.simulate.plan import Plan
from sip.message.headers import Headers
from sip.message.message import Request, Response
from sip.sdp.description import SessionDescription


class Kept:
    """Both sides of a call: keeps requests and media commands, answers as told."""

    def __init__(self, answer: Response | None = None) -> None:
        self.me = Self("udp", "127.0.0.1", 5060)
        self.link = SimpleNamespace(address="127.0.0.1", send=self._send)
        self.owners: dict[str, Any] = {}
        self.requests: list[Request] = []
        self.commands: list[str] = []
        self._answer = answer

    @staticmethod
    def branch() -> str:
        return "z9hG4bKkept"

    async def _send(self, data: bytes) -> None:
        """Take an ACK."""

    async def ask(self, request: Request, timeout: float | None = None) -> tuple[Response | None, float]:
        self.requests.append(request)
        return self._answer, 0.01

    async def do(self, what: str, **words: Any) -> Any:
        self.commands.append(what)
        return {"tick": 0}


def call(kept: Kept) -> SimulatedCall:
    return SimulatedCall(Plan("sip:127.0.0.1", run=1), 0, [kept], kept, "127.0.0.1", [40000, 40002], [])  # type: ignore[arg-type,list-item]  # both


def asked(method: str, body: bytes = b"") -> Request:
    fields = [
        ("Via", "SIP/2.0/UDP a;branch=z9hG4bKq"),
        ("From", "<sip:a>;tag=1"),
        ("To", "<sip:us>;tag=2"),
        ("Call-ID", "x"),
    ]
    return Request(method, "sip:us", headers=Headers([*fields, ("CSeq", f"7 {method}")]), body=body)


def answer(*streams: str, address: str = "") -> Response:
    """Answer an INVITE with these media lines."""
    body = "".join(["v=0\r\n", address, *streams]).encode()
    return Response(200, "OK", Headers([("To", "<sip:x>;tag=9"), ("CSeq", "1 INVITE")]), body)


async def test_a_call_without_answer_or_stream_is_in_the_report() -> None:
    kept, none = Kept(), Kept(answer("m=audio 0 RTP/SAVP 8\r\n", "m=audio 0 RTP/SAVP 0\r\n"))
    one = call(kept)
    await one.place()
    assert (one.report.status, one.report.reason, kept.commands) == (0, "nobody answered", [])
    one = call(none)
    await one.place()
    assert [r.method for r in none.requests] == ["INVITE", "BYE"]
    assert any("none of its streams" in fault for fault in one.report.faults)


def test_a_reinvite_gets_our_sdp_with_a_new_version() -> None:
    one = call(Kept())
    first = SessionDescription.parse(one.asked(asked("INVITE")).body)
    second = SessionDescription.parse(one.asked(asked("UPDATE", b"v=0\r\n")).body)
    assert len(first.media) == 2 and first.version != second.version
    assert one.asked(asked("UPDATE")).body == b""


async def test_a_pausing_recorder_gets_silence_and_then_audio_f6() -> None:
    kept = Kept()
    one = call(kept)
    directions = []
    for wanted in ("inactive", "inactive", "recvonly"):
        offered = f"v=0\r\nm=audio 20000 RTP/SAVP 8\r\na={wanted}\r\nm=audio 0 RTP/SAVP 0\r\n".encode()
        answer = SessionDescription.parse(one.asked(asked("INVITE", offered)).body)
        directions.append(answer.media[0].direction)
        await asyncio.sleep(0)
    assert directions == ["inactive", "inactive", "sendonly"]
    one.asked(asked("BYE"))
    one.asked(asked("INVITE", offered))
    await asyncio.sleep(0)
    assert kept.commands == ["off", "on"]  # a call that is over sends no more


def test_requests_of_the_recorder_are_answered() -> None:
    one = call(Kept())
    assert one.asked(asked("BYE")).status == 200 and one.report.ended_by_recorder
    assert one.asked(asked("REFER")).status == 501
    assert one.repeated(Response(200, "OK", Headers([("CSeq", "1 INVITE")]))) is None  # of another INVITE


def test_an_answer_that_moves_a_running_stream_is_a_fault() -> None:
    one = call(Kept())
    place = "c=IN IP4 192.0.2.1\r\n"
    before, after = (answer(f"m=audio {port} RTP/SAVP 8\r\n", address=place) for port in (20000, 30000))
    one._targets = one._judge(before)
    one._judge(before)
    assert not any("changes address" in fault for fault in one.report.faults)
    one._judge(after)
    assert any("changes address or key of a stream" in fault for fault in one.report.faults)
