"""With an object store a live call continues in new parts now and then; and what ended can be read alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from media.records import record_format
from recorder.calls import sync_task
from recorder.calls.live_call import LiveCall
from recorder.calls.sync_task import PartTask
from recorder.config.model import Storage
from recorder.errors import NotPossible
from recorder.persist.repair import content
from recorder.session.commands import Kept
from recorder.workers import messages
from tests.in_process.recorder_node import Stage
from tests.recorder.calls.client import hang_up


@pytest.fixture
def parts(one: Stage, monkeypatch: pytest.MonkeyPatch) -> PartTask:
    """The task, which ends a part at every other look."""
    monkeypatch.setattr(sync_task, "MAX_PART", 0)
    node = replace(one.node, settings=replace(one.node.settings, storage=Storage(media="s3")))
    return PartTask(node, one.resources, one.live, one.executor)


def finished(call: LiveCall) -> set[str]:
    return {ref.part for ref in call.customer.vault.parts(call.id, call.leaf) if ref.finished}


async def end(one: Stage, parts: PartTask, call: LiveCall) -> None:
    """Have the newest part end, as if media had arrived in it."""
    number = call.files.media_part
    await parts.turn()
    call.noticed(one.node.monotonic() + 1)
    await parts.turn()
    assert call.files.media_part == number + 1
    await one.until(lambda: {f"c{number}", f"m{number}"} <= finished(call))


async def test_a_live_call_continues_in_new_parts_and_ends_whole(one: Stage, parts: PartTask) -> None:
    call = one.invite()
    for number in (1, 2, 3):
        await end(one, parts, call)
        assert call.files.finished == number
    assert finished(call) == {"c1", "c2", "c3", "m1", "m2", "m3"}
    assert await hang_up(one) == [200]
    await one.indexer.drain(30)
    row = await one.customers["acme"].calls.get(call.id)
    assert row is not None and row.state == "complete"
    assert finished(call) == {f"{kind}{number}" for kind in "cm" for number in (1, 2, 3, 4)}
    assert row.size_bytes == call.customer.vault.size(call.id, call.leaf)
    assert [d for ref in call.customer.vault.walk() for d in call.customer.vault.verify(ref)] == []
    assert one.faults == []


async def test_finished_parts_of_a_live_call_describe_the_call(one: Stage, parts: PartTask) -> None:
    """When the machine burns, this is what an object store has."""
    call = one.invite()
    await end(one, parts, call)
    control = call.customer.vault.find(call.id, call.leaf, "c1")
    assert control is not None
    records = list(record_format.read(call.customer.vault.read(control)))
    documents = [each for each in records if isinstance(each, record_format.Other) and each.kind == Kept.CALL]
    assert len(documents) == 2, "as it began, and as it was when the part ended"
    for ref in call.customer.vault.parts(call.id, call.leaf):
        if not ref.finished:
            ref.path.unlink()
    document = content(call.customer, call.id, call.leaf).document
    assert document is not None
    assert (document["id"], document["state"], len(document["streams"])) == (call.id, "interrupted", 2)


async def test_without_an_object_store_no_part_ends_before_its_call(
    one: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_task, "MAX_PART", 0)
    parts, call = PartTask(one.node, one.resources, one.live, one.executor), one.invite()
    for _ in range(3):
        call.noticed(one.node.monotonic() + 1)
        await parts.turn()
    assert call.files.media_part == 1


async def test_parts_due_at_the_same_moment_end_one_at_a_time(
    one: Stage, parts: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync_task, "FEW", 1)
    calls = [one.invite(name) for name in ("c1", "c2", "c3")]
    await parts.turn()
    for call in calls:
        call.noticed(one.node.monotonic() + 1)
    for number in (4, 5, 6):
        await parts.turn()
        assert sum(call.files.media_part for call in calls) == number


async def test_a_quiet_call_makes_no_parts(one: Stage, parts: PartTask) -> None:
    call = one.invite()
    await parts.turn()
    call.heard = 0.0
    for _ in range(3):
        await parts.turn()
    assert call.files.media_part == 1


async def test_no_new_part_begins_while_a_call_has_no_worker(one: Stage, parts: PartTask) -> None:
    call = one.invite()
    await parts.turn()
    call.noticed(one.node.monotonic() + 1)
    entry = one.resources.workers._entries[call.id]
    process, entry.process = entry.process, None
    await parts.turn()
    assert call.files.media_part == 1
    one.resources.workers.next_part(call.id, call.files.media_fd, messages.Part("m9", b"k" * 32))
    assert entry.waiting == (), "its successor would go back to it"
    entry.process = process


async def test_a_disk_that_refuses_is_tried_again(one: Stage, parts: PartTask, monkeypatch: pytest.MonkeyPatch) -> None:
    call = one.invite()
    await parts.turn()
    call.noticed(one.node.monotonic() + 1)
    with monkeypatch.context() as broken:

        def refuse(*_: object) -> None:
            raise NotPossible("no room")

        broken.setattr(one.executor, "next_part", refuse)
        await parts.turn()
    assert call.files.media_part == 1 and not one.resources.storage.well
    one.resources.storage.found(well=True, away=False)
    await one.until(lambda: "c1" not in finished(call))
    await end(one, parts, call)
    assert await hang_up(one) == [200]
    assert not call.customer.vault.left_open(), "also of the part that the try left behind"


async def test_no_part_is_finished_that_the_checkpoint_names(
    one: Stage, parts: PartTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call whose control part is finished is taken for one that has ended."""
    call = one.invite()
    await parts.turn()
    call.noticed(one.node.monotonic() + 1)
    monkeypatch.setattr(one.executor.checkpoints, "save", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    await parts.turn()
    await one.until(lambda: "m1" in finished(call))
    assert "c1" not in finished(call)
    monkeypatch.undo()
    monkeypatch.setattr(sync_task, "MAX_PART", 0)
    one.resources.storage.found(well=True, away=False)
    await end(one, parts, call)
    assert {"c1", "c2"} <= finished(call)
