"""Holders come and go: what each of them opens, who destroys its keys, and who may not."""

from pathlib import Path

import pytest

from storage.customer import removal
from storage.customer.customers import open_keys
from storage.errors import KeysError, StorageError
from storage.holders.holder import CutsBehind
from tests.in_process.storage_node import ROOT, permit, record
from tests.storage.holders.cluster import Cluster

pytestmark = pytest.mark.system


async def test_the_first_node_of_a_database_needs_no_admission(tmp_path: Path, postgresql: str) -> None:
    cluster = Cluster(tmp_path, postgresql)
    await cluster.start("rec1")
    row = await record(cluster.nodes["rec1"])
    assert await cluster.nodes["rec1"].calls.get(row.id) is not None
    await cluster.close()


async def test_a_node_that_nobody_admitted_opens_nothing(two: Cluster) -> None:
    row = await record(two.nodes["rec1"])
    two.copy_keys("rec1", "rec3")
    third = await two.open("rec3")
    await two.settle()
    with pytest.raises(CutsBehind, match="not admitted"):
        await third.calls.get(row.id)


async def test_the_file_for_a_new_holder_waits_for_all_others(two: Cluster) -> None:
    one = two.holder("rec1")
    await one.admit("rec3")
    assert await one.ready_for("rec3") == ("rec1", "rec2")
    await two.turn("rec1")
    assert await one.ready_for("rec3") == ("rec2",)
    await two.turn("rec2")
    assert await one.ready_for("rec3") == ()


async def test_erasures_do_not_wait_for_a_retired_node(two: Cluster) -> None:
    one = two.nodes["rec1"]
    await permit(one)
    row = await record(one)
    await two.settle()
    await two.close("rec2")
    filed = await one.erasures.file(calls=[row.id], reason="she asked us to", by="paula")
    await one.erasures.work()
    await two.holder("rec1").retire("rec2")
    await two.settle()
    await one.erasures.work()
    done = await one.erasures.get(filed.id)
    assert done and done.receipt
    assert done.receipt["holders"] == [{"node": "rec1", "retired": False}, {"node": "rec2", "retired": True}]


async def test_a_retired_node_that_comes_back_destroys_its_keys(two: Cluster, tmp_path: Path) -> None:
    row = await record(two.nodes["rec1"])
    await two.settle()
    await two.close("rec2")
    await two.holder("rec1").retire("rec2")
    await two.settle()
    other = await two.open("rec2")
    with pytest.raises(CutsBehind, match="retired"):
        await other.calls.get(row.id)
    assert await two.holder("rec2").depart()
    assert not other.keys.keeps(row.leaf)
    with pytest.raises(KeysError):
        open_keys(tmp_path / "rec2", "acme", ROOT)
    with pytest.raises(CutsBehind):
        await other.calls.get(row.id)
    assert two.nodes["rec1"].keys.keeps(row.leaf)


async def test_the_last_holder_stays(two: Cluster) -> None:
    await two.holder("rec1").retire("rec2")
    with pytest.raises(StorageError, match="itself"):
        await two.holder("rec1").retire("rec1")
    await two.turn("rec2")
    with pytest.raises(CutsBehind, match="retired"):
        await two.holder("rec2").retire("rec1")


async def test_a_customer_of_several_nodes_is_not_removed(two: Cluster) -> None:
    with pytest.raises(removal.Kept, match="1 more node"):
        await removal.left(two.nodes["rec1"], approval=False)
