from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from recorder.simulate.link import Unreachable, deliver, open_link, own_address
from recorder.simulate.media_link import MediaLink, MediaLost
from recorder.simulate.plan import Plan
from sip.message.message import Framed, parse


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan("sip:127.0.0.1:9;transport=tcp"), "Nobody answers"),
        (Plan("sip:127.0.0.1:9;transport=tls", insecure=True), "Nobody answers"),
        (Plan("sip:no-such-name.invalid"), "cannot be resolved"),
        (Plan("sips:127.0.0.1", ca=Path("/nonexistent")), "cannot be read"),
    ],
)
async def test_an_unreachable_peer_is_explained(plan: Plan, reason: str) -> None:
    with pytest.raises(Unreachable, match=reason):
        await open_link(plan, lambda data: None)


@asynccontextmanager
async def listening() -> AsyncIterator[tuple[int, asyncio.Queue[asyncio.StreamWriter]]]:
    """Accept connections; yield the port, and where each that was accepted is put."""
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield port, accepted


async def test_a_broken_connection_is_made_again() -> None:
    heard: list[Framed | bytes] = []
    message = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"

    async with listening() as (port, accepted):
        link = await open_link(Plan(f"sip:127.0.0.1:{port};transport=tcp"), heard.append)
        first = await accepted.get()
        first.write(message)
        await first.drain()
        first.close()
        second = await asyncio.wait_for(accepted.get(), 30)
        second.write(message)
        while len(heard) < 2:
            await asyncio.sleep(0.01)
        await link.close()
        second.close()
    assert [parse(each).status for each in heard] == [200, 200] and link.losses == 1
    assert own_address("127.0.0.1", 5060) == "127.0.0.1"


async def test_a_link_closed_just_as_it_reconnects_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    really, wanted = asyncio.open_connection, asyncio.Event()
    connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def slowly(*words: Any, **more: Any) -> Any:
        pair = await really(*words, **more)
        wanted.set()
        await connected
        return pair

    async with listening() as (port, accepted):
        link = await open_link(Plan(f"sip:127.0.0.1:{port};transport=tcp"), lambda data: None)
        monkeypatch.setattr(asyncio, "open_connection", slowly)
        (await accepted.get()).close()
        await wanted.wait()
        connected.set_result(None)
        await asyncio.sleep(0)  # one turn of the loop: the connection is there, and the link does not know it yet
        await asyncio.wait_for(link.close(), 10)
        (await accepted.get()).close()


async def test_a_process_that_died_is_reported(capfd: pytest.CaptureFixture[str]) -> None:
    link = MediaLink()
    await link.start()
    with pytest.raises(MediaLost):
        await link.do("no such command")
    await link.stop()
    assert "KeyError" in capfd.readouterr().err


async def test_an_error_of_an_earlier_datagram_loses_no_later_one() -> None:
    sent: list[bytes] = []

    class Refused:
        def __init__(self, times: int) -> None:
            self.times = times

        async def send(self, datagram: bytes) -> None:
            self.times -= 1
            if self.times >= 0:
                raise ConnectionRefusedError
            sent.append(datagram)

    assert isinstance(await deliver(Refused(1), b"one"), ConnectionRefusedError)
    assert await deliver(Refused(0), b"two") is None
    with pytest.raises(ConnectionRefusedError):
        await deliver(Refused(2), b"three")
    assert sent == [b"one", b"two"]
