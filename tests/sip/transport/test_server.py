"""The server on real sockets of this machine: UDP and TCP."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.transport import server
from sip.transport.server import Server
from sip.ua.events import Dropped, Invited, Send
from tests.sip.memory_client import Story
from tests.sip.socket_client import HOST, call_over, in_loop, message, phone, running


@in_loop
async def test_a_call_over_udp():
    async with running("udp") as daemon:
        with phone(daemon) as (mine, story):
            answer = await mine.ask(story.invite())
            assert answer.startswith(b"SIP/2.0 200")
            assert f"<sip:{HOST}:{daemon.address[1]};transport=udp>;+sip.srs".encode() in answer
            assert (await mine.ask(story.request("OPTIONS"))).startswith(b"SIP/2.0 200")


@in_loop
async def test_the_largest_datagram_is_taken():
    """Duty S22."""
    async with running("udp") as daemon:
        with phone(daemon) as (mine, story):
            data = story.request("OPTIONS", "X-Pad: " + "x" * 60_000)
            assert (await mine.ask(data)).startswith(b"SIP/2.0 200")


@in_loop
async def test_a_stranger_on_udp_gets_silence():
    async with running("udp", admits=lambda flow: False) as daemon:
        with phone(daemon) as (mine, story), pytest.raises(TimeoutError):
            await mine.ask(story.request("OPTIONS"), seconds=0.2)
        assert [event.reason for event in daemon.events] == ["source"]


@in_loop
async def test_a_call_over_tcp():
    async with running("tcp") as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        await call_over(daemon, reader, writer, "tcp")
        writer.close()


@in_loop
async def test_a_stranger_on_tcp_is_closed_at_once():
    async with running("tcp", admits=lambda flow: False) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            if await asyncio.wait_for(reader.read(1), 30) == b"":
                raise ConnectionResetError
        assert [event.reason for event in daemon.events] == ["source"]
        writer.close()


@in_loop
async def test_an_unknown_sender_gets_one_answer_and_is_cut_off_s29(monkeypatch):
    async with running("tcp", known=lambda flow: False) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        port = writer.get_extra_info("sockname")[1]
        story = Story(Flow("tcp", daemon.address, (HOST, port), 1))
        writer.write(story.request("OPTIONS") + story.request("OPTIONS"))
        assert (await message(reader)).startswith(b"SIP/2.0 200")
        assert await asyncio.wait_for(reader.read(), 30) == b""
        monkeypatch.setattr(server, "UNKNOWN_PEER_SECONDS", 0.1)
        silent, other = await asyncio.open_connection(*daemon.address)
        assert await asyncio.wait_for(silent.read(), 30) == b""
        writer.close()
        other.close()


@in_loop
async def test_one_source_cannot_take_all_connections():
    """Duty S29."""
    async with running("tcp", max_connections_per_peer=1) as daemon:
        first = await asyncio.open_connection(*daemon.address)
        second = await asyncio.open_connection(*daemon.address)
        await daemon.wait_for(Dropped)
        assert daemon.events[0].reason == "too-many-connections"
        first[1].close()
        second[1].close()


@in_loop
async def test_our_bye_opens_a_connection_where_the_old_one_is_gone():
    """Duty S23."""
    async with running("tcp") as daemon:
        heard = asyncio.get_running_loop().create_future()

        async def answer(reader, writer):
            heard.set_result(await message(reader))
            writer.close()

        target = await asyncio.start_server(answer, HOST, 0)
        port = target.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(*daemon.address)
        story = Story(Flow("tcp", daemon.address, writer.get_extra_info("sockname"), 1))
        writer.write(story.invite(contact=f"<sip:sbc@{HOST}:{port};transport=tcp>;+sip.src"))
        answered = await message(reader)
        story.to = next(line[4:] for line in answered.decode().split("\r\n") if line.startswith("To: "))
        writer.write(story.request("ACK"))
        writer.write(b"\r\n\r\n")
        while await asyncio.wait_for(reader.readexactly(2), 30) != b"\r\n":
            await message(reader)  # the 200 once more: this machine took longer than T1
        writer.close()
        await writer.wait_closed()
        while daemon.server._connections:
            await asyncio.sleep(0)
        (session,) = daemon.endpoint.sessions()
        daemon.endpoint.hang_up(session, "", time.monotonic())
        daemon.server.flush()
        assert (await asyncio.wait_for(heard, 30)).startswith(b"BYE ")
        target.close()


@in_loop
async def test_a_failed_connection_is_tried_again_by_the_next_request():
    async with running("tcp", max_connections_per_peer=1) as daemon:
        heard = asyncio.Queue()

        async def answer(reader, writer):
            heard.put_nowait(await reader.read(100))
            writer.close()

        target = await asyncio.start_server(answer, HOST, 0)
        flow = Flow("tcp", daemon.address, target.sockets[0].getsockname()[:2], 0, 0)
        lost = []
        daemon.endpoint.connection_lost = lambda flow, now: lost.append(flow)
        _, writer = await asyncio.open_connection(*daemon.address)
        while not daemon.server._connections:
            await asyncio.sleep(0)
        daemon.server._send(Send(flow, b"one"))
        assert await asyncio.wait_for(heard.get(), 30) == b""
        async with asyncio.timeout(30):
            while not lost:
                await asyncio.sleep(0.01)
            assert lost == [flow]
            writer.close()
            while daemon.server._connections:
                await asyncio.sleep(0.01)
        daemon.server._send(Send(flow, b"two"))
        assert await asyncio.wait_for(heard.get(), 30) == b"two"
        target.close()


@in_loop
async def test_messages_of_all_calls_wait_for_one_connection_s23():
    async with running("tcp") as daemon:
        words = [b"offer %03d\n" % number for number in range(300)]
        heard = asyncio.get_running_loop().create_future()

        async def listen(reader, writer):
            heard.set_result(await reader.readexactly(len(b"".join(words))))
            writer.close()

        target = await asyncio.start_server(listen, HOST, 0)
        flow = Flow("tcp", daemon.address, target.sockets[0].getsockname()[:2], 0, 0)
        for word in words:
            daemon.server._send(Send(flow, word))
        assert await asyncio.wait_for(heard, 30) == b"".join(words)
        target.close()


@in_loop
async def test_a_bug_of_the_user_is_counted_and_kills_nothing():
    async with running("udp") as daemon:
        plain = daemon.server._on_event

        def faulty(event):
            plain(event)
            if isinstance(event, Invited):
                raise RuntimeError

        daemon.server._on_event = faulty
        with phone(daemon) as (mine, story):
            assert (await mine.ask(story.invite())).startswith(b"SIP/2.0 200")
        assert Dropped(None, "internal") in daemon.events


@in_loop
async def test_the_clock_of_the_endpoint_is_followed():
    async with running("tcp", first_message_timeout=0.05) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        assert await asyncio.wait_for(reader.read(1), 30) == b""
        assert daemon.events[0].reason == "silent-connection"
        writer.close()


@in_loop
async def test_a_call_over_ipv6_s32():
    async with running("tcp", host="::1") as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        story = Story(Flow("tcp", daemon.address, ("[::1]", writer.get_extra_info("sockname")[1]), 1))
        writer.write(story.invite())
        answer = await message(reader)
        assert answer.startswith(b"SIP/2.0 200")
        assert f"Contact: <sip:[::1]:{daemon.address[1]};transport=tcp>;+sip.srs\r\n".encode() in answer
        assert b";received=::1" in answer
        writer.close()
    async with running("udp", host="::1") as daemon:
        with phone(daemon) as (mine, story):
            assert (await mine.ask(story.request("OPTIONS"))).startswith(b"SIP/2.0 200")


def test_an_unsent_udp_message_is_reported_as_too_long():
    told, flow = [], Flow("udp", ("127.0.0.1", 5060), ("127.0.0.1", 5070))
    server = Server(Endpoint(random=os.urandom), told.append, lambda _: True, clock=time.monotonic)
    server.unsent(flow)
    assert told == [Dropped(flow, "too-long-for-udp")]


@in_loop
async def test_an_earlier_deadline_comes_first_and_a_later_one_waits():
    class Ticking(Endpoint):
        """An endpoint with one deadline, given from outside."""

        def __init__(self):
            super().__init__(random=os.urandom)
            self.at, self.fired = None, asyncio.Event()

        def next_timer(self):
            return self.at

        def handle_timer(self, now):
            if now >= self.at:
                self.at = None
                self.fired.set()

    endpoint = Ticking()
    server = Server(endpoint, lambda _: None, lambda _: True, clock=time.monotonic)
    for wait in (30.0, 0.02, 0.1):
        endpoint.at = time.monotonic() + wait
        server.flush()
    await asyncio.wait_for(endpoint.fired.wait(), 10)
    assert endpoint.at is None
    await server.close()
