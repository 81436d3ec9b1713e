import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from recorder.simulate.agent import Agent
from recorder.simulate.link import Unreachable
from recorder.simulate.plan import Plan
from sip.message.headers import Headers
from sip.message.message import Request, Response, parse


@asynccontextmanager
async def started(uri: str) -> AsyncIterator[Agent]:
    """Have an agent that speaks to a recorder."""
    agent = Agent(Plan(uri, setup_timeout=30))
    await agent.start()
    yield agent
    await agent.close()


async def test_without_a_recorder_or_a_start_there_is_no_link() -> None:
    async with started("sip:127.0.0.1:9") as agent:
        with pytest.raises(Unreachable, match="Nobody answers"):
            await agent.greet()
    agent = Agent(Plan("sip:127.0.0.1"))
    await agent.close()
    with pytest.raises(Unreachable):
        _ = agent.me


async def test_requests_outside_our_dialogs_are_answered() -> None:
    fields = [("Via", "SIP/2.0/UDP a;branch=z9hG4bKq"), ("From", "<sip:a>;tag=1"), ("To", "<sip:us>"), ("Call-ID", "x")]
    with socket.socket(type=socket.SOCK_DGRAM) as recorder:
        recorder.bind(("127.0.0.1", 0))
        recorder.setblocking(False)
        async with started(f"sip:127.0.0.1:{recorder.getsockname()[1]}") as agent:
            recorder.sendto(b"noise", (agent.me.host, agent.me.port))
            for method, status in (("OPTIONS", 200), ("BYE", 481)):
                request = Request(method, "sip:us", headers=Headers([*fields, ("CSeq", f"1 {method}")]))
                recorder.sendto(bytes(request), (agent.me.host, agent.me.port))
                answer = parse(await asyncio.get_running_loop().sock_recv(recorder, 4096))
                assert isinstance(answer, Response) and answer.status == status
            agent.post(answer)
        assert parse(recorder.recv(4096)) == answer  # the end waits for what is still to be sent
