"""A worker killed at any step of a DTLS handshake: the audio behind it is recorded all the same.

What a worker can be killed between are its notes in the spool (`pwrite64`) and its words to the peer and to main
(`sendto`): before the n-th of each, for every n up to the one that comes after main has heard of the keys.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from media.srtp.dtls import Identity
from recorder.workers import messages
from tests.daemon.kills import killed_at
from tests.in_process.dtls_peer import NOW, Peer
from tests.in_process.worker_call import CALL
from tests.recorder.workers.dtls.test_sockets import DtlsWorkerCall

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("strace") is None, reason="only root can trace a worker (Debian: strace)"
    ),
]
NEXT = Identity.create(NOW)
AT_ONCE = 3
PATIENCE = 40.0
STEPS = [*(("pwrite64", n) for n in range(1, 8)), *(("sendto", n) for n in range(1, 6))]
"""A handshake has three notes of two writes at most, and four words at most: three datagrams and one for main."""


class Renewing(DtlsWorkerCall):
    """Makes the re-offer that main makes: another certificate of ours, so that both ends begin another association."""

    def __init__(self, folder: Path, peer: Peer) -> None:
        super().__init__(folder, [peer])
        self._renew(renews=True)

    def _renew(self, **changes: object) -> None:
        (spec,) = self.specs
        assert spec.dtls is not None
        self.specs = (replace(spec, dtls=replace(spec.dtls, **changes)),)  # type: ignore[arg-type]  # test shorthand

    def on_event(self, event: object) -> None:
        super().on_event(event)
        if isinstance(event, messages.Severed):
            (peer,) = self.peers
            self._renew(identity=bytes(NEXT))
            peer.renew()
            if not peer.server:
                peer.begin(self.pairs[0].port)  # before the worker has heard of it: the answer takes another way
            self.workers.change(CALL, self.specs, self.pairs)


class Outcome(NamedTuple):
    """What came of one kill."""

    step: tuple[str, int]
    over: bool  # main had the keys before, so that no kill after this one falls into the handshake
    whole: bool  # every frame that was spoken under the keys is there
    again: bool  # another handshake was asked for


async def killed_before(folder: Path, step: tuple[str, int], *, server: bool) -> Outcome:
    """Let a worker begin and be killed at a step of its handshake; then speak."""
    peer = Peer(1, server=server)
    one = Renewing(folder, peer)
    await one.workers.start()
    traced = killed_at(one.pid, step[1], step[0])
    await asyncio.to_thread(traced.__enter__)
    one.begin()
    if not server:
        peer.begin(one.pairs[0].port)
    try:
        await asyncio.wait_for(peer.ready.wait(), PATIENCE)
    except TimeoutError:
        pass  # then it speaks in the clear, and nothing is kept
    one.send(10)
    await asyncio.sleep(1.2)  # whoever is not dead yet says by now that he lives
    await asyncio.to_thread(traced.__exit__, None, None, None)
    names = [type(event) for event in one.events]
    if messages.WorkerDied in names:
        await one.heard(messages.Resumed)
    one.send(20)
    final = await one.close()
    whole = one.frames(one.read(final), 0) == list(range(30))
    peer.close()
    await one.end()
    first = next((name for name in names if name in (messages.Keyed, messages.WorkerDied)), None)
    return Outcome(step, first is messages.Keyed, whole, messages.Severed in names)


async def every_step(folder: Path, *, server: bool) -> list[Outcome]:
    """Kill at each step, some at a time, since they mostly wait."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def take(step: tuple[str, int]) -> Outcome:
        async with turn:
            return await killed_before(folder / "-".join(map(str, step)), step, server=server)

    return await asyncio.gather(*(take(step) for step in STEPS))


@pytest.mark.parametrize("server", [True, False])
def test_no_kill_in_a_handshake_costs_the_audio_behind_it_d7(tmp_path: Path, server: bool) -> None:
    outcomes = asyncio.run(asyncio.wait_for(every_step(tmp_path, server=server), 280))
    assert [each.step for each in outcomes if not each.whole] == []
    assert {each.step[0] for each in outcomes if each.over} == {"pwrite64", "sendto"}
    assert any(each.again for each in outcomes)
