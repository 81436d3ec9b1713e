"""The server behind TLS: whose certificate counts, and what is no handshake."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ssl
from dataclasses import replace

import pytest

from sip.message.header_values import Flow
from sip.transport import tls_handshakes
from sip.transport.sockets import certificate_matches
from sip.ua.events import Dropped, Invited, Send
from tests.sip.memory_client import Story
from tests.sip.socket_client import HOST, call_over, certificate, in_loop, running, serving


@pytest.fixture
def collector_off():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@in_loop
async def test_a_call_over_tls_with_a_client_certificate(tmp_path):
    """Duty R31."""
    ours, theirs = certificate(tmp_path, "recorder.example"), certificate(tmp_path, "sbc1.acme.example")

    client = ssl.create_default_context(cafile=str(ours))
    client.load_cert_chain(theirs)
    async with running("tls", context=serving(ours, theirs)) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address, ssl=client, server_hostname="recorder.example")
        await call_over(daemon, reader, writer, "tls")
        (invited,) = [event for event in daemon.events if isinstance(event, Invited)]
        assert invited.flow.certificate_names == ("sbc1.acme.example",)
        writer.close()
        await writer.wait_closed()


@in_loop
async def test_a_bug_in_a_certificate_check_gives_no_identity(tmp_path):
    ours, theirs = certificate(tmp_path, "recorder.example"), certificate(tmp_path, "sbc1.acme.example")

    def faulty(data, names):
        raise RuntimeError

    client = ssl.create_default_context(cafile=str(ours))
    client.load_cert_chain(theirs)
    async with running("tls", context=serving(ours, theirs)) as daemon:
        daemon.server._filter_names = faulty
        reader, writer = await asyncio.open_connection(*daemon.address, ssl=client, server_hostname="recorder.example")
        await call_over(daemon, reader, writer, "tls")
        (invited,) = [event for event in daemon.events if isinstance(event, Invited)]
        assert invited.flow.certificate_names == ()
        assert [event.reason for event in daemon.events if isinstance(event, Dropped)] == ["internal"]
        writer.close()
        await writer.wait_closed()


@in_loop
async def test_a_tls_client_without_a_certificate_is_turned_away(tmp_path):
    """Duty R31."""
    ours = certificate(tmp_path, "recorder.example")

    client = ssl.create_default_context(cafile=str(ours))
    async with running("tls", context=serving(ours, ours)) as daemon:
        with pytest.raises((ConnectionError, ssl.SSLError)):
            reader, writer = await asyncio.open_connection(
                *daemon.address, ssl=client, server_hostname="recorder.example"
            )
            writer.write(Story().request("OPTIONS"))
            if not await asyncio.wait_for(reader.read(1), 30):
                raise ConnectionResetError
        await daemon.wait_for(Dropped)
        assert [event.reason for event in daemon.events] == ["tls-handshake"]


@in_loop
async def test_a_failed_tls_handshake_is_reported(tmp_path):
    ours = certificate(tmp_path, "recorder.example")

    async with running("tls", context=serving(ours), max_connections_per_peer=1) as daemon:
        _, first = await asyncio.open_connection(*daemon.address)
        _, second = await asyncio.open_connection(*daemon.address)
        await daemon.wait_for(Dropped)
        first.write(b"OPTIONS sip:rec SIP/2.0\r\n\r\n")
        async with asyncio.timeout(30):
            while len(daemon.events) < 2:
                await asyncio.sleep(0.01)
        assert [event.reason for event in daemon.events] == ["too-many-connections", "tls-handshake"]
        assert {event.flow.remote[0] for event in daemon.events} == {HOST}
        for writer in (first, second):
            writer.close()


def test_our_connection_is_used_only_for_its_own_peer_s23():
    asked = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 0, 0, ("sbc1.example",))
    right = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 7, 0, ("other.example", "sbc1.example"))
    wrong = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 7, 0, ("evil.example",))
    assert (certificate_matches(asked, right), certificate_matches(asked, wrong)) == (True, False)
    nameless = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 0, 0)
    assert certificate_matches(nameless, wrong)


@in_loop
async def test_a_message_for_another_peer_than_connected_is_lost_s23(tmp_path):
    """Two dialogs point at one address, with one SBC each; only one of them can be there."""
    theirs = certificate(tmp_path, "sbc1.example")

    def client():
        made = ssl.create_default_context(cafile=str(theirs))
        made.check_hostname = False
        return made

    heard, lost = asyncio.Queue(), []

    async def listen(reader, writer):
        while data := await reader.read(100):
            heard.put_nowait(data)
        writer.close()

    async with running("tls", context=serving(theirs), client=client) as daemon:
        daemon.endpoint.connection_lost = lambda flow, now: lost.append(flow)
        target = await asyncio.start_server(listen, HOST, 0, ssl=serving(theirs)())
        one = Flow("tls", daemon.address, target.sockets[0].getsockname()[:2], 0, 0, ("sbc1.example",))
        other = replace(one, certificate_names=("sbc2.example",))
        for flow in (one, other):
            daemon.server._send(Send(flow, b"early"))
        assert await asyncio.wait_for(heard.get(), 30) == b"early"
        assert lost == [other]
        daemon.server._send(Send(other, b"late"))
        daemon.server._send(Send(one, b"last"))
        assert await asyncio.wait_for(heard.get(), 30) == b"last"
        assert lost == [other, other]
        target.close()


@in_loop
async def test_a_client_without_tls_leaves_no_buffer_behind(tmp_path, collector_off):
    """A quarter of a MiB each: a flood fills the memory before anybody looks for garbage."""
    ours = certificate(tmp_path, "recorder.example")
    async with running("tls", context=serving(ours, ours)) as daemon:
        for _ in range(3):
            reader, writer = await asyncio.open_connection(*daemon.address)
            writer.write(b"OPTIONS sip:recorder.example SIP/2.0\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
        await daemon.wait_for(Dropped)
        left = [each for each in gc.get_objects() if type(each) is asyncio.sslproto.SSLProtocol]
        assert len(left) <= 1  # the last one may be on its way


def from_place(host):
    """Give the address that a client of this machine comes from."""
    return {"local_addr": (host, 0)}


@in_loop
async def test_an_unfinished_handshake_displaces_nobody(tmp_path):
    """All places are taken from two addresses, again as soon as any is free; calls come from two others meanwhile."""
    ours = certificate(tmp_path, "recorder.example")
    client = ssl.create_default_context(cafile=str(ours))
    async with running("tls", context=serving(ours), max_connections=8, max_connections_per_peer=4) as daemon:
        held = []

        async def attack():
            for host in ("127.0.0.2", "127.0.0.3") * 4:
                held.append((await asyncio.open_connection(*daemon.address, **from_place(host)))[1])
            async with asyncio.timeout(30):
                while len(daemon.server._handshakes) + len(daemon.server._connections) < 8:
                    await asyncio.sleep(0.01)

        for host in ("127.0.0.4", "127.0.0.5", "127.0.0.4"):
            await attack()
            reader, writer = await asyncio.open_connection(
                *daemon.address, ssl=client, server_hostname="recorder.example", **from_place(host)
            )
            await call_over(daemon, reader, writer, "tls")
            held.append(writer)
        assert len(daemon.server._handshakes) + len(daemon.server._connections) <= 8
        assert len([event for event in daemon.events if isinstance(event, Invited)]) == 3
        assert {event.reason for event in daemon.events if isinstance(event, Dropped)} <= {
            "too-many-connections",
            "tls-handshake",
        }
        for writer in held:
            writer.close()


@in_loop
async def test_a_sip_tls_handshake_that_stalls_is_cut_off(tmp_path, monkeypatch):
    monkeypatch.setattr(tls_handshakes, "HANDSHAKE_TIMEOUT", 0.1)
    ours = certificate(tmp_path, "recorder.example")
    async with running("tls", context=serving(ours)) as daemon:
        reader, writer = await asyncio.open_connection(*daemon.address)
        writer.write(b"\x16\x03\x01")  # and no more of it
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(reader.read(), 30) == b""
        await daemon.wait_for(Dropped)
        assert [event.reason for event in daemon.events] == ["tls-handshake"]
        assert len(daemon.server._handshakes) == 0
        writer.close()


@in_loop
async def test_a_displaced_handshake_is_cut_off_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(tls_handshakes, "HANDSHAKE_TIMEOUT", 600.0)
    ours = certificate(tmp_path, "recorder.example")
    client = ssl.create_default_context(cafile=str(ours))
    async with running("tls", context=serving(ours), max_connections=2, max_connections_per_peer=2) as daemon:
        oldest, first = await asyncio.open_connection(*daemon.address, **from_place("127.0.0.2"))
        _, second = await asyncio.open_connection(*daemon.address, **from_place("127.0.0.2"))
        reader, writer = await asyncio.open_connection(
            *daemon.address, ssl=client, server_hostname="recorder.example", **from_place("127.0.0.3")
        )
        await call_over(daemon, reader, writer, "tls")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(oldest.read(), 30) == b""
        await daemon.wait_for(Dropped)
        for each in (first, second, writer):
            each.close()
