"""One a=crypto line with several keys (RFC 4568 section 6.1): whichever a packet is under, whatever dies meanwhile."""

from __future__ import annotations

import base64
import socket

from pylibsrtp import Policy, Session

from media.rtp import header
from recorder.calls.live_call import LiveCall
from sip.message.message import parse
from tests.in_process.offers import KEYS, sdp
from tests.in_process.recorder_node import Stage
from tests.recorder.calls.client import reinvite
from tests.recorder.calls.restart import kill_worker, resumed

TAG = 10  # bytes, of AES_CM_128_HMAC_SHA1_80


def offer(*keys: bytes, version: int = 1) -> bytes:
    """One line whose n-th key has the identifier n."""
    text = ";".join(f"inline:{base64.b64encode(key).decode()}|2^20|{n}:4" for n, key in enumerate(keys, 1))
    one = f"inline:{base64.b64encode(KEYS[0]).decode()}"
    return sdp("sendonly", version=version).replace(one.encode(), text.encode())


class Client:
    """Speaks under the keys it offered, as one source."""

    def __init__(self, one: Stage, keys: dict[int, bytes]) -> None:
        self.one, self.total = one, 0
        self.sessions = {n: Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND)) for n, key in keys.items()}
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def send(self, name: int, port: int) -> None:
        """Send a packet under the key of this identifier."""
        packet = self.sessions[name].protect(header.build(8, self.total, self.total * 160, 7, bytes(160)))
        self.socket.sendto(packet[:-TAG] + name.to_bytes(4, "big") + packet[-TAG:], ("127.0.0.1", port))
        self.total += 1

    async def speak(self, call: LiveCall, *names: int) -> None:
        """Send five packets under each of these keys, and see that they are stored."""
        for name in names:
            for _ in range(5):
                self.send(name, call.recording.streams[0].port)
        figures = await self.one.node.workers.snapshot(call.id)
        stream = figures.streams[0]
        assert (stream["packets"], stream["rejected"], stream["lost"]) == (self.total, 0, 0)


async def test_packets_under_either_key_of_a_line_survive_kills(one: Stage) -> None:
    call = one.invite(offer=offer(KEYS[0], KEYS[1]))
    tag = one.tag()
    answer = parse(next(data for data in one.said if data.startswith(b"SIP/2.0 200")))
    assert (answer.body.count(b"inline:"), answer.body.count(b"|")) == (1, 0)  # ours is one key
    client = Client(one, {1: KEYS[0], 2: KEYS[1], 3: KEYS[2], 4: KEYS[3]})
    await client.speak(call, 1, 2, 1)
    kill_worker(one)
    await client.speak(call, 2, 1)
    again = resumed(one, call)
    await client.speak(again, 1, 2)
    reinvite(one, 2, offer(KEYS[2], KEYS[3], version=2), to=tag)
    kill_worker(one)  # before anything came under the new keys
    await client.speak(again, 2, 4, 3)
    client.socket.close()
