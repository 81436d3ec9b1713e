"""One a=crypto line with several keys (RFC 4568 section 6.1): whichever a packet is under, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from media.rtp import header
from recorder.calls.live_call import LiveCall
from sip.message.message import parse
from tests.in_process.offers import KEYS, sdp
from tests.in_process.recorder_node import Stage, sip_request, stage
from tests.recorder.calls.test_resume import leave, resume

TAG = 10  # bytes, of AES_CM_128_HMAC_SHA1_80


def offer(*keys: bytes, version: int = 1) -> bytes:
    """One line whose n-th key has the identifier n."""
    text = ";".join(f"inline:{base64.b64encode(key).decode()}|2^20|{n}:4" for n, key in enumerate(keys, 1))
    one = f"inline:{base64.b64encode(KEYS[0]).decode()}"
    return sdp("sendonly", version=version).replace(one.encode(), text.encode())


def packets(keys: dict[int, bytes]) -> Iterator[bytes]:
    """The packets of one source, each under the key whose identifier is asked for."""
    sessions = {n: Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND)) for n, key in keys.items()}
    name, number = 1, 0
    while True:
        packet = sessions[name].protect(header.build(8, number, number * 160, 7, bytes(160)))
        name = yield packet[:-TAG] + name.to_bytes(4, "big") + packet[-TAG:]  # type: ignore[misc]  # a generator is told
        number += 1


class Client:
    """Speaks under the keys it offered."""

    def __init__(self, one: Stage, keys: dict[int, bytes]) -> None:
        self.one, self.total = one, 0
        self.packets = packets(keys)
        self.ready = next(self.packets)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    async def speak(self, call: LiveCall, *names: int) -> None:
        """Send five packets under each of these keys, and see that they are stored."""
        for name in names:
            for _ in range(5):
                self.socket.sendto(self.packets.send(name), ("127.0.0.1", call.recording.streams[0].port))  # type: ignore[attr-defined]  # as above
            self.total += 5
        figures = await self.one.node.workers.snapshot(call.id)
        stream = figures.streams[0]
        assert (stream["packets"], stream["rejected"], stream["lost"]) == (self.total, 0, 0)


def kill_worker(one: Stage) -> None:
    os.kill(next(iter(one.node.workers._processes.values())).pid, signal.SIGKILL)


def test_packets_under_either_key_of_a_line_survive_kills(tmp_path: Path) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            call = one.invite(offer=offer(KEYS[0], KEYS[1]))
            tag = one.tag()
            answer = parse(next(data for data in one.said if data.startswith(b"SIP/2.0 200")))
            assert (answer.body.count(b"inline:"), answer.body.count(b"|")) == (1, 0)  # ours is one key
            client = Client(one, {1: KEYS[0], 2: KEYS[1], 3: KEYS[2], 4: KEYS[3]})
            await client.speak(call, 1, 2, 1)
            kill_worker(one)
            await client.speak(call, 2, 1)
            leave(one, call)
            resume(one)
            (again,) = one.live
            await one.until(lambda: one.node.workers._entries[again.id].process)
            await client.speak(again, 1, 2)
            one.hear(sip_request("INVITE", "c1", 2, offer(KEYS[2], KEYS[3], version=2), to=tag))
            one.hear(sip_request("ACK", "c1", 2, to=tag))
            kill_worker(one)  # before anything came under the new keys
            await client.speak(again, 2, 4, 3)
            client.socket.close()

    asyncio.run(story())


@pytest.mark.parametrize("change", [(b"|2^20|2:4", b""), (b"|2^20|2:4", b"|2^20|1:4"), (b"|2^20|2:4", b"|2:2")])
def test_indistinguishable_keys_are_refused_488(tmp_path: Path, change: tuple[bytes, bytes]) -> None:
    async def story() -> None:
        async with stage(tmp_path) as one:
            one.hear(sip_request("INVITE", "c1", 1, offer(KEYS[0], KEYS[1]).replace(*change)))
            assert one.statuses("INVITE") == [488]
            assert [i["reason"] for i in one.node.incidents.of("acme")] == ["crypto-mki"]

    asyncio.run(story())
