import asyncio

import pytest

from recorder.simulate.agent import Agent
from recorder.simulate.dialog import Dialog
from recorder.simulate.link import Unreachable
from recorder.simulate.plan import Plan
from sip.message.headers import Headers
from sip.message.message import Request, Response, parse
from tests.in_process.recorder_double import RecorderDouble


def story(double: RecorderDouble, transport: str, work: object) -> None:
    async def run() -> None:
        await double.start()
        agent = Agent(Plan(f"sip:127.0.0.1:{double.port};transport={transport}", setup_timeout=30))
        await agent.start()
        try:
            await work(agent)  # type: ignore[operator]  # a coroutine function of the test
        finally:
            await agent.close()
            await double.stop()

    asyncio.run(run())


def dialog() -> Dialog:
    return Dialog("sip:127.0.0.1", "<sip:127.0.0.1>", "<sip:us@127.0.0.1>;tag=1", "call-1")


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_request_gets_its_answer(transport: str) -> None:
    async def work(agent: Agent) -> None:
        response, seconds = await agent.ask(dialog().request("OPTIONS", agent.me, agent.branch()))
        assert response is not None and response.status == 200 and 0 < seconds < 30

    story(RecorderDouble(), transport, work)


def test_over_udp_an_unanswered_invite_is_sent_again() -> None:
    double = RecorderDouble(status=486, drops=1)

    async def work(agent: Agent) -> None:
        response, seconds = await agent.ask(dialog().request("INVITE", agent.me, agent.branch()))
        assert response is not None and response.status == 486 and 0.4 < seconds < 30

    story(double, "udp", work)
    first, again, *more = [r.via.branch for r in double.requests]  # more of them where this machine is held up
    assert {first, again, *more} == {first}


def test_no_answer_at_all_is_none() -> None:
    async def work(agent: Agent) -> None:
        response, _ = await agent.ask(dialog().request("INVITE", agent.me, agent.branch()), 0.7)
        assert response is None

    story(RecorderDouble(drops=9), "udp", work)


def test_the_greeting_finds_that_nobody_listens() -> None:
    async def run() -> None:
        agent = Agent(Plan("sip:127.0.0.1:9"))
        await agent.start()
        with pytest.raises(Unreachable, match="Nobody answers"):
            await agent.greet()
        await agent.close()

    asyncio.run(run())


def test_before_the_start_there_is_no_link() -> None:
    agent = Agent(Plan("sip:127.0.0.1"))
    asyncio.run(agent.close())
    with pytest.raises(Unreachable):
        _ = agent.me


class Sent:
    """A link that keeps what is sent."""

    def __init__(self) -> None:
        self.messages: list[Request | Response] = []

    async def send(self, data: bytes) -> None:
        self.messages.append(parse(data))

    async def close(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("BYE", 481)])
def test_requests_outside_our_dialogs_are_answered(method: str, status: int) -> None:
    async def run() -> None:
        agent, link = Agent(Plan("sip:127.0.0.1")), Sent()
        agent._link = link  # type: ignore[assignment]  # a link that keeps what is sent
        fields = [
            ("Via", "SIP/2.0/UDP a;branch=z9hG4bKq"),
            ("From", "<sip:a>;tag=1"),
            ("To", "<sip:us>"),
            ("Call-ID", "x"),
        ]
        agent._receive(bytes(Request(method, "sip:us", headers=Headers([*fields, ("CSeq", f"1 {method}")]))))
        agent._receive(b"noise")
        await agent.close()
        assert [m.status for m in link.messages if isinstance(m, Response)] == [status]

    asyncio.run(run())
