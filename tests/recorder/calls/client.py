"""What clients send: from any address, and authenticated (RFC 3261 section 22)."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from recorder.calls.live_call import LiveCall
from sip.message.header_values import Flow
from sip.message.message import Response, parse
from tests.in_process.recorder_node import FLOW, Stage, sip_request

SECRET = hashlib.sha256(b"sbc:rec:sesame").hexdigest()
URI = "sip:rec@127.0.0.1"


def users(folder: Path) -> Path:
    """Write the file of a customer's users."""
    path = folder / "users"
    path.write_text(f"sbc:rec:{SECRET}\n")
    return path


def of(one: Stage, name: str) -> LiveCall:
    """Return the live call of a Call-ID."""
    return next(call for call in one.live if call.recording.call_id == name)


def reinvite(one: Stage, cseq: int, offer: bytes, to: str = "") -> None:
    """Offer again in the call c1, and acknowledge the answer."""
    to = to or one.tag()
    one.hear(sip_request("INVITE", "c1", cseq, offer, to=to))
    one.hear(sip_request("ACK", "c1", cseq, to=to))


async def hang_up(one: Stage, call: str = "c1", cseq: int = 9) -> list[int]:
    """End a call, and wait until none is left; returns how each BYE was answered."""
    one.bye(call, cseq)
    await one.until(lambda: not len(one.live))
    return one.statuses("BYE")


def hear(one: Stage, data: bytes, flow: Flow = FLOW) -> None:
    """Let a datagram arrive from an address."""
    one.resources.endpoint.receive_datagram(data, flow, time.monotonic())
    one.flush()


def answered(one: Stage) -> Response:
    """Return the newest answer."""
    answer = parse(one.said[-1])
    assert isinstance(answer, Response)
    return answer


def signed(one: Stage, request: bytes, response: str = "", number: int = 1) -> bytes:
    """Answer the newest challenge in a request, for the `number`-th time, or give a wrong response."""
    nonce = (answered(one).headers.get("WWW-Authenticate") or "").split('nonce="')[1].partition('"')[0]
    ha2 = hashlib.sha256(request.partition(b" ")[0] + f":{URI}".encode()).hexdigest()
    right = hashlib.sha256(f"{SECRET}:{nonce}:{number:08x}:x:auth:{ha2}".encode()).hexdigest()
    value = f'Digest username="sbc", realm="rec", nonce="{nonce}", uri="{URI}", response="{response or right}", '
    value += f'algorithm=SHA-256, qop=auth, nc={number:08x}, cnonce="x"'
    return request.replace(b"Require:", f"Authorization: {value}\r\nRequire:".encode(), 1)


async def state_of(one: Stage, call: str) -> str | None:
    """Return the state of a call in the index of its customer, acme."""
    row = await one.customers["acme"].calls.get(call)
    return row.state.value if row else None
