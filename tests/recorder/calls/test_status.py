"""How the node fares, on a real node: its own figures, a customer's, and when things expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from recorder.calls.status import expiry, room
from recorder.maintenance import bootstrap
from recorder.observe.load_history import EVERY_SECONDS
from recorder.persist.backup_time import mark
from storage.files.durable_files import Disk
from tests.in_process.recorder_node import CONFIG, Stage

TWO = CONFIG + '[[customer]]\nname = "beta"\nsources = ["192.0.2.0/24"]\n'


@pytest.mark.parametrize("config", [pytest.param(TWO, id="two customers")])
async def test_a_customer_sees_its_own_calls_and_the_node_their_sum(one: Stage) -> None:
    system = one.system()
    system.sample()
    one.invite()
    await one.indexer.drain(30)
    acme = (await system.document("acme", node=False))["customer"]
    assert (acme["calls_active"], acme["calls"]) == (1, 1)
    assert [calls for _, calls in acme["history"]] == [0]
    beta = await system.document("beta", node=True)
    assert (beta["customer"]["calls_active"], beta["customer"]["calls"]) == (0, 0)
    assert (beta["node"]["calls_active"], beta["node"]["max_calls"]) == (1, 5)
    nothing = await system.document(None, node=False)
    assert (nothing["customer"], nothing["node"]) == (None, None)


async def test_status_samples_are_paced_and_know_their_customers(one: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(type(one.node), "monotonic", staticmethod(lambda: now[0]))
    system = one.system()
    for _ in range(3):
        system.sample()
    one.invite()
    now[0] += EVERY_SECONDS
    system.sample()
    shown = await system.document("acme", node=True)
    assert [calls for _, calls in shown["customer"]["history"]] == [0, 1]
    assert [(calls, free > 0) for _, calls, free, _ in shown["node"]["history"]] == [(0, True), (1, True)]


async def test_the_status_says_why_calls_are_refused(one: Stage) -> None:
    system = one.system(lambda: "draining")
    node = (await system.document(None, node=True))["node"]
    assert (node["ready"], node["reason"], node["keys_backed_up_at"]) == (False, "draining", None)
    assert [disk["use"] for disk in node["disks"]] == ["data", "runtime"]
    assert len(node["workers"]) == 1
    mark(one.node.settings.node.data_dir, datetime(2026, 3, 4, tzinfo=UTC), Disk())
    assert (await system.document(None, node=True))["node"]["keys_backed_up_at"] == "2026-03-04T00:00:00.000Z"


def test_unreadable_certificates_and_disks_are_left_out(tmp_path: Path) -> None:
    now = datetime.now(UTC).replace(microsecond=0)
    file = tmp_path / "a.crt"
    file.write_bytes(bootstrap.certificate(["127.0.0.1"], now)[0])
    found = expiry(file)
    assert found and now + timedelta(days=820) < found < now + timedelta(days=830)
    file.write_bytes(b"-----BEGIN CERTIFICATE-----\n")
    assert expiry(file) is None
    assert expiry(tmp_path / "none.crt") is None
    free, size = room(tmp_path)
    assert 0 < free <= size and room(tmp_path / "none") == (0, 0)
