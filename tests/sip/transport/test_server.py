"""The server on real sockets of this machine: UDP and TCP."""

import asyncio
import os
import time

import pytest

from sip.endpoint import Endpoint
from sip.message.header_values import Flow
from sip.transport import server
from sip.transport.server import Server
from sip.ua.events import Dropped
from tests.in_process.waiting import until
from tests.sip.socket_client import (
    HOST,
    answered,
    call_over,
    ended,
    in_loop,
    listener,
    message,
    phone,
    running,
    story_of,
    stream,
)


@in_loop
async def test_a_call_over_udp_and_the_largest_datagram():
    """Duty S22."""
    async with running("udp") as daemon:
        with phone(daemon) as (mine, story):
            answer = await mine.ask(story.invite())
            assert answer.startswith(b"SIP/2.0 200")
            assert f"<sip:{HOST}:{daemon.address[1]};transport=udp>;+sip.srs".encode() in answer
            assert (await mine.ask(story.request("OPTIONS", "X-Pad: " + "x" * 60_000))).startswith(b"SIP/2.0 200")


@in_loop
async def test_a_stranger_on_udp_gets_silence():
    async with running("udp", admits=lambda flow: False) as daemon:
        with phone(daemon) as (mine, story), pytest.raises(TimeoutError):
            await mine.ask(story.request("OPTIONS"), seconds=0.2)
        assert daemon.reasons() == ["source"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"admits": lambda flow: False}, "source"),
        ({"admits": lambda flow: 1 // 0}, "internal"),
        ({"first_message_timeout": 0.05}, "silent-connection"),  # the clock of the endpoint is followed
        ({"max_connections_per_peer": 0}, "too-many-connections"),
    ],
)
@in_loop
async def test_an_unwanted_connection_is_closed(settings, reason):
    """Duty S29."""
    async with running("tcp", **settings) as daemon, stream(daemon) as (reader, _):
        await ended(reader)
        assert daemon.reasons() == [reason]


@in_loop
async def test_an_unknown_sender_gets_one_answer_and_is_cut_off_s29(monkeypatch):
    async with running("tcp", known=lambda flow: False) as daemon:
        async with stream(daemon) as (reader, writer):
            story = story_of(daemon, writer)
            writer.write(story.request("OPTIONS") + story.request("OPTIONS"))
            assert (await message(reader)).startswith(b"SIP/2.0 200")
            await ended(reader)
        monkeypatch.setattr(server, "UNKNOWN_PEER_SECONDS", 0.1)
        async with stream(daemon) as (silent, _):
            await ended(silent)


@in_loop
async def test_a_failed_connection_is_tried_again_by_the_next_request():
    async with running("tcp", max_connections_per_peer=1) as daemon, listener() as (address, heard):
        flow = Flow("tcp", daemon.address, address)
        async with stream(daemon) as (reader, writer):
            await call_over(daemon, reader, writer, "tcp")  # its place is the only one
            daemon.send(flow, b"one")
            await until(lambda: daemon.endpoint.lost)
            assert daemon.endpoint.lost == [flow]
        await until(lambda: len(daemon.endpoint.lost) == 2)
        daemon.send(flow, b"two")
        assert await asyncio.wait_for(heard.get(), 30) == b"two"


@in_loop
async def test_messages_of_all_calls_wait_for_one_connection_s23():
    async with running("tcp") as daemon, listener() as (address, heard):
        words, got = [b"offer %03d\n" % number for number in range(300)], b""
        for word in words:
            daemon.send(Flow("tcp", daemon.address, address), word)
        while len(got) < len(b"".join(words)):
            got += await asyncio.wait_for(heard.get(), 30)
        assert got == b"".join(words)


@in_loop
async def test_a_bug_of_the_user_is_counted_and_kills_nothing():
    async with running("udp", faulty=True) as daemon:
        with phone(daemon) as (mine, story):
            assert (await mine.ask(story.invite())).startswith(b"SIP/2.0 200")
        assert Dropped(None, "internal") in daemon.events


@in_loop
async def test_a_call_over_ipv6_s32():
    async with running("tcp", host="::1") as daemon, stream(daemon) as (reader, writer):
        answer = await answered(reader, writer, story_of(daemon, writer))
        assert f"Contact: <sip:[::1]:{daemon.address[1]};transport=tcp>;+sip.srs\r\n".encode() in answer
        assert b";received=::1" in answer
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

        at: float | None = None

        def next_timer(self):
            return self.at

        def handle_timer(self, now):
            if self.at is not None and now >= self.at:
                self.at = None

    endpoint = Ticking(random=os.urandom)
    server = Server(endpoint, lambda _: None, lambda _: True, clock=time.monotonic)
    for wait in (30.0, 0.02, 0.1):
        endpoint.at = time.monotonic() + wait
        server.flush()
    await until(lambda: endpoint.at is None)
    await server.close()
