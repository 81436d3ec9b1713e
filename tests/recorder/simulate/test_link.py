import asyncio
import socket

import pytest

from recorder.simulate.link import Unreachable, open_link, own_address
from recorder.simulate.plan import Plan
from sip.message.message import Framed, parse


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as place:
        return int(place.getsockname()[1])


@pytest.mark.parametrize("transport", ["tcp", "tls"])
def test_an_unreachable_peer_is_explained(transport: str) -> None:
    plan = Plan(f"sip:127.0.0.1:{free_port()};transport={transport}", insecure=True)
    with pytest.raises(Unreachable, match="Nobody answers"):
        asyncio.run(open_link(plan, lambda data: None))


def test_an_unknown_host_name_is_explained() -> None:
    with pytest.raises(Unreachable, match="cannot be resolved"):
        asyncio.run(open_link(Plan("sip:no-such-name.invalid"), lambda data: None))


def test_a_certificate_file_that_is_not_there_is_said() -> None:
    from pathlib import Path

    with pytest.raises(Unreachable, match="cannot be read"):
        asyncio.run(open_link(Plan("sips:127.0.0.1", ca=Path("/nonexistent")), lambda data: None))


def test_the_own_address_is_that_of_the_route() -> None:
    assert own_address("127.0.0.1", 5060) == "127.0.0.1"


async def test_a_broken_connection_is_made_anew() -> None:
    heard: list[Framed | bytes] = []
    accepted: asyncio.Queue[asyncio.StreamWriter] = asyncio.Queue()
    message = b"SIP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await accepted.put(writer)
        await reader.read()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
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
