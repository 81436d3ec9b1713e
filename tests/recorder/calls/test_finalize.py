"""How recordings end: durable before the BYE is answered, mended when that failed, never resurrected."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from storage.errors import SyncFailed
from tests.in_process.recorder_node import Stage
from tests.recorder.calls.client import hang_up, state_of


def failing(one: Stage, patch: pytest.MonkeyPatch) -> None:
    """Let the next sync of the disk fail, as an I/O error would."""
    waits = type(one.resources.syncer).wait

    def wait(self: object, *args: object, **more: object) -> Future[None]:
        patch.setattr(type(one.resources.syncer), "wait", waits)
        broken: Future[None] = Future()
        broken.set_exception(SyncFailed("writing back failed"))
        return broken

    patch.setattr(type(one.resources.syncer), "wait", wait)


async def test_a_bye_is_answered_when_the_call_is_durable(one: Stage) -> None:
    call = one.invite()
    one.bye()
    assert one.statuses("BYE") == []
    await one.until(lambda: one.statuses("BYE"))
    assert one.statuses("BYE") == [200] and call.customer.vault.left_open() == []
    await one.indexer.drain(30)
    assert await state_of(one, call.id) == "complete"
    assert not list(one.checkpoints.left())


async def test_a_failed_sync_gives_500_and_interrupts_the_call(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    call = one.invite()
    await state_of(one, call.id)  # opens the connection to the database, which stays
    failing(one, monkeypatch)
    one.bye()
    await one.until(lambda: one.statuses("BYE"))
    assert one.statuses("BYE") == [500] and not len(one.live)
    before = one.descriptors()
    await one.until(lambda: not len(one.repairs))
    assert await state_of(one, call.id) == "interrupted"
    assert call.customer.vault.left_open() == []
    await one.until(lambda: one.descriptors() <= before)  # a thread may be syncing a folder still
    assert [i["kind"] for i in one.node.incidents.of("acme")] == ["call-interrupted"]
    assert one.node.incidents.of("other") == []


async def test_a_part_that_a_worker_cannot_seal_is_repaired(one: Stage) -> None:
    call = one.invite()
    one.resources.workers.drop(call.id)
    assert await hang_up(one) == [200]
    await one.indexer.drain(30)
    assert await state_of(one, call.id) == "interrupted"
    defects = [d for r in call.customer.vault.parts(call.id, call.leaf) for d in call.customer.vault.verify(r)]
    assert defects == []
