"""What one node recorded and uploaded is read by the others, who say which node has what is not uploaded yet."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from storage.customer.customers import Customer
from storage.database.schema import nodes
from storage.erasure.erasure_rows import State
from storage.errors import Forged, OnOtherNode, Torn
from storage.exports.exports import ExportState, Request
from storage.objects.s3 import S3
from storage.vault.object_compare import into_store
from storage.vault.object_vault import ObjectVault
from tests.daemon.object_stores import Server
from tests.in_process.shared_keys import caught_up
from tests.in_process.storage_node import NOON, StorageNode, permit, record

pytestmark = pytest.mark.system
Two = tuple[Customer, Customer]
TEXT = b'{"words": []}'


@pytest.fixture
def first_node(tmp_path: Path, postgresql: str, object_server: Server, prefix: str) -> StorageNode:
    """Node 1, with an object store."""
    store = S3(object_server.settings(prefix=prefix))
    return StorageNode(tmp_path / "data1", database=postgresql, objects=store, number=1)


def vault_of(acme: Customer) -> ObjectVault:
    assert isinstance(acme.vault, ObjectVault)
    return acme.vault


def upload(acme: Customer) -> None:
    for ref in vault_of(acme).waiting():
        assert vault_of(acme).upload(ref)


def heard(acme: Customer, call: str, leaf: int) -> list[bytes]:
    return [b"".join(acme.vault.read(ref)) for ref in acme.vault.readable(call, leaf)]


async def attach(acme: Customer, call: str) -> str:
    return (await acme.attachments.add(call, "chat", "application/json", TEXT, "paula")).part


async def test_a_recording_of_another_node_is_read_from_the_store(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other)
    assert heard(one, row.id, row.leaf) == [] and len(heard(other, row.id, row.leaf)) == 2
    upload(other)
    assert heard(one, row.id, row.leaf) == heard(other, row.id, row.leaf) != []
    refs = one.vault.readable(row.id, row.leaf)
    assert [ref.part for ref in refs] == ["c1", "m1"] and all(ref.finished for ref in refs)
    assert [one.vault.size_of(ref) for ref in refs] == [other.vault.size_of(ref) for ref in refs]
    assert [*one.vault.walk()] == []  # nothing of it stays here


async def test_other_bytes_than_were_stored_are_not_read(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other)
    upload(other)
    vault = vault_of(one)
    (control, media) = one.vault.readable(row.id, row.leaf)
    pointer = vault.pointer(media)
    assert pointer is not None
    name = str(vault.object_of(media, pointer))
    vault.objects.put(name, bytes(pointer.size))
    with pytest.raises(Forged, match="other bytes"):
        [*vault.read(media)]
    vault.objects.remove(name, lambda found: found == name)
    with pytest.raises(Torn):
        [*vault.read(media)]
    assert [*vault.read(control)]


async def test_attachments_are_numbered_by_node_and_read_everywhere(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other)
    assert [await attach(one, row.id), await attach(other, row.id), await attach(one, row.id)] == [
        "a1001", "a2001", "a1002",
    ]  # fmt: skip
    found = sorted(await other.attachments.of(row.id), key=lambda one: one.part)
    with pytest.raises(OnOtherNode) as caught:
        await other.attachments.read(found[0])
    assert caught.value.node == 1 and await other.attachments.read(found[2]) == TEXT
    upload(one)
    upload(other)
    assert [await acme.attachments.read(each) for acme in two_nodes for each in found] == [TEXT] * 6
    assert [ref.part for ref in other.vault.parts(row.id, row.leaf)] == ["c1", "m1", "a2001"]
    assert [ref.part for ref in one.vault.readable(row.id, row.leaf)] == ["c1", "m1", "a1001", "a1002", "a2001"]


async def test_an_erasure_by_another_node_empties_the_store(two_nodes: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two_nodes
    row = await record(other)
    await attach(one, row.id)
    for acme in two_nodes:
        upload(acme)
    await permit(one)
    looks: list[str] = []
    for name in ("remove", "kept"):
        monkeypatch.setattr(S3, name, noting(getattr(S3, name), looks))
    await erased(two_nodes, row.id)
    # Deleted, and looked for again; once more after the last acknowledgement; and for what the receipt says of locks.
    assert sorted(looks) == ["kept", "remove", "remove", "remove"]
    assert [*vault_of(one).objects.listing("acme/")] == []
    assert one.vault.readable(row.id, row.leaf) == ()


async def test_a_move_into_the_store_adopts_nothing_of_other_nodes(two_nodes: Two) -> None:
    one, other = two_nodes
    await record(other)
    mine = await record(one)
    for acme in two_nodes:
        upload(acme)
    for part in one.vault.parts(mine.id, mine.leaf):
        os.unlink(part.path)  # as if this disk had lost it
        vault_of(one).mistrust(part)
    moved = into_store(vault_of(one), lambda units: None)
    assert (moved.parts, moved.done) == (2, 2)
    assert {ref.call for ref in one.vault.walk()} == {mine.id}


def noting(method: Callable[..., object], done: list[str]) -> Callable[..., object]:
    """Note each call of a method."""

    def noted(*given: object) -> object:
        done.append(method.__name__)
        return method(*given)

    return noted


async def erased(two_nodes: Two, call: str) -> None:
    """Have the first node erase a call, and both follow until it is done."""
    filed = await two_nodes[0].erasures.file(calls=[call], reason="x", by="paula")
    for _ in range(5):
        await two_nodes[0].erasures.work()
        await caught_up(*two_nodes)
    done = await two_nodes[0].erasures.get(filed.id)
    assert done is not None and done.state is State.DONE


async def export(acme: Customer) -> str:
    return (await acme.exports.file(Request("json", ("id",), "a reason", calls=()), "paula")).id


async def test_an_export_runs_where_asked_and_others_name_that_node(two_nodes: Two) -> None:
    one, other = two_nodes
    id = await export(other)
    assert await one.exports.unfinished() == () and await one.exports.unfinished_elsewhere() == ((id, 2),)
    assert await other.exports.unfinished() == (id,)
    with other.exports.sink(await other.exports.begin(id)) as sink:
        sink.write(b"[]")
        size = sink.finish()
    await other.exports.finish(id, size)
    found = await one.exports.get(id)
    assert found is not None and found.state is ExportState.DONE
    assert one.exports.elsewhere(found) == 2 and other.exports.elsewhere(found) is None
    assert await one.exports.tidy() == await other.exports.tidy() == 0


async def test_the_file_of_an_export_cancelled_elsewhere_is_removed(two_nodes: Two) -> None:
    one, other = two_nodes
    id = await export(other)
    with other.exports.sink(await other.exports.begin(id)) as sink:
        size = sink.finish()
    await other.exports.finish(id, size)
    await one.exports.cancel(id)
    assert await other.exports.tidy(expired=False) == 1
    assert not [*(other.folder / "exports").rglob("*.a1")]


async def test_expired_exports_are_forgotten_by_one_node(two_nodes: Two) -> None:
    one, other = two_nodes
    id = await export(other)
    one.exports.expire_by(lambda: NOON + timedelta(days=8))
    assert await one.exports.tidy(expired=False) == 0
    assert await one.exports.tidy() == 1
    assert await other.exports.get(id) is None


async def test_a_node_of_another_number_is_not_known(two_nodes: Two) -> None:
    one, other = two_nodes
    row = await record(other)
    async with one.database.writing() as connection:
        await connection.execute(nodes.delete().where(nodes.c.node == 2))
    assert one.nodes is not None and await one.nodes.of(row.node) is None
