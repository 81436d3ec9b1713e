"""The source of plain RTP moves by a re-INVITE: what it sends is kept from the answer on, and nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from tests.in_process.recorder_node import sip_request, stage
from tests.recorder.calls.test_port_reuse import ACME, GLOBEX, PACKETS, TEXT, Speaker, begin, end, flow_of, stored
from tests.recorder.workers.test_process import stop

ELSEWHERE = "127.0.0.4"


def test_every_packet_from_the_answer_on_is_kept(tmp_path: Path) -> None:
    """However long the worker is not let run."""
    text = TEXT.replace(f"{ACME}/32", f'{ACME}/32", "{ELSEWHERE}/32')

    async def story() -> None:
        async with stage(tmp_path, text) as one:
            with Speaker(ACME, b"a") as here, Speaker(ELSEWHERE, b"b") as there, Speaker(GLOBEX, b"z") as stranger:
                call, ports = begin(one, "c1", ACME, here)
                for _ in range(3):  # heard, chosen, and its socket emptied once more
                    here.speak(ports)
                    await one.node.workers.snapshot(call.id)
                (worker,) = one.node.workers._processes.values()
                await stop(worker.pid)
                offer = there.offer(ELSEWHERE).replace(b"v=0\r\n", b"v=0\r\no=- 1 2 IN IP4 127.0.0.4\r\n")
                moved = sip_request("INVITE", "c1", 2, offer, to=one.tag())
                one.node.endpoint.receive_datagram(moved, flow_of(ACME), time.monotonic())
                one.flush()
                for speaker in (there, stranger):
                    speaker.speak(ports)
                os.kill(worker.pid, signal.SIGCONT)
                await one.node.workers.snapshot(call.id)
                there.speak(ports)
            await end(one, "c1")
            assert stored(one, "acme") == {b"a": 2 * 3 * PACKETS, b"b": 2 * 2 * PACKETS}

    asyncio.run(story())
