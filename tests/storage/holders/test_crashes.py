"""A holder that stops anywhere while it cuts goes on where it was, and has the same keys as the others then."""

from pathlib import Path

import pytest

from storage.files.durable_files import Disk
from storage.keys.cut_log import Ledger
from storage.keys.key_store import CustomerKeys
from tests.in_process.key_files import FallibleDisk, PowerCut
from tests.in_process.storage_node import permit, record
from tests.storage.holders.cluster import Cluster

pytestmark = pytest.mark.system


def write_to(keys: CustomerKeys, disk: Disk) -> None:
    keys._disk = disk  # the customer makes the keys with the disk of the machine


async def test_at_every_step_of_a_cut(two: Cluster) -> None:
    one = two.nodes["rec1"]
    await permit(one)
    stopped = 0
    while True:
        row = await record(one)
        await two.settle()
        await one.erasures.file(calls=[row.id], reason="she asked us to", by="paula")
        await one.erasures.work()
        write_to(two.nodes["rec2"].keys, FallibleDisk(stopped, kept=0.5, lose=True))
        try:
            await two.turn("rec2")
        except PowerCut:
            stopped += 1
        else:
            break
        await two.close("rec2")
        other = await two.open("rec2")
        assert not other.keys.keeps(row.leaf), f"stopped at step {stopped}"
        await two.settle()
        assert other.keys.state() == one.keys.state()
    assert stopped > 5


async def test_in_the_middle_of_a_line_of_the_log(two: Cluster, tmp_path: Path) -> None:
    one = two.nodes["rec1"]
    await permit(one)
    row = await record(one)
    await two.settle()
    await one.erasures.file(calls=[row.id], reason="she asked us to", by="paula")
    await one.erasures.work()
    await two.close("rec2")
    log = two.keys("rec2") / "acme.erasures"
    with log.open("ab") as file:
        file.write(b'{"customer":"acme","at":"2026-0')
    other = await two.open("rec2")
    await two.settle()
    assert not other.keys.keeps(row.leaf) and other.keys.state() == one.keys.state()
    followed, _ = Ledger(two.keys("rec2"), "acme").followed()
    assert [each.n for each in followed] == list(range(1, len(followed) + 1))


async def test_after_the_line_and_before_the_cut(two: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = two.nodes["rec1"], two.nodes["rec2"]
    await permit(one)
    row = await record(one)
    await two.settle()
    await one.erasures.file(calls=[row.id], reason="she asked us to", by="paula")
    await one.erasures.work()

    def stop(*given: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(other.keys, "_forget", stop)
        with pytest.raises(PowerCut):
            await two.turn("rec2")
    assert other.keys.keeps(row.leaf)  # the line is in the log, the key is there
    await two.close("rec2")
    assert not (await two.open("rec2")).keys.keeps(row.leaf)
