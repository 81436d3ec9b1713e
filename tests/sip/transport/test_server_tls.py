"""The server behind TLS: whose certificate counts, and what is no handshake."""

import asyncio
import contextlib
import ssl
from dataclasses import replace

import pytest

from sip.message.header_values import Flow
from sip.transport import tls_handshakes
from sip.transport.sockets import certificate_matches
from sip.ua.events import Dropped, Invited
from tests.sip.memory_client import Story
from tests.sip.socket_client import HOST, call_over, certificate, ended, in_loop, listener, running, serving, stream


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """The certificate of the recorder."""
    return certificate(tmp_path_factory.mktemp("ours"), "recorder.example")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """The certificate of a client."""
    return certificate(tmp_path_factory.mktemp("theirs"), "sbc1.example")


def as_client(ours, theirs=None, host=HOST):
    """Give what a client needs that comes from an address of this machine."""
    context = ssl.create_default_context(cafile=str(ours))
    if theirs:
        context.load_cert_chain(theirs)
    return {"ssl": context, "server_hostname": "recorder.example", "local_addr": (host, 0)}


@pytest.mark.parametrize("faulty", [False, True])
@in_loop
async def test_a_call_over_tls_with_a_client_certificate(ours, theirs, faulty):
    """Duty R31: a bug in the check of certificates gives no identity."""

    def filter_names(data, names):
        return names if not faulty else 1 // 0

    server = {"context": serving(ours, theirs), "filter_names": filter_names}
    async with running("tls", **server) as daemon, stream(daemon, **as_client(ours, theirs)) as (reader, writer):
        await call_over(daemon, reader, writer, "tls")
        (invited,) = [event for event in daemon.events if isinstance(event, Invited)]
        assert invited.flow.certificate_names == (() if faulty else ("sbc1.example",))
        assert daemon.reasons() == (["internal"] if faulty else [])
        writer.close()
        await writer.wait_closed()


@in_loop
async def test_a_tls_client_without_a_certificate_is_turned_away(ours):
    """Duty R31."""
    async with running("tls", context=serving(ours, ours)) as daemon:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            async with stream(daemon, **as_client(ours)) as (reader, writer):
                writer.write(Story().request("OPTIONS"))
                await ended(reader)
        await daemon.wait_for(Dropped)
        assert daemon.reasons() == ["tls-handshake"]


@in_loop
async def test_a_failed_tls_handshake_is_reported(ours):
    async with (
        running("tls", context=serving(ours), max_connections_per_peer=1) as daemon,
        stream(daemon) as (_, first),
        stream(daemon),
    ):
        await daemon.wait_for(Dropped)
        first.write(b"OPTIONS sip:rec SIP/2.0\r\n\r\n")
        await daemon.wait_for(Dropped, times=2)
        assert daemon.reasons() == ["too-many-connections", "tls-handshake"]
        assert {event.flow.remote[0] for event in daemon.events} == {HOST}


def test_our_connection_is_used_only_for_its_own_peer_s23():
    asked = Flow("tls", ("192.0.2.10", 5061), ("192.0.2.1", 5061), 0, 0, ("sbc1.example",))
    right = replace(asked, connection=7, certificate_names=("other.example", "sbc1.example"))
    wrong = replace(asked, connection=7, certificate_names=("evil.example",))
    assert (certificate_matches(asked, right), certificate_matches(asked, wrong)) == (True, False)
    assert certificate_matches(replace(asked, certificate_names=()), wrong)


@in_loop
async def test_a_message_for_another_peer_than_connected_is_lost_s23(theirs):
    """Two dialogs point at one address, with one SBC each; only one of them can be there."""

    def client():
        made = ssl.create_default_context(cafile=str(theirs))
        made.check_hostname = False
        return made

    async with (
        running("tls", context=serving(theirs), client=client) as daemon,
        listener(ssl=serving(theirs)()) as (address, heard),
    ):
        one = Flow("tls", daemon.address, address, 0, 0, ("sbc1.example",))
        other = replace(one, certificate_names=("sbc2.example",))
        for word, lost in ((b"early", [other]), (b"late", [other, other])):
            daemon.send(one, word)
            daemon.send(other, b"of another peer")
            assert await asyncio.wait_for(heard.get(), 30) == word
            assert daemon.endpoint.lost == lost


@in_loop
async def test_an_unfinished_handshake_displaces_nobody(ours):
    """All places are taken from two addresses, again as soon as any is free; calls come from two others meanwhile."""
    async with (
        running("tls", context=serving(ours), max_connections=8, max_connections_per_peer=4) as daemon,
        contextlib.AsyncExitStack() as held,
    ):
        for host in ("127.0.0.4", "127.0.0.5", "127.0.0.4"):
            for attacker in ("127.0.0.2", "127.0.0.3") * 4:
                await held.enter_async_context(stream(daemon, local_addr=(attacker, 0)))
            reader, writer = await held.enter_async_context(stream(daemon, **as_client(ours, host=host)))
            await call_over(daemon, reader, writer, "tls")
        assert len([event for event in daemon.events if isinstance(event, Invited)]) == 3
        assert set(daemon.reasons()) <= {"too-many-connections", "tls-handshake"}


@in_loop
async def test_a_sip_tls_handshake_that_stalls_is_cut_off(ours, monkeypatch):
    monkeypatch.setattr(tls_handshakes, "HANDSHAKE_TIMEOUT", 0.1)
    async with running("tls", context=serving(ours)) as daemon, stream(daemon) as (reader, writer):
        writer.write(b"\x16\x03\x01")  # and no more of it
        await ended(reader)
        await daemon.wait_for(Dropped)
        assert daemon.reasons() == ["tls-handshake"]
