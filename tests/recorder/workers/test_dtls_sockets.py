"""DTLS-SRTP through a real worker process: handshake, audio frame by frame, kills, strangers (duties D1 to D7)."""

import asyncio
import base64
import os
import random
import re
import shutil
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from media.records import record_format
from media.spec import Dtls, StreamSpec
from media.srtp.dtls import Association
from media.srtp.dtls_resumption import NONCE
from media.stream.pauses import Pauses
from media.stream.receiver import ReceivedStream
from recorder.workers import messages
from recorder.workers.dtls_sockets import Handshakes
from recorder.workers.stream_sockets import StreamSockets, newest_slot
from tests.in_process.dtls_peer import SBC, US, Peer, udp
from tests.in_process.worker_call import CALL, SPOOL_KEY, WorkerCall, run
from tests.recorder.timing import steady


class DtlsWorkerCall(WorkerCall):
    """A call whose streams get their keys by DTLS; what the worker tells of them is kept as main keeps it."""

    def __init__(self, folder: Path, peers: list[Peer], *, mux: bool = True, rtcp: list[Peer] | None = None) -> None:
        super().__init__(folder, streams=len(peers))
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
        self.refused: list[messages.Unkeyed] = []

    def _heard(self, event: object) -> None:
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
        super()._heard(event)

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

    async def whole(self) -> messages.Final:
        """Close the call and find every frame in it, each once."""
        final = await self.workers.close(CALL)
        found = self.read(final)
        for stream, peer in enumerate(self.peers):
            assert self.frames(found, stream) == list(range(peer.sent))
            assert final.streams[stream]["packets"] == peer.sent
            assert final.streams[stream]["lost"] == final.streams[stream]["gap_ms"] == 0
        assert final.clean
        return final


@asynccontextmanager
async def worker_call(
    folder: Path, *peers: Peer, mux: bool = True, rtcp: list[Peer] | None = None
) -> AsyncIterator[DtlsWorkerCall]:
    made = DtlsWorkerCall(folder, list(peers), mux=mux, rtcp=rtcp)
    await made.workers.start()
    try:
        yield made
    finally:
        for peer in (*peers, *(rtcp or [])):
            peer.close()
        for each in rtcp or []:
            each.socket.close()
        await made.end()


@pytest.mark.parametrize("profile", [b"SRTP_AES128_CM_SHA1_80", b"SRTP_AEAD_AES_256_GCM"])
def test_both_dtls_roles_lose_no_frame(tmp_path: Path, profile: bytes) -> None:
    """Duty D1, D3."""

    async def story(folder: Path) -> float:
        async with worker_call(folder, Peer(1, profile=profile), Peer(2, server=False, profile=profile)) as one:
            one.begin()
            one.peers[1].begin(one.pairs[1].port)
            began = asyncio.get_running_loop().time()
            await one.shaken()
            took = asyncio.get_running_loop().time() - began
            for _ in range(30):
                one.send(5)
                await asyncio.sleep(0.005)
            await one.whole()
            return took

    assert steady(lambda number: run(story(tmp_path / str(number))), lambda took: took < 3) < 3


def test_a_handshake_leaves_from_the_announced_address(tmp_path: Path) -> None:
    """Who was told 127.0.0.5 need not listen to the address that the route to it has."""

    async def story() -> None:
        async with worker_call(tmp_path, Peer(1)) as one:
            one.specs = tuple(replace(spec, here="127.0.0.5") for spec in one.specs)
            one.begin()
            async with asyncio.timeout(30):
                while not one.peers[0].flights:
                    await asyncio.sleep(0.01)
            assert one.peers[0].target == ("127.0.0.5", one.pairs[0].port)

    run(story())


def test_a_slow_tick_does_not_slow_the_handshake(tmp_path: Path) -> None:
    async def story(folder: Path) -> float:
        peers = [Peer(1), Peer(2, server=False)]
        made = DtlsWorkerCall(folder, peers)
        made.workers._tick = 300.0
        await made.workers.start()
        made.begin()
        peers[1].begin(made.pairs[1].port)
        began = asyncio.get_running_loop().time()
        await made.shaken()
        took = asyncio.get_running_loop().time() - began
        made.send(40)
        await made.whole()
        for peer in peers:
            peer.close()
        await made.end()
        return took

    assert steady(lambda number: run(story(tmp_path / str(number))), lambda took: took < 3) < 3


def test_nothing_is_stored_before_the_peer_is_authenticated(tmp_path: Path) -> None:
    """Duty D2: plain RTP and RTP under foreign keys come first, from the offer's own address."""

    async def story() -> None:
        async with worker_call(tmp_path, Peer(1, server=False)) as one:
            one.begin()
            peer = one.peers[0]
            for _ in range(20):
                peer.send(one.pairs[0].port)  # in the clear: there are no keys yet
            await one.workers.snapshot(CALL)
            first = peer.sent
            peer.begin(one.pairs[0].port)
            await one.shaken()
            peer.send(one.pairs[0].port, 30)
            final = await one.workers.close(CALL)
            assert one.frames(one.read(final), 0) == list(range(first, first + 30))
            assert final.streams[0]["packets"] == 30

    run(story())


@pytest.mark.parametrize("server", [True, False])
def test_an_unoffered_certificate_gets_nothing_stored(tmp_path: Path, server: bool) -> None:
    """Duty D2."""

    async def story() -> None:
        from media.srtp.dtls import Identity
        from tests.in_process.dtls_peer import NOW

        async with worker_call(tmp_path, Peer(1, server=server, who=Identity.create(NOW))) as one:
            one.begin()
            if not server:
                one.peers[0].begin(one.pairs[0].port)
            await one.shaken()
            one.send(30)
            final = await one.workers.close(CALL)
            assert one.frames(one.read(final), 0) == []
            assert final.streams[0]["packets"] == 0
            assert not any(isinstance(event, messages.Keyed) for event in one.events)

    run(story())


@pytest.mark.parametrize("seed", range(3))
def test_kills_of_the_worker_need_no_other_handshake(tmp_path: Path, seed: int) -> None:
    async def story() -> None:
        chance = random.Random(seed)
        async with worker_call(tmp_path, Peer(1), Peer(2, server=False)) as one:
            one.begin()
            one.peers[1].begin(one.pairs[1].port)
            await one.shaken()
            await one.heard(messages.Keyed, 2)  # the peer is ready a moment before
            flights = await one.flights()
            for kill in range(1, 5):
                for _ in range(chance.randrange(3, 30)):
                    one.send(chance.randrange(1, 5))
                    await asyncio.sleep(chance.random() / 250)
                one.kill()
                one.send(3)
                await one.resumed(kill)
            one.send(20)
            assert await one.flights() == flights
            assert (
                sum(isinstance(event, messages.Keyed) for event in one.events) == 2
            )  # what main knows is not told again
            await one.whole()

    run(story())


def test_a_handshake_begins_again_after_its_worker_was_killed(tmp_path: Path) -> None:
    async def story() -> None:
        async with worker_call(tmp_path, Peer(1, server=True)) as one:
            peer = one.peers[0]
            peer.close()  # hears nothing for now
            one.begin()
            await asyncio.sleep(0.2)
            one.kill()
            await one.heard(messages.Resumed)
            peer.listen()
            peer.renew()
            await one.shaken()
            one.send(30)
            await one.whole()

    run(story())


@pytest.mark.parametrize("server", [True, False])
def test_the_keys_lie_in_no_file_in_the_clear(tmp_path: Path, server: bool) -> None:
    async def story() -> None:
        async with worker_call(tmp_path, Peer(1, server=server)) as one:
            one.begin()
            if not server:
                one.peers[0].begin(one.pairs[0].port)
            await one.shaken()
            await one.heard(messages.Keyed)
            await one.workers.snapshot(CALL)
            keyed = next(event for event in one.events if isinstance(event, messages.Keyed))
            spool = (tmp_path / "run/spool" / CALL).read_bytes()
            slot = newest_slot(one.spool, SPOOL_KEY)
            assert slot is not None and b'"left": [[0, false, ' in slot.head and b'"left"' not in spool
            for key in (keyed.theirs, keyed.ours):
                assert not any(form in spool for form in (key, key.hex().encode(), base64.b64encode(key)[:36]))

    run(story())


def test_without_rtcp_mux_the_rtcp_port_has_its_own_keys(tmp_path: Path) -> None:
    """Duty D5."""

    async def story() -> None:
        control = Peer(9)
        async with worker_call(tmp_path, Peer(1), mux=False, rtcp=[control]) as one:
            one.begin()
            await one.shaken(control)
            await one.heard(messages.Keyed, 2)
            one.send(20)
            assert control.session is not None
            report = b"\x80\xc8\x00\x06" + (1).to_bytes(4, "big") + bytes(20)
            protected = control.session.protect_rtcp(report)
            control.socket.sendto(protected, ("127.0.0.1", one.pairs[0].port + 1))
            await one.workers.snapshot(CALL)
            one.kill()
            await one.heard(messages.Resumed)
            one.send(20)
            async with asyncio.timeout(30):
                while not control.heard:
                    one.send(1)  # the moment of a report is left to chance, and silence would grow to a gap
                    await asyncio.sleep(0.05)
            assert control.opener is not None
            assert control.opener.unprotect_rtcp(control.heard[0])[1] == 201
            final = await one.whole()
            assert [r.packet for r in one.read(final) if isinstance(r, record_format.Rtcp)] == [report]

    run(story())


def test_strangers_cannot_stop_a_handshake(tmp_path: Path) -> None:
    """Duty D7: foreign and empty greetings, forged answers and alerts, noise."""

    async def story() -> None:
        async with worker_call(tmp_path, Peer(1), Peer(2, server=False)) as one:
            one.begin()
            with udp() as stranger:
                head = b"\x16\xfe\xff\0\0\0\0\0\0\0\0"
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
            assert not any(isinstance(event, messages.CallFault | messages.Unkeyed) for event in one.events)

    run(story())


def test_only_a_new_certificate_in_a_reoffer_begins_a_handshake(tmp_path: Path) -> None:
    """Duty D6."""

    async def story() -> None:
        async with worker_call(tmp_path, Peer(1)) as one:
            peer = one.peers[0]
            one.begin()
            await one.shaken()
            one.send(20)
            await one.heard(messages.Keyed)
            flights = await one.flights()
            one.workers.change(CALL, one.specs, one.pairs)
            one.send(20)
            assert await one.flights() == flights
            peer.renew()
            spec = one.specs[0]
            assert spec.dtls is not None
            one.specs = (replace(spec, dtls=replace(spec.dtls, tls_id="another", rtp=True)),)
            one.workers.change(CALL, one.specs, one.pairs)
            one.send(5)  # still under the old keys
            await one.shaken()
            one.send(20)
            await one.whole()
            assert sum(isinstance(event, messages.Keyed) for event in one.events) == 2

    run(story())


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl program here")
def test_openssl_s_client_gets_the_keys_that_open_its_audio(tmp_path: Path) -> None:
    async def story() -> None:
        async with worker_call(tmp_path, Peer(1, server=False)) as one:
            one.begin()
            pem = tmp_path / "sbc.pem"
            pem.write_bytes(bytes(SBC))
            command = f"openssl s_client -dtls1_2 -connect 127.0.0.1:{one.pairs[0].port}"
            command += " -use_srtp SRTP_AES128_CM_SHA1_80 -keymatexport EXTRACTOR-dtls_srtp -keymatexportlen 60"
            command += f" -cert {pem} -key {pem}"
            client = await asyncio.create_subprocess_exec(*command.split(), stdin=PIPE, stdout=PIPE, stderr=STDOUT)
            try:
                await one.heard(messages.Keyed)
                assert client.stdout is not None
                seen = b""
                while b"Keying material:" not in seen and (line := await client.stdout.readline()):
                    seen += line
            finally:
                client.kill()
                await client.wait()
            found = re.search(rb"Keying material: ([0-9A-F]+)", seen)
            assert found is not None
            material = bytes.fromhex(found[1].decode())
            spec = one.specs[0]
            assert spec.key == material[:16] + material[32:46]
            assert spec.own_key == material[16:32] + material[46:]

    run(story())


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
            assert lanes.track.greet is not None and lanes.track.greet(False, datagram, (bytes([127, 0, 0, 1]), 4000))
        for _, _, datagram, _ in one._out:
            theirs.receive(datagram, ("127.0.0.1", 5000), 0.0)
        one._out.clear()
    after = one.state()
    assert after == one.state()
    nonces = [base64.b64decode(text)[:NONCE] for each in (before, after) for _, _, text in each["left"]]
    assert len(nonces) == len(set(nonces)) == 2  # the key is that of all calls
    one.end(lanes)
    assert one.state()["left"] == []
