"""DTLS-SRTP through a real worker process: handshake, audio frame by frame, kills, strangers (duties D1 to D7)."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from media.records import record_format
from media.spec import Dtls, StreamSpec
from media.srtp.dtls import Association, Identity
from media.srtp.dtls_resumption import NONCE
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from recorder.workers import messages
from recorder.workers.dtls_sockets import Handshakes
from recorder.workers.stream_sockets import StreamSockets, newest_slot
from tests.in_process.dtls_peer import NOW, SBC, US, Peer, udp
from tests.in_process.waiting import until
from tests.in_process.worker_call import CALL, SPOOL_KEY, WorkerCall


class DtlsWorkerCall(WorkerCall):
    """A call whose streams get their keys by DTLS; what the worker tells of them is kept as main keeps it."""

    def __init__(
        self, folder: Path, peers: list[Peer], *, mux: bool = True, rtcp: list[Peer] | None = None, tick: float = 0.01
    ) -> None:
        super().__init__(folder, streams=len(peers), tick=tick)
        for sender in self.senders:
            sender.socket.close()
        self.senders, self.peers = list(peers), peers
        self.specs = tuple(
            StreamSpec(
                n,
                payloads=((8, "PCMA", 8000),),
                source=peer.address,
                rtcp_source=peer.address if mux else (rtcp or peers)[n].address,
                rtcp_mux=mux,
                dtls=Dtls((SBC.fingerprint,), None, peer.server, bytes(US), rtp=True, rtcp=not mux),
            )
            for n, peer in enumerate(peers)
        )

    def on_event(self, event: object) -> None:
        if isinstance(event, messages.Keyed):
            spec = self.specs[event.stream]
            assert spec.dtls is not None and event.fingerprints == spec.dtls.fingerprints
            if event.rtcp:
                new = replace(
                    spec, rtcp_suite=event.suite, rtcp_key=event.theirs, own_key=event.ours,
                    dtls=replace(spec.dtls, rtcp=False),
                )  # fmt: skip
            else:
                own = event.ours if spec.rtcp_mux else spec.own_key
                new = replace(
                    spec, suite=event.suite, key=event.theirs, own_key=own, dtls=replace(spec.dtls, rtp=False)
                )
            self.specs = tuple(new if s.stream == event.stream else s for s in self.specs)
        super().on_event(event)

    async def shaken(self, *more: Peer) -> None:
        async with asyncio.timeout(30):
            for peer in (*self.peers, *more):
                await peer.ready.wait()

    async def flights(self) -> list[int]:
        """Say how many datagrams of handshakes each peer got; those that were sent again have arrived before."""
        await self.workers.snapshot(CALL)
        for peer in self.peers:
            peer.hear()
        return [peer.flights for peer in self.peers]


@asynccontextmanager
async def dtls_call(folder: Path, *peers: Peer, begin: bool = True, **more: Any) -> AsyncIterator[DtlsWorkerCall]:
    """Start a worker with a call of these peers; those that are clients begin their handshakes."""
    made = DtlsWorkerCall(folder, list(peers), **more)
    await made.workers.start()
    if begin:
        made.begin()
        for peer, pair in zip(peers, made.pairs.values(), strict=True):
            if not peer.server:
                peer.begin(pair.port)
    try:
        yield made
    finally:
        for peer in peers:
            peer.close()
        await made.end()


@pytest.mark.parametrize(
    ("profile", "tick"),
    [(b"SRTP_AES128_CM_SHA1_80", 0.01), (b"SRTP_AEAD_AES_256_GCM", 0.01), (b"SRTP_AES128_CM_SHA1_80", 300.0)],
)
async def test_both_dtls_roles_lose_no_frame(tmp_path: Path, profile: bytes, tick: float) -> None:
    """Duty D1, D3. A slow tick does not slow the handshake."""
    peers = Peer(1, profile=profile), Peer(2, server=False, profile=profile)
    async with dtls_call(tmp_path, *peers, tick=tick) as one:
        await one.shaken()
        for _ in range(30):
            one.send(5)
            await asyncio.sleep(0.005)
        await one.whole()


async def test_a_handshake_leaves_from_the_announced_address(tmp_path: Path) -> None:
    """Who was told 127.0.0.5 need not listen to the address that the route to it has."""
    async with dtls_call(tmp_path, Peer(1), begin=False) as one:
        one.specs = tuple(replace(spec, here="127.0.0.5") for spec in one.specs)
        one.begin()
        await until(lambda: one.peers[0].flights > 0)
        assert one.peers[0].target == ("127.0.0.5", one.pairs[0].port)


async def test_nothing_is_stored_before_the_peer_is_authenticated(tmp_path: Path) -> None:
    """Duty D2: plain RTP comes first, from the offer's own address."""
    async with dtls_call(tmp_path, Peer(1, server=False), begin=False) as one:
        one.begin()
        (peer,), port = one.peers, one.pairs[0].port
        peer.send(port, 20)  # in the clear: there are no keys yet
        await one.workers.snapshot(CALL)
        peer.begin(port)
        await one.shaken()
        peer.send(port, 30)
        final = await one.close()
        assert one.frames(one.read(final), 0) == list(range(20, 50))
        assert final.streams[0]["packets"] == 30


@pytest.mark.parametrize("server", [True, False])
async def test_an_unoffered_certificate_gets_nothing_stored(tmp_path: Path, server: bool) -> None:
    """Duty D2."""
    async with dtls_call(tmp_path, Peer(1, server=server, who=Identity.create(NOW))) as one:
        await one.shaken()
        one.send(30)
        final = await one.close()
        assert one.frames(one.read(final), 0) == []
        assert final.streams[0]["packets"] == 0
        assert one.seen(messages.Keyed) == []


@pytest.mark.parametrize("server", [True, False])
async def test_the_keys_lie_in_no_file_in_the_clear(tmp_path: Path, server: bool) -> None:
    async with dtls_call(tmp_path, Peer(1, server=server)) as one:
        await one.shaken()
        await one.heard(messages.Keyed)
        await one.workers.snapshot(CALL)
        (keyed,) = one.seen(messages.Keyed)
        spool = (tmp_path / "run/spool" / CALL).read_bytes()
        slot = newest_slot(one.spool, SPOOL_KEY)
        assert slot is not None and b'"left": [[0, false, ' in slot.head and b'"left"' not in spool
        for key in (keyed.theirs, keyed.ours):
            assert not any(form in spool for form in (key, key.hex().encode(), base64.b64encode(key)[:36]))


async def test_without_rtcp_mux_the_rtcp_port_has_its_own_keys(tmp_path: Path) -> None:
    """Duty D5."""
    control = Peer(9)
    async with dtls_call(tmp_path, Peer(1), mux=False, rtcp=[control]) as one:
        await one.shaken(control)
        await one.heard(messages.Keyed, 2)
        one.send(20)
        assert control.session is not None and control.opener is not None
        report = b"\x80\xc8\x00\x06" + (1).to_bytes(4, "big") + bytes(20)
        control.socket.sendto(control.session.protect_rtcp(report), ("127.0.0.1", one.pairs[0].port + 1))
        await one.workers.snapshot(CALL)
        one.kill()
        await one.heard(messages.Resumed)
        one.send(20)
        async with asyncio.timeout(30):
            while not control.heard:
                one.send(1)  # the moment of a report is left to chance, and silence would grow to a gap
                await asyncio.sleep(0.05)
        assert control.opener.unprotect_rtcp(control.heard[0])[1] == 201
        found = one.read(await one.whole())
        assert [record.packet for record in found if isinstance(record, record_format.Rtcp)] == [report]
        control.close()
        control.socket.close()


async def test_strangers_cannot_stop_a_handshake(tmp_path: Path) -> None:
    """Duty D7: foreign and empty greetings, forged answers and alerts, noise."""
    async with dtls_call(tmp_path, Peer(1), Peer(2, server=False), begin=False) as one:
        one.begin()
        head = b"\x16\xfe\xff\0\0\0\0\0\0\0\0"
        with udp() as stranger:
            for pair in one.pairs.values():
                for body in (b"", b"\1", b"\1" + bytes(24), b"\2" + bytes(60), b"\1\0\0\x20" + bytes(40)):
                    stranger.sendto(head + len(body).to_bytes(2, "big") + body, ("127.0.0.1", pair.port))
                stranger.sendto(b"\x15\xfe\xfd" + bytes(8) + b"\0\2\2\x28", ("127.0.0.1", pair.port))
                stranger.sendto(b"\x16" + bytes(2000), ("127.0.0.1", pair.port))
        foreign = Peer(3, server=False, who=US)
        foreign.begin(one.pairs[1].port)
        one.peers[1].begin(one.pairs[1].port)
        await one.shaken()
        one.send(30)
        foreign.close()
        foreign.socket.close()
        await one.whole()
        assert one.seen(messages.CallFault) + one.seen(messages.Unkeyed) == []


async def test_only_a_new_certificate_in_a_reoffer_begins_a_handshake(tmp_path: Path) -> None:
    """Duty D6."""
    async with dtls_call(tmp_path, peer := Peer(1)) as one:
        await one.shaken()
        one.send(20)
        await one.heard(messages.Keyed)
        flights = await one.flights()
        one.workers.change(CALL, one.specs, one.pairs)
        one.send(20)
        assert await one.flights() == flights
        peer.renew()
        (spec,) = one.specs
        assert spec.dtls is not None
        one.specs = (replace(spec, dtls=replace(spec.dtls, tls_id="another", rtp=True)),)
        one.workers.change(CALL, one.specs, one.pairs)
        one.send(5)  # still under the old keys
        await one.shaken()
        one.send(20)
        await one.whole()
        assert len(one.seen(messages.Keyed)) == 2


def test_the_handshake_state_is_resealed_only_when_changed() -> None:
    """A base is written anew for many reasons, with each packet that is lost."""
    lanes = StreamSockets(
        ReceivedStream(StreamSpec(0, dtls=Dtls((SBC.fingerprint,), None, False, bytes(US))), Pauses(), 1), ()
    )
    one, theirs = (
        Handshakes(CALL, os.urandom, lambda _: None),
        Association(SBC, [US.fingerprint], active=True, secret=bytes(32)),
    )
    one.begin(lanes)
    theirs.start(0.0)
    while not theirs.keys:
        before = one.state()
        for datagram in theirs.data_to_send():
            assert lanes.stream.greet is not None and lanes.stream.greet(False, datagram, (bytes([127, 0, 0, 1]), 4000))
        for _, _, datagram, _ in one._out:
            theirs.receive(datagram, ("127.0.0.1", 5000), 0.0)
        one._out.clear()
    after = one.state()
    assert after == one.state()
    nonces = [base64.b64decode(text)[:NONCE] for each in (before, after) for _, _, text in each["left"]]
    assert len(nonces) == len(set(nonces)) == 2  # the key is that of all calls
    one.end(lanes)
    assert one.state()["left"] == []
